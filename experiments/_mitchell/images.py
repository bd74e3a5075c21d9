"""A small convolutional network, trained with every arm and read layer by layer."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._harness.data import ImageData
from experiments._harness.data_types import batches_of
from experiments._harness.devices import by_rows
from experiments._harness.errors import UserError
from experiments._mitchell.arms import EXACT, Arm
from experiments._mitchell.optimizer import mitchell_adam

LAYERS = ("conv 1", "conv 2", "conv 3", "dense", "out")
STRIDES = (1, 2, 2)
AT_ONCE = 64


class Plan(NamedTuple):
    """Sizes of the network and of its training."""

    width: int
    steps: int
    batch_size: int
    rate: float


class Rows(NamedTuple):
    """Images float32 [N, H, W, C] with labels int32 [N]."""

    images: np.ndarray
    labels: np.ndarray


def rows_of(data: ImageData) -> tuple[Rows, Rows]:
    """To train on and to test on."""
    if data.train_labels is None or data.test_labels is None:
        raise UserError(f"--dataset={data.name} has no labels")
    return (
        Rows(data.train_images, data.train_labels),
        Rows(data.test_images, data.test_labels),
    )


def init(key: jax.Array, shape: Sequence[int], classes: int, width: int) -> Any:
    """Normal weights of variance 2 / fan-in, biases 0; no layer normalizes."""
    height, wide, channels = shape
    for stride in STRIDES:
        height, wide = -(-height // stride), -(-wide // stride)
    flat = height * wide * 4 * width
    kernels = [
        (3, 3, channels, width),
        (3, 3, width, 2 * width),
        (3, 3, 2 * width, 4 * width),
        (flat, 4 * width),
        (4 * width, classes),
    ]
    keys = jax.random.split(key, len(kernels))
    return [
        (
            jax.random.normal(k, size, jnp.float32)
            * float(2 / np.prod(size[:-1])) ** 0.5,
            jnp.zeros(size[-1], jnp.float32),
        )
        for k, size in zip(keys, kernels, strict=True)
    ]


def layer(number: int, kernel: jax.Array, x: jax.Array, arm: Arm) -> jax.Array:
    """The sums of products of a layer, before its bias."""
    if number < len(STRIDES):
        return arm.conv(x, kernel, STRIDES[number])
    return arm.matmul(x.reshape(len(x), -1), kernel)


def apply(params: Any, x: Any, arm: Arm) -> jax.Array:
    """Logits."""
    return streams(params, x, arm)[-1]


def streams(params: Any, x: Any, arm: Arm) -> list[jax.Array]:
    """What enters each layer, and the logits."""
    found = [x]
    for number, (kernel, bias) in enumerate(params):
        y = layer(number, kernel, found[-1], arm)
        y = y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)
        found.append(jax.nn.relu(y) if number < len(params) - 1 else y)
    return found


def train(arm: Arm, data: Rows, plan: Plan, seeds: Sequence[int]) -> list[Any]:
    """The parameters of each seed; start and batches depend on the seed alone."""
    classes = int(data.labels.max()) + 1
    shape = data.images.shape[1:]
    program = jax.jit(functools.partial(_trained, arm, plan))
    orders = {
        s: batches_of(len(data.labels), s, plan.steps, plan.batch_size) for s in seeds
    }
    starts = {s: init(jax.random.key(s), shape, classes, plan.width) for s in seeds}
    devices = jax.local_devices()
    found = [
        program(
            *jax.device_put((starts[s], orders[s], data), devices[i % len(devices)])
        )
        for i, s in enumerate(seeds)
    ]
    return jax.device_get(found)


def _trained(arm: Arm, plan: Plan, params: Any, orders: jax.Array, data: Rows) -> Any:
    rate = optax.cosine_decay_schedule(plan.rate, plan.steps)
    adam = mitchell_adam(rate) if arm.optimizer else optax.adam(rate)

    def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        logits = apply(params, x, arm)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))

    def step(carry: Any, rows: jax.Array) -> Any:
        params, state = carry
        g = jax.grad(loss)(params, data.images[rows], data.labels[rows])
        updates, state = adam.update(g, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, adam.init(params)), orders)[0][0]


def accuracies(several: Sequence[Any], data: Rows, arm: Arm) -> np.ndarray:
    """Shares of right answers, one a network."""

    @jax.jit
    def named(params: Any, images: jax.Array) -> tuple[jax.Array]:
        return (jnp.argmax(apply(params, images, arm), -1),)

    found = [by_rows(named, p, (data.images,), at_once=AT_ONCE)[0] for p in several]
    return np.array([float(np.mean(f == data.labels)) for f in found])


def shrink(params: Any, images: np.ndarray, arm: Arm) -> np.ndarray:
    """[layers, 3]: how the sums of products of ``arm`` lie on the exact ones.

    Their slope and what is left, the input exact; and the slope of what enters the
    layer, errors of all layers before it gathered.
    """

    @jax.jit
    def measured(params: Any, images: jax.Array) -> jax.Array:
        exact, own = (streams(params, images, a) for a in (EXACT, arm))
        rows = []
        for number, (kernel, _) in enumerate(params):
            wanted, found = (
                layer(number, kernel, exact[number], a) for a in (EXACT, arm)
            )
            gathered = slope(exact[number], own[number])
            rows.append(jnp.stack([*fit(wanted, found), gathered]))
        return jnp.stack(rows)

    return np.asarray(measured(params, images), np.float64)


def slope(wanted: jax.Array, found: jax.Array) -> jax.Array:
    """<wanted, found> / <wanted, wanted>."""
    return jnp.sum(wanted * found) / jnp.sum(wanted * wanted)


def fit(wanted: jax.Array, found: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The slope, and |found / slope - wanted| / |wanted|."""
    s = slope(wanted, found)
    rest = jnp.sqrt(jnp.sum((found / s - wanted) ** 2) / jnp.sum(wanted**2))
    return s, rest
