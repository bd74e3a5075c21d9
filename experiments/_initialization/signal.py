"""Signal and gradient of encoders at the start, on a batch of real text."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._initialization.encoder import (
    Encoder,
    drawn,
    rewired,
    run,
    sublayers,
)
from kexue_jax.theory import (
    layer_norm,
    signal_gradient_profile,
    stream_moments,
    truncated_normal,
)


class Signal(NamedTuple):
    """Of one encoder, [seeds, sublayers + 1] each, and of the kernels by layer.

    ``predicted`` is the identity path's gradient by the moments of the branches;
    ``alike`` [seeds] the mean cosine of two tokens of a row in the last stream.
    """

    stream: np.ndarray
    whole: np.ndarray
    identity: np.ndarray
    predicted: np.ndarray
    queries: np.ndarray
    up: np.ndarray
    alike: np.ndarray


def measure(
    encoders: Sequence[Encoder], tokens: np.ndarray, seeds: Sequence[int]
) -> dict[Encoder, Signal]:
    """The Signals of encoders on embedded bytes [batch, n], each draw made once."""
    plain = list(dict.fromkeys(e._replace(wiring="post") for e in encoders))
    found: dict[Encoder, list[Any]] = {encoder: [] for encoder in encoders}
    for start in plain:
        for seed in seeds:
            given = _drawn(jax.random.key(seed), tokens, start)
            for encoder in encoders:
                if encoder._replace(wiring="post") == start:
                    found[encoder].append(_measured(encoder, *given))
    return {encoder: _signal(encoder, parts) for encoder, parts in found.items()}


def _measured(encoder: Encoder, params: Any, x: jax.Array, target: jax.Array) -> Any:
    """The profile of one seed; one program for all starts, and for two wirings."""
    params = rewired(params, encoder)
    if encoder.wiring == "none":
        params = tuple({**p, "gain": jnp.ones(encoder.layers)} for p in params)
    normed = encoder.wiring in ("post", "deepnorm")
    weight = np.float32(encoder.weight)
    found = _program(encoder.general, normed)(params, x, target, weight)
    return jax.tree.map(np.asarray, found)


def _signal(encoder: Encoder, found: list[Any]) -> Signal:
    """The seeds' profiles side by side, and what moments say of them."""
    profiles = [profile for profile, _ in found]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *profiles)
    predicted = [_predicted(encoder, rms) for rms in stacked.branch_rms]
    attention, forward = stacked.grad_params
    return Signal(
        stacked.stream_rms,
        stacked.grad_stream,
        stacked.grad_identity,
        np.stack(predicted),
        attention["q"],
        forward["up"],
        np.array([alike for _, alike in found], np.float64),
    )


@functools.partial(jax.jit, static_argnums=2)
def _drawn(key: jax.Array, tokens: jax.Array, encoder: Encoder) -> Any:
    """Parameters, embedded bytes and the weights of what is differentiated."""
    keys = jax.random.split(key, 4)
    draw = truncated_normal(stddev=0.02)
    words = draw(keys[0], (256, encoder.width))[tokens]
    places = draw(keys[1], (tokens.shape[1], encoder.width))
    x = layer_norm(words + places[None], eps=1e-12)
    return drawn(keys[3], encoder), x, jax.random.normal(keys[2], x.shape, x.dtype)


@functools.cache
def _program(encoder: Encoder, normed: bool) -> Callable[..., Any]:
    """The profile of an encoder, whatever its start, and how alike its tokens end."""

    def profile(params: Any, x: jax.Array, target: jax.Array, weight: Any) -> Any:
        parts = sublayers(encoder, weight=weight)

        def f(h: jax.Array) -> jax.Array:
            return jnp.vdot(h if normed else layer_norm(h), target) / h.shape[0]

        last = run(params, x, encoder, weight=weight)
        return signal_gradient_profile(parts, params, x, f), _alike(last)

    return jax.jit(profile)


def _alike(x: jax.Array) -> jax.Array:
    """The mean cosine of two different tokens of a row, x [batch, n, d]."""
    unit = x / jnp.linalg.norm(x, axis=-1, keepdims=True)
    n = x.shape[1]
    total = jnp.sum(jnp.square(jnp.sum(unit, axis=1)), axis=-1)
    return jnp.mean((total - n) / (n * (n - 1)))


def _predicted(encoder: Encoder, branch_rms: np.ndarray) -> np.ndarray:
    """The share of the last gradient that comes down to each sublayer's input."""
    wiring = "none" if encoder.wiring == "rezero" else encoder.wiring
    moments = stream_moments(
        jnp.asarray(branch_rms**2), wiring=wiring, alpha=encoder.weight
    )
    identity = np.asarray(moments.identity)
    return identity[-1] / identity


def ends(values: np.ndarray) -> np.ndarray:
    """First over last, by seed; not finite where the last is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return values[:, 0] / values[:, -1]


def slope(values: np.ndarray) -> np.ndarray:
    """ln(first / last) a sublayer, by seed."""
    return np.log(ends(values)) / (values.shape[1] - 1)
