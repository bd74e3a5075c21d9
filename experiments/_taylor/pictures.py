"""Figures: the polynomials with their minima, reliability, confidence by order."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments._harness.figures import curves
from experiments._harness.workdir import Run
from experiments._taylor.claims import SOFTMAX
from experiments._taylor.judgment import Scores, bins
from experiments._taylor.training import Cell, Head
from kexue_jax import numerics


def draw(run: Run, scores: Scores, orders: Sequence[int], noise: float) -> None:
    """All figures of a run."""
    polynomials(run)
    for level, name in ((0.0, "clean"), (noise, "noisy")):
        reliability(run, scores, orders, level, name)
    by_order(run, scores, orders, noise)


def polynomials(run: Run) -> None:
    """exp, f_2, f_4, f_6, their monotone forms and stationary points."""
    x = np.linspace(-6, 2, 401)
    series: dict[str, Any] = {"exp": (x, np.exp(x))}
    flat, drops = ([], []), ([], [])
    for order in (2, 4, 6):
        f = np.asarray(numerics.taylor_exp(jnp.asarray(x, jnp.float32), order=order))
        series[f"f_{order}"] = (x, f)
        x_star, f_star = numerics.taylor_min(order=order)
        for (xs, ys), points in (
            (flat, ((x[0], f_star), (x_star, f_star))),
            (drops, ((x_star, 2e-3), (x_star, f_star))),
        ):
            for point in (*points, (np.nan, np.nan)):
                xs.append(point[0])
                ys.append(point[1])
    series["monotone, left of x*"] = flat
    series["stationary points x*"] = drops
    curves(run.path("polynomials.png"), series, xlabel="x", ylabel="f_n(x)", log_y=True)


def reliability(
    run: Run, scores: Scores, orders: Sequence[int], noise: float, name: str
) -> None:
    """Accuracy by confidence of the test rows of all seeds."""
    low = min(orders)
    heads = dict.fromkeys(
        (SOFTMAX, Head(low, False), Head(low, True), Head(max(orders), False))
    )
    series: dict[str, Any] = {"perfect": ([0, 1], [0, 1])}
    for head in heads:
        logs = [scores.answers[head, Cell(noise, 0, s)] for s in scores.seeds]
        labels = np.tile(scores.labels, len(logs))
        share, confidence, accuracy = bins(np.concatenate(logs), labels)
        seen = share > 0
        series[head.name] = (confidence[seen], accuracy[seen])
    curves(
        run.path(f"reliability_{name}.png"),
        series,
        xlabel=f"confidence ({name} training labels)",
        ylabel="share of right answers",
        markers=True,
    )


def by_order(run: Run, scores: Scores, orders: Sequence[int], noise: float) -> None:
    """Mean confidence and accuracy by order, softmax as a level."""
    for what in ("confidence", "accuracy"):
        series: dict[str, Any] = {}
        for level, name in ((0.0, "clean"), (noise, "noisy")):
            for monotone in (False, True):
                means = [
                    scores.of(what, Head(n, monotone), level).mean() for n in orders
                ]
                label = f"{name}, monotone" if monotone else name
                series[label] = (orders, means)
            mean = scores.of(what, SOFTMAX, level).mean()
            series[f"{name}, softmax"] = (orders, [mean] * len(orders))
        curves(
            run.path(f"{what}.png"),
            series,
            xlabel="order n",
            ylabel=f"{what} on the test rows",
            markers=True,
        )
