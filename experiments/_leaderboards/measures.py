"""What the leaderboards say: means, ranks under every order, and on fewer tasks."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax import evaluation
from kexue_jax.evaluation import ScoreTable

NAMES = ("AM", "GM", "HM")
ORDERS = (1.0, 0.0, -1.0)
HUMAN = "Human"


class Curves(NamedTuple):
    """Ranks [P, m] under the orders [P], every row on the same tasks or not."""

    orders: np.ndarray
    same: np.ndarray
    mixed: np.ndarray


class Stability(NamedTuple):
    """How the ranks of a table move.

    inversions [3, 3] between the means; left_out [3, k, m] ranks with one task left
    out; shares [3, m] of bootstrap samples in which a system is the first.
    """

    inversions: np.ndarray
    left_out: np.ndarray
    shares: np.ndarray


@jax.jit
def _three(scores: jax.Array, kept: jax.Array) -> jax.Array:
    rows = [evaluation.power_mean(scores, p, where=kept) for p in ORDERS]
    return jnp.stack(rows, -1)


def means(table: ScoreTable, kept: np.ndarray) -> np.ndarray:
    """AM, GM and HM [m, 3] of the cells that are kept [m, k]."""
    filled = np.where(table.reported, table.scores, 1.0)
    return np.asarray(_three(jnp.asarray(filled), jnp.asarray(kept)))


def first(table: ScoreTable, tasks: int) -> np.ndarray:
    """The mask [m, k] of the first tasks."""
    kept = np.arange(len(table.tasks)) < tasks
    return np.broadcast_to(kept, table.reported.shape)


def rank_curves(table: ScoreTable, steps: int) -> Curves:
    """Ranks over p from -5 to 5: on the official tasks, and as the paper mixed them.

    The mixed sets: a row has all the tasks that it reports, diagnostic ones too.
    """
    orders = jnp.linspace(-5.0, 5.0, steps)
    filled = jnp.asarray(np.where(table.reported, table.scores, 1.0))
    same = first(table, table.official)

    @jax.jit
    def ranks(kept: jax.Array) -> jax.Array:
        one = lambda p: evaluation.power_mean(filled, p, where=kept)  # noqa: E731
        return evaluation.rank(jax.vmap(one)(orders))

    both = [np.asarray(ranks(jnp.asarray(k))) for k in (same, table.reported)]
    return Curves(np.asarray(orders), *both)


def stability(scores: np.ndarray, key: jax.Array, samples: int) -> Stability:
    """Inversions of the means, ranks without a task, firsts over resampled tasks."""

    @jax.jit
    def all_of(wide: jax.Array) -> tuple[jax.Array, ...]:
        found = evaluation.rank_sensitivity(wide, orders=ORDERS)
        left = [evaluation.leave_one_out_ranks(wide, p) for p in ORDERS]
        drawn = [
            evaluation.bootstrap_ranks(key, wide, p, samples=samples) for p in ORDERS
        ]
        shares = [jnp.mean(ranks == 1, 0) for ranks in drawn]
        return found.inversions, jnp.stack(left), jnp.stack(shares)

    return Stability(*map(np.asarray, all_of(jnp.asarray(scores))))


def mixed_human(table: ScoreTable) -> np.ndarray:
    """The human's rank under each mean where every row has all that it reports."""
    place = table.systems.index(HUMAN)
    values = means(table, table.reported)
    return 1 + (values > values[place]).sum(0)


def human_ranks(table: ScoreTable, tasks: int) -> np.ndarray:
    """The human's rank under each mean on the first ``tasks`` tasks."""
    place = table.systems.index(HUMAN)
    values = means(table, first(table, tasks))
    return 1 + (values > values[place]).sum(0)


def official_gap(table: ScoreTable, glue: bool) -> np.ndarray:
    """The average of the official tasks less the published one, known rows alone."""
    scores = table.scores[:, : table.official]
    if glue:  # its own average counts both halves of MNLI as one task
        halves = scores[:, 5:7].mean(1, keepdims=True)
        scores = np.concatenate([scores[:, :5], halves, scores[:, 7:]], 1)
    known = ~np.isnan(table.published)
    return (scores.mean(1) - table.published)[known]


def rules_found(table: ScoreTable) -> dict[str, tuple[int, ...]]:
    """By mean: the number of first tasks that each row of mixed averages gives away.

    The averages are made as the paper's tables were (AM of the official tasks, GM and
    HM of all that a row reports), rounded to one decimal; 0 where no or several
    numbers of tasks fit.
    """
    official = first(table, table.official) & table.reported
    values = [means(table, kept) for kept in (official, *(table.reported,) * 2)]
    found = {}
    for i, (name, p) in enumerate(zip(NAMES, ORDERS, strict=True)):
        published = jnp.asarray(np.round(values[i][:, i], 1))
        infer = jax.jit(
            lambda scores, published, p=p: evaluation.infer_aggregation(
                scores, published, reported=table.reported, orders=(p,)
            )
        )
        rows = np.asarray(infer(jnp.asarray(table.scores), published).fits)[0].T
        found[name] = tuple(
            int(np.flatnonzero(row)[0]) + 1 if row.sum() == 1 else 0 for row in rows
        )
    return found
