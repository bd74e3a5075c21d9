"""The largest share of all entries of a tree, found without sorting them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax.optim._trees import check_real_tree, leaf_mask

METHODS = ("search", "sort")


def top_fraction_mask(
    scores: Any, *, fraction: float, include: Any = None, method: str = "search"
) -> Any:
    """A mask of the largest entries of a whole tree, exactly as many as asked for.

    True for the k = round(fraction * N) largest of all N entries together; of equal
    entries the first ones, in the order of the tree. NaN ranks below everything.

    Shapes: scores, a tree of real floating arrays -> a tree of booleans of the same
    shapes. ``include``, a tree of bools or a function of the scores that gives one,
    says which tensors take part (default: all): the others get a single True [],
    which ``mask_updates`` lets pass.
    Article: kexue.fm/archives/8764.  Paper: arXiv 2109.05687.
    Differs: the paper's code keeps all scores that reach a percentile, which are too
    many where scores are equal (all, if more than 1 - fraction of them are 0).
    Cost: method="search" counts entries above a threshold, one pass over the tree each
    time, until k are left: 10 to 20 passes for many millions of unequal scores, 70 at
    most; two passes for the mask. method="sort" sorts all of them: the twin.
    Raises: TypeError for a leaf that is no real floating array; TypeError or
    ValueError unless fraction is in [0, 1], ``method`` one of the two, and the tensors
    that take part have at most 2^31 - 1 entries.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import top_fraction_mask
        >>> scores = {"a": jnp.array([5.0, 1.0]), "b": jnp.array([4.0, 4.0])}
        >>> mask = top_fraction_mask(scores, fraction=0.5)
        >>> print(mask["a"], mask["b"])
        [ True False] [ True False]
    """
    name = "top_fraction_mask"
    check_real_tree(name, "scores", scores)
    checks.number(name, "fraction", fraction, minimum=0, maximum=1)
    checks.choice(name, "method", method, METHODS)
    chosen = leaf_mask(name, include, scores, argument="include")
    included = jax.tree.leaves(chosen)
    leaves, structure = jax.tree.flatten(scores)
    taken = [leaf for leaf, keep in zip(leaves, included, strict=True) if keep]
    total = sum(leaf.size for leaf in taken)
    if total > 2**31 - 1:
        raise checks.fail(name, "scores", f"{total} entries", "of at most 2^31 - 1")
    kept = round(fraction * total)
    if kept in (0, total):
        masks = [jnp.full(leaf.shape, kept > 0) for leaf in taken]
    elif method == "sort":
        masks = _sorted_mask(_ranks(taken), kept)
    else:
        masks = _searched_mask(_ranks(taken), kept)
    rest = iter(masks)
    found = [next(rest) if keep else jnp.ones((), bool) for keep in included]
    return structure.unflatten(found)


def _ranks(leaves: Sequence[jax.Array]) -> list[jax.Array]:
    """Unsigned integers in the order of the numbers, of one dtype; 0 for NaN."""
    dtype = jnp.promote_types(jnp.result_type(*leaves), jnp.float32)
    bits = jnp.finfo(dtype).bits
    unsigned = jnp.dtype(f"uint{bits}")
    sign = jnp.asarray(2 ** (bits - 1), unsigned)

    def rank(leaf: jax.Array) -> jax.Array:
        leaf = leaf.astype(dtype)
        plain = jnp.where((leaf == 0) | jnp.isnan(leaf), 0, leaf)  # -0.0 is 0.0
        raw = jax.lax.bitcast_convert_type(plain, unsigned)
        order = jnp.where(raw >= sign, ~raw, raw | sign)
        return jnp.where(jnp.isnan(leaf), 0, order)

    return [rank(leaf) for leaf in leaves]


class _Bracket(NamedTuple):
    """The threshold sought is in [low, high); above them are at least k, below k."""

    low: jax.Array
    high: jax.Array
    above_low: jax.Array
    above_high: jax.Array
    turn: jax.Array


def _searched_mask(ranks: list[jax.Array], kept: int) -> list[jax.Array]:
    """True for the ``kept`` largest ranks, by a threshold; ties in index order."""
    dtype, total = ranks[0].dtype, sum(rank.size for rank in ranks)
    zero = jnp.zeros((), dtype)
    count = jnp.int32
    start = _Bracket(
        zero, ~zero, count(total), jnp.zeros((), count), jnp.zeros((), count)
    )

    def unsettled(b: _Bracket) -> jax.Array:
        return (b.above_low != kept) & (b.high - b.low > 1)

    def narrow(b: _Bracket) -> _Bracket:
        middle = _between(b, kept)
        above = _count(ranks, middle)
        enough = above >= kept
        return _Bracket(
            jnp.where(enough, middle, b.low),
            jnp.where(enough, b.high, middle),
            jnp.where(enough, above, b.above_low),
            jnp.where(enough, b.above_high, above),
            b.turn + 1,
        )

    end = jax.lax.while_loop(unsettled, narrow, start)

    def exact() -> list[jax.Array]:
        return [rank >= end.low for rank in ranks]

    def tied() -> list[jax.Array]:
        return _first_ties(ranks, end.low, kept - end.above_high)

    return jax.lax.cond(end.above_low == kept, exact, tied)


def _between(b: _Bracket, kept: int) -> jax.Array:
    """A threshold strictly inside: by the counts, every third time the middle."""
    width = b.high - b.low
    # As floats of 24 bits at least: the guess need not be exact.
    need = (b.above_low - kept).astype(jnp.float32) + 0.5
    share = need / (b.above_low - b.above_high).astype(jnp.float32)
    share = jnp.where(b.turn % 3 == 2, 0.5, share)
    parts = jnp.asarray(65536, b.low.dtype)
    whole = jnp.floor(share * 65536).astype(b.low.dtype)
    rest = (share * 65536 - jnp.floor(share * 65536)) * 65536
    coarse = width // parts * whole + width % parts * whole // parts
    fine = width // parts * rest.astype(b.low.dtype) // parts
    return b.low + jnp.clip(coarse + fine, 1, width - 1)


def _count(ranks: list[jax.Array], threshold: jax.Array) -> jax.Array:
    """How many ranks reach the threshold, counted within rows first."""

    def one(rank: jax.Array) -> jax.Array:
        reached = rank >= threshold
        rows = jnp.sum(reached, axis=-1, dtype=jnp.int32) if rank.ndim > 1 else reached
        return jnp.sum(rows, dtype=jnp.int32)

    return sum((one(rank) for rank in ranks), start=jnp.zeros((), jnp.int32))


def _first_ties(
    ranks: list[jax.Array], threshold: jax.Array, room: jax.Array
) -> list[jax.Array]:
    """All ranks above the threshold, and the first ``room`` that equal it."""
    masks = []
    for rank in ranks:
        equal = rank == threshold
        order = jnp.cumsum(equal.reshape(-1), dtype=jnp.int32).reshape(rank.shape)
        masks.append((rank > threshold) | (equal & (order <= room)))
        room = room - jnp.sum(equal, dtype=jnp.int32)
    return masks


def _sorted_mask(ranks: list[jax.Array], kept: int) -> list[jax.Array]:
    flat = jnp.concatenate([rank.reshape(-1) for rank in ranks])
    order = jnp.argsort(~flat, stable=True)
    mask = jnp.zeros(flat.shape, bool).at[order[:kept]].set(True)
    masks, place = [], 0
    for rank in ranks:
        masks.append(mask[place : place + rank.size].reshape(rank.shape))
        place += rank.size
    return masks
