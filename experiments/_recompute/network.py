"""A pre-norm language model whose layers are one loop, and the ways to recompute it."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from kexue_jax.training import remat, scan_layers

NAMES = "names:attn_out,ffn_out"
WAYS = (
    "none",
    "per layer",
    "dots",
    "dots without batch",
    "named outputs",
    "segments",
    "nested segments",
    "whole model",
)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The sizes of the model and of a batch."""

    layers: int
    width: int
    heads: int
    length: int
    rows: int
    vocabulary: int = 256

    @property
    def boundary_bytes(self) -> int:
        """The input of a layer."""
        return 4 * self.rows * self.length * self.width


def shapes(sizes: Sizes) -> dict[str, Any]:
    """The parameters as shapes, float32."""
    d, layer = sizes.width, {}
    for name, shape in {
        **dict.fromkeys("qkvo", (d, d)),
        "wide": (d, 4 * d),
        "narrow": (4 * d, d),
    }.items():
        layer[name] = jax.ShapeDtypeStruct((sizes.layers, *shape), jnp.float32)
    word = jax.ShapeDtypeStruct((sizes.vocabulary, d), jnp.float32)
    place = jax.ShapeDtypeStruct((sizes.length, d), jnp.float32)
    return {"layers": layer, "word": word, "place": place}


def tokens(sizes: Sizes) -> jax.ShapeDtypeStruct:
    """A batch of tokens, as a shape."""
    return jax.ShapeDtypeStruct((sizes.rows, sizes.length + 1), jnp.int32)


def init(key: jax.Array, sizes: Sizes) -> dict[str, Any]:
    """Normal numbers over the square root of the inputs of each matrix."""
    leaves, tree = jax.tree.flatten(shapes(sizes))
    drawn = [
        jax.random.normal(k, leaf.shape, leaf.dtype) / math.sqrt(leaf.shape[-2])
        for k, leaf in zip(jax.random.split(key, len(leaves)), leaves, strict=True)
    ]
    return jax.tree.unflatten(tree, drawn)


def block(x: jax.Array, p: Any, heads: int) -> jax.Array:
    """Causal attention and a feed-forward network, their outputs named."""
    b, n, d = x.shape
    h = jax.nn.standardize(x, epsilon=1e-5)
    q, k, v = ((h @ p[name]).reshape(b, n, heads, d // heads) for name in "qkv")
    scores = jnp.einsum("bnhd,bmhd->bhnm", q, k) * (d // heads) ** -0.5
    seen = jnp.arange(n)[:, None] >= jnp.arange(n)[None]
    weights = jax.nn.softmax(jnp.where(seen[None, None], scores, -1e30), -1)
    mixed = jnp.einsum("bhnm,bmhd->bnhd", weights, v).reshape(b, n, d)
    x = x + checkpoint_name(mixed @ p["o"], "attn_out")
    wide = jax.nn.gelu(jax.nn.standardize(x, epsilon=1e-5) @ p["wide"])
    return x + checkpoint_name(wide @ p["narrow"], "ffn_out")


def loss(sizes: Sizes, way: str, *, unrolled: bool = False) -> Callable[..., Any]:
    """The mean cross entropy of the next token, recomputed in a way."""

    def layer(x: jax.Array, p: Any) -> jax.Array:
        return block(x, p, sizes.heads)

    def stack(x: jax.Array, params: Any) -> jax.Array:
        if not unrolled:
            return scan_layers(layer, params, x, **options(way, sizes.layers))
        policy = options(way, sizes.layers).get("remat_policy")
        run = layer if policy is None else remat(layer, policy=policy)
        for number in range(sizes.layers):
            x = run(x, jax.tree.map(lambda leaf, n=number: leaf[n], params))
        return x

    def total(params: Any, batch: jax.Array) -> jax.Array:
        before, after = batch[:, :-1], batch[:, 1:]
        x = params["word"][before] + params["place"][None]
        x = jax.nn.standardize(stack(x, params["layers"]), epsilon=1e-5)
        logits = jax.nn.log_softmax(x @ params["word"].T)
        return -jnp.take_along_axis(logits, after[..., None], -1).mean()

    return remat(total) if way == "whole model" else total


def options(way: str, layers: int) -> dict[str, Any]:
    """How ``scan_layers`` goes that way; segments of about the root of the depth."""
    policies = {
        "per layer": "nothing",
        "dots": "dots",
        "dots without batch": "dots_no_batch",
        "named outputs": NAMES,
    }
    if way in policies:
        return {"remat_policy": policies[way]}
    if "segments" in way:
        return {"segment": round(math.sqrt(layers)), "nested": "nested" in way}
    return {}
