"""All seeds, rates and plans of one rule trained in one program."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._adax.tasks import Task
from experiments._harness.data_types import batches_of
from experiments._harness.devices import data_mesh, replicate, shard_batch
from kexue_jax import optim

PLANS = ("constant", "cosine")


class Rule(NamedTuple):
    """An optimizer before its rate: its parts and its decay."""

    name: str
    kind: str
    b2: float | None = None
    l2: bool = False

    @property
    def transformation(self) -> Any:
        """From gradients to a direction."""
        if self.kind == "momentum":
            return optax.trace(0.9)
        if self.kind == "optax":
            whole = optax.adafactor(min_dim_size_to_factor=FACTORED)
            return optax.chain(whole, optax.scale(-1.0))

        def weight(t: jax.Array) -> jax.Array:
            return optim.second_moment_weight(t, kind=self.kind, b2=self.b2)

        adam = self.kind == "adam"
        return optim.scale_by_second_moment_schedule(weight, bias_correction=adam)

    def rates(self, several: Sequence[float]) -> list[float]:
        """The rates to try: SGDM's are larger, AdaFactor's relative to the weights."""
        return [r * LARGER.get(self.kind, 1) for r in several]


FACTORED = 8  # matrices of at least so many rows and columns, in AdaFactor
LARGER = {"momentum": 30, "optax": 10}


def rules(b2: float) -> tuple[Rule, ...]:
    """What is compared; one AdaX-W freezes ten times as early."""
    return (
        Rule("SGDM", "momentum"),
        Rule("AdamW", "adam"),
        Rule("AdaX", "adax", b2, l2=True),
        Rule("AdaX-W", "adax", b2),
        Rule("AdaX-W, 10 b2", "adax", 10 * b2),
        Rule("AdaFactor", "optax"),
        Rule("AdaFactor's schedule", "adafactor"),
        Rule("running mean", "mean"),
    )


class Cell(NamedTuple):
    """One training of a rule."""

    rate: float
    plan: str
    seed: int


class Outcome(NamedTuple):
    """By cell: scores, [blocks] of test scores and losses, [steps] of change of v."""

    validation: dict[Cell, float]
    test: dict[Cell, float]
    scores: dict[Cell, np.ndarray]
    losses: dict[Cell, np.ndarray]
    change: dict[Cell, np.ndarray]

    @property
    def rates(self) -> list[float]:
        """The rates that were tried, in rising order."""
        return sorted({cell.rate for cell in self.validation})

    def best(self, plans: Sequence[str] = PLANS) -> tuple[float, str]:
        """Rate and plan of the best mean validation score, of the seeds with all."""
        settings = [(rate, plan) for rate in self.rates for plan in plans]
        scores = self.validation
        seeds = sorted(
            seed
            for seed in {cell.seed for cell in scores}
            if all(Cell(*setting, seed) in scores for setting in settings)
        )

        def worth(setting: tuple[float, str]) -> float:
            found = [scores[Cell(*setting, seed)] for seed in seeds]
            return float(np.mean(np.nan_to_num(found, nan=-np.inf)))

        return max(settings, key=worth)

    def joined(self, other: "Outcome") -> "Outcome":
        """The cells of both."""
        return Outcome(
            {**self.validation, **other.validation},
            {**self.test, **other.test},
            {**self.scores, **other.scores},
            {**self.losses, **other.losses},
            {**self.change, **other.change},
        )


class Budget(NamedTuple):
    """What decides a training beside rule and cell."""

    steps: int
    blocks: int
    batch_size: int
    decay: float


def search(
    rule: Rule,
    task: Task,
    rates: Sequence[float],
    seeds: Sequence[int],
    searched: int,
    budget: Budget,
) -> Outcome:
    """All settings at the first seeds; the best, and the best constant, at the rest."""
    settings = [(rate, plan) for rate in rule.rates(rates) for plan in PLANS]
    first = [Cell(*s, seed) for s in settings for seed in seeds[:searched]]
    found = train(rule, task, first, budget)
    chosen = sorted({found.best(), found.best(PLANS[:1])})
    rest = [Cell(*s, seed) for s in chosen for seed in seeds[searched:]]
    return found.joined(train(rule, task, rest, budget)) if rest else found


def train(rule: Rule, task: Task, cells: Sequence[Cell], budget: Budget) -> Outcome:
    """One model for each cell, divided over the devices."""
    seeds = sorted({cell.seed for cell in cells})
    steps = budget.steps // budget.blocks * budget.blocks
    orders = {
        seed: batches_of(len(task.train[0]), seed, steps, budget.batch_size)
        for seed in seeds
    }
    starts = {seed: task.init(jax.random.key(seed)) for seed in seeds}
    models = {
        "params": jax.tree.map(
            lambda *leaves: np.stack(leaves), *(starts[c.seed] for c in cells)
        ),
        "rate": np.array([c.rate for c in cells], np.float32),
        "cosine": np.array([c.plan == "cosine" for c in cells]),
        "order": np.stack(
            [
                orders[c.seed].reshape(budget.blocks, steps // budget.blocks, -1)
                for c in cells
            ]
        ),
    }
    mesh = data_mesh(len(cells))
    program = jax.jit(functools.partial(_program, rule, task, budget))
    data = task.train, task.validation, task.test
    found = program(shard_batch(mesh, models), *replicate(mesh, data))
    arrays = [np.asarray(x, np.float64) for x in found]
    validation, test, scores, losses, change = (
        dict(zip(cells, array, strict=True)) for array in arrays
    )
    numbers = ({c: float(v) for c, v in row.items()} for row in (validation, test))
    return Outcome(*numbers, scores=scores, losses=losses, change=change)


def _program(
    rule: Rule,
    task: Task,
    budget: Budget,
    models: Any,
    train: Any,
    chosen: Any,
    test: Any,
) -> Any:
    """Train all models of the leading axis."""
    direction = rule.transformation
    steps = models["order"].shape[1] * models["order"].shape[2]

    def one(params: Any, rate: Any, cosine: Any, order: Any) -> Any:
        def step(carry: Any, rows: jax.Array) -> Any:
            params, state, number = carry
            x, y = train[0][rows], train[1][rows]
            loss, gradient = jax.value_and_grad(task.loss)(params, x, y)
            if rule.l2 or rule.kind == "momentum":
                gradient = jax.tree.map(
                    lambda g, p: g + 1e-2 * budget.decay * p, gradient, params
                )
            before = state
            updates, state = direction.update(gradient, state, params)
            falling = (1 + jnp.cos(jnp.pi * number / steps)) / 2
            eta = rate * jnp.where(cosine, falling, 1)
            decay = 0.0 if rule.l2 or rule.kind == "momentum" else budget.decay
            params = jax.tree.map(
                lambda p, u: p - eta * (u + decay * p), params, updates
            )
            return (params, state, number + 1), (loss, _change(rule, before, state))

        def block(carry: Any, orders: jax.Array) -> Any:
            carry, (losses, change) = jax.lax.scan(step, carry, orders)
            score = task.score(carry[0], *test)
            return carry, (jnp.mean(losses), change, score)

        start = params, direction.init(params), jnp.zeros((), jnp.float32)
        (params, _, _), (losses, change, scores) = jax.lax.scan(block, start, order)
        return (
            task.score(params, *chosen),
            scores[-1],
            scores,
            losses,
            change.reshape(-1),
        )

    return jax.vmap(one)(
        models["params"], models["rate"], models["cosine"], models["order"]
    )


def _change(rule: Rule, before: Any, after: Any) -> jax.Array:
    """The mean of |v_{t+1} / v_t - 1| over the parameters whose v is not 0."""
    if rule.kind in LARGER:
        return jnp.zeros((), jnp.float32)
    total, count = jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32)
    pairs = zip(jax.tree.leaves(before.nu), jax.tree.leaves(after.nu), strict=True)
    for old, new in pairs:
        seen = old > 1e-20
        moved = jnp.abs(new / jnp.where(seen, old, 1) - 1)
        total += jnp.sum(jnp.where(seen, moved, 0))
        count += jnp.sum(seen)
    return total / jnp.maximum(count, 1)
