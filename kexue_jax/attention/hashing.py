"""LSH attention (Reformer): each query meets the keys that fall into its buckets."""

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, numerics
from kexue_jax.attention._arguments import broadcast, check_mask, check_scale
from kexue_jax.attention.dense import AttentionPart, masked_part
from kexue_jax.attention.merging import merge_attention

# Taken off the score of a query with itself, so that it counts only where nothing else
# is there. Finite: such a query gives its own value.
SELF_PENALTY = 5e4


def lsh_attention(
    key: jax.Array,
    qk: jax.Array,
    v: jax.Array,
    *,
    n_buckets: int,
    n_rounds: int = 1,
    chunk_size: int | None = None,
    causal: bool = False,
    key_mask: jax.Array | None = None,
    scale: float | jax.Array | None = None,
) -> jax.Array:
    """Softmax attention with shared queries and keys, among those that hash alike.

    k_j = qk_j / |qk_j|. In each round positions are sorted by (bucket, position), cut
    into chunks, and each chunk attends to itself and to the one before, where buckets
    are equal (and j <= i if ``causal``); log(the number of rounds that join i and j) is
    taken off the score scale qk_i . k_j, and the rounds are merged by their
    normalizers: the exact softmax over the union of the pairs. A position sees itself
    only where it sees nothing else.

    Shapes: qk [..., n, d], v [..., n, e], key_mask boolean, broadcastable to [..., n]
    -> [..., n, e].
    Article: kexue.fm/archives/7546.  Paper: arXiv 2001.04451.
    Differs: the first chunk has none before it, where the common code wraps around to
    the last; rotations, ``lsh_buckets`` of the key, are shared by all leading axes.
    chunk_size is 2 n / n_buckets unless given. A masked position keeps its place in
    the sort. The hash has no gradient. As in the paper, a later token can move the
    edge of a chunk and so what an earlier one meets, though never its own value.
    Cost: n_rounds times 4 n chunk_size (d + e) flops and a sort of n; memory n_rounds
    times 2 n chunk_size scores.
    Raises: TypeError or ValueError for a bad key, shapes that do not fit, an odd
    n_buckets other than 1, counts < 1, a mask that is not boolean.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.attention import lsh_attention
        >>> qk, v = jnp.ones((4, 2)), jnp.arange(4.0).reshape(4, 1)
        >>> out = lsh_attention(jax.random.key(0), qk, v, n_buckets=1, causal=True)
        >>> print(out[:, 0])
        [0.  0.  0.5 1. ]
    """
    name = "lsh_attention"
    _check_hash(name, key, qk, n_buckets, n_rounds)
    checks.array(name, "v", v)
    checks.same_dtype(name, qk=qk, v=v)
    checks.shapes(name, qk=(qk, "... n d"), v=(v, "... n e"))
    lead, n = qk.shape[:-2], qk.shape[-2]
    check_mask(name, "key_mask", key_mask, (*lead, n))
    factor = check_scale(name, scale, qk.shape[-1])
    checks.flag(name, "causal", causal)
    if chunk_size is None:
        chunk_size = -(-2 * n // n_buckets)
    checks.count(name, "chunk_size", chunk_size)
    chunk_size = min(chunk_size, n)
    dtype = numerics.accumulation_dtype(qk)
    q = jnp.asarray(qk, dtype)
    keys = q * jax.lax.rsqrt(jnp.sum(q**2, -1, keepdims=True) + 1e-12)
    buckets = lsh_buckets(key, qk, n_buckets=n_buckets, n_rounds=n_rounds)
    positions = jnp.broadcast_to(jnp.arange(n, dtype=jnp.int32), buckets.shape)
    order = jnp.argsort(buckets * n + positions, axis=-1)
    place = jnp.argsort(order, axis=-1)
    chunks = place // chunk_size
    seen = jnp.ones((), bool) if key_mask is None else key_mask
    mask = broadcast(seen, (*lead, n))
    scaled, values = q * jnp.asarray(factor, dtype), jnp.asarray(v, dtype)
    parts = []
    for turn in range(n_rounds):
        sorted_ = _Sorted(order[turn], chunk_size)
        seats = (buckets, chunks)
        part = _round(sorted_, scaled, keys, values, mask, seats, turn, causal)
        out = jnp.take_along_axis(part.out, place[turn][..., None], -2)
        parts.append((out, jnp.take_along_axis(part.lse, place[turn], -1)))
    outs, lses = zip(*parts, strict=True)
    return merge_attention(outs, lses).astype(v.dtype)


def lsh_buckets(
    key: jax.Array, x: jax.Array, *, n_buckets: int, n_rounds: int = 1
) -> jax.Array:
    """The bucket of every vector in every round of angular hashing.

    argmax([x R, -x R]) with R [d, n_buckets / 2] of independent normals, those of the
    rounds being ``jax.random.normal(key, [n_rounds, d, n_buckets / 2])``.

    Shapes: x [..., n, d] -> int32 [n_rounds, ..., n], from 0 to n_buckets - 1.
    Article: kexue.fm/archives/7546.  Paper: arXiv 2001.04451, 1509.02897.
    Differs: n_buckets = 1, one bucket for all, is taken too. No gradient.
    Cost: n_rounds n d n_buckets flops.
    Raises: TypeError or ValueError for a bad key or x, an odd n_buckets other than 1.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.attention import lsh_buckets
        >>> x = jnp.array([[1.0, 0.0], [3.0, 0.0], [-1.0, 0.0]])
        >>> found = lsh_buckets(jax.random.key(0), x, n_buckets=2)[0]
        >>> print(bool(found[0] == found[1]), int(found[0] + found[2]))
        True 1
    """
    name = "lsh_buckets"
    _check_hash(name, key, x, n_buckets, n_rounds)
    shape = (n_rounds, *x.shape[:-1])
    if n_buckets == 1:
        return jnp.zeros(shape, jnp.int32)
    dtype = numerics.accumulation_dtype(x)
    normals = jax.random.normal(key, (n_rounds, x.shape[-1], n_buckets // 2), dtype)
    x = jax.lax.stop_gradient(jnp.asarray(x, dtype))
    turned = jnp.stack([jnp.einsum("...nd,dc->...nc", x, r) for r in normals])
    return jnp.argmax(jnp.concatenate([turned, -turned], -1), -1).astype(jnp.int32)


def _check_hash(
    name: str, key: jax.Array, x: jax.Array, n_buckets: int, n_rounds: int
) -> None:
    argument = "qk" if name == "lsh_attention" else "x"
    checks.key(name, "key", key)
    checks.array(name, argument, x)
    checks.shapes(name, **{argument: (x, "... n d")})
    if 0 in x.shape[-2:]:
        raise checks.fail(name, argument, f"shape {x.shape}", "without empty axes")
    checks.count(name, "n_buckets", n_buckets)
    checks.count(name, "n_rounds", n_rounds)
    if n_buckets > 1 and n_buckets % 2:
        raise checks.fail(name, "n_buckets", n_buckets, "even, or 1")


class _Sorted:
    """Positions in the order of one round, in chunks, each with the one before it."""

    def __init__(self, order: jax.Array, size: int) -> None:
        n = order.shape[-1]
        self.order, self.size = order, size
        self.count, self.missing = -(-n // size), -n % size

    def queries(self, x: jax.Array, axis: int) -> jax.Array:
        """``x`` sorted along an axis counted from the end: [..., chunks, size, ...]."""
        index = self.order if axis == -1 else self.order[..., None]
        lead = index.reshape((1,) * (x.ndim - index.ndim) + index.shape)
        x = jnp.take_along_axis(x, lead, axis)
        at = x.ndim + axis
        widths = [(0, self.missing if a == at else 0) for a in range(x.ndim)]
        x = jnp.pad(x, widths) if self.missing else x
        return x.reshape(*x.shape[:at], self.count, self.size, *x.shape[at + 1 :])

    def keys(self, x: jax.Array, axis: int) -> jax.Array:
        """The same with the chunk before in front: [..., chunks, 2 size, ...]."""
        x = self.queries(x, axis)
        if self.count == 1:
            return x
        at = x.ndim + axis - 1
        before = jnp.roll(x, 1, at)
        return jnp.concatenate([before, x], at + 1)

    def joined(self, x: jax.Array, ndim: int) -> jax.Array:
        """``x`` [..., chunks, size, ...] as one axis of n, the last of ``ndim``."""
        x = x.reshape(*x.shape[: ndim - 1], -1, *x.shape[ndim + 1 :])
        return jax.lax.slice_in_dim(x, 0, self.order.shape[-1], axis=ndim - 1)


def _round(
    sorted_: _Sorted,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array,
    seats: tuple[jax.Array, jax.Array],
    turn: int,
    causal: bool,
) -> AttentionPart:
    """Attention within round ``turn``, its rows in the order of the sort."""
    rows, columns = sorted_.queries, sorted_.keys
    # Which rounds bring i and j together: equal buckets, the same chunk or the one
    # before. A chunk that was rolled in from the end is neither.
    bucket, chunk = (
        rows(x, -1)[..., :, None] - columns(x, -1)[..., None, :] for x in seats
    )
    joined = (bucket == 0) & ((chunk == 0) | (chunk == 1))
    positions = jnp.broadcast_to(jnp.arange(q.shape[-2]), mask.shape)
    delta = rows(positions, -1)[..., :, None] - columns(positions, -1)[..., None, :]
    scores = jnp.einsum("...id,...jd->...ij", rows(q, -2), columns(k, -2))
    scores -= jnp.log(jnp.maximum(joined.sum(0), 1).astype(scores.dtype))
    scores -= SELF_PENALTY * (delta == 0).astype(scores.dtype)
    keep = joined[turn] & columns(mask, -1)[..., None, :]
    if causal:
        keep &= delta >= 0
    part = masked_part(scores, keep, columns(v, -2))
    return AttentionPart(*(sorted_.joined(x, mask.ndim) for x in part))
