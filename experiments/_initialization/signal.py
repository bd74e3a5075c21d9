"""Signal and gradient of encoders at the start, on a batch of real text."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._initialization.encoder import Encoder, init, sublayers
from kexue_jax.theory import (
    deepnorm_constants,
    layer_norm,
    signal_gradient_profile,
    stream_moments,
    truncated_normal,
)


class Signal(NamedTuple):
    """Of one encoder, [seeds, sublayers + 1] each, and of the kernels by layer.

    ``predicted`` is the identity path's gradient by the moments of the branches.
    """

    stream: np.ndarray
    whole: np.ndarray
    identity: np.ndarray
    predicted: np.ndarray
    queries: np.ndarray
    up: np.ndarray


def measure(encoder: Encoder, tokens: np.ndarray, seeds: Sequence[int]) -> Signal:
    """The Signal of the seeds' encoders on embedded bytes [batch, n]."""
    profiles = []
    for seed in seeds:
        given = _drawn(jax.random.key(seed), tokens, encoder)
        profiles.append(_program(encoder._replace(start="any"))(*given))
    found = jax.tree.map(lambda *leaves: np.stack(leaves), *profiles)
    predicted = [_predicted(encoder, rms) for rms in found.branch_rms]
    attention, forward = found.grad_params
    return Signal(
        found.stream_rms,
        found.grad_stream,
        found.grad_identity,
        np.stack(predicted),
        attention["q"],
        forward["up"],
    )


@functools.partial(jax.jit, static_argnums=2)
def _drawn(key: jax.Array, tokens: jax.Array, encoder: Encoder) -> Any:
    """Parameters, embedded bytes and the weights of what is differentiated."""
    keys = jax.random.split(key, 4)
    draw = truncated_normal(stddev=0.02)
    words = draw(keys[0], (256, encoder.width))[tokens]
    places = draw(keys[1], (tokens.shape[1], encoder.width))
    x = layer_norm(words + places[None], eps=1e-12)
    return init(keys[3], encoder), x, jax.random.normal(keys[2], x.shape, x.dtype)


@functools.cache
def _program(encoder: Encoder) -> Callable[..., Any]:
    """The profile of an encoder, whatever its start."""
    parts = sublayers(encoder)
    normed = encoder.wiring in ("post", "deepnorm")

    def profile(params: Any, x: jax.Array, target: jax.Array) -> Any:
        def f(h: jax.Array) -> jax.Array:
            return jnp.vdot(h if normed else layer_norm(h), target) / h.shape[0]

        return signal_gradient_profile(parts, params, x, f)

    return jax.jit(profile)


def _predicted(encoder: Encoder, branch_rms: np.ndarray) -> np.ndarray:
    """The share of the last gradient that comes down to each sublayer's input."""
    alpha = 1.0
    if encoder.wiring == "deepnorm":
        alpha = deepnorm_constants(num_layers=encoder.layers).alpha
    wiring = "none" if encoder.wiring == "rezero" else encoder.wiring
    moments = stream_moments(jnp.asarray(branch_rms**2), wiring=wiring, alpha=alpha)
    identity = np.asarray(moments.identity)
    return identity[-1] / identity


def ends(values: np.ndarray) -> np.ndarray:
    """First over last, by seed."""
    return values[:, 0] / values[:, -1]


def slope(values: np.ndarray) -> np.ndarray:
    """ln(first / last) a sublayer, by seed."""
    return np.log(ends(values)) / (values.shape[1] - 1)
