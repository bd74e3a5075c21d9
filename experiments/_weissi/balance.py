"""Squared norms of the layers of a bias-free network along full-batch descent."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._taylor.training import Split
from experiments._weissi.training import Params, cross_entropy, init
from kexue_jax import optim

PENALTIES = ("none", "L2", "log")
COEFFICIENT = {"none": 0.0, "L2": 1e-2, "log": 0.5}
RATE = 1e-3


class Curves(NamedTuple):
    """[times, layers] squared norms, and [times] losses, log products, excesses."""

    squares: np.ndarray
    losses: np.ndarray
    log_norms: np.ndarray
    excess: np.ndarray

    @property
    def apart(self) -> np.ndarray:
        """Differences of the squared norms of neighboring layers, [times, layers-1]."""
        return np.diff(self.squares, axis=1)


def flows(
    parts: Split, depth: int, width: int, steps: int, seed: int
) -> dict[str, Curves]:
    """The curves by penalty, from unequal layers of one network."""
    images, labels = parts.train
    sizes = (images.shape[1], *[width] * (depth - 1), parts.classes)
    params = init(jax.random.key(seed), sizes, biased=False)
    # Norms that differ by up to a factor of 3, of which the function knows nothing.
    gammas = np.exp(np.linspace(-0.5, 0.5, depth))
    for name, gamma in zip(sorted(params), gammas, strict=True):
        params[name] = {"w": params[name]["w"] * np.float32(gamma)}
    found = {}
    for penalty in PENALTIES:
        program = jax.jit(functools.partial(_flow, penalty, steps))
        arrays = program(params, jnp.asarray(images), jnp.asarray(labels))
        found[penalty] = Curves(*(np.asarray(x, np.float64) for x in arrays))
    return found


def _flow(
    penalty: str, steps: int, params: Params, x: jax.Array, y: jax.Array
) -> tuple[jax.Array, ...]:
    coefficient = COEFFICIENT[penalty]

    def total(params: Params) -> jax.Array:
        loss = cross_entropy(params, x, y)
        if penalty == "L2":
            return loss + optim.l2_penalty(params, coef=coefficient)
        if penalty == "log":
            options = {"log_coef": coefficient, "direction_coef": 0.0}
            return loss + optim.weissi_penalty(params, **options)
        return loss

    def step(params: Params, _: Any) -> Any:
        g = jax.grad(total)(params)
        return jax.tree.map(lambda p, g: p - RATE * g, params, g), None

    def block(params: Params, _: Any) -> Any:
        names = sorted(params)
        seen = (
            jnp.stack([jnp.sum(params[n]["w"] ** 2) for n in names]),
            cross_entropy(params, x, y),
            optim.log_norm_product(params),
            optim.excess_l2(params),
        )
        params, _ = jax.lax.scan(step, params, length=steps)
        return params, seen

    return jax.lax.scan(block, params, length=41)[1]
