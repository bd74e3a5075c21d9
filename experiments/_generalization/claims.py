"""What articles and papers say of positions at longer questions, and what decides."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments._generalization.methods import (
    BOTH_GROWN,
    CAUSAL,
    EQUAL,
    GROWN,
    HWFA,
    RANDOM,
    REROPE,
    ROPE,
    SQUEEZED,
    WINDOW,
)
from experiments._harness import spread
from experiments._harness.results import Claim, Table, judge

KEPT = 0.5  # the share of the skill at N that a method keeps if it extrapolates
LEARNED = 0.5  # the skill at N from which a task is called learned
ROUND = 0.01  # from 100 %
HWFA_SOURCE = "kexue.fm/archives/9603"
ON_LEARNED = "on the tasks that it learned at N"


Measured = dict[str, np.ndarray]


class Report(NamedTuple):
    """Accuracies by task, test and length, one a seed, and those of a blind guess.

    ``trained`` maps each test to the test of its training, which says whether the task
    was learned. ``lengths``: N first.
    """

    lengths: list[int]
    trained: Mapping[str, str]
    accuracy: Mapping[str, Mapping[str, Mapping[int, list[float]]]]
    blind: Mapping[str, Mapping[int, float]]

    @property
    def near(self) -> int:
        """N."""
        return self.lengths[0]

    @property
    def far(self) -> int:
        """The longest tested length."""
        return self.lengths[-1]

    def skill(self, task: str, test: str, length: int) -> np.ndarray:
        """(accuracy - blind) / (1 - blind): 0 is a blind guess, 1 is all right."""
        low = self.blind[task][length]
        return (np.array(self.accuracy[task][test][length]) - low) / (1 - low)

    def learned(self, task: str, test: str) -> bool:
        """Whether the training of a test learned the task at N."""
        at_n = self.skill(task, self.trained[test], self.near)
        if at_n.size == 1:  # no error is known: what was seen counts
            return bool(at_n[0] > LEARNED)
        return spread.exceeds(at_n - LEARNED)

    def known(self, *tests: str) -> list[str]:
        """The tasks that all these tests' trainings learned."""
        found = self.accuracy
        return [t for t in found if all(self.learned(t, test) for test in tests)]


class Question(NamedTuple):
    """A claim of one test, beside another where the rule compares two."""

    text: str
    rule: "Callable[[Report, Question, Sequence[str]], Claim]"
    test: str
    base: str
    reported: str | None = None
    source: str | None = None
    only: str = ""  # the one task that it is about

    def tasks(self, report: Report) -> list[str]:
        """Those that both trainings learned."""
        known = report.known(self.test, self.base)
        return [task for task in known if self.only in ("", task)]


def claims(report: Report) -> tuple[list[Claim], dict[str, str]]:
    """The claims that can be judged, and by their texts why others cannot."""
    found, left = [_learned(report)], {}
    for asked in questions(report):
        tasks = asked.tasks(report)
        if tasks:
            found.append(asked.rule(report, asked, tasks))
        else:
            names = dict.fromkeys(report.trained[t] for t in (asked.test, asked.base))
            of = f" ({asked.only})" if asked.only else ""
            left[asked.text] = f"not learned at N by {' or by '.join(names)}{of}"
    return found, left


def questions(report: Report) -> list[Question]:
    """All of them, in the order of the articles."""
    n, far = f"N = {report.near}", f"{report.far} letters"
    return [*_bent(n, far), *_drawn(far), *_layers(far)]


def _bent(n: str, far: str) -> list[Question]:
    """Rotary positions, plain and bent at the test, windows and the log n factor."""
    mlm = "masked model trained at 64, tested at 512: 20.15 % against 15.12 %"
    log_n, rerope = "kexue.fm/archives/8823", "kexue.fm/archives/9708"
    return [
        Question(f"RoPE fails at {far}", _fails, ROPE, ROPE),
        Question(
            "a window of T fails where the answer is far away", _fails, WINDOW, ROPE
        ),
        Question(f"ReRoPE extrapolates to {far}", _extrapolates, REROPE, ROPE),
        Question("ReRoPE sees more than a window of T", _above, REROPE, WINDOW),
        Question(
            f"ReRoPE (w = T / 2) loses nothing at {n}",
            _no_loss,
            REROPE,
            ROPE,
            "49.41 % both",
            rerope,
        ),
        Question(f"log n helps RoPE at {far}", _above, GROWN, ROPE, mlm, log_n),
        Question(
            f"training with log n helps ReRoPE at {far}",
            _above,
            BOTH_GROWN,
            REROPE,
            "49.07 % against 48.48 % (w256)",
            rerope,
        ),
    ]


def _drawn(far: str) -> list[Question]:
    """Positions drawn at random in training, in encoders and in a causal model."""
    many = "accuracy higher by 12 % in the mean of the fifteen tasks"
    causal, said = CAUSAL + RANDOM, ("encoders only", HWFA_SOURCE)
    return [
        Question(
            f"random positions extrapolate to {far} in an encoder",
            _extrapolates,
            RANDOM,
            ROPE,
            many,
            "arXiv 2305.16843",
        ),
        Question(
            f"equal-mean positions extrapolate to {far} in an encoder",
            _extrapolates,
            EQUAL,
            ROPE,
        ),
        Question(
            "equal-mean positions do better compressed into 0 .. T - 1 at the test",
            _above,
            SQUEEZED,
            EQUAL,
        ),
        Question(
            f"random positions do not extrapolate to {far} in a causal model",
            _fails,
            causal,
            causal,
            *said,
        ),
        Question(
            f"random positions do more in an encoder than in a causal model, {far}",
            _above,
            RANDOM,
            causal,
            *said,
        ),
    ]


def _layers(far: str) -> list[Question]:
    """HWFA, in an encoder and in a causal model."""
    found = []
    for test, base in ((HWFA, ROPE), (CAUSAL + HWFA, CAUSAL + ROPE)):
        found += [
            Question(
                f"{test} has 100 % on even pairs at every length",
                _all_right,
                test,
                test,
                "100 %",
                HWFA_SOURCE,
                "even_pairs",
            ),
            Question(f"{test} extrapolates to {far}", _extrapolates, test, base),
        ]
    return found


def _learned(report: Report) -> Claim:
    at_n = {
        f"{task}, {test}": report.skill(task, test, report.near)
        for task in report.accuracy
        for test in dict.fromkeys(report.trained.values())
    }
    above = [values - LEARNED for values in at_n.values()]
    return judge(
        f"every training learns every task at N = {report.near}",
        at_n,
        rule="skill, (accuracy - blind) / (1 - blind), blind a guess that knows the "
        "length alone; confirmed if the mean over the seeds less two standard errors "
        f"is above {LEARNED} for all, qualified if for one; nothing else is judged of "
        "a training and a task that fail here",
        confirmed=lambda m: spread.everywhere(above),
        qualified=lambda m: any(map(spread.exceeds, above)),
    )


def _skills(report: Report, test: str, tasks: Sequence[str], length: int) -> Measured:
    return {task: report.skill(task, test, length) for task in tasks}


def _compared(
    report: Report, asked: Question, tasks: Sequence[str], length: int
) -> Measured:
    """The skill of the test less that of the base; one below a blind guess is 0."""
    upper, lower = (
        _skills(report, test, tasks, length) for test in (asked.test, asked.base)
    )
    pairs = ((task, (upper[task], lower[task])) for task in tasks)
    return {task: np.maximum(a, 0) - np.maximum(b, 0) for task, (a, b) in pairs}


def _row(asked: Question, measured: Measured, **rules: Any) -> Claim:
    about = {"reported": asked.reported, "source": asked.source}
    return judge(asked.text, measured, **about, **rules)


def _fails(report: Report, asked: Question, tasks: Sequence[str]) -> Claim:
    near = _skills(report, report.trained[asked.test], tasks, report.near)
    return _row(
        asked,
        _skills(report, asked.test, tasks, report.far),
        rule=f"skill at {report.far} letters {ON_LEARNED}; confirmed if it is below "
        f"{KEPT} of that at N by two standard errors of the seeds on each, qualified "
        "if below that at N",
        confirmed=lambda m: spread.everywhere(KEPT * near[t] - m[t] for t in tasks),
        qualified=lambda m: spread.everywhere(near[t] - m[t] for t in tasks),
    )


def _extrapolates(report: Report, asked: Question, tasks: Sequence[str]) -> Claim:
    near = _skills(report, report.trained[asked.test], tasks, report.near)
    better = _compared(report, asked, tasks, report.far).values()

    def kept(m: Measured) -> bool:
        return spread.everywhere(m[t] - KEPT * near[t] for t in tasks)

    return _row(
        asked,
        _skills(report, asked.test, tasks, report.far),
        rule=f"skill at {report.far} letters {ON_LEARNED}; confirmed if on each it is "
        f"above {KEPT} of that at N and above that of {asked.base} by two standard "
        "errors of the seeds, qualified if above the latter on one and as surely "
        "below on none; beside another a skill below 0 is 0",
        confirmed=lambda m: kept(m) and spread.everywhere(better),
        qualified=lambda m: spread.somewhere(better),
    )


def _above(report: Report, asked: Question, tasks: Sequence[str]) -> Claim:
    return _row(
        asked,
        _compared(report, asked, tasks, report.far),
        rule=f"skill at {report.far} letters of {asked.test} less that of "
        f"{asked.base}, one below 0 as 0, {ON_LEARNED}; confirmed if above 0 by two "
        "standard errors of the seeds on each, qualified if on one and as surely "
        "below on none",
        confirmed=lambda m: spread.everywhere(m.values()),
        qualified=lambda m: spread.somewhere(m.values()),
    )


def _no_loss(report: Report, asked: Question, tasks: Sequence[str]) -> Claim:
    def within(m: Measured, margin: float) -> bool:
        return all(spread.not_below(values, margin) for values in m.values())

    return _row(
        asked,
        _compared(report, asked, tasks, report.near),
        rule=f"skill at N of {asked.test} less that of {asked.base}, {ON_LEARNED}; "
        "confirmed if on each no more than 0.02 below by two standard errors of the "
        "seeds, qualified 0.1",
        confirmed=lambda m: within(m, 0.02),
        qualified=lambda m: within(m, 0.1),
    )


def _all_right(report: Report, asked: Question, tasks: Sequence[str]) -> Claim:
    (task,) = tasks
    found = report.accuracy[task][asked.test]

    def within(m: Measured, margin: float) -> bool:
        return all(spread.not_below(values - 1, margin) for values in m.values())

    return _row(
        asked,
        {f"accuracy at {n}": np.array(found[n]) for n in report.lengths},
        rule="confirmed if at every length no more than 0.01 below 1 by two standard "
        "errors of the seeds, qualified 0.1",
        confirmed=lambda m: within(m, 0.01),
        qualified=lambda m: within(m, 0.1),
    )


def tables(report: Report, left: Mapping[str, str]) -> list[Table]:
    """Accuracies of a task by test and length; what is not judged."""
    shown = []
    columns = ["test", "learned at N"]
    for n in report.lengths:
        columns += [f"{n}", "spread"]
    for task, found in report.accuracy.items():
        rows: list[list[Any]] = []
        for test, by_length in found.items():
            known = "yes" if report.learned(task, test) else "not learned"
            row: list[Any] = [test, known]
            for n in report.lengths:
                values = np.array(by_length[n])
                row += [float(values.mean()), spread.deviation(values)]
            rows.append(row)
        blind: list[Any] = ["blind guess", ""]
        for n in report.lengths:
            blind += [report.blind[task][n], None]
        rows.append(blind)
        shown.append(
            Table(f"{task}: accuracy by letters of the question", columns, rows)
        )
    if left:
        rows = [[text, why] for text, why in left.items()]
        shown.append(Table("Claims not judged", ["claim", "why"], rows))
    return shown
