"""Attention to fewer keys than there are tokens, which stand for all of them."""

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, numerics
from kexue_jax.attention._arguments import (
    broadcast,
    check_mask,
    check_qkv,
    check_scale,
)
from kexue_jax.attention.dense import masked_part, scaled_scores
from kexue_jax.attention.downsampling import mean_pool, strided_conv


def linformer_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    e: jax.Array,
    f: jax.Array | None = None,
    *,
    key_mask: jax.Array | None = None,
    scale: float | jax.Array | None = None,
) -> jax.Array:
    """Softmax attention to r learned mixtures of the keys and values.

    softmax(scale q (e k)^T) (f v), with rows of k and v that the mask drops set to 0.
    f None is f = e (sharing between key and value); e and f without leading axes are
    shared by all heads; the same array in every layer is layerwise sharing.

    Shapes: q [..., n, d], k [..., m, d], v [..., m, c]; e, f [r, m] or broadcastable to
    [..., r, m]; key_mask boolean, broadcastable to [..., m] -> [..., n, c].
    Article: kexue.fm/archives/7546.  Paper: arXiv 2006.04768.
    Differs: no. m is fixed by e, and no causal mask exists: mixtures hold the future.
    Theorem 2 of the paper takes e of independent normals of variance 1 / r, which keep
    inner products on average: a beginning for training.
    Cost: 2 r (d + c) (m + n) flops; memory of n r scores.
    Raises: TypeError or ValueError for shapes that do not fit or dtypes that differ.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import linformer_attention
        >>> v, e = jnp.arange(4.0).reshape(4, 1), jnp.full((1, 4), 0.25)
        >>> print(linformer_attention(jnp.ones((2, 1)), v, v, e)[:, 0])
        [1.5 1.5]
    """
    name = "linformer_attention"
    check_qkv(name, q, k, v)
    lead, m = k.shape[:-2], k.shape[-2]
    f = e if f is None else f
    for argument, matrix in (("e", e), ("f", f)):
        checks.array(name, argument, matrix)
        _check_mixtures(name, argument, matrix, lead, m)
    checks.same_dtype(name, q=q, e=e, f=f)
    if e.shape[-2] != f.shape[-2]:
        raise checks.fail(name, "f", f"{f.shape[-2]} rows", f"of {e.shape[-2]} as `e`")
    check_mask(name, "key_mask", key_mask, (*lead, m))
    factor = check_scale(name, scale, q.shape[-1])
    dtype = numerics.accumulation_dtype(q)
    wide = [jnp.asarray(x, dtype) for x in (q, k, v, e, f)]
    q, keys, values, e, f = wide
    if key_mask is not None:
        kept = broadcast(key_mask, (*lead, m))[..., None]
        keys, values = jnp.where(kept, keys, 0), jnp.where(kept, values, 0)
    keys, values = (
        jnp.matmul(_spread(e, lead), keys),
        jnp.matmul(_spread(f, lead), values),
    )
    weights = jax.nn.softmax(scaled_scores(q, keys, factor), -1)
    return jnp.matmul(weights, values).astype(v.dtype)


def pooled_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    stride: int,
    key_mask: jax.Array | None = None,
    scale: float | jax.Array | None = None,
) -> jax.Array:
    """Softmax attention to the means of every ``stride`` keys and values.

    softmax(scale q pool(k)^T) pool(v), pool = mean_pool over what the mask keeps;
    groups without keys are left out. Linformer with a fixed E of means.

    Shapes: q [..., n, d], k [..., m, d], v [..., m, e], key_mask boolean, broadcastable
    to [..., m] -> [..., n, e].
    Article: kexue.fm/archives/7546.  Paper: arXiv 2006.04768 (also 2006.03236).
    Differs: no. Any m, in contrast to a learned E.
    Cost: 2 n m (d + e) / stride flops.
    Raises: TypeError or ValueError for shapes that do not fit or a stride < 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import pooled_attention
        >>> q, v = jnp.zeros((2, 1)), jnp.arange(4.0).reshape(4, 1)
        >>> print(pooled_attention(q, v, v, stride=2)[:, 0])
        [1.5 1.5]
    """
    name = "pooled_attention"
    check_qkv(name, q, k, v)
    lead, m = k.shape[:-2], k.shape[-2]
    check_mask(name, "key_mask", key_mask, (*lead, m))
    checks.count(name, "stride", stride)
    factor = check_scale(name, scale, q.shape[-1])
    full = jnp.ones((), bool) if key_mask is None else key_mask
    mask = broadcast(full, (*lead, m))
    some = mean_pool(mask[..., None].astype(jnp.float32), stride=stride)[..., 0] > 0
    dtype = numerics.accumulation_dtype(q)
    keys, values = (
        mean_pool(jnp.asarray(x, dtype), stride=stride, key_mask=mask) for x in (k, v)
    )
    return _attend(q, keys, values, some, factor).astype(v.dtype)


def strided_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    kernel_k: jax.Array,
    kernel_v: jax.Array,
    *,
    scale: float | jax.Array | None = None,
) -> jax.Array:
    """Softmax attention to keys and values shortened by a strided convolution.

    softmax(scale q conv(k, kernel_k)^T) conv(v, kernel_v), conv = strided_conv:
    Linformer with a convolution, whose stride is its length, in the place of E.

    Shapes: q [..., n, d], k [..., m, d], v [..., m, e], kernel_k [s, d, d], kernel_v
    [s, e, e] -> [..., n, e].
    Article: kexue.fm/archives/7546.  Paper: arXiv 2006.04768.
    Differs: no.
    Cost: 2 m (d^2 + e^2) + 2 n m (d + e) / s flops.
    Raises: TypeError or ValueError for shapes that do not fit or dtypes that differ.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import strided_attention
        >>> q, v = jnp.zeros((1, 1)), jnp.arange(4.0).reshape(4, 1)
        >>> kernel = jnp.array([1.0, 0.0]).reshape(2, 1, 1)
        >>> print(strided_attention(q, v, v, kernel, kernel))
        [[1.]]
    """
    name = "strided_attention"
    check_qkv(name, q, k, v)
    for argument, kernel in (("kernel_k", kernel_k), ("kernel_v", kernel_v)):
        checks.array(name, argument, kernel)
    checks.same_dtype(name, q=q, kernel_k=kernel_k, kernel_v=kernel_v)
    checks.shapes(
        name,
        k=(k, "... m d"),
        v=(v, "... m e"),
        kernel_k=(kernel_k, "s d d"),
        kernel_v=(kernel_v, "s e e"),
    )
    if 0 in kernel_k.shape:
        got, wanted = f"shape {kernel_k.shape}", "without empty axes"
        raise checks.fail(name, "kernel_k", got, wanted)
    factor = check_scale(name, scale, q.shape[-1])
    dtype = numerics.accumulation_dtype(q)
    wide = [jnp.asarray(x, dtype) for x in (k, kernel_k, v, kernel_v)]
    keys, values = strided_conv(*wide[:2]), strided_conv(*wide[2:])
    return _attend(q, keys, values, None, factor).astype(v.dtype)


def double_attention(
    c: jax.Array,
    b: jax.Array,
    v: jax.Array,
    *,
    key_mask: jax.Array | None = None,
) -> jax.Array:
    """A2-Net's double attention: features gathered over the sequence, then handed out.

    G = softmax_m(b)^T v: r averages of v, one for each column of b, over all positions;
    out_i = softmax_r(c_i) G.

    Shapes: c [..., n, r], b [..., m, r], v [..., m, e], key_mask boolean, broadcastable
    to [..., m] -> [..., n, e].
    Article: kexue.fm/archives/7546.  Paper: arXiv 1810.11579.
    Differs: no. The same formula as efficient_attention, whose r is the size of a head.
    Cost: 2 r e (n + m) flops; memory O(n + m).
    Raises: TypeError or ValueError for shapes that do not fit or a mask that is not
    boolean.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import double_attention
        >>> v = jnp.arange(4.0).reshape(4, 1)
        >>> print(double_attention(jnp.ones((2, 3)), jnp.zeros((4, 3)), v)[:, 0])
        [1.5 1.5]
    """
    name = "double_attention"
    for argument, value in (("c", c), ("b", b), ("v", v)):
        checks.array(name, argument, value)
    checks.same_dtype(name, c=c, b=b, v=v)
    checks.shapes(name, c=(c, "... n r"), b=(b, "... m r"), v=(v, "... m e"))
    if 0 in c.shape[-2:] or 0 in b.shape[-2:]:
        raise checks.fail(name, "c", f"shape {c.shape}", "without empty axes")
    check_mask(name, "key_mask", key_mask, b.shape[:-1])
    dtype = numerics.accumulation_dtype(c)
    # The gathering is attention of r constant queries to the positions.
    scores = jnp.swapaxes(jnp.asarray(b, dtype), -1, -2)
    full = jnp.ones((), bool) if key_mask is None else key_mask
    keep = broadcast(full, b.shape[:-1])[..., None, :]
    keep = jnp.broadcast_to(keep, scores.shape)
    gathered = masked_part(scores, keep, jnp.asarray(v, dtype)).out
    given = jax.nn.softmax(jnp.asarray(c, dtype), -1)
    return jnp.matmul(given, gathered).astype(v.dtype)


def _attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array | None,
    scale: float | jax.Array,
) -> jax.Array:
    """Softmax attention to a few keys."""
    scores = scaled_scores(q, k, scale)
    keep = jnp.ones((), bool) if mask is None else mask[..., None, :]
    keep = jnp.broadcast_to(keep, scores.shape)
    return masked_part(scores, keep, v).out


def _spread(e: jax.Array, lead: tuple[int, ...]) -> jax.Array:
    """A matrix with the leading axes of what it multiplies."""
    return jnp.broadcast_to(e, (*lead, *e.shape[-2:]))


def _check_mixtures(
    name: str, argument: str, matrix: jax.Array, lead: tuple[int, ...], m: int
) -> None:
    shape = matrix.shape
    ok = len(shape) >= 2 and shape[-1] == m and shape[-2] > 0
    heads = shape[:-2]
    own = lead[len(lead) - len(heads) :] if len(heads) <= len(lead) else None
    ok = ok and own is not None
    if not ok or any(a not in (1, b) for a, b in zip(heads, own or (), strict=False)):
        wanted = f"[r, {m}], or broadcastable to {(*lead, 'r', m)}"
        raise checks.fail(name, argument, f"shape {shape}", wanted)
