"""Attentions over parts of the keys made into the attention over all of them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, numerics
from kexue_jax.attention.dense import AttentionPart


def merge_attention(
    outs: Sequence[jax.Array] | jax.Array,
    lses: Sequence[jax.Array] | jax.Array,
    *,
    return_lse: bool = False,
) -> Any:
    """The softmax attention over the union of disjoint sets of keys, from its parts.

    o = sum_r exp(lse_r - lse) o_r, lse = log sum_r exp(lse_r). A part with lse = -inf
    has no keys and no weight; a row where all parts are so gives 0 and lse -inf.

    Shapes: outs R arrays [..., n, e] or one [R, ..., n, e]; lses R arrays [..., n] or
    one [R, ..., n] -> [..., n, e]; with ``return_lse`` AttentionPart(out, lse).
    Article: kexue.fm/archives/6853.  Paper: arXiv 1904.10509, 2205.14135.
    Differs: the article masks one matrix of weights; the union is exact all the same.
    Gradients flow through the lses, as they must, and are 0 for parts without keys.
    Cost: time and memory of R outputs.
    Raises: TypeError or ValueError for parts that differ in number, shape or dtype.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import merge_attention
        >>> outs = jnp.array([[[1.0]], [[4.0]]])
        >>> print(merge_attention(outs, jnp.log(jnp.array([[1.0], [2.0]]))))
        [[3.]]
    """
    name = "merge_attention"
    checks.flag(name, "return_lse", return_lse)
    parts, logs = _listed(name, "outs", outs), _listed(name, "lses", lses)
    if len(parts) != len(logs):
        got = f"{len(logs)} parts"
        raise checks.fail(name, "lses", got, f"as many as `outs`, {len(parts)}")
    for out, lse in zip(parts, logs, strict=True):
        checks.shapes(name, outs=(parts[0], "*b n e"), lses=(lse, "*b n"))
        checks.shapes(name, first=(parts[0], "*b n e"), outs=(out, "*b n e"))
    checks.same_dtype(name, **{"outs[0]": parts[0]}, outs=parts[-1])
    dtype = numerics.accumulation_dtype(*parts, *logs)
    lse = jnp.stack([log.astype(dtype) for log in logs])
    top = jax.lax.stop_gradient(lse.max(0))
    top = jnp.where(jnp.isneginf(top), 0, top)
    empty = jnp.isneginf(lse)
    weights = jnp.where(empty, 0, jnp.exp(jnp.where(empty, 0, lse - top[None])))
    total = weights.sum(0)
    some = total > 0
    total = jnp.where(some, total, 1)
    merged = sum(
        (w / total)[..., None] * out.astype(dtype)
        for w, out in zip(weights, parts, strict=True)
    )
    merged = jnp.asarray(merged, parts[0].dtype)
    if not return_lse:
        return merged
    return AttentionPart(merged, jnp.where(some, top + jnp.log(total), -jnp.inf))


def _listed(name: str, argument: str, parts: Any) -> list[jax.Array]:
    """The parts as a list of floating arrays, at least one."""
    if not isinstance(parts, (list, tuple)):
        checks.array(name, argument, parts)
        if parts.ndim == 0:
            raise checks.fail(name, argument, "shape ()", "one array a part")
        parts = list(parts)
    for part in parts:
        checks.array(name, argument, part)
    if not parts:
        raise checks.fail(name, argument, "none", "at least one part")
    return list(parts)
