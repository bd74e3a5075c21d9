"""Sparse attention of fixed patterns, without work for the pairs that they drop."""

from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax.attention._arguments import (
    broadcast,
    check_mask,
    check_qkv,
    check_scale,
    in_band,
)
from kexue_jax.attention.blockwise import blockwise_attention
from kexue_jax.attention.dense import (
    AttentionPart,
    kept,
    masked_part,
    scaled_scores,
)
from kexue_jax.attention.merging import merge_attention

KINDS = ("atrous", "local", "sparse")


def sparse_mask(
    *, n: int, k: int, kind: str = "sparse", causal: bool = False
) -> jax.Array:
    """Which pairs (i, j) a pattern of reach k keeps, as a boolean matrix.

    atrous: (i - j) mod k = 0; local: |i - j| <= k; sparse: either of both, near keys
    all and far keys every k-th; ``causal``: and j <= i.

    Shapes: () -> boolean [n, n].
    Article: kexue.fm/archives/6853.  Paper: arXiv 1904.10509.
    Differs: the paper's strided pattern looks back only and starts its grid anew at
    each row of an image; this is the article's, the same for every i - j.
    Cost: n^2. A mask saves no work: the functions of these names do.
    Raises: TypeError or ValueError for n or k < 1 or another kind.
    Example:
        >>> from kexue_jax.attention import sparse_mask
        >>> print(sparse_mask(n=4, k=2, kind="atrous", causal=True).astype(int))
        [[1 0 0 0]
         [0 1 0 0]
         [1 0 1 0]
         [0 1 0 1]]
    """
    name = "sparse_mask"
    checks.count(name, "n", n)
    checks.count(name, "k", k)
    checks.choice(name, "kind", kind, KINDS)
    checks.flag(name, "causal", causal)
    delta = jnp.arange(n)[:, None] - jnp.arange(n)[None, :]
    near, far = in_band(delta, (-k, k)), delta % k == 0
    keep = {"atrous": far, "local": near, "sparse": near | far}[kind]
    return keep & (delta >= 0) if causal else keep


def local_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    radius: int,
    causal: bool = False,
    key_mask: jax.Array | None = None,
    scale: float | jax.Array | None = None,
) -> jax.Array:
    """Softmax attention of each query to the keys at most ``radius`` away.

    o_i = sum_j exp(s_ij) v_j / sum_j exp(s_ij), s_ij = scale q_i . k_j, over the j with
    |i - j| <= radius, j <= i if ``causal``, and key_mask_j: a band of
    blockwise_attention.

    Shapes: q, k [..., n, d], v [..., n, e], key_mask boolean, broadcastable to
    [..., n] -> [..., n, e].
    Article: kexue.fm/archives/6853.  Paper: arXiv 1904.10509.
    Differs: no. Queries without keys give 0. Reverse mode only.
    Cost: about 2 n (2 radius + b) (d + e) flops for blocks of b rows; memory O(n).
    Raises: TypeError or ValueError as blockwise_attention, or for a radius < 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import local_attention
        >>> q, v = jnp.zeros((5, 2)), jnp.arange(5.0).reshape(5, 1)
        >>> print(local_attention(q, q, v, radius=1)[:, 0])
        [0.5 1.  2.  3.  3.5]
    """
    name = "local_attention"
    _check(name, q, k, v, causal, key_mask)
    checks.count(name, "radius", radius, minimum=0)
    factor = check_scale(name, scale, q.shape[-1])
    band = (-radius, radius)
    return blockwise_attention(
        q, k, v, key_mask=key_mask, causal=causal, band=band, scale=factor
    )


def atrous_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    dilation: int,
    causal: bool = False,
    key_mask: jax.Array | None = None,
    scale: float | jax.Array | None = None,
) -> jax.Array:
    """Softmax attention of each query to every ``dilation``-th key, counted from it.

    o_i = sum_j exp(s_ij) v_j / sum_j exp(s_ij), s_ij = scale q_i . k_j, over the j with
    (i - j) mod dilation = 0, j <= i if ``causal``, and key_mask_j: full attention
    within each class of positions, after a reshape to [n / dilation, dilation].

    Shapes: q, k [..., n, d], v [..., n, e], key_mask boolean, broadcastable to
    [..., n] -> [..., n, e].
    Article: kexue.fm/archives/6853.  Paper: arXiv 1904.10509.
    Differs: no. Any n: the last row of the reshape is padded and masked. Queries
    without keys give 0. Reverse mode only.
    Cost: 2 n^2 (d + e) / dilation flops, half if causal; memory O(n).
    Raises: TypeError or ValueError as blockwise_attention, or for a dilation < 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import atrous_attention
        >>> q, v = jnp.zeros((5, 2)), jnp.arange(5.0).reshape(5, 1)
        >>> print(atrous_attention(q, q, v, dilation=2)[:, 0])
        [2. 2. 2. 2. 2.]
    """
    name = "atrous_attention"
    _check(name, q, k, v, causal, key_mask)
    checks.count(name, "dilation", dilation)
    factor = check_scale(name, scale, q.shape[-1])
    band = (0, None) if causal else (None, None)
    return residues(q, k, v, key_mask, dilation, (band,), factor)[0].out


def sparse_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    reach: int,
    causal: bool = False,
    key_mask: jax.Array | None = None,
    scale: float | jax.Array | None = None,
) -> jax.Array:
    """Softmax attention to all near keys and every ``reach``-th far key.

    o_i = sum_j exp(s_ij) v_j / sum_j exp(s_ij), s_ij = scale q_i . k_j, over the j with
    |i - j| <= reach or (i - j) mod reach = 0, j <= i if ``causal``, and key_mask_j. The
    near keys and the far ones that are not near are attended to separately and merged
    by their normalizers.

    Shapes: q, k [..., n, d], v [..., n, e], key_mask boolean, broadcastable to
    [..., n] -> [..., n, e].
    Article: kexue.fm/archives/6853.  Paper: arXiv 1904.10509.
    Differs: no. Queries without keys give 0. Reverse mode only.
    Cost: about 2 n (n / reach + 2 reach) (d + e) flops, least for reach = sqrt(n / 2);
    memory O(n).
    Raises: TypeError or ValueError as blockwise_attention, or for a reach < 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import sparse_attention
        >>> q, v = jnp.zeros((7, 2)), jnp.arange(7.0).reshape(7, 1)
        >>> print(sparse_attention(q, q, v, reach=2, causal=True)[:, 0].round(2))
        [0.        0.5       1.        2.        2.25      3.25      3.3999999]
    """
    name = "sparse_attention"
    _check(name, q, k, v, causal, key_mask)
    checks.count(name, "reach", reach)
    factor = check_scale(name, scale, q.shape[-1])
    near = blockwise_attention(
        q,
        k,
        v,
        key_mask=key_mask,
        causal=causal,
        band=(-reach, reach),
        scale=factor,
        return_lse=True,
    )
    # Within a class i - j is a multiple of reach: near are the steps -1, 0 and 1.
    bands = ((2, None),) if causal else ((2, None), (None, -2))
    far = residues(q, k, v, key_mask, reach, bands, factor)
    parts = (near, *far)
    return merge_attention([p.out for p in parts], [p.lse for p in parts])


def explicit_sparse_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    k_top: int,
    causal: bool = False,
    mask: jax.Array | None = None,
    scale: float | jax.Array | None = None,
) -> jax.Array:
    """Softmax attention of each query to the ``k_top`` keys with the highest scores.

    Of the scores s_ij = scale q_i . k_j that mask and ``causal`` leave, those below the
    row's k_top-th largest are dropped; o_i = sum_j exp(s_ij) v_j / sum_j exp(s_ij) over
    the rest.

    Shapes: q [..., n, d], k [..., m, d], v [..., m, e], mask boolean, broadcastable to
    [..., n, m] -> [..., n, e].
    Article: kexue.fm/archives/7546.  Paper: arXiv 1912.11637.
    Differs: no. Keys that tie with the k_top-th are all kept. The gradient is that of
    the chosen set, as the paper's; a row with fewer keys keeps them all.
    Cost: that of dense_attention and a top_k of each row: it saves no work.
    Raises: TypeError or ValueError as dense_attention, or for a k_top < 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import explicit_sparse_attention
        >>> q, k = jnp.ones((1, 1)), jnp.array([[3.0], [-1.0], [3.0], [2.0]])
        >>> print(explicit_sparse_attention(q, k, jnp.eye(4), k_top=2))
        [[0.5 0.  0.5 0. ]]
    """
    name = "explicit_sparse_attention"
    check_qkv(name, q, k, v)
    shape = (*q.shape[:-1], k.shape[-2])
    check_mask(name, "mask", mask, shape)
    factor = check_scale(name, scale, q.shape[-1])
    checks.count(name, "k_top", k_top)
    checks.flag(name, "causal", causal)
    keep = kept(shape, (0 if causal else None, None), mask)
    scores = scaled_scores(q, k, factor)
    ranked = jax.lax.stop_gradient(jnp.where(keep, scores, -jnp.inf))
    least = jax.lax.top_k(ranked, min(k_top, k.shape[-2]))[0][..., -1:]
    return masked_part(scores, keep & (ranked >= least), v).out


def residues(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    key_mask: jax.Array | None,
    dilation: int,
    bands: tuple[tuple[int | None, int | None], ...],
    scale: float | jax.Array,
) -> list[AttentionPart]:
    """Attention within the classes of positions modulo ``dilation``, a part a band.

    A band counts steps of ``dilation``: (0, 2) is i - j in 0, dilation, 2 dilation.
    """
    lead, n = q.shape[:-2], q.shape[-2]
    rows = -(-n // dilation)
    missing = rows * dilation - n

    def fold(x: jax.Array) -> jax.Array:
        widths = [(0, 0)] * x.ndim
        widths[len(lead)] = (0, missing)
        x = jnp.pad(x, widths) if missing else x
        x = x.reshape(*lead, rows, dilation, *x.shape[len(lead) + 1 :])
        return jnp.swapaxes(x, len(lead), len(lead) + 1)

    def unfold(x: jax.Array) -> jax.Array:
        x = jnp.swapaxes(x, len(lead), len(lead) + 1)
        x = x.reshape(*lead, rows * dilation, *x.shape[len(lead) + 2 :])
        return jax.lax.slice_in_dim(x, 0, n, axis=len(lead))

    mask = None
    if key_mask is not None or missing:
        full = jnp.ones((), bool) if key_mask is None else key_mask
        mask = fold(broadcast(full, (*lead, n)))
    folded = [fold(jnp.asarray(x)) for x in (q, k, v)]
    found = []
    for band in bands:
        part = blockwise_attention(
            *folded, key_mask=mask, band=band, scale=scale, return_lse=True
        )
        found.append(AttentionPart(unfold(part.out), unfold(part.lse)))
    return found


def _check(name: str, q: Any, k: Any, v: Any, causal: Any, mask: Any) -> None:
    """The checks that the fixed patterns share: as many keys as queries."""
    check_qkv(name, q, k, v, equal_lengths=True)
    checks.flag(name, "causal", causal)
    check_mask(name, "key_mask", mask, k.shape[:-1])
