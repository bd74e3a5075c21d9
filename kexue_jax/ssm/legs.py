"""LegS: the whole past in n coefficients, kept up to date one sample at a time."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks, numerics
from kexue_jax._base.varying import all_varying
from kexue_jax.ssm.hippo import NORMS
from kexue_jax.ssm.legs_algebra import along, from_hippo, matvec, orders, solve
from kexue_jax.ssm.legs_projection import exact_step, shrinkage
from kexue_jax.ssm.legs_wavefront import Weights, all_steps

LEGS_METHODS = (
    "forward",
    "backward",
    "bilinear",
    "ln_weight",
    "trapezoid",
    "log_bilinear",
    "frozen_bilinear",
    "exact",
)


class LegsState(NamedTuple):
    """The coefficients x [..., n] after k samples, and k, an integer scalar.

    x is in at least float32; nothing of it counts where k = 0.
    Article: kexue.fm/archives/10114.
    """

    x: jax.Array
    k: jax.Array


class LegsOutput(NamedTuple):
    """The state to go on from, and the coefficients in the dtype of the signal.

    Article: kexue.fm/archives/10114.
    """

    state: LegsState
    coef: jax.Array


def legs_step(
    state: LegsState | None,
    u: jax.Array,
    *,
    n: int,
    method: str = "trapezoid",
    power: float = 1.0,
    norm: str = "hippo",
) -> LegsOutput:
    """LegS after one more sample u, the k-th counted from 0.

    k = 0: x = u e_0 ("hippo"). Then (I - p A) x' = (I + q A) x + g B u with (p, q, g)
    "trapezoid" (1/(2 (k+1)), 1/(2 k), (p + q)); "bilinear" g = 1/k; "ln_weight" g =
    ln((k+1)/k) = h; "log_bilinear" (h/2, h/2, h); "frozen_bilinear" (1/(2 k), 1/(2 k),
    1/k); "forward" (0, 1/k, 1/k); "backward" (1/(k+1), 0, 1/(k+1)); all over ``power``.
    "exact" is the flow of c' = (A c + B u) / (power t) from k to k + 1 itself. No step
    size: the coefficients of a signal do not depend on how fast it came.

    Shapes: state (x [..., n], k scalar) or None: no sample before; u [...] ->
    LegsOutput(state, coef [..., n]).
    Article: kexue.fm/archives/10114 (10137).  Paper: arXiv 2008.07669, 2412.08595.
    Differs: the article's and paper's "bilinear" weighs u by the left end of the step:
    first order, and constants drift. The default weighs it as it weighs x. Public code
    is "frozen_bilinear". k = 0 is no step of the equation, which has no other finite
    start (2412.08595).
    Cost: O(n), "exact" O(n^2).
    Raises: TypeError or ValueError for bad arguments, a state of another shape.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import legs_step
        >>> state = legs_step(None, jnp.array(2.0), n=2).state
        >>> print(legs_step(state, jnp.array(5.0), n=2, method="exact").coef[0])
        3.5
    """
    name = "legs_step"
    check_legs(name, u, "...", n, method, power, norm)
    x, k = _start(name, state, u, u.shape, n, norm)
    wide, time = u.astype(x.dtype), k.astype(x.dtype)
    if method == "exact":
        x = exact_step(x, wide, shrinkage(time, power))
    else:
        p, q, g = step_weights(method, time, power)
        right = x + q * matvec(x) + (g * wide)[..., None] * orders(x)[1]
        moved = solve(right, jnp.broadcast_to(p, u.shape))
        x = jnp.where(k == 0, _first(wide, n), moved)
    x = x * along(from_hippo(n, norm), x)
    return LegsOutput(LegsState(x, k + 1), x.astype(u.dtype))


def legs_scan(
    u: jax.Array,
    *,
    n: int,
    method: str = "trapezoid",
    power: float = 1.0,
    norm: str = "hippo",
    state: LegsState | None = None,
) -> LegsOutput:
    """LegS after each sample of a signal.

    ``legs_step`` over the last axis of u, from ``state`` on: a signal in two parts,
    with the state handed over, gives what the whole does.

    Shapes: u [..., length]; state (x [..., n], k scalar) or None -> LegsOutput(state,
    coef [..., length, n]).
    Article: kexue.fm/archives/10114 (10137).  Paper: arXiv 2008.07669, 2412.08595.
    Differs: as ``legs_step`` does.
    Cost: O((length + n) n) time and memory; length + n steps of one fused kernel on a
    CPU, elsewhere n associative scans over time. "exact" is O(length n^2), one sample
    after the other.
    Raises: TypeError or ValueError for bad arguments, a state of another shape.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import legs_scan
        >>> out = legs_scan(jnp.array([2.0, 5.0, 8.0]), n=2, method="exact")
        >>> print(out.coef[:, 0], out.state.k)
        [2.  3.5 5. ] 3
    """
    name = "legs_scan"
    check_legs(name, u, "... length", n, method, power, norm)
    lead, length = u.shape[:-1], u.shape[-1]
    if length == 0:
        raise checks.fail(name, "u", "none", "of at least 1 sample")
    x, k = _start(name, state, u, lead, n, norm)
    signal = jnp.moveaxis(u.astype(x.dtype).reshape(-1, length), -1, 0)
    rows = x.reshape(-1, n)
    times = (k + jnp.arange(length, dtype=k.dtype)).astype(x.dtype)
    if method == "exact":
        last, found = _exact_steps(signal, rows, shrinkage(times, power))
    else:
        rows = jnp.where(k == 0, _first(signal[0], n), rows)
        weights = step_weights(method, times, power)
        last, found = all_steps(signal, rows.T, weights)
        last, found = last.T, found.swapaxes(1, 2)
    scale = from_hippo(n, norm)
    found, last = found * along(scale, found), last * along(scale, last)
    coef = jnp.moveaxis(found, 0, -2).reshape(*lead, length, n).astype(u.dtype)
    return LegsOutput(LegsState(last.reshape(*lead, n), k + length), coef)


def legs_scan_plain(
    u: jax.Array, *, n: int, state: LegsState | None = None, **options: Any
) -> LegsOutput:
    """The readable twin of ``legs_scan``: ``legs_step``, one sample after the other."""

    def step(state: LegsState, sample: jax.Array) -> Any:
        return tuple(legs_step(state, sample, n=n, **options))

    if state is None:
        dtype = numerics.accumulation_dtype(u)
        state = LegsState(jnp.zeros((*u.shape[:-1], n), dtype), jnp.int32(0))
    last, coef = lax.scan(step, state, jnp.moveaxis(u, -1, 0))
    return LegsOutput(last, jnp.moveaxis(coef, 0, -2))


def step_weights(method: str, k: jax.Array, power: float) -> Weights:
    """p, q and g of the steps from k to k + 1, floating k; 0 where k = 0."""
    going = k > 0
    early = jnp.where(going, 1 / jnp.where(going, k, 1), 0) / power
    late = jnp.where(going, 1 / (k + 1), 0) / power
    log = jnp.where(going, jnp.log1p(1 / jnp.where(going, k, 1)), 0) / power
    given = {
        "forward": early,
        "backward": late,
        "bilinear": early,
        "ln_weight": log,
        "trapezoid": (early + late) / 2,
        "log_bilinear": log,
        "frozen_bilinear": early,
    }[method]
    if method in ("forward", "backward"):
        none = jnp.zeros_like(given)
        forward = method == "forward"
        return Weights(*((none, given) if forward else (given, none)), given)
    if method in ("log_bilinear", "frozen_bilinear"):
        return Weights(given / 2, given / 2, given)
    return Weights(late / 2, early / 2, given)


def check_legs(
    function: str, u: Any, pattern: str, n: Any, method: Any, power: Any, norm: Any
) -> None:
    """Raise unless u is a signal of the pattern, and the options are LegS's."""
    checks.count(function, "n", n)
    checks.choice(function, "method", method, LEGS_METHODS)
    checks.number(function, "power", power, minimum=0, open_minimum=True)
    checks.choice(function, "norm", norm, NORMS)
    checks.array(function, "u", u)
    checks.shapes(function, u=(u, pattern))


def _start(
    function: str, state: Any, u: Any, lead: tuple[int, ...], n: int, norm: str
) -> tuple[jax.Array, jax.Array]:
    """x in the norm "hippo" and k of the state, which is checked."""
    dtype = numerics.accumulation_dtype(u)
    if state is None:
        return jnp.zeros((*lead, n), dtype), jnp.zeros((), jnp.int32)
    if not isinstance(state, LegsState):
        got = f"a {type(state).__name__}"
        raise checks.fail_type(function, "state", got, "None or a LegsState")
    checks.array(function, "state.x", state.x)
    checks.array(function, "state.k", state.k, "integer")
    for part, wanted in (("x", (*lead, n)), ("k", ())):
        got = getattr(state, part).shape
        if got != wanted:
            raise checks.fail(function, f"state.{part}", got, f"of shape {wanted}")
    x, k = jnp.asarray(state.x, dtype), jnp.asarray(state.k)
    x = jnp.where(k == 0, 0, x)  # not even a NaN counts before the first sample
    return x / along(from_hippo(n, norm), x), k


def _first(u: jax.Array, n: int) -> jax.Array:
    """u e_0, what a constant u before now would have: ``[..., n]`` of u ``[...]``."""
    return jnp.pad(u[..., None], [(0, 0)] * u.ndim + [(0, n - 1)])


def _exact_steps(
    u: jax.Array, x: jax.Array, shrinking: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """The last x [rows, n] and x after each sample of u [length, rows]."""

    @jax.checkpoint  # the matrix of a step is made anew for the gradient, not kept
    def move(x: jax.Array, sample: jax.Array, r: Any) -> jax.Array:
        return exact_step(x, sample, r)

    def step(x: jax.Array, parts: Any) -> Any:
        x = move(x, *parts)
        return x, x

    return lax.scan(step, all_varying(x, u)[0], (u, shrinking))
