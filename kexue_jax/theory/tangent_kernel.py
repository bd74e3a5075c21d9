"""The tangent kernel of a network: inner products of gradients by its parameters."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype

METHODS = ("jacobian", "products")

Apply = Callable[[Any, jax.Array], jax.Array]


def tangent_kernel(
    apply_fn: Apply,
    params: Any,
    xa: jax.Array,
    xb: jax.Array,
    *,
    method: str = "jacobian",
    chunk: int | None = None,
) -> jax.Array:
    """The tangent kernel of ``apply_fn`` between two sets of inputs.

    K(x, x') = J(x) J(x')^T, J(x) the derivative of apply_fn(params, x) by params:
    "jacobian" multiplies rows of derivatives, "products" has a backward pass for each
    x' and output and a forward derivative along it at each x, with no row of an x.

    Shapes: apply_fn (params, x [*d]) -> [] or [k]; params a tree of floating arrays; xa
    [a, *d], xb [b, *d] -> [a, b], or [a, b, k, k].
    Article: kexue.fm/archives/8009.  Paper: arXiv 1806.07572.
    Differs: no.
    Cost: "jacobian" (a + b) k backward passes and a b k^2 P operations, P the number of
    parameters, "products" b k backward and a b k forward ones. With ``chunk`` = c, of
    each set c rows at a time: O(c k P) memory, and for "jacobian" the passes of xb
    again for every chunk of xa.
    Raises: TypeError or ValueError for a bad argument or result of apply_fn.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import tangent_kernel
        >>> line = lambda params, x: params["w"] @ x + params["b"]
        >>> params = {"w": jnp.zeros(2), "b": jnp.zeros(())}
        >>> print(tangent_kernel(line, params, jnp.eye(2), jnp.ones((1, 2)))[:, 0])
        [2. 2.]
    """
    name = "tangent_kernel"
    checks.choice(name, "method", method, METHODS)
    check_inputs(name, "xa", xa)
    check_inputs(name, "xb", xb)
    if xa.shape[1:] != xb.shape[1:]:
        wanted = f"of shape [b, {', '.join(map(str, xa.shape[1:]))}] as `xa` has"
        raise checks.fail(name, "xb", f"shape {xb.shape}", wanted)
    check_apply(name, apply_fn, params, xa)
    if chunk is not None:
        checks.count(name, "chunk", chunk)
    dtype = xa.dtype
    params, xa, xb = high((params, xa, xb))
    flat = outputs(apply_fn)

    def left(row: jax.Array) -> Any:
        return jax.jacrev(flat)(params, row) if method == "jacobian" else row

    def both(kept: Any, row: jax.Array) -> jax.Array:
        if method == "jacobian":
            return contract(kept, jax.jacrev(flat)(params, row))
        out, pull = jax.vjp(lambda p: flat(p, row), params)

        def column(unit: jax.Array) -> jax.Array:
            (moved,) = pull(unit)
            return jax.jvp(lambda p: flat(p, kept), (params,), (moved,))[1]

        return jax.vmap(column, out_axes=1)(jnp.eye(out.size, dtype=out.dtype))

    found = pairs(left, both, xa, xb, chunk)
    scalar = jax.eval_shape(apply_fn, params, xa[0]).shape == ()
    return (found[..., 0, 0] if scalar else found).astype(dtype)


def mlp_tangent_kernel(
    params: Sequence[Any],
    xa: jax.Array,
    xb: jax.Array,
    *,
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh,
) -> jax.Array:
    """The tangent kernel of a perceptron from activations and backward signals alone.

    h_0 = x, z_l = h_l kernel_l + bias_l, h_{l+1} = activation(z_l), f = z of the last
    layer; K(x, x') = sum_l (h_l(x) . h_l(x') + 1) delta_l(x) delta_l(x')^T, where
    delta_l = df/dz_l [k, d_{l+1}].

    Shapes: params a list of {"kernel" [d_l, d_{l+1}], "bias" [d_{l+1}]}; xa [a, d_0],
    xb [b, d_0] -> [a, b, k, k].
    Article: kexue.fm/archives/8009.  Paper: arXiv 1806.07572.
    Differs: no.
    Cost: O((a + b) k) passes, then a b k^2 times the sum of the widths, where
    ``tangent_kernel`` has the number of parameters.
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import mlp_tangent_kernel
        >>> params = [{"kernel": jnp.ones((2, 1)), "bias": jnp.zeros(1)}]
        >>> print(mlp_tangent_kernel(params, jnp.eye(2), jnp.ones((1, 2)))[:, 0, 0, 0])
        [2. 2.]
    """
    name = "mlp_tangent_kernel"
    checks.function(name, "activation", activation)
    check_inputs(name, "xa", xa)
    checks.shapes(name, xa=(xa, "a d"))
    check_inputs(name, "xb", xb)
    checks.shapes(name, xa=(xa, "a d"), xb=(xb, "b d"))
    _check_layers(name, params, xa.shape[-1])
    dtype = xa.dtype
    params, xa, xb = high((list(params), xa, xb))

    def signals(x: jax.Array) -> tuple[list[jax.Array], list[jax.Array]]:
        """h_l and delta_l of one input: derivatives by shifts of the z_l."""

        def forward(shifts: list[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
            h, seen = x, []
            for number, (layer, shift) in enumerate(zip(params, shifts, strict=True)):
                seen.append(h)
                z = h @ layer["kernel"] + layer["bias"] + shift
                h = z if number == len(params) - 1 else activation(z)
            return h, seen

        zeros = [jnp.zeros_like(layer["bias"]) for layer in params]
        deltas, seen = jax.jacrev(forward, has_aux=True)(zeros)
        return seen, deltas

    (ha, da), (hb, db) = jax.vmap(signals)(xa), jax.vmap(signals)(xb)
    total = jnp.zeros((), xa.dtype)
    for h, g, d, e in zip(ha, hb, da, db, strict=True):
        inner = jnp.einsum("ad,bd->ab", h, g) + 1
        signal = jnp.einsum("akd,bld->abkl", d, e)
        total = total + inner[..., None, None] * signal
    return total.astype(dtype)


def high(tree: Any) -> Any:
    """All arrays in one dtype, at least float32."""
    dtype = accumulation_dtype(*jax.tree.leaves(tree))
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


def outputs(apply_fn: Apply) -> Apply:
    """``apply_fn`` with outputs [k] also where it has a scalar."""
    return lambda params, x: jnp.atleast_1d(apply_fn(params, x))


def contract(rows: Any, columns: Any) -> jax.Array:
    """The sum over all parameters of rows [k, ...] times columns [l, ...]."""
    parts = [
        jnp.einsum("kp,lp->kl", a.reshape(len(a), -1), b.reshape(len(b), -1))
        for a, b in zip(jax.tree.leaves(rows), jax.tree.leaves(columns), strict=True)
    ]
    return sum(parts[1:], parts[0])


def pairs(
    left: Callable[[Any], Any],
    both: Callable[[Any, Any], Any],
    xa: Any,
    xb: Any,
    chunk: int | None,
) -> Any:
    """``both(left(a), b)`` of every pair of rows, ``chunk`` rows of each at a time."""

    def by(function: Callable[[Any], Any], rows: Any) -> Any:
        if chunk is None:
            return jax.vmap(function)(rows)
        return lax.map(function, rows, batch_size=chunk)

    def row(a: Any) -> Any:
        kept = left(a)
        return by(lambda b: both(kept, b), xb)

    return by(row, xa)


def check_inputs(function: str, argument: str, x: Any) -> None:
    """Refuse what is no floating array of one row or more."""
    checks.array(function, argument, x)
    if x.ndim == 0 or not x.shape[0]:
        wanted = "of shape [n, ...] with n > 0"
        raise checks.fail(function, argument, f"shape {x.shape}", wanted)


def check_apply(function: str, apply_fn: Any, params: Any, x: jax.Array) -> int | None:
    """The number of outputs, None for a scalar; refuse other functions and params."""
    checks.function(function, "apply_fn", apply_fn)
    leaves = jax.tree.leaves(params)
    if not leaves:
        got = "no arrays"
        raise checks.fail_type(function, "params", got, "a tree of floating arrays")
    for leaf in leaves:
        checks.array(function, "params", leaf)
    row = jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
    out = jax.eval_shape(apply_fn, params, row)
    shape = getattr(out, "shape", None)
    if shape is None or len(shape) > 1 or not math.prod(shape):
        wanted = "a function of one input that returns shape [] or [k]"
        got = f"one that returns {out if shape is None else f'shape {shape}'}"
        raise checks.fail(function, "apply_fn", got, wanted)
    return shape[0] if shape else None


def _check_layers(name: str, params: Any, width: int) -> None:
    if not isinstance(params, (list, tuple)):
        got = f"a {type(params).__name__}"
        raise checks.fail_type(name, "params", got, "a list of layers")
    if not params:
        raise checks.fail(name, "params", "no layers", "one layer or more")
    for number, layer in enumerate(params):
        if not isinstance(layer, dict) or set(layer) != {"kernel", "bias"}:
            got = f"layer {number}, {layer if isinstance(layer, str) else type(layer)}"
            wanted = "a list of dicts with the keys bias and kernel"
            raise checks.fail(name, "params", got, wanted)
        for key in ("kernel", "bias"):
            checks.array(name, f"params[{number}][{key!r}]", layer[key])
        shape = layer["kernel"].shape
        if len(shape) != 2 or shape[0] != width or layer["bias"].shape != shape[1:]:
            got = f"shapes {shape} and {layer['bias'].shape} in layer {number}"
            wanted = f"a list of kernels [d, e] and biases [e], with d = {width} there"
            raise checks.fail(name, "params", got, wanted)
        width = shape[1]
