"""Perceptrons on labelled images: start, loss of an example, what is measured."""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.data import ImageData
from experiments._harness.errors import UserError
from kexue_jax import theory, training

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, "gelu": jax.nn.gelu}
NORMS = ("frobenius", "spectral", "jacobian")

Params = list[tuple[jax.Array, jax.Array]]


class Rows(NamedTuple):
    """Images as vectors in [-1, 1] and labels, to train on and to test on."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    classes: int


class Measured(NamedTuple):
    """Of one network and all rows: losses, penalties, accuracy, both sides.

    ``of_mean`` is |grad_theta mean L|^2, ``by_parameters`` mean |grad_theta L_i|^2,
    ``by_input`` mean |grad_x L_i|^2, ``lower`` mean of the sharp left side, all of the
    same training rows.
    """

    loss: Any
    of_mean: Any
    by_parameters: Any
    by_input: Any
    lower: Any
    test_accuracy: Any
    test_loss: Any


def rows(data: ImageData, most: int) -> Rows:
    """At most ``most`` rows to train on, all others to test on."""
    if data.train_labels is None or data.test_labels is None:
        raise UserError(f"--dataset={data.name} has no labels")

    def flat(images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1)

    return Rows(
        flat(data.train_images)[:most],
        data.train_labels[:most],
        flat(data.test_images),
        data.test_labels,
        data.num_classes,
    )


@functools.partial(jax.jit, static_argnames=("sizes", "scale"))
def init(key: jax.Array, sizes: tuple[int, ...], scale: float = 1.0) -> Params:
    """Kernels [out, in] of variance scale / in, biases 0."""
    layers = []
    for place, (m, n) in enumerate(itertools.pairwise(sizes)):
        own = jax.random.fold_in(key, place)
        w = jax.random.normal(own, (n, m)) * np.sqrt(scale / m).astype(np.float32)
        layers.append((w, jnp.zeros(n)))
    return layers


def sizes_of(data: Rows, width: int, depth: int) -> tuple[int, ...]:
    """The widths of a network of ``depth`` layers."""
    return (data.x.shape[1], *(width,) * (depth - 1), data.classes)


def activations(name: str, depth: int) -> list[Any]:
    """One a layer, none after the last."""
    return [ACTIVATIONS[name]] * (depth - 1) + [lambda z: z]


def loss(h: jax.Array, label: jax.Array) -> jax.Array:
    """The cross entropy of one example."""
    return -jax.nn.log_softmax(h)[label]


def logits(params: Params, x: jax.Array, name: str) -> jax.Array:
    """The network's result for x [..., d]."""
    for place, (w, b) in enumerate(params):
        x = x @ w.T + b.reshape((1,) * (x.ndim - 1) + b.shape)
        x = ACTIVATIONS[name](x) if place < len(params) - 1 else x
    return x


def mean_loss(params: Params, x: jax.Array, y: jax.Array, name: str) -> jax.Array:
    """The mean cross entropy of a batch."""
    return jax.vmap(loss)(logits(params, x, name), y).mean()


def bound(params: Params, x: Any, y: Any, name: str, norm: str) -> Any:
    """Both sides of the inequality for every row."""
    phi = activations(name, len(params))
    return theory.mlp_gradient_bound(params, x, loss, phi, targets=y, norm=norm)


@functools.partial(jax.jit, static_argnames=("name",))
def sides(params: Params, x: Any, y: Any, name: str) -> dict[str, tuple[Any, Any]]:
    """Left and right side under each norm, of many networks and every row."""

    def one(params: Params) -> dict[str, tuple[Any, Any]]:
        found = {norm: bound(params, x, y, name, norm) for norm in NORMS}
        return {norm: (b.lhs, b.rhs) for norm, b in found.items()}

    return jax.vmap(one)(params)


def quotients(left: Any, right: Any) -> np.ndarray:
    """Left over right where they are not both 0: infinite where only the right is."""
    left, right = np.ravel(left), np.ravel(right)
    kept = (left != 0) | (right != 0)
    with np.errstate(divide="ignore"):
        return left[kept] / right[kept]


def measured(params: Params, data: Any, name: str) -> Measured:
    """The Measured of one network; ``data`` is (x, y, test_x, test_y)."""
    x, y, test_x, test_y = data
    value, grads = jax.value_and_grad(mean_loss)(params, x, y, name)
    phi = activations(name, len(params))
    by_parameters = training.mlp_parameter_penalty(params, x, loss, phi, targets=y)
    found = bound(params, x, y, name, "jacobian")
    by_input = training.input_gradient_penalty(
        lambda one, label: loss(logits(params, one, name), label), x, targets=y
    )
    tested = logits(params, test_x, name)
    return Measured(
        value,
        sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(grads)),
        by_parameters.mean(),
        by_input.mean(),
        found.lhs.mean(),
        (tested.argmax(-1) == test_y).mean(),
        jax.vmap(loss)(tested, test_y).mean(),
    )
