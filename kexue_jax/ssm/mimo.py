"""Diagonal systems of many inputs and outputs, in products of real matrices.

x_t = a x_{t-1} + B u_t, y_t = Re(C x_t) + d u_t with a, B, C complex, B and C as real
and imaginary parts: what S5 and LRU share.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.ssm.outputs import SsmOutput
from kexue_jax.ssm.recurrence import linear_scan


class Mimo(NamedTuple):
    """a [n] complex or real, b [n, h], c [h, n] and d [h] real; parts im or None."""

    a: jax.Array
    b_re: jax.Array
    b_im: jax.Array | None
    c_re: jax.Array
    c_im: jax.Array | None
    d: jax.Array


class Layer(NamedTuple):
    """A kind of parameters, the shape of each field, and the system that they make."""

    kind: type
    patterns: dict[str, str]
    system: Callable[[Any], Mimo]


def applied(
    function: str, layer: Layer, params: Any, u: jax.Array, state: Any
) -> SsmOutput:
    """All outputs of ``u [..., L, h]`` from a state [..., n] or None, all checked."""
    system = layer.system(_wide(function, params, layer))
    _check_sequence(function, u, params, "... l h")
    start = _begin(function, state, u.shape[:-2], system.a)
    wide = u.astype(system.d.dtype)
    states = linear_scan(system.a, _drive(system, wide), h0=start)
    return SsmOutput(states[..., -1, :], _read(system, states, wide).astype(u.dtype))


def advanced(
    function: str, layer: Layer, state: jax.Array, params: Any, u: jax.Array
) -> SsmOutput:
    """The output of one more input ``u [..., h]``, and the state after it."""
    system = layer.system(_wide(function, params, layer))
    _check_sequence(function, u, params, "... h")
    if state is None:
        raise checks.fail_type(function, "state", "None", "an array")
    state = _begin(function, state, u.shape[:-1], system.a)
    wide = u.astype(system.d.dtype)
    decay = system.a.reshape((1,) * (state.ndim - 1) + system.a.shape)
    state = decay * state + _drive(system, wide)
    return SsmOutput(state, _read(system, state, wide).astype(u.dtype))


def _drive(system: Mimo, u: jax.Array) -> jax.Array:
    if system.b_im is None:
        return jnp.einsum("...h,nh->...n", u, system.b_re)
    both = jnp.concatenate([system.b_re, system.b_im], 0)
    parts = jnp.einsum("...h,nh->...n", u, both)
    return lax.complex(*jnp.split(parts, 2, -1))


def _read(system: Mimo, x: jax.Array, u: jax.Array) -> jax.Array:
    through = u * system.d.reshape((1,) * (u.ndim - 1) + system.d.shape)
    if system.c_im is None:
        return jnp.einsum("...n,hn->...h", x, system.c_re) + through
    both = jnp.concatenate([system.c_re, -system.c_im], 1)
    parts = jnp.concatenate([x.real, x.imag], -1)
    return jnp.einsum("...n,hn->...h", parts, both) + through


def _wide(function: str, params: Any, layer: Layer) -> Any:
    """The fields widened to at least float32, or an error that names one of them."""
    if not isinstance(params, layer.kind):
        got = f"a {type(params).__name__}"
        raise checks.fail_type(function, "params", got, f"a {layer.kind.__name__}")
    letters: dict[str, Any] = {}
    fields = {field: getattr(params, field) for field in layer.patterns}
    for field, value in fields.items():
        checks.array(function, f"params.{field}", value)
        letters[f"params.{field}"] = (value, layer.patterns[field])
    checks.same_dtype(function, **{f"params.{k}": v for k, v in fields.items()})
    checks.shapes(function, **letters)
    return layer.kind(*(jnp.asarray(x, accumulation_dtype(x)) for x in fields.values()))


def _check_sequence(function: str, u: Any, params: Any, pattern: str) -> None:
    """Raise unless u has the pattern, h features and the dtype of the parameters."""
    checks.array(function, "u", u)
    checks.same_dtype(function, params=params.d, u=u)
    checks.shapes(function, d=(params.d, "h"), u=(u, pattern))
    if 0 in u.shape:
        raise checks.fail(function, "u", f"shape {u.shape}", "without empty axes")


def _begin(function: str, state: Any, lead: tuple[int, ...], a: jax.Array) -> jax.Array:
    """The state [..., n] to begin with, of the dtype of a; None is zeros."""
    shape = (*lead, *a.shape)
    if state is None:
        return jnp.zeros(shape, a.dtype)
    kind = "complex" if jnp.iscomplexobj(a) else "floating"
    checks.array(function, "state", state, kind)
    if state.shape != shape:
        got, wanted = f"shape {state.shape}", f"of shape {list(shape)}"
        raise checks.fail(function, "state", got, wanted)
    return jnp.asarray(state, a.dtype)


def normals(key: jax.Array, shape: tuple[int, ...], variance: float, dtype: Any) -> Any:
    """Normal numbers of a variance, drawn in at least float32."""
    wide = jnp.promote_types(dtype, jnp.float32)
    return jax.random.normal(key, shape, wide) * variance**0.5
