"""A small encoder in every residual wiring, its layers stacked, its start by rule."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax.theory import (
    deepnorm_constants,
    layer_norm,
    residual_block,
    truncated_normal,
    variance_scaling,
)

WIRINGS = ("post", "pre", "none", "rezero", "deepnorm")
STARTS = ("0.02", "lecun", "xavier")
WIDTH_OF_BERT = 768


class Encoder(NamedTuple):
    """The sizes of an encoder, its wiring, its start."""

    width: int
    heads: int
    layers: int
    wiring: str = "post"
    start: str = "lecun"

    @property
    def weight(self) -> float:
        """DeepNorm's weight of the stream, 1 in any other wiring."""
        if self.wiring != "deepnorm":
            return 1.0
        return deepnorm_constants(num_layers=self.layers).alpha

    @property
    def general(self) -> "Encoder":
        """The encoder whose program runs this one, given its weight and its gains."""
        wiring = {"post": "deepnorm", "none": "rezero"}.get(self.wiring, self.wiring)
        return self._replace(wiring=wiring, start="any")


def kernel(start: str, width: int) -> Callable[..., jax.Array]:
    """The initializer of a kernel [layers, in, out] by the name of the start.

    "0.02" is BERT's uncorrected 0.02 at width 768, scaled to this width.
    """
    if start == "0.02":
        stddev = 0.02 * math.sqrt(WIDTH_OF_BERT / width)
        return truncated_normal(stddev=stddev, corrected=False)
    mode = {"lecun": "fan_in", "xavier": "fan_avg"}[start]
    return variance_scaling(mode=mode, batch_axis=0)


def init(key: jax.Array, encoder: Encoder) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters of attention and of the feed-forward part, stacked by layer."""
    return rewired(drawn(key, encoder), encoder)


def drawn(key: jax.Array, encoder: Encoder) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters as they are in every wiring before ``rewired``."""
    d, n = encoder.width, encoder.layers
    draw = kernel(encoder.start, d)
    keys = iter(jax.random.split(key, 6))
    attention = {name: draw(next(keys), (n, d, d)) for name in "qkvo"}
    forward = {
        "up": draw(next(keys), (n, d, 4 * d)),
        "down": draw(next(keys), (n, 4 * d, d)),
    }
    for tree in (attention, forward):
        tree["scale"], tree["offset"] = jnp.ones((n, d)), jnp.zeros((n, d))
    return attention, forward


def rewired(params: Any, encoder: Encoder) -> tuple[dict[str, Any], dict[str, Any]]:
    """DeepNorm's smaller kernels, ReZero's gains of zero."""
    attention, forward = map(dict, params)
    if encoder.wiring == "deepnorm":
        gain = deepnorm_constants(num_layers=encoder.layers).gain
        for tree, names in ((attention, "vo"), (forward, ("up", "down"))):
            tree.update({name: gain * tree[name] for name in names})
    if encoder.wiring == "rezero":
        for tree in (attention, forward):
            tree["gain"] = jnp.zeros(encoder.layers)
    return attention, forward


def attend(p: dict[str, Any], x: jax.Array, heads: int) -> jax.Array:
    """Self-attention of x [..., n, d] over all tokens."""

    def split(w: jax.Array) -> jax.Array:
        y = (x @ w).reshape(*x.shape[:-1], heads, -1)
        return jnp.swapaxes(y, -2, -3)

    q, k, v = split(p["q"]), split(p["k"]), split(p["v"])
    logits = jnp.einsum("...id,...jd->...ij", q, k) / math.sqrt(q.shape[-1])
    mixed = jnp.einsum("...ij,...jd->...id", jax.nn.softmax(logits), v)
    return jnp.swapaxes(mixed, -2, -3).reshape(x.shape) @ p["o"]


def feed_forward(p: dict[str, Any], x: jax.Array) -> jax.Array:
    """gelu(x up) down."""
    return jax.nn.gelu(x @ p["up"]) @ p["down"]


def sublayers(
    encoder: Encoder, alpha: Any = None, weight: Any = None
) -> tuple[Callable[..., Any], ...]:
    """The two sublayers, as signal_gradient_profile takes them.

    ``alpha`` weighs every branch in place of a trained gain: the author's warm-up.
    ``weight`` is that of the stream, the encoder's own without.
    """
    weight = encoder.weight if weight is None else weight

    def wired(branch: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        def sublayer(p: dict[str, Any], x: jax.Array, tap: Any) -> jax.Array:
            gain = p.get("gain", 1.0)
            return residual_block(
                x,
                lambda h: tap(branch(p, h)),
                wiring=encoder.wiring,
                norm=lambda h: layer_norm(h, p["scale"], p["offset"]),
                alpha=weight,
                gain=gain if alpha is None else alpha * gain,
            )

        return sublayer

    return (
        wired(lambda p, x: attend(p, x, encoder.heads)),
        wired(feed_forward),
    )


def run(
    params: Any, x: jax.Array, encoder: Encoder, alpha: Any = None, weight: Any = None
) -> jax.Array:
    """The encoder's result for x [..., n, d], without a norm at the end."""
    parts = sublayers(encoder, alpha, weight)

    def layer(x: jax.Array, own: Any) -> tuple[jax.Array, None]:
        for part, p in zip(parts, own, strict=True):
            x = part(p, x, lambda branch: branch)
        return x, None

    return jax.lax.scan(layer, x, params)[0]
