"""Tasks of arithmetic: expressions modulo 5, and binary numbers of any size."""

import math
from typing import NamedTuple

import numpy as np

from experiments._generalization.examples import UNASKED, Example, Generator, example

MODULUS = 5
SIMPLE = "01234+-*"  # the letters of each task; digits and operators come first
BRACKETS = "01234+-*()"
EQUATION = "01234+-()z="
PLUS, MINUS, TIMES = 5, 6, 7
OPERATOR, NUMBER_END = 2, 2  # between binary numbers, and behind an answer


class Expression(NamedTuple):
    """The text, and the value modulo 5."""

    text: str
    value: int


def modular_arithmetic(rng: Generator, n: int) -> Example:
    """The value modulo 5 of digits with +, - and * between, n odd; * comes first."""
    x = rng.integers(0, MODULUS, n)
    x[1::2] = rng.integers(PLUS, TIMES + 1, n // 2)
    total, term = 0, int(x[0])
    for operator, digit in zip(x[1::2].tolist(), x[2::2].tolist(), strict=True):
        if operator == TIMES:
            term = term * digit % MODULUS
        else:
            total += term
            term = digit if operator == PLUS else -digit
    return example(x, [(total + term) % MODULUS])


def modular_arithmetic_brackets(rng: Generator, n: int) -> Example:
    """The value modulo 5 of a random expression of n letters in full brackets."""
    text, value = expression(rng, n, "+-*")
    return example([BRACKETS.index(letter) for letter in text], [value])


def solve_equation(rng: Generator, n: int) -> Example:
    """The z modulo 5 that solves an equation of n letters, at least 3.

    One digit of an expression with + and - alone becomes z: its factor is 1 or -1, so
    that the solution is unique.
    """
    text, value = expression(rng, n - 2, "+-")
    digits = [place for place, letter in enumerate(text) if letter.isdigit()]
    place = digits[int(rng.integers(len(digits)))]
    asked = f"{text[:place]}z{text[place + 1 :]}={value}"
    return example([EQUATION.index(letter) for letter in asked], [int(text[place])])


def expression(rng: Generator, n: int, operators: str) -> Expression:
    """A random expression of exactly n letters, with some of the operators.

    d, -d, (d) and (-d) are those of 1 to 4 letters, d a digit; a longer one is two with
    an operator between, in brackets, with a random size of the left.
    """
    if n <= 4:
        digit = int(rng.integers(MODULUS))
        text, value = f"{digit}", digit
        if n in (2, 4):
            text, value = f"-{digit}", -digit % MODULUS
        return Expression(f"({text})" if n > 2 else text, value)
    size = int(rng.integers(1, n - 3))
    left = expression(rng, size, operators)
    right = expression(rng, n - 3 - size, operators)
    sign = operators[int(rng.integers(len(operators)))]
    values = left.value, right.value
    found = {"+": sum(values), "-": values[0] - values[1], "*": math.prod(values)}
    return Expression(f"({left.text}{sign}{right.text})", found[sign] % MODULUS)


def binary_addition(rng: Generator, n: int) -> Example:
    """The sum of two binary numbers, lowest digit first, then END; n at least 3."""
    x, (a, b) = _two_numbers(rng, n)
    return example(x, _lowest_first(a + b, n))


def binary_multiplication(rng: Generator, n: int) -> Example:
    """The product of two binary numbers, lowest digit first, then END; n at least 3."""
    x, (a, b) = _two_numbers(rng, n)
    return example(x, _lowest_first(a * b, n))


def compute_sqrt(rng: Generator, n: int) -> Example:
    """The whole part of the square root of n binary digits, highest first.

    It has half as many digits, rounded up.
    """
    x = rng.integers(0, 2, n)
    root = math.isqrt(_number(x[::-1]))
    places = (n + 1) // 2
    return example(x, [root >> place & 1 for place in reversed(range(places))])


def _two_numbers(rng: Generator, n: int) -> tuple[np.ndarray, tuple[int, int]]:
    """n letters: random digits, an operator at a random place, digits; both numbers."""
    x = rng.integers(0, 2, n)
    place = int(rng.integers(1, n - 1))
    x[place] = OPERATOR
    return x, (_number(x[:place]), _number(x[place + 1 :]))


def _number(digits: np.ndarray) -> int:
    """The number of binary digits, the lowest first."""
    return int("".join(map(str, digits[::-1].tolist())), 2)


def _lowest_first(number: int, places: int) -> list[int]:
    """The digits of a number and END; the places behind are not asked for."""
    digits = [int(digit) for digit in reversed(f"{number:b}")]
    return [*digits, NUMBER_END, *[UNASKED] * (places - len(digits) - 1)]
