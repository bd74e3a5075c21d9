"""The fifteen tasks: every answer by another evaluator, lengths, letters, chance."""

import math

import numpy as np
import pytest

from experiments._generalization.examples import UNASKED, blind, rows, stream
from experiments._generalization.tasks import TASKS

SIZES = (1, 2, 3, 4, 5, 8, 13, 40, 161)


def lengths_of(task, longest=161):
    """A few of the lengths that a task has."""
    return sorted({task.lengths(n)[-1] for n in SIZES if task.lengths(n)})


def drawn(name, count=40, part=7):
    """Examples of many lengths: the question and the answers as text, with n."""
    task, rng = TASKS[name], stream(0, part)
    for n in lengths_of(task):
        for _ in range(count):
            inputs, outputs = task.draw(rng, n)
            asked = outputs[outputs != UNASKED]
            question = "".join(task.letters[i] for i in inputs)
            yield n, question, "".join(task.answers[i] for i in asked), outputs


def number(digits):
    """Of binary digits, the lowest first."""
    return sum(int(digit) * 2**place for place, digit in enumerate(digits))


def by_stack(question):
    stack = []
    for letter in question:
        if letter in "01":
            stack.append(letter)
        elif letter == "-":
            stack = stack[:-1]
        else:
            stack.append("01"["ab".index(letter)])
    return "".join(reversed(stack)) + "."


def by_trial(question):
    """The only z for which the equation holds."""
    left, right = question.split("=")
    fits = [z for z in range(5) if eval(left, {"z": z}) % 5 == int(right)]
    (answer,) = fits
    return str(answer)


def by_halves(question):
    half = len(question) // 2
    place = question.index("?")
    return question[(place + half) % len(question)]


def of_binary(question, operator):
    a, b = question.split(operator)
    value = number(a) + number(b) if operator == "+" else number(a) * number(b)
    return f"{value:b}"[::-1] + "."


def root_of(question):
    """The largest number whose square is not above."""
    value, root = int(question, 2), 0
    for place in reversed(range(len(question))):
        if (root + 2**place) ** 2 <= value:
            root += 2**place
    return f"{root:b}".zfill(math.ceil(len(question) / 2))


ANSWERS = {
    "even_pairs": lambda q: str(int((q.count("ab") + q.count("ba")) % 2 == 0)),
    "parity": lambda q: str(q.count("1") % 2),
    "cycle_navigation": lambda q: str((q.count("+") - q.count("-")) % 5),
    "modular_arithmetic": lambda q: str(eval(q) % 5),
    "modular_arithmetic_brackets": lambda q: str(eval(q) % 5),
    "reverse": lambda q: "".join(reversed(q)),
    "solve_equation": by_trial,
    "stack_manipulation": by_stack,
    "binary_addition": lambda q: of_binary(q, "+"),
    "binary_multiplication": lambda q: of_binary(q, "*"),
    "compute_sqrt": root_of,
    "duplicate_string": lambda q: q + q,
    "missing_duplicate": by_halves,
    "odds_first": lambda q: q[0::2] + q[1::2],
    "bucket_sort": lambda q: "".join(c * q.count(c) for c in "01234"),
}


def test_there_are_fifteen() -> None:
    assert len(TASKS) == 15 and list(TASKS) == list(ANSWERS)


@pytest.mark.parametrize("name", TASKS)
def test_answers_are_those_of_another_evaluator(name) -> None:
    for n, question, answer, outputs in drawn(name):
        assert len(question) == n and len(outputs) == TASKS[name].places(n)
        assert answer == ANSWERS[name](question), question
        # What is not asked for stands at the end.
        asked = outputs != UNASKED
        assert asked.any() and not (~asked[:-1] & asked[1:]).any()


def test_pairs_are_even_where_first_and_last_agree() -> None:
    for _, question, answer, _ in drawn("even_pairs"):
        assert answer == str(int(question[0] == question[-1]))


def test_there_is_one_missing_letter_and_both_halves_miss_it() -> None:
    places = [q.index("?") / n for n, q, _, _ in drawn("missing_duplicate", 200)]
    assert all(q.count("?") == 1 for _, q, _, _ in drawn("missing_duplicate"))
    assert 0.4 < np.mean(np.array(places) < 0.5) < 0.6


@pytest.mark.parametrize("name", TASKS)
def test_every_letter_comes_and_no_other(name) -> None:
    task = TASKS[name]
    inputs, outputs = set(), set()
    for _, question, answer, _ in drawn(name):
        inputs |= set(question)
        outputs |= set(answer)
    assert inputs == set(task.letters) and outputs == set(task.answers)
    assert len(set(task.letters)) == len(task.letters)
    assert task.vocabulary == len(task.letters) + 2 and task.ask != task.pad


@pytest.mark.parametrize("name", TASKS)
def test_no_two_examples_of_a_long_question_are_the_same(name) -> None:
    task, rng = TASKS[name], stream(0, 3)
    found = {task.draw(rng, task.lengths(41)[-1]).inputs.tobytes() for _ in range(200)}
    assert len(found) == 200


# The accuracy of one who has not read the question, of 21 letters: of two letters alike
# 1/2, of five 1/5; a product is 0 more often, the first digit of a root is what it is,
# and the middle of a sorted string is guessed.
CHANCE = {
    "cycle_navigation": (0.17, 0.26),
    "modular_arithmetic": (0.17, 0.31),
    "modular_arithmetic_brackets": (0.2, 0.36),
    "solve_equation": (0.17, 0.26),
    "compute_sqrt": (0.5, 0.63),
    "bucket_sort": (0.55, 0.8),
}


@pytest.mark.parametrize("name", TASKS)
def test_chance_is_what_it_must_be(name) -> None:
    task = TASKS[name]
    low, high = CHANCE.get(name, (0.46, 0.57))
    assert low < blind(task, stream(1, 1), task.lengths(21)[-1]) < high


def test_chance_of_a_single_sorted_letter_and_of_short_roots() -> None:
    # One letter of five; of the roots 0 and 1 of one digit, each half of the time.
    assert abs(blind(TASKS["bucket_sort"], stream(1, 2), 1, 8000) - 0.2) < 0.03
    # Two digits: 0, 1, 2, 3 have the roots 0, 1, 1, 1.
    assert abs(blind(TASKS["compute_sqrt"], stream(1, 3), 2, 8000) - 0.75) < 0.03


@pytest.mark.parametrize("name", TASKS)
def test_rows_hold_question_places_padding_and_answers(name) -> None:
    task = TASKS[name]
    width = task.size(13)
    made = rows(task, stream(0, 5), task.lengths(13), 60, width)
    again = rows(task, stream(0, 5), task.lengths(13), 60, width)
    np.testing.assert_array_equal(made, again)
    assert made.shape == (60, 2 * width) and made.dtype == np.uint8
    seen = set()
    for tokens, answers in made.reshape(60, 2, width):
        n = int((tokens < task.ask).sum())
        seen.add(n)
        places = task.places(n)
        assert (tokens[:n] < task.ask).all() and (
            tokens[n + places :] == task.pad
        ).all()
        assert (tokens[n : n + places] == task.ask).all()
        assert not answers[:n].any() and not answers[n + places :].any()
        asked = "".join(task.answers[i - 1] for i in answers if i)
        assert asked == ANSWERS[name]("".join(task.letters[i] for i in tokens[:n]))
    assert len(seen) >= 5 and seen <= set(task.lengths(13))


def test_shorter_lengths_than_a_task_has_are_none() -> None:
    assert TASKS["solve_equation"].lengths(2) == []
    assert TASKS["missing_duplicate"].lengths(7) == [2, 4, 6]
    assert TASKS["modular_arithmetic"].lengths(6) == [1, 3, 5]
