"""The loop that every sampler of a Schedule shares: one ``lax.scan``, traced once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks, keys, numerics
from kexue_jax.diffusion._network import EpsFn, predict

FRAMES_OF = ("x", "x0")


class Sample(NamedTuple):
    """A sample x, and ``frames`` [frames, *x.shape] of the way to it, in order.

    Article: kexue.fm/archives/9119.
    """

    x: jax.Array
    frames: jax.Array


def run_chain(
    name: str,
    eps_fn: EpsFn,
    x: jax.Array,
    levels: tuple[Any, ...],
    move: Callable[..., tuple[jax.Array, jax.Array]],
    *,
    frames: int,
    frames_of: str,
) -> Sample:
    """Take the moves of ``levels`` one after the other.

    ``levels`` are integer arrays [S] of the same length in the order of the chain, t
    first; ``move(x, eps, *level)`` returns x_s and the estimate of x_0. x is carried
    in at least float32 and shown to ``eps_fn`` in its own dtype. Frame k of n holds
    what the last step i with ``i n // S == k`` left, so the buffer never grows.
    """
    steps = levels[0].shape[0]
    slots = jnp.asarray(np.arange(steps) * frames // steps, jnp.int32)

    def body(carry: Any, inputs: Any) -> tuple[Any, None]:
        state, buffer = carry
        slot, *level = inputs
        eps = predict(name, eps_fn, state.astype(x.dtype), level[0])
        state, x0 = move(state, eps, *level)
        if frames:
            shown = (state if frames_of == "x" else x0).astype(x.dtype)
            buffer = jax.lax.dynamic_update_index_in_dim(buffer, shown, slot, 0)
        return (state, buffer), None

    start = jnp.asarray(x, numerics.accumulation_dtype(x))
    buffer = jnp.zeros((frames, *x.shape), x.dtype)
    inputs = (slots, *(jnp.asarray(level, jnp.int32) for level in levels))
    (state, buffer), _ = jax.lax.scan(body, (start, buffer), inputs)
    return Sample(state.astype(x.dtype), buffer)


def step_noise(key: jax.Array, t: Any, like: jax.Array) -> jax.Array:
    """The draw of the step that leaves t: ``normal`` of ``fold_in(key, t)``."""
    return keys.normal_like(jax.random.fold_in(key, t), like)


def check_frames(name: str, frames: int, frames_of: str, steps: int) -> None:
    """Raise unless 0 <= frames <= steps and ``frames_of`` is known."""
    checks.count(name, "frames", frames, minimum=0)
    checks.choice(name, "frames_of", frames_of, FRAMES_OF)
    if frames > steps:
        wanted = f"at most the {steps} steps of the chain"
        raise checks.fail(name, "frames", frames, wanted)


def check_start(name: str, argument: str, x: Any) -> None:
    """Raise unless ``x`` is a floating array with a batch axis in front."""
    checks.array(name, argument, x)
    checks.shapes(name, **{argument: (x, "B *d")})
