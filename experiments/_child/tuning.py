"""Fine-tuning on few examples: every method, rate and seed in one program."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._harness.data import ImageData
from experiments._harness.data_types import order_of
from experiments._harness.devices import data_mesh, replicate, shard_batch
from experiments._taylor.training import apply, init
from kexue_jax import optim

Params = Any
KNOWN = 8  # classes of the pretraining


class Method(NamedTuple):
    """Shares kept of gradients and of updates, share of the mask, and of the rate."""

    name: str
    gradient: float = 1.0
    update: float = 1.0
    mask: float = 1.0
    slower: float = 1.0


class Cell(NamedTuple):
    """A fine-tuning."""

    method: Method
    rate: float
    seed: int


class Rows(NamedTuple):
    """Pretraining, few examples by seed, those that choose a rate, those that judge."""

    pretrain: tuple[np.ndarray, np.ndarray]
    few: dict[int, tuple[np.ndarray, np.ndarray]]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


class Answer(NamedTuple):
    """Of a fine-tuned network: accuracies, and how far it went."""

    validation: float
    test: float
    drift: float


def methods(shares: Sequence[float]) -> list[Method]:
    """Plain fine-tuning, and four methods at each share."""
    found = [Method("plain")]
    for p in shares:
        root = float(np.sqrt(p))
        found += [
            Method(f"F, p = {p:g}", gradient=p),
            Method(f"update dropout, p = {p:g}", update=p),
            Method(f"D, p = {p:g}", mask=p),
            Method(f"rate * sqrt({p:g})", slower=root),
        ]
    return found


def divide(data: ImageData, examples: int, seeds: Sequence[int]) -> Rows:
    """The known classes to pretrain on; few rows of all classes for each seed."""
    images = data.train_images.reshape(len(data.train_images), -1)
    labels = np.asarray(data.train_labels, np.int32)
    known = np.flatnonzero(labels < KNOWN)
    half = known[: len(known) // 2]
    rest = np.setdiff1d(np.arange(len(labels)), half)
    few = {}
    for seed in seeds:
        chosen = rest[order_of(len(rest), seed)[:examples]]
        few[seed] = images[chosen], labels[chosen]
    tested = data.test_images.reshape(len(data.test_images), -1)
    answers = np.asarray(data.test_labels, np.int32)
    order = order_of(len(tested), 0)
    third = len(order) // 3
    parts = [(tested[p], answers[p]) for p in (order[:third], order[third:])]
    return Rows((images[half], labels[half]), few, *parts)


def _loss(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.mean(
        optax.softmax_cross_entropy_with_integer_labels(apply(params, x), y)
    )


def pretrained(rows: Rows, width: int, seeds: Sequence[int], steps: int) -> Params:
    """Networks of the known classes, one a seed, by Adam; stacked."""
    images, labels = (jnp.asarray(x) for x in rows.pretrain)
    adam = optax.adam(3e-3)

    def one(key: jax.Array) -> Params:
        params = init(key, images.shape[1], width, KNOWN, 1.0)

        def step(carry: Any, number: jax.Array) -> Any:
            params, state = carry
            chosen = jax.random.randint(
                jax.random.fold_in(key, number), (32,), 0, len(images)
            )
            g = jax.grad(_loss)(params, images[chosen], labels[chosen])
            updates, state = adam.update(g, state)
            return (optax.apply_updates(params, updates), state), None

        start = params, adam.init(params)
        return jax.lax.scan(step, start, jnp.arange(steps))[0][0]

    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    return jax.jit(jax.vmap(one))(keys)


def tune(
    rows: Rows,
    start: Params,
    cells: Sequence[Cell],
    seeds: Sequence[int],
    steps: int,
    classes: int,
) -> dict[Cell, Answer]:
    """Every cell from the pretrained network of its seed, with a fresh last layer."""
    stack = lambda trees: jax.tree.map(lambda *x: np.stack(x), *trees)  # noqa: E731
    place = {seed: i for i, seed in enumerate(seeds)}
    begun = stack([_begin(start, place[s], s, classes) for s in seeds])
    few = [np.stack([rows.few[s][part] for s in seeds]) for part in (0, 1)]
    masks = {
        share: jax.jit(jax.vmap(functools.partial(_mask, share)))(begun, *few)
        for share in sorted({cell.method.mask for cell in cells})
    }

    def of(tree: Params, seed: int) -> Params:
        return jax.tree.map(lambda x: x[place[seed]], tree)

    models = {
        "params": stack([of(begun, c.seed) for c in cells]),
        "mask": stack([of(masks[c.method.mask], c.seed) for c in cells]),
        "gradient": np.array([c.method.gradient for c in cells], np.float32),
        "update": np.array([c.method.update for c in cells], np.float32),
        "rate": np.array([c.rate * c.method.slower for c in cells], np.float32),
        "number": np.array([place[c.seed] for c in cells], np.int32),
        "seed": np.array([c.seed for c in cells], np.int32),
    }
    data = {
        "images": few[0],
        "labels": few[1],
        "validation": rows.validation,
        "test": rows.test,
    }
    mesh = data_mesh(len(cells))
    program = jax.jit(lambda models, data: _program(models, data, steps))
    found = program(shard_batch(mesh, models), replicate(mesh, data))
    columns = [np.asarray(x, np.float64) for x in found]
    values = zip(*columns, strict=True)
    return {c: Answer(*map(float, v)) for c, v in zip(cells, values, strict=True)}


def _begin(start: Params, place: int, seed: int, classes: int) -> Params:
    """The network of one seed with a fresh last layer of all classes."""
    params = jax.tree.map(lambda x: x[place], start)
    width = params["layer_2"]["w"].shape[0]
    fresh = init(jax.random.key(seed + 10**6), 1, width, classes, 1.0)
    return {**params, "layer_2": fresh["layer_2"]}


def _mask(share: float, params: Params, x: jax.Array, y: jax.Array) -> Params:
    """The top share of Fisher of all layers but the last; the last is free."""

    def loss(params: Params, row: Any) -> jax.Array:
        return _loss(params, row[0][None], row[1][None])

    scores = optim.empirical_fisher_diagonal(loss, params, (x, y), chunk=50)
    include = jax.tree.map(lambda _: True, params)
    include["layer_2"] = dict.fromkeys(params["layer_2"], False)
    mask = optim.top_fraction_mask(scores, fraction=share, include=include)
    return jax.tree.map(lambda m, p: jnp.broadcast_to(m, p.shape), mask, params)


def _program(models: Any, data: Any, steps: int) -> tuple[jax.Array, ...]:
    def one(model: Any) -> tuple[jax.Array, ...]:
        key = jax.random.fold_in(jax.random.key(0), model["seed"])
        images, labels = (data[n][model["number"]] for n in ("images", "labels"))
        parts = [
            optim.gradient_dropout(
                jax.random.fold_in(key, 1), keep_prob=model["gradient"]
            ),
            optax.scale_by_adam(),
            optim.gradient_dropout(
                jax.random.fold_in(key, 2), keep_prob=model["update"]
            ),
        ]
        opt = optim.child_tuning_d(optax.chain(*parts), model["mask"])

        def step(carry: Any, number: jax.Array) -> Any:
            params, state = carry
            rows = jax.random.randint(
                jax.random.fold_in(key, number + 3), (16,), 0, len(images)
            )
            g = jax.grad(_loss)(params, images[rows], labels[rows])
            updates, state = opt.update(g, state, params)
            fall = 1 - number / steps
            params = jax.tree.map(
                lambda p, u: p - model["rate"] * fall * u, params, updates
            )
            return (params, state), None

        start = model["params"], opt.init(model["params"])
        (params, _), _ = jax.lax.scan(step, start, jnp.arange(steps, dtype=jnp.float32))
        moved = jax.tree.map(jnp.subtract, params, model["params"])
        body = {n: v for n, v in moved.items() if n != "layer_2"}
        return (
            _accuracy(params, *data["validation"]),
            _accuracy(params, *data["test"]),
            optim.global_norm(body),
        )

    return jax.vmap(one)(models)


def _accuracy(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.mean(jnp.argmax(apply(params, x), -1) == y)
