"""Deep ReLU networks on digits with wrong labels, under several penalties."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._harness.data_types import batches_of
from experiments._harness.devices import data_mesh, replicate, shard_batch
from experiments._taylor.training import Split, noisy
from kexue_jax import optim

Params = Any
OPTIMIZERS = ("SGD", "AdamW")
PENALTIES = ("none", "L2", "log", "WEISSI")
ATTACKS = (0.05, 0.1, 0.2)  # sizes of a step of the input's sign, pixels in [-1, 1]
LARGER = {"SGD": 1.0, "AdamW": 100.0}  # coefficients, for an equal pull in all
# Pulls on the directions over that on the norms, at the start.
DIRECTIONS = (0.1, 0.3, 1.0)


class Setting(NamedTuple):
    """What is compared: network, labels, optimizer; penalty where there is one."""

    depth: int
    noise: float
    biased: bool
    optimizer: str
    penalty: str = ""


class Cell(NamedTuple):
    """One training of a setting; ``direction`` is WEISSI's second pull over the first.

    The coefficient is that of SGD's L2: see ``LARGER`` and ``pull``.
    """

    coefficient: float
    seed: int
    direction: float = 0.0


class Answer(NamedTuple):
    """Of a trained network, by cell; accuracies under attack by size."""

    validation: float
    test: float
    attacked: tuple[float, ...]
    log_norms: float
    squares: float
    slope: float


class Budget(NamedTuple):
    """What decides a training beside setting and cell."""

    width: int
    steps: int
    batch_size: int


def init(key: jax.Array, sizes: Sequence[int], biased: bool = True) -> Params:
    """Normal weights [in, out] of variance 2 / fan-in."""
    params = {}
    for place in range(len(sizes) - 1):
        shape = sizes[place], sizes[place + 1]
        draw = jax.random.normal(jax.random.fold_in(key, place), shape, jnp.float32)
        layer = {"w": draw * np.float32(np.sqrt(2 / shape[0]))}
        if biased:
            layer["b"] = jnp.zeros(shape[1], jnp.float32)
        params[f"layer_{place:02d}"] = layer
    return params


def apply(params: Params, x: jax.Array) -> jax.Array:
    """Logits of x [rows, inputs]."""
    for place, name in enumerate(sorted(params)):
        layer = params[name]
        x = x @ layer["w"]
        if "b" in layer:
            x = x + layer["b"][None]
        x = jax.nn.relu(x) if place < len(params) - 1 else x
    return x


def cross_entropy(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
    """The mean over rows."""
    return jnp.mean(
        optax.softmax_cross_entropy_with_integer_labels(apply(params, x), y)
    )


class Match(NamedTuple):
    """Factors that make all penalties pull as hard as L2 where a training starts."""

    whole: np.ndarray
    direction: np.ndarray


def matched(params: Params) -> Match:
    """From the initial weights: the mean ||W||^2, and over the directions' pulls."""
    norms, pulls = [], []
    for layer in params.values():
        w = np.asarray(layer["w"], np.float64)
        n = np.linalg.norm(w)
        norms.append(n)
        pulls.append(np.linalg.norm(np.sign(w) / n - np.abs(w).sum() * w / n**3))
    whole, direction = np.mean(np.square(norms)), np.mean(norms) / np.mean(pulls)
    return Match(*(np.asarray(x, np.float32) for x in (whole, direction)))


def coefficients(penalty: str, cell: Cell, match: Match) -> np.ndarray:
    """Of L2, of the log term and of the directions.

    That of the log term is larger by mean ||W||^2 at the start, so that it pulls there
    as L2 does; the directions are pulled ``cell.direction`` times as hard.
    """
    whole = cell.coefficient
    found = {"none": (0.0, 0.0, 0.0), "L2": (whole, 0.0, 0.0)}
    second = whole * cell.direction * match.direction
    other = 0.0, whole * match.whole, second if penalty == "WEISSI" else 0.0
    return np.array(found.get(penalty, other), np.float32)


def pull(three: jax.Array, updates: Params, params: Params) -> Params:
    """Updates with the pull of the penalties: decoupled, before the rate."""
    decay = optax.chain(
        optax.add_decayed_weights(three[0], _matrices),
        optim.add_weissi_decay(three[1], three[2]),
    )
    return decay.update(updates, decay.init(params), params)[0]


def _matrices(params: Params) -> Params:
    return jax.tree.map(lambda p: p.ndim > 1, params)


def train(
    setting: Setting, parts: Split, cells: Mapping[str, Sequence[Cell]], budget: Budget
) -> dict[str, dict[Cell, Answer]]:
    """One model for each cell of each penalty, divided over the devices."""
    images, labels = parts.train
    asked = [(penalty, cell) for penalty in cells for cell in cells[penalty]]
    seeds = sorted({c.seed for _, c in asked})
    sizes = (images.shape[1], *[budget.width] * (setting.depth - 1), parts.classes)
    starts = {s: init(jax.random.key(s), sizes, setting.biased) for s in seeds}
    matches = {s: matched(starts[s]) for s in seeds}
    wrong = {s: noisy(labels, setting.noise, parts.classes, s) for s in seeds}
    plan = budget.steps, budget.batch_size
    orders = {s: batches_of(len(images), s, *plan) for s in seeds}
    larger = np.float32(LARGER[setting.optimizer])
    models = {
        "params": jax.tree.map(
            lambda *leaves: np.stack(leaves), *(starts[c.seed] for _, c in asked)
        ),
        "labels": np.stack([wrong[c.seed] for _, c in asked]),
        "order": np.stack([orders[c.seed] for _, c in asked]),
        "pull": larger
        * np.stack([coefficients(p, c, matches[c.seed]) for p, c in asked]),
    }
    mesh = data_mesh(len(asked))
    program = jax.jit(functools.partial(_program, setting.optimizer))
    data = replicate(mesh, (images, parts.validation, parts.test))
    found = program(shard_batch(mesh, models), *data)
    columns = [np.asarray(x, np.float64) for x in found]
    answers: dict[str, dict[Cell, Answer]] = {penalty: {} for penalty in cells}
    for place, (penalty, cell) in enumerate(asked):
        validation, test, attacked, *rest = (c[place] for c in columns)
        harmed = tuple(map(float, attacked))
        answers[penalty][cell] = Answer(
            float(validation), float(test), harmed, *map(float, rest)
        )
    return answers


def _program(
    optimizer: str, models: Any, images: jax.Array, chosen: Any, test: Any
) -> tuple[jax.Array, ...]:
    adam = optimizer == "AdamW"
    direction = optax.scale_by_adam() if adam else optax.trace(0.9)
    rate = 2e-3 if adam else 2e-2

    def one(model: Any) -> tuple[jax.Array, ...]:
        steps = len(model["order"])

        def step(carry: Any, item: Any) -> Any:
            params, state = carry
            rows, number = item
            batch = images[rows], model["labels"][rows]
            g = jax.grad(cross_entropy)(params, *batch)
            if not adam:
                g = pull(model["pull"], g, params)
            u, state = direction.update(g, state, params)
            if adam:
                u = pull(model["pull"], u, params)
            eta = rate * (1 - number / steps)
            return (jax.tree.map(lambda p, u: p - eta * u, params, u), state), None

        start = model["params"], direction.init(model["params"])
        numbers = jnp.arange(steps, dtype=jnp.float32)
        (params, _), _ = jax.lax.scan(step, start, (model["order"], numbers))
        return (
            _accuracy(params, *chosen),
            _accuracy(params, *test),
            jnp.stack([_attacked(params, test[0], test[1], s) for s in ATTACKS]),
            optim.log_norm_product(params),
            optim.l2_penalty(params, coef=1.0),
            slope(params, test[0]),
        )

    return jax.vmap(one)(models)


def _accuracy(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.mean(jnp.argmax(apply(params, x), -1) == y)


def _attacked(params: Params, x: jax.Array, y: jax.Array, size: float) -> jax.Array:
    """Accuracy after one step along the sign of the loss's gradient in the input."""
    g = jax.grad(cross_entropy, argnums=1)(params, x, y)
    return _accuracy(params, jnp.clip(x + size * jnp.sign(g), -1, 1), y)


def slope(params: Params, x: jax.Array) -> jax.Array:
    """The mean Frobenius norm of the gradient of the logits in the input."""
    each = jax.vmap(jax.jacobian(lambda x: apply(params, x[None])[0]))(x[:64])
    return jnp.mean(jnp.sqrt(jnp.sum(each**2, (1, 2))))
