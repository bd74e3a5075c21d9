"""Mean and variance of updates under dropout, for gradients of one distribution."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from experiments._taylor.training import Split
from kexue_jax import optim

COMPONENTS = 1000
RATIOS = (0.1, 0.5)  # mean^2 over mean square of a gradient
OPTIMIZERS = ("SGD", "SGDM", "Adam, b1 = 0", "Adam, b1 = 0.9", "Adam, b1 = 0.99")
PLACES = ("gradient", "update")


class Moments(NamedTuple):
    """Of the updates: [seeds] means and variances."""

    mean: np.ndarray
    variance: np.ndarray


class Real(NamedTuple):
    """Of the updates of real gradients: [seeds] numbers.

    The mean is over that without dropout; ``r`` is mean^2 over mean square of the
    gradients, and ``formula`` the variance that is predicted from it.
    """

    mean: np.ndarray
    variance: np.ndarray
    r: np.ndarray
    formula: np.ndarray


def transformation(name: str) -> Any:
    """The optimizer before its rate."""
    if name == "SGD":
        return optax.identity()
    if name == "SGDM":
        return optax.ema(0.9, debias=False)
    b1 = float(name.split("= ")[1])
    return optax.scale_by_adam(b1=b1, b2=0.999, eps=1e-12)


def first_moment(name: str) -> float:
    """The decay of the momentum of an optimizer."""
    if name in ("SGD", "SGDM"):
        return 0.9 if name == "SGDM" else 0.0
    return float(name.split("= ")[1])


def synthetic(
    name: str, place: str, shares: Sequence[float], seeds: Sequence[int], steps: int
) -> dict[tuple[float, float], Moments]:
    """By ratio and share: gradients m + N(0, s^2) of mean square 1."""
    program = jax.jit(functools.partial(_synthetic, name, place, steps))
    cells = [(ratio, share) for ratio in RATIOS for share in shares]
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    found = program(keys, jnp.asarray(cells, jnp.float32))
    mean, variance = (np.asarray(x, np.float64) for x in found)
    return {
        cell: Moments(mean[:, place], variance[:, place])
        for place, cell in enumerate(cells)
    }


def _synthetic(
    name: str, place: str, steps: int, keys: jax.Array, cells: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def one(key: jax.Array, cell: jax.Array) -> tuple[jax.Array, jax.Array]:
        ratio, share = cell
        drop = optim.gradient_dropout(jax.random.fold_in(key, 1), keep_prob=share)
        parts = [drop, transformation(name)]
        opt = optax.chain(*(parts if place == "gradient" else reversed(parts)))
        start = jnp.zeros(COMPONENTS, jnp.float32)

        def step(state: Any, number: jax.Array) -> Any:
            noise = jax.random.normal(
                jax.random.fold_in(key, number + 2), start.shape, jnp.float32
            )
            g = jnp.sqrt(ratio) + jnp.sqrt(1 - ratio) * noise
            found, state = opt.update(g, state)
            updates = jnp.asarray(found)
            return state, (jnp.mean(updates), jnp.mean(updates**2))

        found = jax.lax.scan(step, opt.init(start), jnp.arange(2 * steps))[1]
        first, second = (x[steps:].mean() for x in found)
        return first, second - first**2

    return jax.vmap(lambda key: jax.vmap(lambda cell: one(key, cell))(cells))(keys)


def predicted(name: str, place: str, ratio: Any, share: float) -> tuple[Any, Any]:
    """Mean and variance of an update by the formulas, for long averages in v."""
    b1 = first_moment(name)
    k = (1 - b1) / (1 + b1)
    mean = np.sqrt(ratio)
    if place == "update":
        variance = k * (1 - ratio)
        square = (mean**2 + variance) / share
        return mean, square - mean**2
    if name.startswith("SGD"):
        return mean, k * (1 / share - ratio)
    return mean * np.sqrt(share), k * (1 - share * ratio)


def regression(
    parts: Split,
    name: str,
    place: str,
    shares: Sequence[float],
    seeds: Sequence[int],
    steps: int,
) -> dict[float, Real]:
    """Moments of the updates by share, of real gradients.

    The parameters stand still at those of a linear softmax after some training. The
    mean is the projection on the mean update without dropout; the variance that over
    time, its mean over the parameters whose gradient is not always 0, under SGD over
    the mean square of the gradients, as the formulas have it.
    """
    images, labels = (jnp.asarray(x) for x in parts.train)
    params = _trained(images, labels, parts.classes)
    flat, unravel = ravel_pytree(params)

    def one(key: jax.Array, share: jax.Array) -> jax.Array:
        drop = optim.gradient_dropout(jax.random.fold_in(key, 1), keep_prob=share)
        chain = [drop, transformation(name)]
        opt = optax.chain(*(chain if place == "gradient" else reversed(chain)))

        def step(carry: Any, number: jax.Array) -> Any:
            state, sums = carry
            rows = jax.random.randint(
                jax.random.fold_in(key, number + 2), (32,), 0, len(images)
            )
            g = jax.grad(lambda p: _loss(unravel(p), images[rows], labels[rows]))(flat)
            found, state = opt.update(g, state)
            u = jnp.asarray(found)
            late = (number >= steps).astype(jnp.float32) / steps
            return (state, sums + late * jnp.stack([u, u**2, g, g**2])), None

        start = opt.init(flat), jnp.zeros((4, *flat.shape), jnp.float32)
        return jax.lax.scan(step, start, jnp.arange(2 * steps))[0][1]

    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    wanted = jnp.asarray(shares, jnp.float32)
    grid = jax.vmap(lambda k: jax.vmap(lambda p: one(k, p))(wanted))
    sums = np.asarray(jax.jit(grid)(keys), np.float64)
    plain = sums[:, shares.index(1.0), 0]
    return {
        share: _real(name, place, share, sums[:, i], plain)
        for i, share in enumerate(shares)
    }


def _real(
    name: str, place: str, share: float, sums: np.ndarray, plain: np.ndarray
) -> Real:
    """Of [seeds, 4, parameters]: means of updates, gradients and their squares."""
    live = (sums[:, 3] > 0).all(0)
    first, second, mean, square = np.moveaxis(sums[:, :, live], 1, 0)
    variance = (second - first**2).mean(1)
    if name.startswith("SGD"):
        variance = variance / square.mean(1)
        r = (mean**2).mean(1) / square.mean(1)
    else:
        r = (mean**2 / square).mean(1)
    along = np.sum(sums[:, 0] * plain, 1) / np.sum(plain**2, 1)
    return Real(along, variance, r, predicted(name, place, r, share)[1])


def _loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    logits = x @ params["w"] + params["b"][None]
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))


def _trained(images: jax.Array, labels: jax.Array, classes: int) -> Any:
    zero = {
        "w": jnp.zeros((images.shape[1], classes), jnp.float32),
        "b": jnp.zeros(classes, jnp.float32),
    }

    def step(params: Any, _: None) -> Any:
        g = jax.grad(_loss)(params, images, labels)
        return jax.tree.map(lambda p, g: p - 0.02 * g, params, g), None

    return jax.jit(lambda p: jax.lax.scan(step, p, length=20)[0])(zero)
