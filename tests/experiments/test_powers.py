"""The experiment powers: each way to compare, where it fails."""

import jax.numpy as jnp
import pytest

from experiments._powers.ways import (
    COMMON,
    FLOATS,
    INTEGERS,
    LOG,
    RULE,
    WAYS,
    Failures,
    Way,
    failures,
)
from experiments.powers import Config, claims

BY_NAME = {way.name: way for way in WAYS}


def test_failures_are_counted_across_chunks_and_the_last_is_not_counted_twice() -> None:
    wrong = Way(
        "odd", lambda n: jnp.where((n % 2 == 1) & (n > 2), -1, 1 - 2 * (n <= 2))
    )
    for chunk in (1, 3, 7, 100):
        assert failures(wrong, 0, 20, chunk) == Failures(9, 3)


@pytest.mark.parametrize(("name", "first"), [(FLOATS, 27), (INTEGERS, 9)])
def test_powers_fail_where_the_card_says(name, first) -> None:
    assert failures(BY_NAME[name], 0, 100, 50).first == first


def test_the_common_form_fails_where_it_cancels_and_ours_does_not() -> None:
    window = 8_000_000, 9_000_000, 250_000
    assert failures(BY_NAME[COMMON], *window).count > 0
    for name in (LOG, RULE):
        assert failures(BY_NAME[name], *window) == Failures(0, None)


@pytest.mark.parametrize(
    ("name", "first", "verdict"),
    [
        (FLOATS, 27, "confirmed"),
        (FLOATS, 28, "qualified"),
        (INTEGERS, 10, "refuted"),
        (INTEGERS, None, "refuted"),
    ],
)
def test_first_failures_are_judged(name, first, verdict) -> None:
    found = {way: Failures(0, None) for way in BY_NAME} | {name: Failures(5, first)}
    rows = claims(found, [-1, -1, -1, 1], Config(stop=100))
    assert [r.verdict for r in rows if r.text.startswith(name)] == [verdict]
