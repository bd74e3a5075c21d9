"""Shorter sequences inside of a model: pooling, strides, and dropping tokens."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, numerics
from kexue_jax._base.masks import safe_divide
from kexue_jax.attention._arguments import broadcast, check_mask, check_scale
from kexue_jax.attention.blockwise import blockwise_attention


class SelectedTokens(NamedTuple):
    """Tokens [..., keep, d] that were kept, in their order, and their positions."""

    x: jax.Array
    index: jax.Array


def mean_pool(
    x: jax.Array, *, stride: int, key_mask: jax.Array | None = None
) -> jax.Array:
    """The mean of every ``stride`` tokens in a row, over those that the mask keeps.

    y_I = sum_i m_i x_i / sum_i m_i, i = I stride, ..., I stride + stride - 1. The last
    mean is over what is left; a group without tokens gives 0.

    Shapes: x [..., n, d], key_mask boolean, broadcastable to [..., n] ->
    [..., ceil(n / stride), d].
    Article: kexue.fm/archives/7546.  Paper: arXiv 2006.03236 (Funnel), 2006.04768.
    Differs: no. Funnel keeps the first token out of the pooling: pass x[..., 1:, :].
    Cost: time and memory of x.
    Raises: TypeError or ValueError for an x that is not [..., n, d], a stride < 1, a
    mask that does not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import mean_pool
        >>> print(mean_pool(jnp.arange(5.0).reshape(5, 1), stride=2)[:, 0])
        [0.5 2.5 4. ]
    """
    name = "mean_pool"
    _check_tokens(name, x)
    check_mask(name, "key_mask", key_mask, x.shape[:-1])
    checks.count(name, "stride", stride)
    dtype = numerics.accumulation_dtype(x)
    full = jnp.ones((), bool) if key_mask is None else key_mask
    mask = _groups(broadcast(full, x.shape[:-1])[..., None], stride)
    kept = jnp.where(mask, _groups(jnp.asarray(x, dtype), stride), 0).sum(-2)
    return safe_divide(kept, mask.sum(-2).astype(dtype) * jnp.ones_like(kept)).astype(
        x.dtype
    )


def strided_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution of a sequence whose stride is the length of its kernel.

    y_I = sum_t x_(I s + t) kernel_t, t = 0, ..., s - 1, zeros after the end.

    Shapes: x [..., n, d], kernel [s, d, e] -> [..., ceil(n / s), e].
    Article: kexue.fm/archives/7546.  Paper: arXiv 2006.04768.
    Differs: no. Groups do not overlap, so that it is one product.
    Cost: 2 n d e flops.
    Raises: TypeError or ValueError for shapes that do not fit or dtypes that differ.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import strided_conv
        >>> print(strided_conv(jnp.ones((5, 1)), jnp.ones((2, 1, 1)))[:, 0])
        [2. 2. 1.]
    """
    name = "strided_conv"
    _check_tokens(name, x)
    checks.array(name, "kernel", kernel)
    checks.same_dtype(name, x=x, kernel=kernel)
    checks.shapes(name, x=(x, "... n d"), kernel=(kernel, "s d e"))
    if 0 in kernel.shape:
        raise checks.fail(name, "kernel", f"shape {kernel.shape}", "without empty axes")
    dtype = numerics.accumulation_dtype(x)
    groups = _groups(jnp.asarray(x, dtype), kernel.shape[0])
    out = jnp.einsum("...Isd,sde->...Ie", groups, kernel.astype(dtype))
    return out.astype(x.dtype)


def repeat_tokens(x: jax.Array, *, stride: int, length: int) -> jax.Array:
    """Every token ``stride`` times in a row, cut to ``length``: Funnel's up-sampling.

    y_i = x_(i // stride), i = 0, ..., length - 1. The decoder adds the states of the
    last full-length layer to it.

    Shapes: x [..., m, d] -> [..., length, d].
    Article: kexue.fm/archives/7546.  Paper: arXiv 2006.03236.
    Differs: no.
    Cost: memory of the result.
    Raises: TypeError or ValueError for a stride or length < 1, or a length that needs
    another number of tokens.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import repeat_tokens
        >>> print(repeat_tokens(jnp.array([[1.0], [2.0]]), stride=2, length=3)[:, 0])
        [1. 1. 2.]
    """
    name = "repeat_tokens"
    m = _check_tokens(name, x)
    checks.count(name, "stride", stride)
    checks.count(name, "length", length)
    if -(-length // stride) != m:
        wanted = f"one that {m} tokens of stride {stride} cover"
        raise checks.fail(name, "length", length, wanted)
    return jnp.repeat(x, stride, axis=-2)[..., :length, :]


def token_significance(
    q: jax.Array,
    k: jax.Array,
    *,
    key_mask: jax.Array | None = None,
    scale: float | jax.Array | None = None,
) -> jax.Array:
    """How much attention each token receives, summed over heads and queries.

    sig_j = sum_h sum_i P_hij, P_h the softmax weights of head h, over queries and keys
    that the mask keeps: PoWER-BERT's score, of which the lowest are dropped.

    Shapes: q, k [..., h, n, d], key_mask boolean, broadcastable to [..., n] ->
    [..., n], in at least float32.
    Article: kexue.fm/archives/7546.  Paper: arXiv 2001.08950.
    Differs: the weights are never stored: the sum of a column is the gradient of the
    sum of outputs with respect to the value there. Reverse mode only.
    Cost: that of blockwise_attention and its gradient, values of one feature.
    Raises: TypeError or ValueError for shapes that do not fit or a mask that is not
    boolean.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import token_significance
        >>> q, k = jnp.ones((1, 3, 1)), jnp.log(jnp.array([[[1.0], [1.0], [2.0]]]))
        >>> print(token_significance(q, k))
        [0.75 0.75 1.5 ]
    """
    name = "token_significance"
    checks.array(name, "q", q)
    checks.array(name, "k", k)
    checks.same_dtype(name, q=q, k=k)
    checks.shapes(name, q=(q, "... h n d"), k=(k, "... h n d"))
    if 0 in q.shape[-3:]:
        raise checks.fail(name, "q", f"shape {q.shape}", "without empty axes")
    lead, n = q.shape[:-3], q.shape[-2]
    check_mask(name, "key_mask", key_mask, (*lead, n))
    factor = check_scale(name, scale, q.shape[-1])
    full = jnp.ones((), bool) if key_mask is None else key_mask
    mask = broadcast(full, (*lead, n))[..., None, :]
    dtype = numerics.accumulation_dtype(q)
    wide_q, wide_k = (jnp.asarray(x, dtype) for x in (q, k))

    def outputs(v: jax.Array) -> jax.Array:
        return blockwise_attention(wide_q, wide_k, v, key_mask=mask, scale=factor)

    ones = jnp.ones((*q.shape[:-1], 1), dtype)
    rows = broadcast(mask, q.shape[:-1])[..., None].astype(dtype)
    _, pull = jax.vjp(outputs, ones)
    return pull(rows)[0][..., 0].sum(-2)


def select_tokens(
    x: jax.Array,
    significance: jax.Array,
    *,
    keep: int,
    keep_first: bool = True,
    key_mask: jax.Array | None = None,
) -> SelectedTokens:
    """The ``keep`` most significant tokens in their order, and their positions.

    index = sort(the positions of the keep largest significances); x = x[index]. With
    ``keep_first`` position 0 ([CLS]) stays whatever its significance; positions that
    the mask drops come last.

    Shapes: x [..., n, d], significance [..., n], key_mask boolean, broadcastable to
    [..., n] -> SelectedTokens(x [..., keep, d], index int32 [..., keep]).
    Article: kexue.fm/archives/7546.  Paper: arXiv 2001.08950.
    Differs: no. Of equal significances the earlier is kept; no gradient through the
    choice, as in the paper's fixed configuration.
    Cost: a top_k of n and a sort of keep.
    Raises: TypeError or ValueError for shapes that do not fit, keep < 1 or > n.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import select_tokens
        >>> x, score = jnp.arange(4.0).reshape(4, 1), jnp.array([0.1, 0.2, 0.9, 0.8])
        >>> print(select_tokens(x, score, keep=3).index)
        [0 2 3]
    """
    name = "select_tokens"
    n = _check_tokens(name, x)
    checks.array(name, "significance", significance)
    checks.shapes(name, x=(x, "*b n d"), significance=(significance, "*b n"))
    check_mask(name, "key_mask", key_mask, x.shape[:-1])
    checks.count(name, "keep", keep)
    checks.flag(name, "keep_first", keep_first)
    if keep > n:
        raise checks.fail(name, "keep", keep, f"at most the {n} tokens")
    score = jax.lax.stop_gradient(jnp.asarray(significance))
    if key_mask is not None:
        score = jnp.where(broadcast(key_mask, score.shape), score, -jnp.inf)
    if keep_first:
        score = score.at[..., 0].set(jnp.inf)
    index = jnp.sort(jax.lax.top_k(score, keep)[1], -1)
    return SelectedTokens(jnp.take_along_axis(x, index[..., None], -2), index)


def _check_tokens(name: str, x: jax.Array) -> int:
    """The number of tokens of x [..., n, d], which must be one at least."""
    checks.array(name, "x", x)
    checks.shapes(name, x=(x, "... n d"))
    if x.shape[-2] == 0:
        raise checks.fail(name, "x", f"shape {x.shape}", "of one token at least")
    return x.shape[-2]


def _groups(x: jax.Array, size: int) -> jax.Array:
    """x [..., n, d] as [..., ceil(n / size), size, d], zeros after the end."""
    missing = -x.shape[-2] % size
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, missing), (0, 0)])
    return x.reshape(*x.shape[:-2], -1, size, x.shape[-1])
