"""The largest share of all entries of a tree, found without sorting them."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax.optim._trees import check_real_tree, leaf_mask

Pair = tuple[jax.Array, jax.Array]

METHODS = ("search", "sort")
GUESSES = 4  # thresholds tried in a pass: the bytes of 32 bits
ROW = 128  # entries whose counts fit in a byte
BLOCK = 2**17  # entries counted at once, a multiple of ROW
SAMPLE = 2**15  # entries that the first guesses are drawn from


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
    Cost: method="search" counts entries above four thresholds a pass, the first of a
    sample of 32,768, until k are left: 4 to 8 passes for many millions of unequal
    scores, 30 at most in float32, and one for the mask; nothing of the tree's size but
    the mask is made. method="sort" sorts all of them: the twin.
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
        masks = _sorted_mask(taken, kept)
    else:
        masks = _searched_mask(taken, kept)
    rest = iter(masks)
    found = [next(rest) if keep else jnp.ones((), bool) for keep in included]
    return structure.unflatten(found)


class _Order(NamedTuple):
    """Unsigned integers in the order of real numbers, of one dtype; 0 for NaN."""

    dtype: Any

    @classmethod
    def of(cls, leaves: Sequence[jax.Array]) -> "_Order":
        return cls(jnp.promote_types(jnp.result_type(*leaves), jnp.float32))

    @property
    def unsigned(self) -> Any:
        return jnp.dtype(f"uint{jnp.finfo(self.dtype).bits}")

    def rank(self, leaf: jax.Array) -> jax.Array:
        """Of the bits alone: as floats subnormal numbers may count as zeros."""
        sign = jnp.asarray(2 ** (jnp.finfo(self.dtype).bits - 1), self.unsigned)
        raw = jax.lax.bitcast_convert_type(leaf.astype(self.dtype), self.unsigned)
        raw = jnp.where(raw == sign, 0, raw)  # -0.0 is 0.0
        order = jnp.where(raw >= sign, ~raw, raw | sign)
        return jnp.where(jnp.isnan(leaf), 0, order)


class _Bracket(NamedTuple):
    """The threshold sought is in [low, high); above them are at least k, below k.

    ``even``: the last guesses left too much, so that the next ones are evenly spaced.
    ``passes`` counts the passes over all entries.
    """

    low: jax.Array
    high: jax.Array
    above_low: jax.Array
    above_high: jax.Array
    even: jax.Array
    passes: jax.Array


def _searched_mask(leaves: list[jax.Array], kept: int) -> list[jax.Array]:
    """True for the ``kept`` largest, by a threshold; ties in the order of the tree."""
    order, end = _Order.of(leaves), _search(leaves, kept)

    def exact() -> list[jax.Array]:
        return [order.rank(leaf) >= end.low for leaf in leaves]

    def tied() -> list[jax.Array]:
        return _first_ties(order, leaves, end.low, kept - end.above_high)

    return jax.lax.cond(end.above_low == kept, exact, tied)


def _search(leaves: list[jax.Array], kept: int) -> _Bracket:
    """A bracket with k above its low end, or with nothing inside."""
    order, total = _Order.of(leaves), sum(leaf.size for leaf in leaves)
    zero, none = jnp.zeros((), order.unsigned), jnp.zeros((), jnp.int32)
    start = _Bracket(zero, ~zero, jnp.int32(total), none, jnp.ones((), bool), none)

    def unsettled(b: _Bracket) -> jax.Array:
        return (b.above_low != kept) & (b.high - b.low > 1)

    first = _sampled(leaves, kept / total) if total > SAMPLE else _between(start, kept)

    def narrow(b: _Bracket) -> _Bracket:
        guesses = jnp.where(b.passes == 0, first, _between(b, kept))
        return _narrowed(b, leaves, kept, guesses)

    return jax.lax.while_loop(unsettled, narrow, start)


def _narrowed(
    b: _Bracket, leaves: list[jax.Array], kept: int, thresholds: jax.Array
) -> _Bracket:
    """The bracket cut at thresholds, of which those outside say nothing."""
    inside = (thresholds > b.low) & (thresholds < b.high)
    above = _counts(leaves, thresholds)
    enough, short = inside & (above >= kept), inside & (above < kept)
    most = jnp.where(enough, above, b.above_low).min()
    least = jnp.where(short, above, b.above_high).max()
    return _Bracket(
        jnp.where(enough, thresholds, b.low).max(),
        jnp.where(short, thresholds, b.high).min(),
        most,
        least,
        most - least > (b.above_low - b.above_high) // 4,
        b.passes + 1,
    )


def _between(b: _Bracket, kept: int) -> jax.Array:
    """Thresholds strictly inside: evenly, or as near to k as counts can tell.

    Of n entries between, spread like random numbers, the share that is above a point
    strays by sqrt(n): the guesses lie that far apart.
    """
    count = (b.above_low - b.above_high).astype(jnp.float32)
    # As floats of 24 bits at least: the guess need not be exact.
    share = ((b.above_low - kept).astype(jnp.float32) + 0.5) / count
    apart = jnp.minimum(2 * jax.lax.rsqrt(count), 0.2)
    steps = jnp.arange(GUESSES, dtype=jnp.float32)
    near = share + apart * (steps - (GUESSES - 1) / 2)
    evenly = (steps + 1) / (GUESSES + 1)
    shares = jnp.clip(jnp.where(b.even, evenly, near), 0, 1)
    width = b.high - b.low
    parts = jnp.asarray(65536, width.dtype)
    whole = jnp.floor(shares * 65536).astype(width.dtype)
    rest = (shares * 65536 - jnp.floor(shares * 65536)) * 65536
    coarse = width // parts * whole + width % parts * whole // parts
    fine = width // parts * rest.astype(width.dtype) // parts
    return b.low + jnp.clip(coarse + fine, 1, jnp.maximum(width, 2) - 1)


def _sampled(leaves: list[jax.Array], share: float) -> jax.Array:
    """Thresholds around that of a sample: one and four standard errors off."""
    order, total = _Order.of(leaves), sum(leaf.size for leaf in leaves)
    parts = []
    for leaf in leaves:
        # About total / SAMPLE entries a step, spread over all axes.
        steps, left = [], max(1, total // SAMPLE)
        for axis, size in enumerate(leaf.shape):
            wanted = round(left ** (1 / (leaf.ndim - axis)))
            steps.append(max(1, min(wanted, size)))
            left = max(1, left // steps[-1])
        picked = leaf[tuple(slice(step // 2, None, step) for step in steps)]
        parts.append(order.rank(picked.reshape(-1)))
    sample = jnp.sort(jnp.concatenate(parts))
    size = sample.size
    error = size * math.sqrt(share * (1 - share) / size)
    places = [size * (1 - share) + error * off for off in (-4, -1, 1, 4)]
    found = sample[jnp.asarray([min(max(round(p), 0), size - 1) for p in places])]
    # Equal scores end the search at once where they lie between t and t + 1.
    return jnp.where(jnp.arange(4) < 2, found, jnp.maximum(found, found + 1))


def _counts(leaves: list[jax.Array], thresholds: jax.Array) -> jax.Array:
    """How many ranks reach each of the four thresholds: [4]. One pass.

    On a CPU block by block, so that nothing of a leaf's size is made: there pages of
    fresh memory take several times as long as the counting.
    """
    order = _Order.of(leaves)
    total = jnp.zeros(GUESSES, jnp.int32)
    for leaf in leaves:
        blocks = leaf.size // BLOCK
        flat = leaf.reshape(-1)
        if not blocks:
            total = total + _count_whole(order, flat, thresholds)
            continue
        total = total + jax.lax.platform_dependent(
            flat,
            thresholds,
            cpu=functools.partial(_count_blocks, order, blocks),
            default=functools.partial(_count_whole, order),
        )
    return total


def _count_whole(order: _Order, flat: jax.Array, thresholds: jax.Array) -> jax.Array:
    ranks = order.rank(flat)
    counts = [jnp.sum(ranks >= t, dtype=jnp.int32) for t in thresholds]
    return jnp.stack(counts)


def _count_blocks(
    order: _Order, blocks: int, flat: jax.Array, thresholds: jax.Array
) -> jax.Array:
    """A row's four counts are the bytes of one sum: rows of at most 255 entries."""

    def add(number: jax.Array, total: jax.Array) -> jax.Array:
        block = jax.lax.dynamic_slice(flat, (number * BLOCK,), (BLOCK,))
        ranks = order.rank(block).reshape(-1, ROW)
        bits = sum(
            (ranks >= thresholds[i]).astype(jnp.uint32) << (8 * i)
            for i in range(GUESSES)
        )
        sums = jnp.sum(bits, axis=1, dtype=jnp.uint32)
        parts = [(sums >> (8 * i)) & jnp.uint32(255) for i in range(GUESSES)]
        return total + jnp.stack([jnp.sum(p, dtype=jnp.int32) for p in parts])

    rest = _count_whole(order, flat[blocks * BLOCK :], thresholds)
    return jax.lax.fori_loop(0, blocks, add, rest)


def _first_ties(
    order: _Order, leaves: list[jax.Array], threshold: jax.Array, room: jax.Array
) -> list[jax.Array]:
    """All ranks above the threshold, and the first ``room`` that equal it."""
    masks = []
    for leaf in leaves:
        if not leaf.size:
            masks.append(jnp.zeros(leaf.shape, bool))
            continue
        end, ties = _last_tie(order, leaf, threshold, room)
        rank = order.rank(leaf)
        masks.append((rank > threshold) | ((rank == threshold) & (_places(leaf) < end)))
        room = jnp.maximum(room - ties, 0)
    return masks


def _places(leaf: jax.Array) -> jax.Array:
    """The number of each entry, in the order of the flat array."""
    place = jnp.zeros(leaf.shape, jnp.int32)
    for axis, size in enumerate(leaf.shape):
        place = place * size + jax.lax.broadcasted_iota(jnp.int32, leaf.shape, axis)
    return place


def _last_tie(
    order: _Order, leaf: jax.Array, threshold: jax.Array, room: jax.Array
) -> Pair:
    """How many leading entries hold the first ``room`` ties, and the leaf's ties."""

    def whole(leaf: jax.Array, t: jax.Array, n: jax.Array) -> Pair:
        width = leaf.shape[-1] if leaf.ndim else 1
        return _end_of_ties(order.rank(leaf).reshape(-1, width) == t, n)

    def blocks(leaf: jax.Array, t: jax.Array, n: jax.Array) -> Pair:
        flat = leaf.reshape(-1)

        def equal(number: jax.Array) -> jax.Array:
            # The last block starts early, so that it is whole, and skips what was seen.
            start = jnp.minimum(number * BLOCK, flat.size - BLOCK)
            block = jax.lax.dynamic_slice(flat, (start,), (BLOCK,))
            seen = jnp.arange(BLOCK, dtype=jnp.int32) < number * BLOCK - start
            return ((order.rank(block) == t) & ~seen).reshape(-1, ROW)

        def count(number: jax.Array) -> jax.Array:
            return jnp.sum(equal(number), dtype=jnp.int32)

        numbers = jnp.arange(-(-flat.size // BLOCK), dtype=jnp.int32)
        last, left, ties = _place_of_room(jax.lax.map(count, numbers), n)
        start = jnp.minimum(last * BLOCK, flat.size - BLOCK)
        return start + _end_of_ties(equal(last), left)[0], ties

    if leaf.size < BLOCK:
        return whole(leaf, threshold, room)
    inputs = leaf, threshold, room
    return jax.lax.platform_dependent(*inputs, cpu=blocks, default=whole)


def _end_of_ties(equal: jax.Array, room: jax.Array) -> Pair:
    """Of rows [r, c] the number of leading entries with ``room`` ties, and all ties."""
    counts = jnp.sum(equal, axis=1, dtype=jnp.int32)
    last, left, ties = _place_of_room(counts, room)
    inside = jnp.cumsum(equal[last], dtype=jnp.int32) <= left
    return last * equal.shape[1] + jnp.sum(inside, dtype=jnp.int32), ties


def _place_of_room(
    counts: jax.Array, room: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Where the first ``room`` of counted things end, what is left there, the sum."""
    ends = jnp.cumsum(counts)
    fit = jnp.sum(ends <= room, dtype=jnp.int32)
    last = jnp.minimum(fit, counts.size - 1)
    return last, room - (ends - counts)[last], ends[-1]


def _sorted_mask(leaves: list[jax.Array], kept: int) -> list[jax.Array]:
    ranks = list(map(_Order.of(leaves).rank, leaves))
    flat = jnp.concatenate([rank.reshape(-1) for rank in ranks])
    order = jnp.argsort(~flat, stable=True)
    mask = jnp.zeros(flat.shape, bool).at[order[:kept]].set(True)
    masks, place = [], 0
    for rank in ranks:
        masks.append(mask[place : place + rank.size].reshape(rank.shape))
        place += rank.size
    return masks
