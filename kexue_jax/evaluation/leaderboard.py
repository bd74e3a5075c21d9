"""Tables of systems by tasks: one mean over one set of tasks, or a refusal."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.evaluation.means import Order, mean_of, order_of, wide_mean
from kexue_jax.evaluation.ranking import METHODS, ranks_of

POLICIES = ("error", "intersect", "per_row")


class LeaderboardResult(NamedTuple):
    """values and ranks [..., m]; tasks_used [m, k]; mixed: rows of unequal tasks."""

    values: jax.Array
    ranks: jax.Array
    tasks_used: jax.Array
    mixed: jax.Array


class Aggregation(NamedTuple):
    """The mean of the first j tasks under each order, and whether it was published.

    values and fits [P, k, m]: entry [i, j - 1, s] is of orders[i], of the first j
    tasks, of system s.
    """

    values: jax.Array
    fits: jax.Array


class MetricTable(NamedTuple):
    """One score a task, NaN where there is none, and which are there (NumPy)."""

    scores: np.ndarray
    reported: np.ndarray


def leaderboard(
    scores: jax.Array,
    *,
    reported: Any = None,
    p: float = 1.0,
    weights: jax.Array | None = None,
    missing: str = "error",
    method: str = "min",
    tolerance: float = 0.0,
    names: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
) -> LeaderboardResult:
    """One mean for each system over one set of tasks, and the ranks by it.

    values = M_p of the scores of tasks_used. Where a system did not report a task,
    ``missing`` decides: "error" refuses and names the cell, "intersect" uses the tasks
    that all systems reported, "per_row" averages each row over what it has, which
    ranks quantities that cannot be compared; its result says so by ``mixed``.

    Shapes: scores [..., m, k], reported [m, k] of bool and known at trace time (None:
    all), weights [k] -> values, ranks [..., m], tasks_used [m, k], mixed [].
    Article: kexue.fm/archives/8783.  Paper: arXiv 2112.01342.
    Differs: "per_row" is what the paper's tables did and must be asked for by name. A
    NaN is never taken for a missing score: ``reported`` says which are.
    Cost: O(m (k + log m)).
    Raises: TypeError or ValueError as ``power_mean`` does; for scores not reported
    under "error"; where no task is left; for names or tasks of a wrong number.
    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from kexue_jax.evaluation import leaderboard
        >>> scores = jnp.array([[90.0, 80.0, 50.0], [86.0, 82.0, 0.0]])
        >>> reported = np.array([[True, True, True], [True, True, False]])
        >>> for policy in ("intersect", "per_row"):
        ...     print(leaderboard(scores, reported=reported, missing=policy).ranks)
        [1 2]
        [2 1]
    """
    name = "leaderboard"
    checks.array(name, "scores", scores)
    checks.shapes(name, scores=(scores, "... m k"))
    checks.choice(name, "missing", missing, POLICIES)
    checks.choice(name, "method", method, METHODS)
    checks.number(name, "tolerance", tolerance, minimum=0)
    checks.number(name, "p", p)
    table = _reported(name, scores, reported)
    labels = (
        _labels(name, "names", names, 0, table),
        _labels(name, "tasks", tasks, 1, table),
    )
    if missing == "error" and not table.all():
        row, column = (int(i) for i in np.argwhere(~table)[0])
        got = f"{(~table).sum()} cells without, first {labels[0][row]}"
        got += f" on {labels[1][column]}"
        raise checks.fail(name, "reported", got, 'True everywhere for missing="error"')
    used = np.broadcast_to(table.all(0), table.shape) if missing != "per_row" else table
    if not used.any(-1).all():
        wanted = "of a task for every system under this policy"
        raise checks.fail(name, "reported", "no task in common", wanted)
    if weights is not None:
        checks.array(name, "weights", weights)
        checks.shapes(name, scores=(scores, "... m k"), weights=(weights, "k"))
    where = used.reshape((1,) * (scores.ndim - 2) + used.shape)
    values = wide_mean(name, scores, p, weights, where)
    ranks = ranks_of(values, method, tolerance)
    mixed = bool((used != used[:1]).any()) if used.size else False
    values = values.astype(scores.dtype)
    return LeaderboardResult(values, ranks, jnp.asarray(used), jnp.asarray(mixed))


def _reported(name: str, scores: Any, reported: Any) -> np.ndarray:
    """Which cells [m, k] are there; NaN among them is a fault."""
    shape = scores.shape[-2:]
    if 0 in shape:
        wanted = "of at least one system and one task"
        raise checks.fail(name, "scores", f"shape {scores.shape}", wanted)
    if reported is None:
        return np.ones(shape, bool)
    table = checks.concrete(name, "reported", reported, "boolean")
    if table.shape != shape:
        wanted = f"of shape {shape}, that of the last axes of `scores`"
        raise checks.fail(name, "reported", f"shape {table.shape}", wanted)
    return table


def _labels(
    name: str, argument: str, given: Any, axis: int, table: np.ndarray
) -> list[str]:
    """What errors call the rows and columns: their names, or their numbers."""
    count = table.shape[axis]
    if given is None:
        return [f"{('row', 'column')[axis]} {i}" for i in range(count)]
    strings = isinstance(given, Sequence) and not isinstance(given, str)
    if not strings or not all(isinstance(g, str) for g in given):
        raise checks.fail_type(name, argument, repr(given), "a sequence of strings")
    if len(given) != count:
        raise checks.fail(name, argument, f"{len(given)} strings", f"{count} strings")
    return list(given)


def infer_aggregation(
    scores: jax.Array,
    published: jax.Array,
    *,
    reported: Any = None,
    orders: Sequence[float] = (1.0, 0.0, -1.0),
    tolerance: float = 0.05,
) -> Aggregation:
    """Which means of which first tasks reproduce published averages.

    values[i, j - 1, s] = M_{orders[i]} of the first j scores of system s, and fits is
    |values - published| <= tolerance (1 + 1e-6). Where the rows fit with unequal j the
    published numbers were averaged over unequal tasks.

    Shapes: scores [m, k], published [m], reported [m, k] of bool, known at trace time
    (None: all) -> two of [P, k, m].
    Article: kexue.fm/archives/8783 (how it found the rules).  Paper: arXiv 2112.01342.
    Differs: no. A mean that does not exist (a missing or a negative score) is NaN and
    fits nothing; half of the last published digit is the natural tolerance.
    Cost: O(P k^2 m).
    Raises: TypeError or ValueError for bad shapes, kinds or dtypes, orders that are no
    numbers, a negative tolerance.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import infer_aggregation
        >>> scores = jnp.array([[90.0, 80.0, 50.0], [84.0, 82.0, 60.0]])
        >>> fits = infer_aggregation(scores, jnp.array([73.3, 83.0]), orders=(1,)).fits
        >>> print(fits[0].astype(int).tolist())
        [[0, 0], [0, 1], [1, 0]]
    """
    name = "infer_aggregation"
    checks.array(name, "scores", scores)
    checks.array(name, "published", published)
    checks.shapes(name, scores=(scores, "m k"), published=(published, "m"))
    checks.same_dtype(name, scores=scores, published=published)
    checks.number(name, "tolerance", tolerance, minimum=0)
    if not isinstance(orders, Sequence) or isinstance(orders, str) or not orders:
        got, wanted = repr(orders), "a sequence of numbers, not empty"
        raise checks.fail_type(name, "orders", got, wanted)
    for order in orders:
        checks.number(name, "orders", order)
    table = _reported(name, scores, reported)
    dtype = accumulation_dtype(scores)
    wide, wanted = jnp.asarray(scores, dtype), jnp.asarray(published, dtype)
    wide = jnp.where(table, wide, jnp.nan)
    first = np.tri(table.shape[1], dtype=bool)  # row j - 1 keeps the first j tasks
    shape = (table.shape[1], *table.shape)
    each = jnp.broadcast_to(wide[None], shape)
    kept = jnp.broadcast_to(jnp.asarray(first)[:, None, :], shape)

    def means(order: Order) -> jax.Array:
        found = mean_of(each, order, None, kept)
        lost = jnp.any(kept & jnp.isnan(each), -1)
        return jnp.where(lost, jnp.nan, found)

    values = jnp.stack([means(order_of(name, p)) for p in orders])
    bound = tolerance * (1 + 1e-6)
    fits = jnp.abs(values - wanted[None, None, :]) <= bound
    return Aggregation(values.astype(scores.dtype), fits)


def collapse_metrics(
    table: Sequence[Sequence[Any]], *, decimal: str = "."
) -> MetricTable:
    """The table of scores with the metrics of a task averaged, as both GLUEs do.

    A cell is a number, "93.8", "93.8/91.7" (the arithmetic mean of the parts) or, for a
    score that was not reported, None, "" or a dash.

    Shapes: m rows of k cells -> scores float64 [m, k], reported bool [m, k], NumPy.
    Article: kexue.fm/archives/8783.  Paper: arXiv 1905.00537 (the rule).
    Differs: no. Many tables write decimal commas: ``decimal=","``.
    Cost: O(m k) on the host.
    Raises: TypeError or ValueError for rows of unequal length, a cell that is none of
    these, a ``decimal`` that is neither "." nor ",".
    Example:
        >>> from kexue_jax.evaluation import collapse_metrics
        >>> print(collapse_metrics([["72.6", "93.8/91.7"], [66.4, None]]).scores)
        [[72.6  92.75]
         [66.4    nan]]
    """
    name = "collapse_metrics"
    checks.choice(name, "decimal", decimal, (".", ","))
    _check_rows(name, table)
    values = [[_cell(name, cell, decimal) for cell in row] for row in table]
    scores = np.array(values, np.float64).reshape(len(table), -1)
    return MetricTable(scores, ~np.isnan(scores))


def _check_rows(name: str, table: Any) -> None:
    wanted = "a sequence of rows of cells, one length each"
    fits = isinstance(table, Sequence) and not isinstance(table, str)
    fits = fits and all(isinstance(r, Sequence) for r in table)
    if not fits or any(isinstance(r, str) for r in table):
        raise checks.fail_type(name, "table", f"a {type(table).__name__}", wanted)
    lengths = {len(row) for row in table}
    if len(lengths) != 1 or lengths == {0}:
        raise checks.fail(name, "table", f"rows of {sorted(lengths)} cells", wanted)


def _cell(name: str, cell: Any, decimal: str) -> float:
    """The mean of the parts of a cell, NaN for a missing one."""
    if cell is None or (isinstance(cell, str) and cell.strip() in ("", "-", "–")):
        return float("nan")
    wanted = f"of numbers or texts such as 93{decimal}8/91{decimal}7"
    if isinstance(cell, bool) or not isinstance(cell, (int, float, str)):
        raise checks.fail_type(name, "table", repr(cell), wanted)
    parts = cell.split("/") if isinstance(cell, str) else [str(cell)]
    if isinstance(cell, str) and decimal == ",":
        if "." in cell:
            raise checks.fail(name, "table", repr(cell), wanted)
        parts = [part.replace(",", ".") for part in parts]
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = [float("nan")]
    if not np.isfinite(values).all():
        raise checks.fail(name, "table", repr(cell), wanted)
    return float(np.mean(values))
