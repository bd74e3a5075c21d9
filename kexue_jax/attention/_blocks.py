"""The pairs of blocks that a band of the attention matrix touches, and a walk."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax.attention._arguments import Band, in_band

# Rows of a block on an accelerator where the caller names none. Each step is a kernel
# of its own there, so that fewer and larger ones are taken (not measured).
ACCELERATOR_ROWS = 512


class Blocks(NamedTuple):
    """Sizes of the blocks of queries and keys, and the pairs to compute.

    inner [p, 2] are pairs (query block, key block) all of whose entries are in the
    band; edge [p, 2] those of which some are. Pairs outside are not there at all.
    """

    rows: int
    columns: int
    inner: np.ndarray
    edge: np.ndarray


def cpu_rows(n: int, band: Band) -> int:
    """Rows of a block on a CPU.

    Measured at d = 64, in times of the best of 64, 128, 192, 256, 384, 512 rows: all
    pairs of 512 to 4,096 queries take 1.1 to 1.25 with 128 rows and 1 to 1.1 with 256,
    with the gradient 1.2 and 1.1; the causal half 1 and 1.1 up to 1,024 queries, 1.15
    and 1 from 2,048 on. A narrow band wastes less in small blocks.
    """
    low, high = band
    if low is None and high is None:
        return 256
    return 256 if high is None and n >= 2048 else 128


def accelerator_rows(band: Band) -> int:
    """Rows of a block on an accelerator: about as many as the band is wide."""
    low, high = band
    if low is None or high is None:
        return ACCELERATOR_ROWS
    return min(ACCELERATOR_ROWS, max(64, -(-(high - low + 1) // 64) * 64))


def block_rows(n: int, wanted: int) -> int:
    """The size of equal blocks of at most ``wanted`` rows that cover n rows best."""
    if n <= wanted:
        return max(n, 1)
    size = -(-n // -(-n // wanted))
    return min(wanted, -(-size // 8) * 8)


def plan(n: int, m: int, band: Band, wanted: int) -> Blocks:
    """The blocks of n queries and m keys, in the order of queries, then of keys."""
    rows, columns = block_rows(n, wanted), block_rows(m, wanted)
    low, high = band
    low, high = (-m if low is None else low), (n if high is None else high)
    inner, edge = [], []
    last = -(-m // columns) - 1
    for i in range(-(-n // rows)):
        top, bottom = i * rows, min(n, (i + 1) * rows) - 1
        # Keys j with low <= i - j <= high for some query, and for all queries.
        first, end = max(0, (top - high) // columns), (bottom - low) // columns
        js = np.arange(first, min(last, end) + 1)
        left, right = js * columns, (js + 1) * columns - 1
        whole = (top - right >= low) & (bottom - left <= high) & (right < m)
        touched = np.minimum(right, m - 1) >= top - high
        for found, kept in ((inner, whole), (edge, touched & ~whole)):
            found.append(np.stack([np.full(kept.sum(), i), js[kept]], 1))
    return Blocks(rows, columns, _pairs(inner), _pairs(edge))


def _pairs(found: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(found).astype(np.int32)


class Walk(NamedTuple):
    """A scan over pairs of blocks of a matrix with ``keys`` columns, with its masks."""

    blocks: Blocks
    band: Band
    keys: int
    mask: jax.Array | None

    @classmethod
    def of(
        cls, blocks: Blocks, band: Band, keys: int, mask: jax.Array | None
    ) -> "Walk":
        """The walk with its key mask [..., m], if there is one, padded to blocks."""
        walk = cls(blocks, band, keys, None)
        if mask is None:
            return walk
        return walk._replace(mask=walk.pad_columns(mask, -1))

    def pad_rows(self, x: jax.Array, axis: int = -2) -> jax.Array:
        """``x`` with zeros after its rows, to whole blocks of queries."""
        return _padded(x, self.blocks.rows, axis)

    def pad_columns(self, x: jax.Array, axis: int = -2) -> jax.Array:
        """``x`` with zeros after its rows, to whole blocks of keys."""
        return _padded(x, self.blocks.columns, axis)

    def row(self, x: jax.Array, i: jax.Array, axis: int = -2) -> jax.Array:
        """Block i of queries of ``x``."""
        size = self.blocks.rows
        return lax.dynamic_slice_in_dim(x, i * size, size, x.ndim + axis)

    def column(self, x: jax.Array, j: jax.Array, axis: int = -2) -> jax.Array:
        """Block j of keys of ``x``."""
        size = self.blocks.columns
        return lax.dynamic_slice_in_dim(x, j * size, size, x.ndim + axis)

    def scores(
        self, q: jax.Array, k: jax.Array, i: jax.Array, j: jax.Array, edge: bool
    ) -> jax.Array:
        """The scores of blocks i and j, -inf for pairs that are masked."""
        scores = jnp.einsum("...id,...jd->...ij", q, k.astype(q.dtype))
        if self.mask is not None:
            kept = self.column(self.mask, j, -1)[..., None, :]
            scores = jnp.where(kept, scores, -jnp.inf)
        if edge:
            rows, columns = scores.shape[-2:]
            row = i * rows + lax.broadcasted_iota(jnp.int32, (rows, columns), 0)
            column = j * columns + lax.broadcasted_iota(jnp.int32, (rows, columns), 1)
            kept = in_band(row - column, self.band) & (column < self.keys)
            kept = jnp.broadcast_to(kept, scores.shape)
            scores = jnp.where(kept, scores, -jnp.inf)
        return scores

    def scan(self, step: Callable[..., Any], carry: Any) -> Any:
        """``carry = step(carry, i, j, edge)`` over all pairs, those of the edge last.

        Blocks that need no mask have a loop of their own, whose body has none.
        """
        for pairs, edge in ((self.blocks.inner, False), (self.blocks.edge, True)):
            if len(pairs):

                def body(carry: Any, pair: jax.Array, edge: bool = edge) -> Any:
                    return step(carry, pair[0], pair[1], edge), None

                carry, _ = lax.scan(body, carry, jnp.asarray(pairs))
        return carry


def put(whole: jax.Array, block: jax.Array, start: jax.Array, axis: int) -> jax.Array:
    """``whole`` with ``block`` from ``start`` on along an axis counted from the end."""
    return lax.dynamic_update_slice_in_dim(whole, block, start, whole.ndim + axis)


def _padded(x: jax.Array, size: int, axis: int) -> jax.Array:
    missing = -x.shape[axis] % size
    if not missing:
        return x
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, missing)
    return jnp.pad(x, widths)
