"""A BERT encoder with its masked-word loss, for its shapes and its compiled step.

It stands here to be compiled, not to be trained: no dropout, no next-sentence loss.
Paper: arXiv 1810.04805.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The sizes of the encoder; the defaults are BERT-base's."""

    layers: int = 12
    width: int = 768
    heads: int = 12
    words: int = 30_522
    length: int = 512
    predicted: int = 76


def _normal(width: int) -> dict[str, jax.Array]:
    return {"scale": jnp.ones(width), "offset": jnp.zeros(width)}


def init(key: jax.Array, sizes: Sizes) -> dict[str, Any]:
    """The parameters, float32."""
    width, keys = sizes.width, iter(jax.random.split(key, 6 * sizes.layers + 4))

    def drawn(*shape: int) -> jax.Array:
        return 0.02 * jax.random.normal(next(keys), shape, jnp.float32)

    def dense(before: int, after: int) -> dict[str, jax.Array]:
        return {"kernel": drawn(before, after), "bias": jnp.zeros(after)}

    layers = {
        f"{number:02d}": {
            **{name: dense(width, width) for name in ("query", "key", "value", "out")},
            "norm1": _normal(width),
            "wide": dense(width, 4 * width),
            "narrow": dense(4 * width, width),
            "norm2": _normal(width),
        }
        for number in range(sizes.layers)
    }
    params = {
        "word": drawn(sizes.words, width),
        "position": drawn(sizes.length, width),
        "segment": drawn(2, width),
        "norm": _normal(width),
        "layers": layers,
        "head": dense(width, width),
        "head_norm": _normal(width),
        "head_bias": jnp.zeros(sizes.words),
    }
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)


def _dense(layer: Any, x: jax.Array) -> jax.Array:
    bias = layer["bias"].astype(x.dtype)
    y = jnp.matmul(x, layer["kernel"].astype(x.dtype))
    return y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)


def _norm(layer: Any, x: jax.Array) -> jax.Array:
    wide = x.astype(jnp.float32)
    normal = jax.nn.standardize(wide, epsilon=1e-12)
    shape = (1,) * (x.ndim - 1) + (x.shape[-1],)
    scale, offset = layer["scale"].reshape(shape), layer["offset"].reshape(shape)
    return (normal * scale + offset).astype(x.dtype)


def _attention(layer: Any, x: jax.Array, heads: int) -> jax.Array:
    b, n, d = x.shape
    q, k, v = (
        _dense(layer[name], x).reshape(b, n, heads, d // heads)
        for name in ("query", "key", "value")
    )
    scores = jnp.einsum("bnhd,bmhd->bhnm", q, k, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(scores * (d // heads) ** -0.5, -1).astype(x.dtype)
    mixed = jnp.einsum("bhnm,bmhd->bnhd", weights, v).reshape(b, n, d)
    return _dense(layer["out"], mixed)


def loss(params: Any, batch: Any, sizes: Sizes) -> jax.Array:
    """The mean cross entropy of the masked words; bfloat16 inside of the network."""
    words = params["word"].astype(jnp.bfloat16)
    x = words[batch["words"]] + params["position"].astype(jnp.bfloat16)[None]
    x = _norm(params["norm"], x + params["segment"].astype(x.dtype)[:1][None])
    for layer in params["layers"].values():
        x = _norm(layer["norm1"], x + _attention(layer, x, sizes.heads))
        inner = _dense(layer["narrow"], jax.nn.gelu(_dense(layer["wide"], x)))
        x = _norm(layer["norm2"], x + inner)
    x = jnp.take_along_axis(x, batch["places"][:, :, None], 1)
    x = _norm(params["head_norm"], jax.nn.gelu(_dense(params["head"], x)))
    logits = jnp.matmul(x, words.T, preferred_element_type=jnp.float32)
    logits = logits + params["head_bias"][None, None]
    return optax.softmax_cross_entropy_with_integer_labels(
        logits, batch["targets"]
    ).mean()
