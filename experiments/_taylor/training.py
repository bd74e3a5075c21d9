"""Small networks of one head, all seeds, margins and label noises trained at once."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._harness.data import ImageData
from experiments._harness.data_types import order_of
from experiments._harness.devices import data_mesh, replicate, shard_batch
from experiments._harness.errors import UserError
from kexue_jax import losses, numerics

Params = dict[str, Any]


class Head(NamedTuple):
    """How logits become probabilities: order 0 is the ordinary softmax.

    ``large`` starts the last layer as the hidden ones, with logits of unit size.
    """

    order: int
    monotone: bool
    large: bool = False

    @property
    def name(self) -> str:
        """The row of a table."""
        name = f"n={self.order}" if self.order else "softmax"
        name = f"{name} monotone" if self.monotone else name
        return f"{name}, large start" if self.large else name


class Split(NamedTuple):
    """Rows as vectors in [-1, 1] with labels: to train on, to choose by, to judge."""

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    classes: int


class Plan(NamedTuple):
    """What decides a training beside the head."""

    width: int
    output_scale: float
    epochs: int
    batch_size: int
    learning_rate: float


class Cell(NamedTuple):
    """A model: the label noise that it saw, its margin and its seed."""

    noise: float
    margin: float
    seed: int


class Answers(NamedTuple):
    """Log-probabilities of each cell's model: [rows, classes] by cell."""

    validation: dict[Cell, np.ndarray]
    test: dict[Cell, np.ndarray]


def split(data: ImageData, train: int, validation: int) -> Split:
    """All rows of ``data`` in one fixed order, the same for every seed."""
    if data.train_labels is None or data.test_labels is None:
        raise UserError(f"--dataset={data.name} has no labels")
    images = np.concatenate([data.train_images, data.test_images])
    images = images.reshape(len(images), -1)
    labels = np.concatenate([data.train_labels, data.test_labels]).astype(np.int32)
    if train + validation >= len(images):
        raise UserError(
            f"--train_size={train} and --validation_size={validation} leave nothing of "
            f"{len(images)} images to test on"
        )
    order = order_of(len(images), 0)
    parts = np.split(order, [train, train + validation])
    train_rows, chosen, tested = ((images[p], labels[p]) for p in parts)
    return Split(train_rows, chosen, tested, data.num_classes)


def noisy(labels: np.ndarray, rate: float, classes: int, seed: int) -> np.ndarray:
    """The labels, exactly ``rate`` of them replaced by another class at random."""
    count = round(rate * len(labels))
    places = order_of(len(labels), seed, 10**6)[:count]
    draw = np.random.Philox(key=np.array([seed, 10**6 + 1], np.uint64))
    shifts = 1 + draw.random_raw(count) % np.uint64(classes - 1)
    result = labels.copy()
    result[places] = (labels[places] + shifts.astype(np.int64)) % classes
    return result


def log_probabilities(head: Head, logits: jax.Array) -> jax.Array:
    """What the head makes of logits, without margin."""
    if not head.order:
        return jax.nn.log_softmax(logits)
    return numerics.log_taylor_softmax(logits, order=head.order, monotone=head.monotone)


def loss(
    head: Head, logits: jax.Array, labels: jax.Array, margin: jax.Array
) -> jax.Array:
    """The cross entropy of each example, with a margin."""
    if not head.order:
        return losses.soft_margin_cross_entropy(logits, labels, margin=margin)
    return losses.taylor_cross_entropy(
        logits, labels, order=head.order, margin=margin, monotone=head.monotone
    )


def init(
    key: jax.Array, inputs: int, width: int, classes: int, output_scale: float
) -> Params:
    """Two hidden layers; normal weights of variance 2 / fan-in, biases 0.

    The last weights are times ``output_scale``: the size of logits matters here.
    """
    sizes = (inputs, width, width, classes)
    layers = {}
    for i in range(3):
        shape = sizes[i : i + 2]
        weight = jax.random.normal(jax.random.fold_in(key, i), shape, jnp.float32)
        scale = np.float32(np.sqrt(2 / shape[0]) * (output_scale if i == 2 else 1))
        layers[f"layer_{i}"] = {"w": weight * scale, "b": jnp.zeros(shape[1])}
    return layers


def apply(params: Params, x: jax.Array) -> jax.Array:
    """Logits of x [rows, inputs]."""
    for i in range(3):
        layer = params[f"layer_{i}"]
        x = x @ layer["w"] + layer["b"][None]
        x = jax.nn.relu(x) if i < 2 else x
    return x


def train(head: Head, cells: Sequence[Cell], parts: Split, plan: Plan) -> Answers:
    """One model for each cell, divided over the devices, and its answers."""
    images, labels = parts.train
    orders = {c.seed: _orders(len(images), c.seed, plan) for c in cells}
    seen = {(c.noise, c.seed): c for c in cells}
    corrupted = {
        known: noisy(labels, known[0], parts.classes, known[1]) for known in seen
    }
    scale = 1.0 if head.large else plan.output_scale
    sizes = images.shape[1], plan.width, parts.classes
    starts = {c.seed: init(jax.random.key(c.seed), *sizes, scale) for c in cells}
    per_model = {
        "params": jax.tree.map(
            lambda *leaves: np.stack(leaves), *(starts[c.seed] for c in cells)
        ),
        "margin": jnp.asarray([c.margin for c in cells], jnp.float32),
        "order": np.stack([orders[c.seed] for c in cells]),
        "labels": np.stack([corrupted[c.noise, c.seed] for c in cells]),
    }
    mesh = data_mesh(len(cells))
    asked = {"validation": parts.validation[0], "test": parts.test[0]}
    program = jax.jit(_program, static_argnums=(0, 1))
    found = program(
        head,
        plan,
        shard_batch(mesh, per_model),
        *replicate(mesh, (images, asked)),
    )
    return Answers(
        *(
            dict(zip(cells, np.asarray(found[name], np.float64), strict=True))
            for name in Answers._fields
        )
    )


def _orders(rows: int, seed: int, plan: Plan) -> np.ndarray:
    """Rows of every batch, [steps, batch_size]; what an epoch cannot fill is left."""
    size = min(plan.batch_size, rows)
    whole = rows // size * size
    epochs = [order_of(rows, seed, e)[:whole] for e in range(plan.epochs)]
    return np.concatenate(epochs).reshape(-1, size).astype(np.int32)


def _program(
    head: Head,
    plan: Plan,
    models: dict[str, Any],
    images: jax.Array,
    asked: dict[str, jax.Array],
) -> dict[str, jax.Array]:
    """Train all models of the leading axis; their log-probabilities of all asked."""
    adam = optax.adam(plan.learning_rate)

    def total(params: Params, rows: jax.Array) -> jax.Array:
        def one(params: Any, rows: Any, labels: Any, margin: Any) -> jax.Array:
            return loss(head, apply(params, images[rows]), labels[rows], margin).mean()

        each = jax.vmap(one)(params, rows, models["labels"], models["margin"])
        return each.sum()

    def step(state: Any, rows: jax.Array) -> tuple[Any, None]:
        params, moments = state
        updates, moments = adam.update(jax.grad(total)(params, rows), moments)
        return (optax.apply_updates(params, updates), moments), None

    rows = jnp.moveaxis(models["order"], 1, 0)
    params = models["params"]
    (params, _), _ = jax.lax.scan(step, (params, adam.init(params)), rows)
    answer = jax.vmap(apply, (0, None))
    return {n: log_probabilities(head, answer(params, x)) for n, x in asked.items()}
