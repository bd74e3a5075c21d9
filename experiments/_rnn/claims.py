"""What is claimed of vanishing gradients, each claim with the rule that decides."""

from typing import Any, NamedTuple

import numpy as np

from experiments._harness.ranks import spearman
from experiments._harness.results import Claim, Table, judge
from experiments._rnn.judging import Outcome, Start
from experiments._rnn.networks import UNGATED, Model

ARTICLE = "kexue.fm/archives/7888"


class Report(NamedTuple):
    """Starts by (cell, bias, scale), an entry a seed; outcomes by task and cell, with
    the models in their order; ``width`` is that of the trained models.
    """

    starts: dict[tuple[str, float, float], Start]
    long: dict[str, tuple[list[Model], Outcome]]
    local: dict[str, tuple[list[Model], Outcome]]
    width: int

    def biases(self, cell: str) -> list[float]:
        """The biases that a cell was trained with."""
        return sorted({m.bias for m in self.long[cell][0]})

    def best(self, cell: str) -> float:
        """The bias of the best mean accuracy on held-out rows of the long task."""
        return max(
            self.biases(cell), key=lambda b: self.of("long", cell, b, "held").mean()
        )

    def steps(self, task: str) -> int:
        """How many steps the trainings on a task had."""
        outcomes = self.long if task == "long" else self.local
        return next(iter(outcomes.values()))[1].losses.shape[1]

    def of(self, task: str, cell: str, bias: float, field: str) -> np.ndarray:
        """A field of the outcomes of a cell and bias, one entry a seed."""
        models, outcome = (self.long if task == "long" else self.local)[cell]
        chosen = [k for k, m in enumerate(models) if m.bias == bias]
        return getattr(outcome, field)[chosen]

    def slope(
        self, task: str, cell: str, bias: float, field: str = "profile"
    ) -> np.ndarray:
        """Mean change of the log norm (or of another curve) a step, by seed."""
        profile = self.of(task, cell, bias, field)
        return (profile[:, -1] - profile[:, 0]) / (profile.shape[1] - 1)


def all_claims(report: Report) -> list[Claim]:
    """The rows, in the order of the report."""
    gated = [cell for cell in report.long if cell not in UNGATED]
    found = []
    if all((cell, 0.0, 1.0) in report.starts for cell in ("rnn", "lstm")):
        found.append(_start(report))
    if gated:
        found.append(_keeping(report, gated))
    if "lstm" in gated:
        found.append(_slope(report))
    if gated and "rnn" in report.long:
        found.append(_learns(report, gated))
    found.append(_slopes_matter(report))
    if gated:
        found += [_opens(report, gated), _dominates(report, gated)]
    if {"lstm", "gru"} <= set(gated):
        found.append(_ranking(report))
    return found


def _decades(start: Start) -> np.ndarray:
    """log10 of the norm at the largest distance, by seed."""
    return start.profile[:, -1] / np.log(10)


def _start(report: Report) -> Claim:
    both = {
        name: _decades(report.starts[cell, 0.0, 1.0])
        for cell, name in (("rnn", "tanh RNN"), ("lstm", "LSTM, bias 0"))
    }
    return judge(
        "gates alone prevent nothing: at a bias of 0 an LSTM's gradient vanishes as a "
        "tanh RNN's",
        both,
        rule="log10 of the norm of the derivative over the whole length before "
        "training; confirmed if both are below -8 in the mean, qualified if below -4",
        confirmed=lambda m: all(v.mean() < -8 for v in m.values()),
        qualified=lambda m: all(v.mean() < -4 for v in m.values()),
        reported="LSTM solves vanishing gradients",
        source=ARTICLE,
    )


def _keeping(report: Report, gated: list[str]) -> Claim:
    biases = report.biases(gated[0])
    least, most = biases[0], biases[-1]
    ends = {
        f"{cell}, bias {bias:g}": _decades(report.starts[cell, bias, 1.0])
        for cell in gated
        for bias in (least, most)
    }
    return judge(
        "a bias of the gate that keeps is what keeps the gradient",
        ends,
        rule="log10 of the norm over the whole length before training; confirmed if "
        f"above -4 for every cell at a bias of {most:g}, qualified if above that at "
        f"{least:g}",
        confirmed=lambda m: all(
            v.mean() > -4 for k, v in m.items() if k.endswith(f"bias {most:g}")
        ),
        qualified=lambda m: all(
            m[f"{cell}, bias {most:g}"].mean() > m[f"{cell}, bias {least:g}"].mean()
            for cell in gated
        ),
        reported="a large forget bias (a reader's addition)",
        source=ARTICLE,
    )


def _slope(report: Report) -> Claim:
    biases = report.biases("lstm")
    measured = {}
    for b in biases:
        measured[f"slope, bias {b:g}"] = report.slope("long", "lstm", b)
        logs = report.of("long", "lstm", b, "log_keep")
        measured[f"mean log f, bias {b:g}"] = logs
        for field, name in (("product", "product of mean f"), ("alone", "f alone")):
            found = report.slope("long", "lstm", b, field)
            measured[f"{name}, bias {b:g}"] = found

    def near(m: Any, name: str) -> bool:
        return all(
            abs(m[f"slope, bias {b:g}"].mean() - m[f"{name}, bias {b:g}"].mean())
            <= 0.05
            for b in biases
        )

    return judge(
        "after training the gradient of an LSTM decays as the product of its forget "
        "gates",
        measured,
        rule="change of the log norm a step, mean over seeds, long task; confirmed if "
        "within 0.05 of the mean of log f at every bias, qualified if within 0.05 of "
        "the root mean square over units of each unit's own product of f (f alone: the "
        "units with the largest gates carry the norm); the product of mean f is shown",
        confirmed=lambda m: near(m, "mean log f"),
        qualified=lambda m: near(m, "f alone"),
        reported="dc/dc' is f and small terms",
        source=ARTICLE,
    )


def _learns(report: Report, gated: list[str]) -> Claim:
    measured = {
        f"{cell}, bias {bias:g}": report.of("long", cell, bias, "score")
        for cell, bias in ((cell, report.best(cell)) for cell in gated)
    }
    plain = "tanh RNN"
    measured[plain] = report.of("long", "rnn", 0.0, "score")

    def ahead(m: Any) -> list[bool]:
        return [v.mean() > m[plain].mean() + 0.05 for k, v in m.items() if k != plain]

    return judge(
        "gated cells learn what is told at the end of 64 steps, a tanh RNN lags",
        measured,
        rule="share of test images told right, each cell at the bias that is best on "
        "held-out training images; confirmed if every gated cell is 0.05 above the "
        "tanh RNN in the mean, qualified if the best of them is",
        confirmed=lambda m: all(ahead(m)),
        qualified=lambda m: any(ahead(m)),
        reported="gates against vanishing gradients",
        source=ARTICLE,
    )


def _score(report: Report, cell: str, bias: float) -> float:
    return float(report.of("long", cell, bias, "score").mean())


def _slopes_matter(report: Report) -> Claim:
    every = [(c, b) for c in report.long for b in report.biases(c)]
    decay = np.array([abs(report.slope("long", c, b).mean()) for c, b in every])
    score = np.array([_score(report, c, b) for c, b in every])
    return judge(
        "models whose gradient decays least over time learn the long task best",
        {"rank correlation": -spearman(decay, score)},
        rule="Spearman's, over cells and biases, of how near the slope is to 0 and the "
        "accuracy; confirmed if above 0.5, qualified if above 0",
        confirmed=lambda m: m["rank correlation"] > 0.5,
        qualified=lambda m: m["rank correlation"] > 0,
    )


def _opens(report: Report, gated: list[str]) -> Claim:
    measured = {
        f"{cell}, {task}": report.of(task, cell, min(report.biases(cell)), "keep")
        for cell in gated
        for task in ("long", "local")
    }
    return judge(
        "where the past matters training opens the gate that keeps",
        measured,
        rule=f"mean of the gate, width {report.width}, after {report.steps('long')} "
        f"steps on the long task and {report.steps('local')} on the local one, a start "
        "of learning, from the smallest bias; confirmed if above 0.9 on the long task "
        "and not on the local one for every cell, qualified if larger on the long task "
        "for every cell",
        confirmed=lambda m: all(
            m[f"{c}, long"].mean() > 0.9 >= m[f"{c}, local"].mean() for c in gated
        ),
        qualified=lambda m: all(
            m[f"{c}, long"].mean() > m[f"{c}, local"].mean() for c in gated
        ),
        reported="if history matters, f goes to 1",
        source=ARTICLE,
    )


def _dominates(report: Report, gated: list[str]) -> Claim:
    shares = {}
    for cell in gated:
        for bias in report.biases(cell):
            for name, terms in (
                ("start", report.starts[cell, bias, 1.0].terms),
                ("trained", report.of("long", cell, bias, "terms")),
            ):
                shares[f"{cell} {bias:g}, {name}"] = terms[:, 0] / terms.sum(-1)
    least = f" {report.biases(gated[0])[0]:g}, "
    return judge(
        "the gate is the largest of the addends of the derivative",
        shares,
        rule="mean Frobenius norm of the gate's diagonal matrix over the sum of those "
        "of all four addends, whole matrices, before and after training on the long "
        "task; confirmed if above 0.5 for every cell, bias and seed, qualified if so "
        "for every bias but the smallest",
        confirmed=lambda m: all((v > 0.5).all() for v in m.values()),
        qualified=lambda m: all(
            (v > 0.5).all() for k, v in m.items() if least not in k
        ),
        reported="the other terms are products of more gates, so smaller",
        source=ARTICLE,
    )


def _ranking(report: Report) -> Claim:
    biases = sorted({b for c, b, s in report.starts if c == "lstm" and s == 1.0})
    measured = {
        f"{cell}, bias {bias:g}": _decades(report.starts[cell, bias, 1.0])
        for cell in ("lstm", "gru")
        for bias in biases
    }

    def better(m: Any) -> list[bool]:
        return [
            m[f"lstm, bias {b:g}"].mean() > m[f"gru, bias {b:g}"].mean() for b in biases
        ]

    return judge(
        "the gradient of an LSTM is steadier than that of a GRU",
        measured,
        rule="log10 of the norm over the whole length before training, at equal "
        "biases; confirmed if nearer to 0 for the LSTM at every bias, qualified if at "
        "some",
        confirmed=lambda m: all(better(m)),
        qualified=lambda m: any(better(m)),
        reported="LSTM more stable than GRU",
        source=ARTICLE,
    )


def tables(report: Report) -> list[Table]:
    """Norms before training at some distances; what the trainings came to."""
    first = next(iter(report.starts.values()))
    places = [k for k in (1, 10, 50, 100, 200) if k <= first.profile.shape[1]]
    starts = [
        [cell, bias, scale, *(float(np.exp(p[:, k - 1].mean())) for k in places)]
        for (cell, bias, scale), (p, *_) in report.starts.items()
    ]
    exact = [
        [cell, bias, *(float(np.exp(x[:, k - 1].mean())) for k in places for x in both)]
        for (cell, bias, scale), (*_, both) in report.starts.items()
        if scale == 1.0
    ]
    norms = [f"{n}, k = {k}" for k in places for n in ("Frobenius", "spectral")]
    trained = [
        [
            cell,
            bias,
            *(
                float(report.of("long", cell, bias, f).mean())
                for f in ("held", "score", "keep")
            ),
            float(report.slope("long", cell, bias).mean()),
            float(report.of("long", cell, bias, "log_keep").mean()),
            *(
                float(report.of("local", cell, bias, f).mean())
                for f in ("score", "keep")
            ),
            float(report.slope("local", cell, bias).mean()),
        ]
        for cell in report.long
        for bias in report.biases(cell)
    ]
    return [
        Table(
            "Norm of the derivative before training, by distance",
            ["cell", "bias", "scale of U", *(f"k = {k}" for k in places)],
            starts,
        ),
        Table(
            f"Before training, exact, width {report.width}: Frobenius norm over the "
            "root of the state's size, and spectral norm",
            ["cell", "bias", *norms],
            exact,
        ),
        Table(
            "After training",
            ["cell", "bias", "held-out, long", "accuracy, long"]
            + ["gate", "slope", "mean log gate"]
            + ["loss, local", "gate, local", "slope, local"],
            trained,
        ),
    ]
