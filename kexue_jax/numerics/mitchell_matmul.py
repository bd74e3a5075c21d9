"""Sums of Mitchell's products: matrices, dot_general, convolutions."""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks
from kexue_jax.numerics.mitchell import Rule, check_rule, product, slopes_of_product


def mitchell_matmul(
    a: jax.Array,
    b: jax.Array,
    *,
    offset: float = 0.0,
    grad: str = "straight_through",
    overflow: str = "inf",
    block: int = 64,
    acc_dtype: Any = jnp.float32,
) -> jax.Array:
    """The matrix product with Mitchell's products and exact sums.

    c_ij = sum_k M(a_ik, b_kj), M that of ``mitchell_mul``, summed in ``acc_dtype`` at
    least; for mantissas at random some 0.96 a b and noise of 5 % of it (offset = 0).
    Derivative: "straight_through" that of a b by plain matrix products; "mimic" the
    same with Mitchell's; "exact" that of the piecewise affine function.

    Shapes: a [..., m, k], b [..., k, n] of one dtype, leading axes that broadcast ->
    [..., m, n].
    Article: kexue.fm/archives/7991.  Paper: arXiv 2012.03458, 2305.17190.
    Differs: no.
    Cost: m k n products of some ten integer operations, ``block`` of the inner axis at
    a time: memory O(m n) and m n block where a compiler does not fuse.
    Raises: TypeError or ValueError as ``mitchell_mul``, for fewer than two axes, inner
    axes that differ, a block below 1, or an acc_dtype that is no floating dtype.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import mitchell_matmul
        >>> a = jnp.array([[1.5, 2.0]])
        >>> print(mitchell_matmul(a, a.T))
        [[6.]]
    """
    name = "mitchell_matmul"
    rule = check_rule(name, offset, grad, overflow)
    _check(name, ("a", a), ("b", b), block, acc_dtype)
    for argument, x in (("a", a), ("b", b)):
        if x.ndim < 2:
            wanted = "of two axes or more"
            raise checks.fail(name, argument, f"shape {x.shape}", wanted)
    if a.shape[-1] != b.shape[-2]:
        wanted = f"of shape [..., {a.shape[-1]}, n], as `a` has {a.shape}"
        raise checks.fail(name, "b", f"shape {b.shape}", wanted)
    lead = checks.leading(name, {"a": a.shape[:-2], "b": b.shape[:-2]})
    a, b = (jnp.broadcast_to(jnp.asarray(x), lead + x.shape[-2:]) for x in (a, b))
    how = How(rule, int(block), _sums(a, acc_dtype))

    def run(a: jax.Array, b: jax.Array) -> jax.Array:
        return _matmul(a, b, how)

    for _ in lead:
        run = jax.vmap(run)
    return run(a, b)


def mitchell_dot_general(
    lhs: jax.Array,
    rhs: jax.Array,
    dimension_numbers: Any,
    precision: Any = None,
    preferred_element_type: Any = None,
    *,
    offset: float = 0.0,
    grad: str = "straight_through",
    overflow: str = "inf",
    block: int = 64,
    out_sharding: Any = None,
) -> jax.Array:
    """``jax.lax.dot_general`` with Mitchell's products: for layers that take one.

    ``nnx.Linear(..., dot_general=mitchell_dot_general)``, or with a functools.partial
    that fixes the choices. Products are ``mitchell_mul``'s, sums exact.

    Shapes: as ``jax.lax.dot_general``: batch axes, then free ones of lhs, then of rhs.
    Article: kexue.fm/archives/7991.  Paper: arXiv 2012.03458, 2305.17190.
    Differs: ``precision`` and ``out_sharding`` say nothing here;
    preferred_element_type is the dtype of the result and, at least, of the sums.
    Cost: as ``mitchell_matmul``.
    Raises: as ``mitchell_matmul``; ValueError for axes that do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import mitchell_dot_general
        >>> a = jnp.array([1.5, 2.0])
        >>> print(mitchell_dot_general(a, a, (((0,), (0,)), ((), ()))))
        6.0
    """
    name = "mitchell_dot_general"
    del precision, out_sharding
    rule = check_rule(name, offset, grad, overflow)
    sums = jnp.float32 if preferred_element_type is None else preferred_element_type
    _check(name, ("lhs", lhs), ("rhs", rhs), block, sums)
    left, right = _axes(name, dimension_numbers, lhs, rhs)
    a = jnp.transpose(jnp.asarray(lhs), left.order).reshape(
        math.prod(left.batch), math.prod(left.free), math.prod(left.inner)
    )
    b = jnp.transpose(jnp.asarray(rhs), right.order).reshape(
        math.prod(right.batch), math.prod(right.free), math.prod(right.inner)
    )
    how = How(rule, int(block), _sums(lhs, sums))
    found = jax.vmap(lambda a, b: _matmul(a, b, how))(a, jnp.swapaxes(b, 1, 2))
    if preferred_element_type is not None:
        found = found.astype(preferred_element_type)
    return found.reshape(left.batch + left.free + right.free)


def mitchell_conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: Sequence[int] | None = None,
    padding: str = "SAME",
    offset: float = 0.0,
    grad: str = "straight_through",
    overflow: str = "inf",
    block: int = 64,
) -> jax.Array:
    """A convolution with Mitchell's products: patches times the kernel as a matrix.

    y[n, p, o] = sum over window and channels of M(x[n, p + w, i], kernel[w, i, o]).

    Shapes: x [batch, *space, c_in], kernel [*window, c_in, c_out] of one dtype ->
    [batch, *space', c_out].
    Article: kexue.fm/archives/7991.  Paper: arXiv 2012.03458.
    Differs: no.
    Cost: as ``mitchell_matmul``, and the patches in memory.
    Raises: TypeError or ValueError as ``mitchell_matmul``, for shapes that do not fit,
    strides that are not one a spatial axis, or a padding other than "SAME", "VALID".
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import mitchell_conv
        >>> x, kernel = jnp.array([[[1.5], [2.0]]]), jnp.array([[[1.5]], [[1.0]]])
        >>> print(mitchell_conv(x, kernel, padding="VALID"))
        [[[4.]]]
    """
    name = "mitchell_conv"
    rule = check_rule(name, offset, grad, overflow)
    _check(name, ("x", x), ("kernel", kernel), block, jnp.float32)
    checks.choice(name, "padding", padding, ("SAME", "VALID"))
    if x.ndim < 3:
        wanted = "of shape [batch, *space, c_in]"
        raise checks.fail(name, "x", f"shape {x.shape}", wanted)
    if kernel.ndim != x.ndim or kernel.shape[-2] != x.shape[-1]:
        wanted = f"of {x.ndim - 2} axes of a window, c_in = {x.shape[-1]}, c_out"
        raise checks.fail(name, "kernel", f"shape {kernel.shape}", wanted)
    space = x.ndim - 2
    steps = (1,) * space if strides is None else tuple(strides)
    for step in steps:
        checks.count(name, "strides", step)
    if len(steps) != space:
        raise checks.fail(name, "strides", steps, f"{space} integers")
    window = kernel.shape[:-2]
    patches = _windows(jnp.asarray(x), window, steps, padding)
    rows = jnp.asarray(kernel).reshape(-1, kernel.shape[-1])
    flat = patches.reshape(-1, patches.shape[-1])
    found = _matmul(flat, rows, How(rule, int(block), _sums(x, jnp.float32)))
    return found.reshape(patches.shape[:-1] + (kernel.shape[-1],))


def _windows(
    x: jax.Array, window: Sequence[int], steps: Sequence[int], padding: str
) -> jax.Array:
    """[batch, *space', window * c_in]: by slices, whose gradients are slices too."""
    ends = lax.padtype_to_pads(x.shape[1:-1], window, steps, padding)
    x = jnp.pad(x, [(0, 0), *ends, (0, 0)])
    counts = [
        max((size - wide) // step + 1, 0)
        for size, wide, step in zip(x.shape[1:-1], window, steps, strict=True)
    ]
    found = []
    for place in itertools.product(*map(range, window)):
        inside = tuple(
            slice(first, first + step * count, step)
            for first, step, count in zip(place, steps, counts, strict=True)
        )
        found.append(x[(slice(None), *inside)])
    return jnp.concatenate(found, -1)


class _Side:
    """How one side of a dot_general is laid out: batch, free and inner sizes."""

    def __init__(self, shape: Sequence[int], batch: Any, inner: Any):
        batch, inner = tuple(batch), tuple(inner)
        free = tuple(i for i in range(len(shape)) if i not in batch + inner)
        self.order = batch + free + inner
        self.batch, self.free, self.inner = (
            tuple(shape[i] for i in part) for part in (batch, free, inner)
        )


def _axes(name: str, numbers: Any, lhs: Any, rhs: Any) -> tuple[_Side, _Side]:
    try:
        (inner_l, inner_r), (batch_l, batch_r) = numbers
        left = _Side(lhs.shape, batch_l, inner_l)
        right = _Side(rhs.shape, batch_r, inner_r)
    except (TypeError, ValueError, IndexError):
        wanted = "((inner axes of each), (batch axes of each))"
        raise checks.fail(name, "dimension_numbers", repr(numbers), wanted) from None
    if left.inner != right.inner or left.batch != right.batch:
        wanted = f"axes of equal sizes in {lhs.shape} and {rhs.shape}"
        raise checks.fail(name, "dimension_numbers", repr(numbers), wanted)
    return left, right


def _check(name: str, first: Any, second: Any, block: int, sums: Any) -> None:
    for argument, x in (first, second):
        checks.array(name, argument, x)
    checks.same_dtype(name, **dict((first, second)))
    checks.count(name, "block", block)
    checks.float_dtype(name, "acc_dtype", sums)


def _sums(x: Any, wanted: Any) -> str:
    """The name of the dtype of sums: float32 at least, float64 for float64."""
    eight = jnp.dtype(x.dtype).itemsize < 2
    given = jnp.dtype("float32") if eight else x.dtype
    return str(jnp.promote_types(jnp.promote_types(given, jnp.float32), wanted))


class How(NamedTuple):
    """The static choices of a sum of products."""

    rule: Rule
    block: int
    sums: str


def _matmul(a: jax.Array, b: jax.Array, how: How) -> jax.Array:
    return (_mimic if how.rule.grad == "mimic" else _plain)(a, b, how)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _plain(a: jax.Array, b: jax.Array, how: How) -> jax.Array:
    rule = how.rule._replace(grad="straight_through")
    return _contracted(lambda x, y: product(x, y, rule), (a,), (b,), how)


@_plain.defjvp
def _(how: How, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (a, b), (da, db) = primals, tangents
    if how.rule.grad == "straight_through":
        pairs = ((da, b), (a, db))
        first, second = (
            jnp.matmul(x, y, preferred_element_type=how.sums) for x, y in pairs
        )
        return _plain(a, b, how), (first + second).astype(a.dtype)

    def moved(x: jax.Array, dx: jax.Array, y: jax.Array, dy: jax.Array) -> jax.Array:
        first, second = slopes_of_product(x, y, how.rule)
        return first.astype(how.sums) * dx + second.astype(how.sums) * dy

    # The slopes of a block are found again on the way back.
    moved = jax.checkpoint(moved)
    return _plain(a, b, how), _contracted(moved, (a, da), (b, db), how)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _mimic(a: jax.Array, b: jax.Array, how: How) -> jax.Array:
    return _plain(a, b, how)


_mimic.defvjp(
    lambda a, b, how: (_plain(a, b, how), (a, b)),
    lambda how, kept, g: (_plain(g, kept[1].T, how), _plain(kept[0].T, g, how)),
)


def _contracted(
    function: Callable[..., jax.Array],
    left: tuple[jax.Array, ...],
    right: tuple[jax.Array, ...],
    how: How,
) -> jax.Array:
    """sum_k function(left_ik..., right_kj...), a block of k at a time."""
    (m, k), n = left[0].shape, right[0].shape[1]
    size = min(how.block, max(k, 1))
    rest = -k % size  # functions are 0 where both sides are
    blocks = [
        jnp.moveaxis(jnp.pad(x, ((0, 0), (0, rest))).reshape(m, -1, size), 1, 0)
        for x in left
    ]
    blocks += [jnp.pad(x, ((0, rest), (0, 0))).reshape(-1, size, n) for x in right]
    count = len(left)

    def step(total: jax.Array, parts: Any) -> tuple[jax.Array, None]:
        shape = (m, size, n)
        wide = [jnp.broadcast_to(x[:, :, None], shape) for x in parts[:count]]
        wide += [jnp.broadcast_to(x[None], shape) for x in parts[count:]]
        return total + jnp.sum(function(*wide).astype(how.sums), axis=1), None

    found = lax.scan(step, jnp.zeros((m, n), how.sums), tuple(blocks))[0]
    return found.astype(left[0].dtype)
