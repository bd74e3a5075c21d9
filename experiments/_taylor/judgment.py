"""Accuracy, likelihood and calibration of log-probabilities, cell by cell."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from experiments._harness.results import Table
from experiments._harness.spread import standard_error
from experiments._taylor.training import Answers, Cell, Head, Split

BINS = 15


class Score(NamedTuple):
    """What one model is worth on one set."""

    accuracy: float
    nll: float
    ece: float
    confidence: float


class Scores(NamedTuple):
    """Scores by head and cell on the test rows, and accuracy on those to choose by."""

    test: dict[tuple[Head, Cell], Score]
    validation: dict[tuple[Head, Cell], float]
    answers: dict[tuple[Head, Cell], np.ndarray]
    labels: np.ndarray
    seeds: Sequence[int]

    def of(self, what: str, head: Head, noise: float, margin: float = 0) -> np.ndarray:
        """One value of ``what`` a seed."""
        cells = [Cell(noise, margin, seed) for seed in self.seeds]
        return np.array([getattr(self.test[head, cell], what) for cell in cells])

    def right(self, head: Head, noise: float, margin: float = 0) -> np.ndarray:
        """Whether each test row was named right, [seeds, rows]."""
        cells = [Cell(noise, margin, seed) for seed in self.seeds]
        found = [self.answers[head, cell].argmax(-1) for cell in cells]
        return np.stack(found) == self.labels[None]

    def best(
        self, choices: Iterable[tuple[Head, float]], noise: float
    ) -> tuple[Head, float]:
        """The head and margin of the highest mean accuracy on the validation rows."""

        def worth(choice: tuple[Head, float]) -> float:
            head, margin = choice
            cells = [Cell(noise, margin, seed) for seed in self.seeds]
            return float(np.mean([self.validation[head, cell] for cell in cells]))

        return max(choices, key=worth)


def bins(
    logs: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share, mean confidence and accuracy of BINS equal intervals of confidence."""
    confidence = np.exp(logs.max(-1))
    right = logs.argmax(-1) == labels
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    safe = np.maximum(count, 1)
    sure, true = (np.bincount(place, w, BINS) / safe for w in (confidence, right))
    return count / len(labels), sure, true


def score(logs: np.ndarray, labels: np.ndarray) -> Score:
    """Of log-probabilities [rows, classes]."""
    share, confidence, accuracy = bins(logs, labels)
    return Score(
        float((logs.argmax(-1) == labels).mean()),
        float(-logs[np.arange(len(labels)), labels].mean()),
        float((share * np.abs(confidence - accuracy)).sum()),
        float(np.exp(logs.max(-1)).mean()),
    )


def judged(answers: dict[Head, Answers], parts: Split, seeds: Sequence[int]) -> Scores:
    """The scores of all models."""
    test, validation, kept = {}, {}, {}
    for head, answer in answers.items():
        for cell, logs in answer.test.items():
            test[head, cell] = score(logs, parts.test[1])
            kept[head, cell] = logs
            chosen = score(answer.validation[cell], parts.validation[1])
            validation[head, cell] = chosen.accuracy
    return Scores(test, validation, kept, parts.test[1], seeds)


def table(scores: Scores, noise: float) -> Table:
    """Means and standard errors over the seeds, a row a head and margin."""
    rows = []
    pairs = dict.fromkeys((head, cell.margin) for head, cell in scores.test)
    for head, margin in pairs:
        name = f"{head.name}, margin {margin:g}" if margin else head.name
        values = [scores.of(w, head, noise, margin) for w in Score._fields]
        rows.append([name, *(_with_error(v) for v in values)])
    title = f"{noise:.0%} of the training labels wrong" if noise else "clean labels"
    columns = ["head", "accuracy", "NLL", "ECE", "mean confidence"]
    return Table(f"Test rows, {title} (mean +- standard error)", columns, rows)


def _with_error(values: np.ndarray) -> str:
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{values.mean():.4f} +- {standard_error(values):.4f}"
