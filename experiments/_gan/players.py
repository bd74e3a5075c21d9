"""The players of a game: what is to be drawn, networks, ways to bound a critic."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax import generative, models

METHODS = ("clip", "sn", "gp", "r1", "div", "gn", "gran", "inner", "none")
LOSSES = ("wasserstein", "hinge", "ns")
KINDS = ("gn", "gran", "inner")
MODES, RADIUS, DEVIATION = 8, 2.0, 0.05
Params = dict[str, Any]


class Task(NamedTuple):
    """What is to be drawn: rows [n, size] of images, or of a ring of Gaussians.

    ``rows`` are the training images; of the ring they say nothing.
    """

    name: str
    rows: np.ndarray
    size: int

    @property
    def is_ring(self) -> bool:
        """Whether rows are drawn instead of taken."""
        return self.name == "ring"

    def draw(self, rows: jax.Array, key: jax.Array, count: int) -> jax.Array:
        """A batch of real examples."""
        if not self.is_ring:
            return rows[jax.random.randint(key, (count,), 0, rows.shape[0])]
        which, noise = jax.random.split(key)
        angle = jax.random.randint(which, (count,), 0, MODES).astype(jnp.float32)
        angle = angle * np.float32(2 * np.pi / MODES)
        centers = RADIUS * jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1)
        shape = (count, 2)
        return centers + DEVIATION * jax.random.normal(noise, shape, jnp.float32)


def centers() -> np.ndarray:
    """The modes of the ring."""
    angle = 2 * np.pi * np.arange(MODES) / MODES
    return RADIUS * np.stack([np.cos(angle), np.sin(angle)], -1)


class Plan(NamedTuple):
    """All that decides a training beside data, losses and seeds."""

    method: str
    noise: int
    width: int
    batch_size: int
    critic_steps: int
    rates: tuple[float, float]
    clip: float
    pieces: bool = True

    def generator(self, task: Task) -> models.Model:
        """Two hidden layers; images end in a hyperbolic tangent."""
        sizes = (self.noise, self.width, self.width, task.size)
        return models.leaky_perceptron(sizes=sizes, tanh=not task.is_ring)

    def critic(self, task: Task) -> models.Model:
        """Two hidden layers to one number."""
        return models.leaky_perceptron(sizes=(task.size, self.width, self.width, 1))

    def judge(self, task: Task) -> Callable[[Params, jax.Array], jax.Array]:
        """What the critic says of rows, normalized if that is the method."""
        model = self.critic(task)

        def values(params: Params, x: jax.Array) -> jax.Array:
            return model.apply(params, x)[:, 0]

        if self.method not in KINDS:
            return values
        return generative.normalized_critic(
            values, kind=self.method, piecewise_linear=self.pieces
        )


def penalty(
    method: str, key: jax.Array, critic: Any, real: jax.Array, fake: jax.Array
) -> jax.Array:
    """What the critic pays for its slopes."""
    if method == "gp":
        return generative.gradient_penalty(key, critic, real, fake)
    if method == "r1":
        return generative.gradient_penalty(
            None, critic, real, None, where="real", target=0.0, weight=0.5
        )
    if method == "div":
        return generative.gradient_penalty(
            key, critic, real, fake, target=0.0, power=6, weight=2.0
        )
    return jnp.zeros((), jnp.float32)


def spectral_start(method: str, key: jax.Array, params: Params) -> dict[str, Any]:
    """The vectors of spectral normalization, none for other methods."""
    if method != "sn":
        return {}
    layers = params["layers"]
    keys = jax.random.split(key, len(layers))
    return {
        name: generative.spectral_vector(k, layers[name]["kernel"])
        for name, k in zip(sorted(layers), keys, strict=True)
    }


def divided(params: Params, vectors: Params) -> tuple[Params, Params]:
    """Parameters over their spectral norms, and the vectors to go on from."""
    if not vectors:
        return params, vectors
    found = {
        name: generative.spectral_normalize(layer["kernel"], vectors[name])
        for name, layer in params["layers"].items()
    }
    layers = {
        name: {**layer, "kernel": found[name].w}
        for name, layer in params["layers"].items()
    }
    return {"layers": layers}, {name: f.u for name, f in found.items()}
