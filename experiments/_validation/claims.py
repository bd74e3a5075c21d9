"""What the ways to validate are worth, over seeds; the claims and tables."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from experiments._harness.ranks import spearman
from experiments._harness.results import Claim, Table, judge
from experiments._harness.spread import (
    everywhere,
    exceeds,
    not_below,
    somewhere,
    within,
)
from experiments._validation.study import (
    CALIBRATED,
    INSIDE,
    KNOWN,
    LOOSE,
    OVERLAP,
    RANDOM,
    RATIO,
    RESAMPLED,
    SCORES,
    SINGLE,
    Outcome,
)

ARTICLE = "kexue.fm/archives/7805"
SURELY = "two standard errors over seeds"
NONE = "none"
MARGIN = 0.01  # of accuracy: what counts as no harm
BIAS = 0.03  # of accuracy: the noise of one accuracy over some 250 rows


class Report(NamedTuple):
    """The outcomes by shift, "none" among them."""

    outcomes: Mapping[str, Outcome]

    @property
    def shifts(self) -> list[str]:
        """The shifts that are some."""
        return [name for name in self.outcomes if name != NONE]


Quality = Callable[[Outcome, str], np.ndarray]


def _score(outcome: Outcome, name: str) -> np.ndarray:
    return outcome.scores[:, SCORES.index(name)]


def gap(outcome: Outcome, name: str) -> np.ndarray:
    """The mean distance of a score from the test accuracy [S]."""
    return np.abs(_score(outcome, name) - outcome.truth).mean(1)


def bias(outcome: Outcome, name: str) -> np.ndarray:
    """The mean of a score less the test accuracy [S]."""
    return (_score(outcome, name) - outcome.truth).mean(1)


def ranking(outcome: Outcome, name: str) -> np.ndarray:
    """Spearman's correlation of a score with the test accuracy [S]."""
    pairs = zip(_score(outcome, name), outcome.truth, strict=True)
    return np.array([spearman(a, b) for a, b in pairs])


def regret(outcome: Outcome, name: str) -> np.ndarray:
    """Test accuracy lost by taking the candidate that the score prefers [S]."""
    chosen = _score(outcome, name).argmax(1)
    truth = outcome.truth
    return truth.max(1) - truth[np.arange(len(truth)), chosen]


def all_claims(report: Report) -> list[Claim]:
    """The rows, in the order of the report."""
    return [
        _gain("gap to the test accuracy", gap, report, RATIO, RANDOM),
        _gain("gap to the test accuracy", gap, report, RESAMPLED, RANDOM),
        _unbiased(report),
        _between(report),
        _gain("gap to the test accuracy", gap, report, RESAMPLED, SINGLE),
        _gain("gap to the test accuracy", gap, report, RATIO, INSIDE),
        _gain("gap to the test accuracy", gap, report, INSIDE, LOOSE),
        _gain("gap to the test accuracy", gap, report, CALIBRATED, RATIO),
        _gain("gap to the test accuracy", gap, report, KNOWN, RATIO),
        _ranks(report),
        _gain("accuracy lost by choosing", regret, report, RATIO, RANDOM),
        _training(report),
        _harmless(report),
    ]


def _gain(
    what: str, quality: Quality, report: Report, better: str, worse: str
) -> Claim:
    """Of two scores the better is the lower in ``quality``."""
    gains = {
        shift: quality(report.outcomes[shift], worse)
        - quality(report.outcomes[shift], better)
        for shift in report.shifts
    }
    return judge(
        f"{what}: {better} beats {worse}",
        {f"lower by, {shift}": values for shift, values in gains.items()},
        rule=f"paired by seed; confirmed if lower by more than {SURELY} under every "
        "shift, qualified if under one and nowhere as surely higher",
        confirmed=lambda m: everywhere(m.values()),
        qualified=lambda m: somewhere(m.values()),
    )


def _unbiased(report: Report) -> Claim:
    """The ratio itself, where it is known, is right on average."""
    errors = {}
    for shift in report.shifts:
        outcome = report.outcomes[shift]
        plain = bias(outcome, RANDOM)
        errors[f"bias of {RANDOM}, {shift}"] = np.sign(plain.mean()) * plain
        errors[f"bias of {KNOWN}, {shift}"] = bias(outcome, KNOWN)
    return judge(
        f"the weights are right in theory: {KNOWN} takes the bias of {RANDOM} away",
        errors,
        rule=f"confirmed if under every shift the bias of the random split (turned to "
        f"be positive) exceeds {SURELY} and that of the known ratio is shown to be "
        f"within {BIAS}; qualified if the latter holds alone",
        confirmed=lambda m: all(_small(m)) and everywhere(list(m.values())[::2]),
        qualified=lambda m: all(_small(m)),
    )


def _small(errors: Mapping[str, np.ndarray]) -> list[bool]:
    return [within(values, BIAS) for values in list(errors.values())[1::2]]


def _between(report: Report) -> Claim:
    """The mean error of D's weights lies between those of the other two."""
    steps = {}
    for shift in report.shifts:
        outcome = report.outcomes[shift]
        plain, half, full = (bias(outcome, n) for n in (RANDOM, OVERLAP, RATIO))
        sign = np.sign(plain.mean())
        steps[f"{RANDOM} less {OVERLAP}, {shift}"] = sign * (plain - half)
        steps[f"{OVERLAP} less {RATIO}, {shift}"] = sign * (half - full)
    return judge(
        f"{OVERLAP} are biased halfway: between {RANDOM} and {RATIO}",
        steps,
        rule="mean score less test accuracy, turned to be positive for the random "
        f"split; confirmed if both steps down exceed {SURELY} under every shift, "
        "qualified if one does and none as surely goes up",
        confirmed=lambda m: everywhere(m.values()),
        qualified=lambda m: somewhere(m.values()),
    )


def _ranks(report: Report) -> Claim:
    gains = {
        shift: ranking(report.outcomes[shift], RATIO)
        - ranking(report.outcomes[shift], RANDOM)
        for shift in report.shifts
    }
    return judge(
        f"{RATIO} rank the candidates more as the test does than {RANDOM}",
        {f"Spearman higher by, {shift}": values for shift, values in gains.items()},
        rule=f"paired by seed; confirmed if higher by more than {SURELY} under every "
        "shift, qualified if under one and nowhere as surely lower",
        confirmed=lambda m: everywhere(m.values()),
        qualified=lambda m: somewhere(m.values()),
    )


def _training(report: Report) -> Claim:
    gains = {
        f"test accuracy higher by, {s}": (
            report.outcomes[s].weighted - report.outcomes[s].plain
        ).mean(1)
        for s in report.shifts
    }
    return judge(
        "weights in the training loss too make the models better on the test",
        gains,
        rule="mean over models at the last checkpoint, paired by seed; confirmed if "
        f"higher by more than {SURELY} under every shift, qualified if under one and "
        "nowhere as surely lower",
        confirmed=lambda m: everywhere(m.values()),
        qualified=lambda m: somewhere(m.values()),
        reported="an option that a comment of the author names",
        source=ARTICLE,
    )


def _harmless(report: Report) -> Claim:
    outcome = report.outcomes[NONE]
    measured = {
        "AUC less 1/2": outcome.auc - 0.5,
        "effective share of rows": outcome.size,
        "gap lower by": gap(outcome, RANDOM) - gap(outcome, RATIO),
    }
    return judge(
        "without a shift the discriminator says so and its weights do no harm",
        measured,
        rule=f"confirmed if the mean AUC is within 0.02 of 1/2 and the gap is shown to "
        f"be no more than {MARGIN} larger than that of the random split, qualified if "
        f"one of the two, or the gap is not larger by more than {SURELY}",
        confirmed=lambda m: _near(m) and not_below(m["gap lower by"], MARGIN),
        qualified=lambda m: _near(m) or not exceeds(-m["gap lower by"]),
    )


def _near(measured: Mapping[str, np.ndarray]) -> bool:
    return bool(abs(measured["AUC less 1/2"].mean()) <= 0.02)


def all_tables(report: Report) -> list[Table]:
    """The scores under every shift; what the discriminator saw."""
    found = []
    for shift, outcome in report.outcomes.items():
        rows = [
            [
                name,
                *(
                    round(float(quality(outcome, name).mean()), 4)
                    for quality in (gap, bias, ranking, regret)
                ),
            ]
            for name in SCORES
        ]
        columns = ["score", "mean gap", "mean bias", "Spearman", "regret"]
        found.append(Table(f"Validation scores, shift: {shift}", columns, rows))
    rows = [
        [
            shift,
            *(round(float(v.mean()), 3) for v in (o.auc, o.size, o.agreement)),
            *(round(float(v.mean()), 4) for v in (o.plain, o.weighted)),
        ]
        for shift, o in report.outcomes.items()
    ]
    columns = [
        "shift",
        "AUC out of fold",
        "effective share of rows",
        "correlation with the known log ratio",
        "test accuracy",
        "trained with weights",
    ]
    found.append(Table("The discriminator, and training by its weights", columns, rows))
    return found
