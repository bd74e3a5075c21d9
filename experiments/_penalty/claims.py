"""What is claimed of the two penalties and of descent, each with its rule."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments._harness.ranks import spearman
from experiments._harness.results import Claim, Table, judge
from experiments._penalty.flow import KINDS, slope
from experiments._penalty.networks import NORMS
from experiments._penalty.training import Trained, Way

FIRST, SECOND = "kexue.fm/archives/8796", "kexue.fm/archives/7787"
THEORY = {
    "reported": "implicit regularization grows with the rate and with noise",
    "source": "arXiv 2111.15090, kexue.fm/archives/7787",
}


class Report(NamedTuple):
    """Ratios by (state, activation, depth, norm), trainings, distances by seed."""

    ratios: Mapping[tuple[str, str, int, str], np.ndarray]
    trained: Mapping[Way, Trained]
    distances: Sequence[Mapping[str, np.ndarray]]
    rates: Sequence[float]


def all_claims(report: Report) -> list[Claim]:
    """The rows, in the order of the report."""
    return [
        _inequality(report),
        _sharpness(report),
        _batch_mean(report),
        _by_rate(report),
        _by_batch(report),
        _correlated(report),
        _orders(report),
    ]


def of_norm(report: Report, norm: str) -> np.ndarray:
    """All ratios under a norm."""
    return np.concatenate([v for k, v in report.ratios.items() if k[-1] == norm])


def _inequality(report: Report) -> Claim:
    return judge(
        "the penalty by parameters bounds that by the input, example by example",
        {f"largest ratio, {n}": float(of_norm(report, n).max()) for n in NORMS},
        rule="left over right side for every row, network and norm; confirmed if none "
        "is above 1 + 1e-4 (float32)",
        confirmed=lambda m: max(m.values()) <= 1 + 1e-4,
        reported="holds for either norm",
        source=FIRST,
    )


def _sharpness(report: Report) -> Claim:
    means = {n: float(of_norm(report, n).mean()) for n in NORMS}
    return judge(
        "the bound is loose by an order of magnitude or two, least so with |W J|",
        {f"mean ratio, {n}": v for n, v in means.items()},
        rule="mean of left over right side; confirmed if Frobenius < spectral < "
        "Jacobian, and the first is below 0.05",
        confirmed=lambda m: (
            list(m.values()) == sorted(m.values()) and min(m.values()) < 0.05
        ),
    )


def _all(report: Report, name: str) -> np.ndarray:
    """What was measured of all networks that reached the loss."""
    parts = [getattr(t.measured, name)[t.reached] for t in report.trained.values()]
    return np.concatenate(parts) if parts else np.zeros(0)


def _batch_mean(report: Report) -> Claim:
    ratio = _all(report, "lower") / _all(report, "of_mean")
    return judge(
        "the inequality holds for the mean loss of the data, too",
        {"mean of left sides over |gradient of the mean loss|^2": ratio},
        rule="one value a trained network; confirmed if none is above 1, qualified if "
        "fewer than half are",
        confirmed=lambda m: bool((_only(m) <= 1).all()),
        qualified=lambda m: bool((_only(m) <= 1).mean() > 0.5),
        reported="small gradients of the loss make gradients by the input small",
        source=FIRST,
    )


def _only(m: Any) -> np.ndarray:
    return np.atleast_1d(next(iter(m.values())))


def _by_rate(report: Report) -> Claim:
    """Does a larger rate end flatter at the same loss."""
    ways = sorted(way for way in report.trained if not way.batch_size)
    values = {way.name: report.trained[way].measured.by_input for way in ways}
    reached = all(report.trained[way].reached.all() for way in ways)
    return judge(
        "a larger rate ends with smaller gradients by the input at the same loss",
        values,
        rule="mean |grad_x L_i|^2 of the training rows where the training loss, all "
        "within 0.1 % of the goal, is reached; confirmed if it falls at every turn in "
        "the mean of the seeds and by more than 5 % for every seed from first to last, "
        "qualified if from first to last by twice the standard error of the seeds' "
        "differences",
        confirmed=lambda m: reached and _falls(m, ways) and _by_a_twentieth(m, ways),
        qualified=lambda m: reached and _lower(m, ways),
        **THEORY,
    )


def _by_batch(report: Report) -> Claim:
    """Does a smaller batch, at each rate."""
    ways = [way for way in report.trained if way.batch_size]
    values = {way.name: report.trained[way].measured.by_input for way in ways}
    reached = all(report.trained[way].reached.all() for way in ways)
    groups = [
        sorted((w for w in ways if w.rate == rate), key=lambda w: -w.batch_size)
        for rate in sorted({w.rate for w in ways})
    ]
    return judge(
        "a smaller batch ends with smaller gradients by the input at the same loss",
        values,
        rule="as by the rate, over the batches of each rate; confirmed if so at every "
        "rate, qualified if at one",
        confirmed=lambda m: (
            reached and all(_falls(m, g) and _by_a_twentieth(m, g) for g in groups)
        ),
        qualified=lambda m: reached and any(_lower(m, g) for g in groups),
        **THEORY,
    )


def _falls(m: Any, ways: Sequence[Way]) -> bool:
    means = [np.mean(m[way.name]) for way in ways]
    return all(a > b for a, b in itertools.pairwise(means))


def _by_a_twentieth(m: Any, ways: Sequence[Way]) -> bool:
    return bool((m[ways[-1].name] < 0.95 * m[ways[0].name]).all())


def _lower(m: Any, ways: Sequence[Way]) -> bool:
    """The last below the first by twice the standard error of the differences."""
    fall = np.atleast_1d(m[ways[0].name] - m[ways[-1].name])
    error = fall.std(ddof=1) / len(fall) ** 0.5 if len(fall) > 1 else 0.0
    return bool(fall.mean() > 2 * error)


def _correlated(report: Report) -> Claim:
    rank = spearman(_all(report, "by_parameters"), _all(report, "by_input"))
    return judge(
        "networks with small penalties by parameters have small ones by the input",
        {"rank correlation": rank},
        rule="Spearman's correlation of mean |grad_theta L_i|^2 and mean "
        "|grad_x L_i|^2 over all trained networks at the goal; confirmed above 0.5, "
        "qualified above 0.2",
        confirmed=lambda m: m["rank correlation"] > 0.5,
        qualified=lambda m: m["rank correlation"] > 0.2,
        reported="the two penalties go together",
        source=FIRST,
    )


def _orders(report: Report) -> Claim:
    slopes = {
        kind: np.array([slope(report.rates, d[kind]) for d in report.distances])
        for kind in KINDS
    }
    return judge(
        "descent follows the flow of L + (rate / 4) |grad L|^2 to second order, that "
        "of L to first",
        slopes,
        rule="exponent of the rate in the distance after a fixed time, float64; "
        "confirmed within 0.15 of 1 and of 2 for every seed, qualified within 0.4",
        confirmed=lambda m: _near(m, 0.15),
        qualified=lambda m: _near(m, 0.4),
        reported="orders 1 and 2",
        source=SECOND,
    )


def _near(m: Any, bound: float) -> bool:
    return all(
        bool((np.abs(m[kind] - order) <= bound).all())
        for kind, order in zip(KINDS, (1, 2), strict=True)
    )


def tables(report: Report) -> list[Table]:
    """Ratios by network, and all trainings."""
    networks = sorted({k[:3] for k in report.ratios})
    ratios = []
    for network in networks:
        found = [report.ratios[(*network, n)] for n in NORMS]
        ratios.append([*network, *(float(v.mean()) for v in found), found[-1].max()])
    names = ("of_mean", "by_parameters", "by_input", "test_accuracy", "test_loss")
    trained = [
        [
            way.name,
            float(t.steps.mean()),
            int(t.reached.sum()),
            float(t.measured.loss[np.argmax(abs(t.measured.loss - t.goal))]),
            *(float(getattr(t.measured, name).mean()) for name in names),
        ]
        for way, t in report.trained.items()
    ]
    heads = ["state", "activation", "depth", *(f"mean, {n}" for n in NORMS)]
    return [
        Table("Left over right side", [*heads, "largest, jacobian"], ratios),
        Table(
            "Networks at one training loss, means over seeds",
            ["training", "steps", "seeds there", "loss farthest from the goal"]
            + [
                "|grad mean L|^2",
                "mean |grad_theta L_i|^2",
                "mean |grad_x L_i|^2",
                "accuracy",
                "test loss",
            ],
            trained,
        ),
    ]
