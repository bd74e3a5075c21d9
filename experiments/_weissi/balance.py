"""Squared norms of the layers of a bias-free network along full-batch descent."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.devices import data_mesh, replicate, shard_batch
from experiments._taylor.training import Split
from experiments._weissi.training import Params, cross_entropy, init, slope
from kexue_jax import optim

PENALTIES = ("none", "L2", "log", "WEISSI")
COEFFICIENT = {"none": 0.0, "L2": 5e-2, "log": 2.5, "WEISSI": 2.5}
DIRECTION = 0.05  # WEISSI's second coefficient
PLANTED = 0.5  # logarithms of factors on the layers, from minus to plus
RATE = 2e-3


class Curves(NamedTuple):
    """[times, layers] squared norms; [times] of others; ``slopes`` are |df/dx|."""

    squares: np.ndarray
    losses: np.ndarray
    log_norms: np.ndarray
    excess: np.ndarray
    slopes: np.ndarray

    @property
    def apart(self) -> np.ndarray:
        """Differences of the squared norms of neighboring layers, [times, layers-1]."""
        return np.diff(self.squares, axis=1)


def flows(
    parts: Split, depth: int, width: int, steps: int, seeds: Sequence[int]
) -> tuple[list[dict[str, Curves]], list[dict[str, Curves]]]:
    """The curves by seed and penalty, from planted layers; of L2 from plain ones."""
    cells = [(PLANTED, seed, name) for seed in seeds for name in PENALTIES]
    found = iter(_curves(parts, depth, width, steps, cells))
    planted = [{name: next(found) for name in PENALTIES} for _ in seeds]
    cells = [(0.0, seed, "L2") for seed in seeds]
    plain = _curves(parts, depth, width, steps, cells)
    return planted, [{"L2": each} for each in plain]


def _curves(
    parts: Split,
    depth: int,
    width: int,
    steps: int,
    cells: Sequence[tuple[float, int, str]],
) -> list[Curves]:
    """Of each cell: what is planted, seed and penalty."""
    images, labels = parts.train
    sizes = (images.shape[1], *[width] * (depth - 1), parts.classes)
    starts = [start(sizes, seed, planted) for planted, seed, _ in cells]
    models = {
        "params": jax.tree.map(lambda *leaves: np.stack(leaves), *starts),
        "coefficients": np.array([_coefficients(n) for *_, n in cells], np.float32),
    }
    mesh = data_mesh(len(cells))
    program = jax.jit(functools.partial(_flow, steps))
    arrays = program(shard_batch(mesh, models), *replicate(mesh, (images, labels)))
    arrays = [np.asarray(x, np.float64) for x in arrays]
    return [Curves(*row) for row in zip(*arrays, strict=True)]


def start(sizes: Sequence[int], seed: int, planted: float) -> Params:
    """A network without biases whose layers are made unequal."""
    params = init(jax.random.key(seed), sizes, biased=False)
    # The function knows nothing of factors whose product is 1.
    gammas = np.exp(np.linspace(-planted, planted, len(params)))
    return {
        name: {"w": params[name]["w"] * np.float32(gamma)}
        for name, gamma in zip(sorted(params), gammas, strict=True)
    }


def _coefficients(penalty: str) -> tuple[float, float, float]:
    """Of L2, of the log term and of the directions."""
    whole = COEFFICIENT[penalty]
    if penalty in ("none", "L2"):
        return whole, 0.0, 0.0
    return 0.0, whole, DIRECTION if penalty == "WEISSI" else 0.0


def _flow(steps: int, models: Any, x: jax.Array, y: jax.Array) -> tuple[jax.Array, ...]:
    def one(model: Any) -> tuple[jax.Array, ...]:
        l2, log, direction = model["coefficients"]

        def total(params: Params) -> jax.Array:
            loss = cross_entropy(params, x, y) + optim.l2_penalty(params, coef=l2)
            options = {"log_coef": log, "direction_coef": direction}
            return loss + optim.weissi_penalty(params, **options)

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
                slope(params, x),
            )
            params, _ = jax.lax.scan(step, params, length=steps)
            return params, seen

        return jax.lax.scan(block, model["params"], length=41)[1]

    return jax.vmap(one)(models)
