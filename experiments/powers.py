"""Which is larger, n^(n+1) or (n+1)^n? (kexue.fm, an early post)

The table of exact integers, and every n of a long range by logarithms, by the closed
rule and in the ways that are common and fail: differences of logarithms, powers in
float32, powers in int32. The picture for school: log(x) / x rises to e and falls
beyond. With no flags: under a minute on two CPU cores.

    python -m experiments.powers
    python -m experiments.powers --stop=1000000
"""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments._harness.config import BaseConfig, launch, setting
from experiments._harness.figures import curves
from experiments._harness.report import write_report
from experiments._harness.results import Claim, Table, judge, write_results
from experiments._harness.workdir import Run, open_run
from experiments._powers.ways import (
    COMMON,
    FLOATS,
    INTEGERS,
    LOG,
    RULE,
    WAYS,
    Failures,
    failures,
)
from kexue_jax import numerics


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    stop: int = setting(
        20_000_000, "integers compared, from 0 on", minimum=30, maximum=2**30
    )
    chunk: int = setting(1_000_000, "of them at a time", minimum=1, maximum=2**27)
    rows: int = setting(20, "last n of the table", minimum=3, maximum=200)


PRESETS = {"smoke": {"stop": 100, "chunk": 40, "rows": 5}}
FIRST = {
    FLOATS: 27,
    INTEGERS: 9,
    COMMON: 8_332_460,
}  # where each way fails, by the card


def main(config: Config) -> None:
    """Compare, judge, draw, report."""
    run = open_run(config)
    found = {way.name: failures(way, 0, config.stop, config.chunk) for way in WAYS}
    exact = [numerics.exact_compare(n) for n in range(config.rows + 1)]
    draw(run)
    facts = {"crossover": numerics.power_crossover(), "integers": config.stop}
    write_results(run, claims(found, exact, config), tables(found, config), facts)
    print(f"report: {write_report(run.folder)}")


def claims(found: dict[str, Failures], exact: list[int], config: Config) -> list[Claim]:
    """The rows, in the order of the report."""
    rows = [
        judge(
            "n^(n+1) is the smaller for n <= 2 and the larger from 3 on",
            {
                "integers that differ": float(
                    sum(s != (-1 if n <= 2 else 1) for n, s in enumerate(exact))
                )
            },
            rule=f"exact integers to n = {config.rows}; confirmed if none differs",
            confirmed=lambda m: m["integers that differ"] == 0,
        )
    ]
    for name in (LOG, RULE):
        rows.append(
            judge(
                f"{name}, has the right sign for every integer",
                {"failures": float(found[name].count)},
                rule=f"n = 0, ..., {config.stop - 1}; confirmed if there are none",
                confirmed=lambda m: m["failures"] == 0,
            )
        )
    for name, wanted in FIRST.items():
        if wanted >= config.stop:
            continue
        first = found[name].first
        rows.append(
            judge(
                f"{name}, fails from n = {wanted:,} on",
                {"first failure": float(-1 if first is None else first)},
                rule="confirmed if that is the first failure, qualified if it lies "
                "within 5 % (a logarithm may round otherwise)",
                confirmed=lambda m, n=wanted: m["first failure"] == n,
                qualified=lambda m, n=wanted: abs(m["first failure"] / n - 1) < 0.05,
            )
        )
    return rows


def tables(found: dict[str, Failures], config: Config) -> list[Table]:
    """The first powers; the failures of each way."""
    rows = []
    for n in range(config.rows + 1):
        gap = float(numerics.log_power_gap(jnp.asarray(float(n))))
        left, right = n ** (n + 1), (n + 1) ** n
        sign = "<" if left < right else ">"
        rows.append([n, str(left), sign, str(right), gap if n else None])
    lost = [
        [name, f.count, "none" if f.first is None else f.first]
        for name, f in found.items()
    ]
    return [
        Table(
            "Exact powers", ["n", "n^(n+1)", "", "(n+1)^n", "log of the ratio"], rows
        ),
        Table("Failures", ["way", "integers with a wrong sign", "the first"], lost),
    ]


def draw(run: Run) -> None:
    """d(n) with its series; log(x) / x with e."""
    n = np.linspace(1, 20, 400)
    x = jnp.asarray(n, jnp.float32)
    lines: dict[str, Any] = {
        "log of n^(n+1) / (n+1)^n": (n, np.asarray(numerics.log_power_gap(x)))
    }
    for terms in (0, 1):
        series = np.asarray(numerics.power_gap_series(x, terms=terms))
        words = "log n - 1" if terms == 0 else "log n - 1 + 1 / (2n)"
        lines[words] = n, series
    lines["equal"] = n[[0, -1]], np.zeros(2)
    curves(run.path("gap.png"), lines, xlabel="n", ylabel="logarithm of the ratio")
    x = np.linspace(1, 10, 500)
    shape: dict[str, Any] = {
        "log(x) / x": (x, np.log(x) / x),
        "e": (np.array([math.e, math.e]), np.array([0, 1 / math.e])),
        "2 and 4, of equal height": (np.array([2.0, 4]), np.full(2, math.log(2) / 2)),
        "integers": (np.arange(1, 11), np.log(np.arange(1, 11)) / np.arange(1, 11)),
    }
    points = ("integers",)
    label = "a^b > b^a where a stands higher than b"
    curves(run.path("shape.png"), shape, xlabel="x", ylabel=label, points=points)


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
