"""Tasks on strings of letters: what a count, a stack or a copy of them answers."""

import numpy as np

from experiments._generalization.examples import UNASKED, Example, Generator, example

MODULUS = 5
STEPS = np.array([0, 1, -1])  # of the letters "0+-" of cycle_navigation
POP, PUSH = 2, 3  # a pop, and the push of 0; that of 1 is the next
STACK_END, HIDDEN = 2, 2


def even_pairs(rng: Generator, n: int) -> Example:
    """Whether ab and ba come an even number of times: whether first and last agree."""
    x = rng.integers(0, 2, n)
    return example(x, [x[0] == x[-1]])


def parity(rng: Generator, n: int) -> Example:
    """The number of ones modulo 2."""
    x = rng.integers(0, 2, n)
    return example(x, [x.sum() % 2])


def cycle_navigation(rng: Generator, n: int) -> Example:
    """Where steps 0, +1 and -1 on a circle of 5 places end, from 0."""
    x = rng.integers(0, 3, n)
    return example(x, [STEPS[x].sum() % MODULUS])


def reverse(rng: Generator, n: int) -> Example:
    """The string from its end to its start."""
    x = rng.integers(0, 2, n)
    return example(x, x[::-1])


def stack_manipulation(rng: Generator, n: int) -> Example:
    """The stack after pushes and pops, its top first, then END.

    The question is a stack of a random size of at least 1, its bottom first, and then
    the actions; a pop of an empty stack does nothing. There are n + 1 places; those
    behind END are not asked for.
    """
    size = int(rng.integers(1, n + 1))
    start = rng.integers(0, 2, size)
    actions = rng.integers(POP, PUSH + 2, n - size)
    stack = start.tolist()
    for action in actions.tolist():
        if action >= PUSH:
            stack.append(action - PUSH)
        elif stack:
            stack.pop()
    rest = [UNASKED] * (n - len(stack))
    return example(np.concatenate([start, actions]), [*stack[::-1], STACK_END, *rest])


def duplicate_string(rng: Generator, n: int) -> Example:
    """The string twice."""
    x = rng.integers(0, 2, n)
    return example(x, np.tile(x, 2))


def missing_duplicate(rng: Generator, n: int) -> Example:
    """The one hidden letter of a string that stands there twice."""
    x = np.tile(rng.integers(0, 2, n // 2), 2)
    place = rng.integers(0, n)
    hidden = x[place]
    x[place] = HIDDEN
    return example(x, [hidden])


def odds_first(rng: Generator, n: int) -> Example:
    """The letters at odd places, counted from 1, then those at even ones."""
    x = rng.integers(0, 2, n)
    return example(x, np.concatenate([x[::2], x[1::2]]))


def bucket_sort(rng: Generator, n: int) -> Example:
    """The letters 0 to 4 in rising order."""
    x = rng.integers(0, MODULUS, n)
    return example(x, np.sort(x))
