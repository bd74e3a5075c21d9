"""What several processes wish is granted at one step, once, and none is lost."""

import signal

import pytest

from experiments._harness import signals
from experiments._harness.signals import Wish, Wishes

NOTHING = Wish(False, None)
LAG = signals._LAG


@pytest.fixture
def others(monkeypatch):
    """What the other processes submit, step by step; ours is never greater."""
    submitted = []

    def submit(mine):
        return max(mine, submitted.pop(0) if submitted else 0)

    monkeypatch.setattr("experiments._harness.processes.submit", submit)
    return submitted


def test_a_wish_of_another_process_is_granted_some_steps_later(others):
    others += [0, 0, signals._STOP + signal.SIGTERM]
    wishes = Wishes(shared=True)
    granted = [wishes.poll() for _ in range(3 + LAG + 3)]
    stop = Wish(True, signal.SIGTERM)
    assert granted == [NOTHING] * (2 + LAG) + [stop] + [NOTHING] * 3


def test_a_clock_that_is_due_saves_once(others, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    wishes, saves = Wishes(10.0, shared=True), []
    for step in range(1, 60):
        now[0] = float(step)
        if wishes.poll().save:
            saves.append(step)
            wishes.saved()
    assert saves == [10 + LAG, 20 + 2 * LAG, 30 + 3 * LAG, 40 + 4 * LAG]


def test_a_signal_is_not_lost_where_every_step_is_saved(others):
    wishes, granted = Wishes(shared=True), []
    wishes._note(signal.SIGTERM, None)
    for _ in range(LAG + 1):
        granted.append(wishes.poll())
        wishes.saved()
    assert granted == [NOTHING] * LAG + [Wish(True, signal.SIGTERM)]


def test_after_the_last_step_nothing_is_left_for_later(others):
    others += [0, signals._SAVE, signals._STOP + signal.SIGINT, 0]
    wishes = Wishes(shared=True)
    assert [wishes.poll() for _ in range(3)] == [NOTHING] * 3
    assert wishes.poll(last=True) == Wish(True, signal.SIGINT)
