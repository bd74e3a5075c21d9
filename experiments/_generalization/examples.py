"""One shape for the examples of all tasks: a question, then a place for each answer.

An encoder reads the question of n letters and behind it as many equal placeholders as
the task has answers for that n; it is scored by the share of right letters there. The
number of places depends on n alone, so that it betrays nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Generator = np.random.Generator

UNASKED = -1  # a place whose answer does not count: what stands behind END


class Example(NamedTuple):
    """Letters of the question [n] and of the answers [places], as numbers."""

    inputs: np.ndarray
    outputs: np.ndarray


class Task(NamedTuple):
    """``draw(rng, n)`` is an Example of exactly n letters, ``places(n)`` answers.

    n is ``shortest`` or more of them by a multiple of ``step``. ``letters`` are those
    of questions and ``answers`` those of answers, each letter by its place there.
    """

    draw: Callable[[Generator, int], Example]
    letters: str
    answers: str
    places: Callable[[int], int]
    shortest: int = 1
    step: int = 1

    @property
    def vocabulary(self) -> int:
        """The letters, the placeholder and the padding."""
        return len(self.letters) + 2

    @property
    def ask(self) -> int:
        """The placeholder of an answer."""
        return len(self.letters)

    @property
    def pad(self) -> int:
        """What fills shorter rows; not seen."""
        return len(self.letters) + 1

    def lengths(self, longest: int) -> list[int]:
        """The lengths that the task has, up to ``longest``."""
        return list(range(self.shortest, longest + 1, self.step))

    def size(self, n: int) -> int:
        """The tokens of a question of n letters and its places."""
        return n + self.places(n)


def example(inputs: Any, outputs: Any) -> Example:
    """An Example of any two sequences of integers."""
    return Example(np.asarray(inputs, np.int8), np.asarray(outputs, np.int8))


def stream(seed: int, part: int) -> Generator:
    """Random numbers that depend on nothing but the two."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, part], np.uint64)))


def rows(
    task: Task, rng: Generator, lengths: list[int], count: int, width: int
) -> np.ndarray:
    """``count`` examples as uint8 [count, 2 width], of random ``lengths``.

    A row is ``width`` tokens, padded, and for each of them the answer plus 1 that is
    wanted there, or 0.
    """
    found = np.zeros((count, 2, width), np.uint8)
    found[:, 0] = task.pad
    chosen = rng.integers(0, len(lengths), count)
    for row, number in zip(found, chosen, strict=True):
        n = lengths[number]
        inputs, outputs = task.draw(rng, n)
        end = n + len(outputs)
        row[0, :n] = inputs
        row[0, n:end] = task.ask
        row[1, n:end] = outputs + 1
    return found.reshape(count, 2 * width)


def blind(task: Task, rng: Generator, n: int, count: int = 2000) -> float:
    """The accuracy of one who knows n and the task but has not read the question.

    At each place the answer that is the most frequent there, of ``count`` examples, is
    scored on as many others.
    """
    guess, seen = (
        np.stack([task.draw(rng, n).outputs for _ in range(count)]) for _ in range(2)
    )
    letters = np.arange(len(task.answers))[:, None, None]
    best = (guess[None] == letters).sum(1).argmax(0)
    asked = seen != UNASKED
    return float((seen == best)[asked].mean())
