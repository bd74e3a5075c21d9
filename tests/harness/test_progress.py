"""Progress: lines where there is no terminal, a bar where there is one."""

import pytest

from experiments._harness import progress
from experiments._harness.progress import Progress, duration


def test_lines_elsewhere(capsys):
    with Progress(10, "train", start=2, interval=0) as shown:
        shown.update(3, {"loss": 0.75})
        shown.update(4, {"loss": 0.5})
        shown.update(10, {"loss": 0.25, "norm": 1e6})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("train 4/10 loss 0.5 ")
    assert lines[0].endswith(" left")
    assert "loss 0.25 norm 1e+06" in lines[1]
    assert lines[1].endswith("/s, 0s left")


def test_no_line_within_the_interval(capsys):
    with Progress(10) as shown:
        for step in range(10):
            shown.update(step, {})
    assert capsys.readouterr() == ("", "")


def test_the_time_before_the_first_step_is_not_in_the_rate(capsys, monkeypatch):
    clock = iter([0.0, 1000.0, 1001.0, 1002.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with Progress(100, "train", interval=0) as shown:
        for step in (1, 11, 21):
            shown.update(step, {})
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["train 11/100  10.0/s, 9s left", "train 21/100  10.0/s, 8s left"]


def test_nothing_where_nothing_is_to_be_shown(capsys):
    with Progress(10, show=False, interval=0) as shown:
        shown.update(3, {"loss": 0.5})
    assert capsys.readouterr() == ("", "")


def test_a_bar_at_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Progress(10, "train", start=4) as shown:
        shown.update(7, {"loss": 0.5})
        assert shown._bar is not None
    written = capsys.readouterr()
    assert written.out == ""
    assert "7/10" in written.err
    assert "loss 0.5" in written.err


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0s"), (59.4, "59s"), (60, "1m00s"), (3599, "59m59s"), (7500, "2h05m")],
)
def test_durations(seconds, said):
    assert duration(seconds) == said
    assert progress.duration(seconds) == said
