"""Measured smoothness: along a training, at a point, and the l0 and l1 that fit it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_divide
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.optim._norms import tree_norm
from kexue_jax.optim._trees import check_alike, check_real_tree

Tree = Any

_HALVINGS = 64


class TrajectorySmoothness(NamedTuple):
    """Along one step: the largest gradient change over distance, and ||gradient||."""

    smoothness: jax.Array
    grad_norm: jax.Array


class RelaxedSmoothness(NamedTuple):
    """A line l0 + l1 ||gradient|| over the norms of Hessians."""

    l0: jax.Array
    l1: jax.Array


def trajectory_smoothness(
    gradient: Callable[[Tree], Tree], params: Tree, next_params: Tree, *, num: int = 6
) -> TrajectorySmoothness:
    """How fast the gradient changes along a step of a training.

    max over s in {1/num, 2/num, ..., 1} of ||g(params + s d) - g(params)|| / (s ||d||)
    with d = next_params - params, and ||g(params)||.

    Shapes: params and next_params, trees of real floating arrays of the same shapes ->
    two scalars in at least float32; zero smoothness where d = 0.
    Article: kexue.fm/archives/7469.  Paper: arXiv 1905.11881.
    Differs: no.
    Cost: num + 1 gradients, one after the other.
    Raises: TypeError for leaves that are no real floating arrays or a ``gradient`` that
    gives none; ValueError for trees that differ, or num < 1.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.optim import trajectory_smoothness
        >>> gradient = jax.grad(lambda x: 3 * x**2)
        >>> found = trajectory_smoothness(gradient, jnp.array(1.0), jnp.array(2.0))
        >>> print(found.smoothness.round(4), found.grad_norm.round(4))
        6.0 6.0
    """
    name = "trajectory_smoothness"
    checks.function(name, "gradient", gradient)
    check_real_tree(name, "params", params)
    check_real_tree(name, "next_params", next_params)
    check_alike(name, "next_params", next_params, params)
    checks.count(name, "num", num)
    start = gradient(params)
    check_real_tree(name, "gradient", start)
    check_alike(name, "gradient", start, params)
    step = _difference(next_params, params)
    length = tree_norm(step)

    def at(share: jax.Array) -> jax.Array:
        def moved(p: jax.Array, d: jax.Array) -> jax.Array:
            return (_wide(p) + share.astype(d.dtype) * d).astype(p.dtype)

        change = _difference(gradient(jax.tree.map(moved, params, step)), start)
        norm = tree_norm(change)
        return safe_divide(norm, share.astype(norm.dtype) * length)

    shares = jnp.arange(1, num + 1, dtype=length.dtype) / num
    return TrajectorySmoothness(jnp.max(jax.lax.map(at, shares)), tree_norm(start))


def hessian_norm(
    key: jax.Array,
    loss: Callable[[Tree], jax.Array],
    params: Tree,
    *,
    iters: int = 30,
) -> jax.Array:
    """The spectral norm of the Hessian of a loss, by power iteration.

    ||H v|| after ``iters`` steps v -> H v / ||H v||, from a normal v that ``key``
    draws, one key a tensor: a lower bound that converges to the largest |eigenvalue|.

    Shapes: params, a tree of real floating arrays; ``loss`` gives a scalar -> [], in at
    least float32.
    Article: kexue.fm/archives/7469.  Paper: arXiv 1905.11881.
    Differs: the paper measures differences of gradients (``trajectory_smoothness``).
    Cost: iters + 1 products with the Hessian, about two gradients each.
    Raises: TypeError unless ``key`` is a typed key, for leaves that are no real
    floating arrays, or a ``loss`` that is no function; ValueError for iters < 1.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.optim import hessian_norm
        >>> loss, x = lambda x: x[0] ** 2 - 4 * x[1] ** 2, jnp.array([1.0, 2.0])
        >>> print(hessian_norm(jax.random.key(0), loss, x).round(3))
        8.0
    """
    name = "hessian_norm"
    checks.key(name, "key", key)
    checks.function(name, "loss", loss)
    check_real_tree(name, "params", params)
    checks.count(name, "iters", iters)
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, max(len(leaves), 1))
    drawn = [
        jax.random.normal(keys[i], x.shape, accumulation_dtype(x)).astype(x.dtype)
        for i, x in enumerate(leaves)
    ]

    def product(v: Tree) -> Tree:
        return jax.jvp(jax.grad(loss), (params,), (v,))[1]

    def step(v: Tree, _: None) -> tuple[Tree, None]:
        return _unit(product(v)), None

    last, _ = jax.lax.scan(step, _unit(structure.unflatten(drawn)), length=iters)
    return tree_norm(product(last))


def fit_relaxed_smoothness(
    grad_norms: jax.Array,
    smoothness: jax.Array,
    *,
    envelope: bool = True,
    least_l0: float = 0.0,
) -> RelaxedSmoothness:
    """The l0 and l1 of measured pairs (gradient norm, smoothness).

    Of all lines with l0 >= least_l0 and l1 >= 0 that lie above every pair, the one
    that is lowest in the mean: an edge of the upper hull. With ``envelope=False`` the
    least squares line, a trend that half of the pairs exceed; NaN unless its l0 > 0 and
    l0 >= least_l0, l1 >= 0. The rules of steps refuse l0 = 0, which curved clouds give:
    set least_l0 > 0 (a smoothness near the end of the training) for them.

    Shapes: grad_norms [n] >= 0, smoothness [n] >= 0 -> two scalars.
    Article: kexue.fm/archives/7469.  Paper: arXiv 1905.11881.
    Differs: the paper shows the cloud and fits nothing.
    Cost: 64 passes over the pairs.
    Raises: TypeError for arguments that are no floating arrays of one dtype, or an
    ``envelope`` that is no bool; ValueError unless both have one axis of one size, or
    for least_l0 < 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import fit_relaxed_smoothness
        >>> n, h = jnp.array([0.0, 1.0, 2.0]), jnp.array([1.0, 1.5, 5.0])
        >>> l0, l1 = fit_relaxed_smoothness(n, h)
        >>> print(l0.round(3), l1.round(3))
        1.0 2.0
    """
    name = "fit_relaxed_smoothness"
    checks.array(name, "grad_norms", grad_norms)
    checks.array(name, "smoothness", smoothness)
    checks.same_dtype(name, grad_norms=grad_norms, smoothness=smoothness)
    checks.shapes(name, grad_norms=(grad_norms, "n"), smoothness=(smoothness, "n"))
    checks.flag(name, "envelope", envelope)
    checks.number(name, "least_l0", least_l0, minimum=0)
    if not grad_norms.size:
        raise checks.fail(name, "grad_norms", "shape (0,)", "of one pair or more")
    n, h = _wide(grad_norms), _wide(smoothness)
    fit = _envelope if envelope else _least_squares
    l0, l1 = fit(n, h, float(least_l0))
    return RelaxedSmoothness(*(x.astype(grad_norms.dtype) for x in (l0, l1)))


def _envelope(n: jax.Array, h: jax.Array, least: float) -> tuple[jax.Array, jax.Array]:
    """Halve an interval of slopes until the edge of the hull above the mean is found.

    The mean of the lowest line of slope s, max(h - s n) + s mean(n), is convex in s;
    its slope has the sign of mean(n) - n of the pair that the line touches. The pair
    (0, least), added, keeps l0 >= least.
    """
    x = jnp.concatenate([jnp.zeros((1,), n.dtype), n])
    y = jnp.concatenate([jnp.full((1,), least, h.dtype), h])
    fixed, heights = jax.lax.stop_gradient((x, y))
    mean = jnp.mean(fixed[1:])
    steepest = jnp.max(safe_divide(heights, fixed))

    def touched(slope: jax.Array) -> jax.Array:
        return jnp.argmax(heights - slope * fixed)

    def halve(_: Any, bounds: tuple[jax.Array, jax.Array]) -> Any:
        low, high = bounds
        middle = low + (high - low) / 2
        right = fixed[touched(middle)] > mean  # the line touches too far out
        return jnp.where(right, middle, low), jnp.where(right, high, middle)

    low, high = jax.lax.fori_loop(
        0, _HALVINGS, halve, (jnp.zeros_like(steepest), 2 * steepest)
    )
    first, last = touched(high), touched(low)
    slope = safe_divide(y[last] - y[first], x[last] - x[first])
    flat = fixed[touched(jnp.zeros_like(low))] <= mean
    l1 = jnp.where(flat, 0, slope)
    return jnp.max(y - l1 * x), l1


def _least_squares(
    n: jax.Array, h: jax.Array, least: float
) -> tuple[jax.Array, jax.Array]:
    centered = n - jnp.mean(n)
    l1 = safe_divide(jnp.sum(centered * h), jnp.sum(centered * centered))
    l0 = jnp.mean(h) - l1 * jnp.mean(n)
    valid = (l0 > 0) & (l0 >= least) & (l1 >= 0)
    return jnp.where(valid, l0, jnp.nan), jnp.where(valid, l1, jnp.nan)


def _wide(x: jax.Array) -> jax.Array:
    return x.astype(accumulation_dtype(x))


def _difference(a: Tree, b: Tree) -> Tree:
    return jax.tree.map(lambda x, y: _wide(x) - _wide(y), a, b)


def _unit(v: Tree) -> Tree:
    norm = tree_norm(v)

    def one(x: jax.Array) -> jax.Array:
        return safe_divide(_wide(x), norm.astype(_wide(x).dtype)).astype(x.dtype)

    return jax.tree.map(one, v)
