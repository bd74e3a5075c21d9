"""The interleaved run: who is called when, and the arithmetic of its samples."""

import pytest

from experiments.benchmark import timing


def test_forms_take_turns_and_each_round_starts_with_another():
    order = []
    calls = {name: (lambda n=name: order.append(n)) for name in "abc"}
    samples = timing.interleave(calls, rounds=3, seconds=0)
    assert {name: len(values) for name, values in samples.items()} == dict.fromkeys(
        "abc", 3
    )
    assert order[:6] == list("aabbcc")  # the warm-up
    turns = order[6:]
    assert turns == list("aabbcc") + list("bbccaa") + list("ccaabb")


def test_a_turn_lasts_about_its_share_of_the_time(monkeypatch):
    """On a clock that only the calls move: eight turns of sixteen calls."""
    now, count = [0.0], [0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    def call():
        now[0] += 2.0**-10
        count[0] += 1

    samples = timing.interleave({"quick": call}, rounds=8, seconds=8 * 2.0**-6)
    assert samples == {"quick": [2.0**-10] * 8}
    assert count[0] == 2 + 8 * (1 + 16)  # warm-up, and an untimed call before each turn


def test_a_fast_form_is_not_called_without_end():
    count = [0]

    def call():
        count[0] += 1

    timing.interleave({"quick": call}, rounds=1, seconds=1e9)
    assert count[0] < 20_000


def test_spread_and_ratio():
    assert timing.spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 0.5)
    assert timing.spread([4.0]) == (4.0, 4.0, 0.0)
    assert timing.ratio([2.0], [4.0]) == (0.5, 0.5, 0.5)


def test_ratio_is_taken_round_by_round():
    """A slow spell that both forms suffer does not show."""
    ours, theirs = [1.0, 10.0, 1.0, 10.0], [2.0, 20.0, 2.0, 20.0]
    assert timing.ratio(ours, theirs) == (0.5, 0.5, 0.5)
    assert timing.ratio(ours, theirs[::-1]).median != pytest.approx(0.5)
