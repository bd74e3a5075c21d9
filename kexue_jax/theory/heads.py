"""The head of a masked language model, with the layer before the embedding or not."""

from typing import Any, NamedTuple

import jax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.theory.normalization import layer_norm


class HeadParams(NamedTuple):
    """The layer of the head: ``kernel`` [d, d], ``bias``, ``scale``, ``offset`` [d]."""

    kernel: jax.Array
    bias: jax.Array
    scale: jax.Array
    offset: jax.Array


def mlm_logits(
    h: jax.Array,
    embedding: jax.Array,
    bias: jax.Array | None = None,
    layer: HeadParams | None = None,
    *,
    eps: float | jax.Array = 1e-12,
) -> jax.Array:
    """The logits of BERT's masked language model over its vocabulary.

    t = layer_norm(gelu(h kernel + layer.bias), scale, offset), or t = h without
    ``layer``; t embedding^T + bias.

    Shapes: h [..., d], embedding [V, d], bias [V] -> [..., V].
    Article: kexue.fm/archives/8747.  Paper: arXiv 1810.04805.
    Differs: no; GELU by the error function. At the start, with embeddings of standard
    deviation s0, the logits have s0 sqrt(d), 0.49 for BERT, and the loss is about
    ln V + s0^2 d / 2.
    Cost: one product with the embedding.
    Raises: TypeError or ValueError for arrays that are not floating or do not fit, a
    ``layer`` that is no HeadParams, an ``eps`` below 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import mlm_logits
        >>> print(mlm_logits(jnp.array([1.0, 2.0]), jnp.eye(2), jnp.ones(2)))
        [2. 3.]
    """
    name = "mlm_logits"
    checks.array(name, "h", h)
    checks.array(name, "embedding", embedding)
    parts: dict[str, Any] = {"h": (h, "... d"), "embedding": (embedding, "V d")}
    if bias is not None:
        checks.array(name, "bias", bias)
        parts["bias"] = (bias, "V")
    checks.number(name, "eps", eps, minimum=0, traced=True)
    checks.shapes(name, **parts)
    if layer is not None:
        _check_layer(name, layer, h.shape[-1])
    wide = accumulation_dtype(h, embedding)
    t = h.astype(wide)
    if layer is not None:
        kernel, *vectors = (a.astype(wide) for a in layer)
        b, scale, offset = vectors
        hidden = t @ kernel + b.reshape((1,) * (t.ndim - 1) + b.shape)
        t = layer_norm(jax.nn.gelu(hidden, approximate=False), scale, offset, eps=eps)
    logits = t @ embedding.astype(wide).T
    if bias is not None:
        logits = logits + bias.astype(wide).reshape((1,) * (t.ndim - 1) + bias.shape)
    return logits.astype(h.dtype)


def _check_layer(name: str, layer: Any, width: int) -> None:
    if not isinstance(layer, HeadParams):
        got = f"a {type(layer).__name__}"
        raise checks.fail_type(name, "layer", got, "a HeadParams")
    for part, shape in zip(
        HeadParams._fields, ((width, width), *((width,),) * 3), strict=True
    ):
        value = getattr(layer, part)
        checks.array(name, f"layer.{part}", value)
        if value.shape != shape:
            got = f"shape {value.shape}"
            raise checks.fail(name, f"layer.{part}", got, f"of shape {shape}")
