"""The fifteen tasks of the Chomsky hierarchy (arXiv 2207.02098), by name.

Each is a pure function of random numbers and a length. Where the paper rounds a length
that a task does not have, ``Task.lengths`` leaves it out. Places behind the END of an
answer are not scored; * stands in both tasks of arithmetic and not in equations, whose
solution is unique therefore.
"""

from experiments._generalization import arithmetic, strings
from experiments._generalization.examples import Task

DIGITS = "01234"


def _one(n: int) -> int:
    return 1


def _as_many(n: int) -> int:
    return n


def _one_more(n: int) -> int:
    return n + 1


def _twice(n: int) -> int:
    return 2 * n


def _half(n: int) -> int:
    return (n + 1) // 2


TASKS: dict[str, Task] = {
    # Regular languages.
    "even_pairs": Task(strings.even_pairs, "ab", "01", _one),
    "parity": Task(strings.parity, "01", "01", _one),
    "cycle_navigation": Task(strings.cycle_navigation, "0+-", DIGITS, _one),
    "modular_arithmetic": Task(
        arithmetic.modular_arithmetic, arithmetic.SIMPLE, DIGITS, _one, step=2
    ),
    # Context-free, by a deterministic automaton with a stack.
    "modular_arithmetic_brackets": Task(
        arithmetic.modular_arithmetic_brackets, arithmetic.BRACKETS, DIGITS, _one
    ),
    "reverse": Task(strings.reverse, "ab", "ab", _as_many),
    "solve_equation": Task(
        arithmetic.solve_equation, arithmetic.EQUATION, DIGITS, _one, shortest=3
    ),
    "stack_manipulation": Task(strings.stack_manipulation, "01-ab", "01.", _one_more),
    # Context-sensitive.
    "binary_addition": Task(
        arithmetic.binary_addition, "01+", "01.", _as_many, shortest=3
    ),
    "binary_multiplication": Task(
        arithmetic.binary_multiplication, "01*", "01.", _as_many, shortest=3
    ),
    "compute_sqrt": Task(arithmetic.compute_sqrt, "01", "01", _half),
    "duplicate_string": Task(strings.duplicate_string, "ab", "ab", _twice),
    "missing_duplicate": Task(
        strings.missing_duplicate, "ab?", "ab", _one, shortest=2, step=2
    ),
    "odds_first": Task(strings.odds_first, "ab", "ab", _as_many),
    "bucket_sort": Task(strings.bucket_sort, DIGITS, DIGITS, _as_many),
}
