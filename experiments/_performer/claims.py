"""What article and paper say of random features, and how it is decided."""

from typing import Any, NamedTuple

import numpy as np

from experiments._harness import spread
from experiments._harness.results import Claim, Table, judge
from experiments._performer import times
from experiments._performer.transfer import Transfer

PAPER, ARTICLE = "arXiv 2009.14794", "kexue.fm/archives/7921"
WIDE = "entries N(0, 1), d = 64"
SMALL = "entries N(0, 1/16)"
USUAL = "positive, orthogonal"
# Form, the one it is compared with, what is claimed of it.
ROWS = (USUAL, "positive, iid", "orthogonal rows")
FEATURES = (USUAL, "trig, orthogonal", "positive features")
ESTIMATE = 5000  # the length of the article's estimate
CLEAR = 2.0  # times as fast: a clear advantage

Errors = dict[str, dict[int, np.ndarray]]


class Report(NamedTuple):
    """Relative errors by form and number of features, one a draw, and the rest.

    ``errors`` of the attention output and ``slopes`` of it at small entries;
    ``kernels`` of kernel values at small entries; ``trained`` and ``trained_kernels``
    the same of a trained model's heads; ``times`` in seconds by form and length.
    """

    errors: Errors
    kernels: Errors
    slopes: dict[int, np.ndarray]
    trained: Errors
    trained_kernels: Errors
    uniform: dict[str, float]
    unit: np.ndarray
    bias: dict[int, dict[str, tuple[float, float, float]]]
    moved: Transfer
    times: times.Times


def medians(errors: dict[int, np.ndarray]) -> list[float]:
    """The median over the draws, by number of features."""
    return [float(np.median(found)) for found in errors.values()]


def slopes(errors: dict[int, np.ndarray]) -> np.ndarray:
    """The exponent of the number of features in each draw, by a log-log fit."""
    m = np.log(list(errors))
    return np.polyfit(m, np.log(np.stack([*errors.values()])), 1)[0]


def claims(report: Report, tuned: int) -> list[Claim]:
    """What article and paper say, and what the card adds."""
    figure = {"reported": "smaller error", "source": f"{PAPER}, figure 4"}
    output = "relative error of the attention output, normal q and k"
    kernel = f"root mean square relative error of kernel values, {SMALL}"
    return [
        _below(report.errors, *ROWS, output, **figure),
        _below(report.kernels, *ROWS, kernel, **figure),
        _below(report.errors, *FEATURES, output, **figure),
        *_trained(report),
        _root(report),
        _unit(report),
        *_bias(report),
        *_moved(report, tuned),
        _advantage(report),
    ]


def _trained(report: Report) -> list[Claim]:
    """The same comparisons on the heads of a trained model."""
    of = "of a trained model's heads"
    return [
        _below(errors, *pair, f"{what} {of}")
        for errors, what in (
            (report.trained, "relative error of the attention output"),
            (
                report.trained_kernels,
                "root mean square relative error of kernel values",
            ),
        )
        for pair in (ROWS, FEATURES)
    ]


def _below(
    errors: Errors, form: str, other: str, named: str, what: str, **source: Any
) -> Claim:
    gaps = {
        f"ln(error of the other / error), m = {m}": np.log(errors[other][m] / found)
        for m, found in errors[form].items()
    }
    return judge(
        f"{named} err less ({form} against {other}): {what}",
        gaps,
        # One of many numbers alone exceeds two errors too often to mean anything.
        rule="confirmed if for every number of features the mean over the draws is "
        "above 0 by two standard errors, qualified if the mean over all numbers is",
        confirmed=lambda m: spread.everywhere(m.values()),
        qualified=lambda m: spread.exceeds(np.mean([*m.values()], axis=0)),
        **source,
    )


def _root(report: Report) -> Claim:
    what = f"exponent of m, {SMALL}"
    return judge(
        "the error falls as the root of the number of features",
        {what: slopes(report.slopes)},
        rule="log-log fit of the relative error of the output over all numbers of "
        "features in each draw; confirmed if the mean over the draws is between -0.6 "
        "and -0.4 by two standard errors",
        confirmed=lambda m: spread.within(m[what] + 0.5, 0.1),
        reported="-1/2",
        source=PAPER,
    )


def _unit(report: Report) -> Claim:
    error, mean = "relative error", "of the mean of all values"
    return judge(
        "at heads of 64 with entries of deviation 1 and 256 features the estimate is "
        "worse than the mean of all values",
        {error: report.unit, mean: report.uniform[WIDE]},
        rule="confirmed if the mean over the draws exceeds the error of the mean by "
        "two standard errors",
        confirmed=lambda m: spread.exceeds(m[error] - m[mean]),
    )


def _bias(report: Report) -> list[Claim]:
    found = []
    for d, rows in report.bias.items():
        apart = {
            f"{name}: (mean - exact) / standard error": (mean - exact) / error
            for name, (mean, error, exact) in rows.items()
        }
        found.append(
            judge(
                "orthogonal features are unbiased only if the signs of the QR "
                f"factorization are put right (d = m = {d})",
                apart,
                rule="exp(x . x) at x = 1 / (2 sqrt d) in each entry; confirmed if "
                "LAPACK's signs are 5 standard errors off and the right ones within 4",
                confirmed=lambda m: (
                    abs(next(iter(m.values()))) > 5 and abs([*m.values()][-1]) < 4
                ),
            )
        )
    return found


def _moved(report: Report, tuned: int) -> list[Claim]:
    losses = {name: np.array(found) for name, found in report.moved.losses.items()}
    fixed, redrawn = (f"Performer, tuned, {rows} rows" for rows in ("fixed", "redrawn"))
    at_once = "held-out loss / that of softmax"
    ratios = {name: losses[name] / losses["softmax, trained on"] for name in losses}

    def above(m: Any, bound: float) -> bool:
        return spread.exceeds(m[at_once] - bound)

    def below(m: Any, bound: float) -> bool:
        return spread.exceeds(bound - m[fixed])

    return [
        judge(
            "the weights of a softmax model do not work in a Performer at once",
            {at_once: losses["Performer, not tuned"] / losses["softmax"]},
            rule="next byte; confirmed if the mean over the seeds less two standard "
            "errors is above 1.05, qualified above 1.01",
            confirmed=lambda m: above(m, 1.05),
            qualified=lambda m: above(m, 1.01),
            reported="the outputs are not reproduced",
            source=ARTICLE,
        ),
        judge(
            "a short training as a Performer recovers most of it",
            {name: ratios[name] for name in (fixed, redrawn)},
            rule=f"held-out loss over that of softmax after {tuned} equal steps; fixed "
            "rows; confirmed if the mean over the seeds and two standard errors are "
            "below 1.02, qualified below 1.1",
            confirmed=lambda m: below(m, 1.02),
            qualified=lambda m: below(m, 1.1),
            reported="short fine-tuning recovers",
            source=ARTICLE,
        ),
    ]


def _advantage(report: Report) -> Claim:
    found: dict[str, float] = {}
    for mask in times.MASKS:
        ratios = times.ratios(report.times, mask)
        found[f"n, {mask}"] = times.from_on(ratios, CLEAR) or max(ratios)
    return judge(
        "a Performer has a clear advantage in time only for n > 5000",
        found,
        rule=f"length from which on softmax takes {CLEAR:g} times as long "
        f"({times.SIZES}; interpolated in logarithms; the longest one measured where "
        f"that never happens); confirmed if above {ESTIMATE} both bidirectional and "
        "causal, qualified if in one of them",
        confirmed=lambda m: all(n > ESTIMATE for n in m.values()),
        qualified=lambda m: any(n > ESTIMATE for n in m.values()),
        reported="n > 5000, the author's estimate",
        source=ARTICLE,
    )


def _timetable(report: Report) -> Table:
    """Milliseconds by form and length, and where the forms cross."""
    sizes = list(next(iter(report.times.values())))
    rows: list[list[Any]] = [
        [name, *[1e3 * by_n[n] for n in sizes], None, None]
        for name, by_n in report.times.items()
    ]
    for mask in times.MASKS:
        ratios = times.ratios(report.times, mask)
        ends = [times.from_on(ratios, bound) for bound in (1.0, CLEAR)]
        rows.append([f"softmax / Performer, {mask}", *ratios.values(), *ends])
    columns = ["attention", *[f"n = {n}" for n in sizes]]
    return Table(
        f"Time of attention, ms ({times.SIZES}), and the length from which on the "
        "ratio is above 1 and above 2",
        [*columns, "1 from n =", "2 from n ="],
        rows,
    )


def _by_features(title: str, errors: Errors) -> Table:
    sizes = next(iter(errors.values()))
    rows = [[name, *medians(found)] for name, found in errors.items()]
    return Table(title, ["features", *[f"m = {m}" for m in sizes]], rows)


def tables(report: Report) -> list[Table]:
    """Errors by number of features, losses of the trained models, bias, times."""
    output = "Relative error of the output"
    kernel = "Relative error of kernel values"
    errors = {**report.errors, f"{USUAL}, {SMALL}": report.slopes}
    over = "root mean square over pairs, median of the draws"
    losses = []
    for name, values in report.moved.losses.items():
        found = np.array(values)
        losses.append([name, float(found.mean()), spread.deviation(found)])
    bias = [
        [d, name, *row]
        for d, named in report.bias.items()
        for name, row in named.items()
    ]
    return [
        _by_features(f"{output}, median of the draws", errors),
        _by_features(f"{kernel}, {SMALL}, {over}", report.kernels),
        _by_features(
            f"{output}, heads of the trained model, median of the draws",
            report.trained,
        ),
        _by_features(
            f"{kernel}, heads of the trained model, {over}", report.trained_kernels
        ),
        Table(
            "Relative error of the mean of all values",
            ["queries and keys", "error"],
            [list(row) for row in report.uniform.items()],
        ),
        Table("Held-out loss, nats a byte", ["model", "loss", "spread"], losses),
        Table(
            "exp(x . x) from d orthogonal features",
            ["d", "signs", "mean", "standard error", "exact"],
            bias,
        ),
        _timetable(report),
    ]
