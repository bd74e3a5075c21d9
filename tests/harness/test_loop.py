"""The loop: what it steps, logs and saves, and that a resumed run is the same bits."""

import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._harness import loop
from experiments._harness.checkpoint import Checkpointer
from experiments._harness.devices import data_mesh
from experiments._harness.errors import NonFinite, Stopped, UserError
from experiments._harness.guard import Guarded
from experiments._harness.metrics import MetricsWriter, read_metrics
from experiments._harness.profiling import Profiler
from experiments._harness.window import Window
from tests.harness import toy


@pytest.fixture(scope="module")
def jitted():
    """The toy's step, compiled once; how often it was traced in ``traces``."""
    traces = []

    def step(state, batch):
        traces.append(None)
        return toy.step(state, batch)

    compiled = Guarded(step, toy.start())
    compiled.traces = traces
    return compiled


def run(step, folder, steps, *, state=None, evaluate=None, mesh=None, **values):
    """The toy trained in ``folder``."""
    folder.mkdir(exist_ok=True)
    options = {"log_every": 5, "save_every": 4, "progress": False, **values}
    return loop.run(
        step,
        toy.start() if state is None else state,
        toy.batches(),
        num_steps=steps,
        options=loop.Options(**options),
        checkpointer=Checkpointer(folder / "checkpoints"),
        metrics=MetricsWriter(folder / "metrics.jsonl"),
        mesh=mesh,
        evaluate=evaluate,
    )


def bare(step, steps):
    """The toy trained without any file."""
    options = loop.Options(progress=False)
    return loop.run(step, toy.start(), toy.batches(), num_steps=steps, options=options)


@pytest.fixture(scope="module")
def whole(jitted, tmp_path_factory):
    """An uninterrupted run of 23 steps: its folder and last state."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(jitted, folder, 23)


def test_it_is_the_plain_python_loop(whole):
    state, data, halted = toy.start(), toy.batches(), loop.go()
    step = Guarded(toy.step, state)
    losses = []
    for _ in range(23):
        state, outcome, halted = step(state, next(data), halted)
        losses.append(float(outcome.scalars["loss"]))
    folder, last = whole
    assert toy.same(state, last)
    rows = read_metrics(folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == [5, 10, 15, 20, 23]
    assert rows[0].keys() == {"step", "loss", "norm"}
    means = [np.mean(losses[i : i + 5]) for i in (0, 5, 10, 15, 20)]
    np.testing.assert_allclose([row["loss"] for row in rows], means, rtol=1e-12)


def test_the_guarded_step_is_the_step(whole):
    """To rounding: XLA compiles the two into different programs."""
    state, data, step = toy.start(), toy.batches(), jax.jit(toy.step)
    for _ in range(23):
        state, _ = step(state, next(data))
    for one, other in zip(toy.leaves(state), toy.leaves(whole[1]), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5)


def test_the_step_is_traced_once(jitted, whole):
    assert len(jitted.traces) == 1


def test_two_steps_are_kept_and_the_last_is_there(whole):
    assert Checkpointer(whole[0] / "checkpoints").steps() == [20, 23]


class Break(Exception):
    """The crash of a test."""


def breaking(step, at):
    """``step`` that raises at its call number ``at``."""
    calls = []

    def hook(state):
        calls.append(None)
        if len(calls) == at:
            raise Break

    return toy.Hooked(step, hook)


@pytest.mark.parametrize("crashes", [[2], [6], [9], [13], [5, 3, 8], [6, 1, 1, 9]])
def test_a_resumed_run_is_the_same_bits(jitted, whole, tmp_path, crashes):
    for at in crashes:
        with pytest.raises(Break):
            run(breaking(jitted, at), tmp_path, 23)
    last = run(jitted, tmp_path, 23)
    folder, expected = whole
    assert toy.same(last, expected)
    one, other = (f / "metrics.jsonl" for f in (folder, tmp_path))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(jitted, whole, tmp_path, signum):
    def hook(state):
        if state["seen"] == 8 * 6:
            os.kill(os.getpid(), signum)

    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Stopped, match="stopped at step 7 of 23 and saved") as caught:
        run(toy.Hooked(jitted, hook), tmp_path, 23)
    assert caught.value.signum == signum
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
    assert Checkpointer(tmp_path / "checkpoints").steps()[-1] == 7
    assert toy.same(run(jitted, tmp_path, 23), whole[1])
    rows = [(f / "metrics.jsonl").read_bytes() for f in (tmp_path, whole[0])]
    assert rows[0] == rows[1]


def test_a_second_signal_interrupts(jitted):
    def hook(state):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        bare(toy.Hooked(jitted, hook), 3)


def test_a_signal_in_the_last_step_still_stops_what_comes_after(jitted, tmp_path):
    def hook(state):
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="stopped at step 1 of 1 and saved"):
        run(toy.Hooked(jitted, hook), tmp_path, 1)
    assert Checkpointer(tmp_path / "checkpoints").steps() == [1]


def test_nothing_runs_again_in_a_run_that_is_done(jitted, whole, tmp_path):
    run(jitted, tmp_path, 23)
    again = run(breaking(jitted, 1), tmp_path, 23)
    assert toy.same(again, whole[1])


def test_more_steps_than_wanted_are_refused(jitted, tmp_path):
    run(jitted, tmp_path, 5)
    with pytest.raises(UserError, match="5 steps are saved already: wanted at most 4"):
        run(jitted, tmp_path, 4)


def test_evaluation_rows(jitted, tmp_path):
    def evaluate(state, number):
        return {"seen": state["seen"], "twice": 2 * number}

    run(jitted, tmp_path, 10, evaluate=evaluate, evaluate_every=4)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [4, 5, 8, 10, 10]
    assert rows[0] == {"step": 4, "seen": 32.0, "twice": 8.0}
    assert rows[-1] == {"step": 10, "seen": 80.0, "twice": 20.0}
    assert "loss" in rows[-2]


def counting(bad, *at):
    """A step on a number and an array; its metric "norm" is ``bad`` in steps ``at``."""

    def step(state, batch):
        new = {"step": state["step"] + 1, "sum": state["sum"] + batch["y"].sum()}
        wrong = jnp.isin(new["step"], jnp.asarray(at))
        return new, {"loss": new["sum"], "norm": jnp.where(wrong, bad, 0.0)}

    return step


def zero():
    return {"step": jnp.zeros((), jnp.int32), "sum": jnp.zeros((), jnp.float32)}


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_the_first_non_finite_quantity_stops_the_run(tmp_path, bad):
    with pytest.raises(NonFinite, match=r"norm became -?(nan|inf) at step 6: stopped"):
        run(counting(bad, 6), tmp_path, 50, state=zero())
    checkpoints = Checkpointer(tmp_path / "checkpoints")
    assert checkpoints.steps() == [4]
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [5]


def test_the_state_before_a_bad_step_and_its_batch_are_saved(tmp_path):
    with pytest.raises(NonFinite, match="nonfinite/000005; --on_nonfinite=skip"):
        run(counting(jnp.nan, 6), tmp_path, 50, state=zero())
    data = toy.batches()
    batches = [next(data) for _ in range(6)]
    like = {"state": zero(), "batch": jax.tree.map(jnp.asarray, batches[5])}
    saved = Checkpointer(tmp_path / "checkpoints" / "nonfinite").restore(like)
    assert saved.step == 5 and saved.meta["bad_step"] == 6
    assert toy.same(saved.state["batch"], like["batch"])
    assert saved.state["state"]["step"] == 5
    total = sum(batch["y"].sum() for batch in batches[:5])
    np.testing.assert_allclose(saved.state["state"]["sum"], total, rtol=1e-6)


def test_a_stopped_run_goes_on_with_skip_and_counts(tmp_path):
    with pytest.raises(NonFinite):
        run(counting(jnp.nan, 6), tmp_path, 20, state=zero())
    # The state of a skipped step stays, so that the number 6 comes again and again.
    last = run(counting(jnp.nan, 6), tmp_path, 20, state=zero(), on_nonfinite="skip")
    assert last["step"] == 5
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [5, 10, 15, 20]
    assert [row.get("skipped") for row in rows] == [0, 5, 10, 15]
    assert rows[1].keys() == {"step", "skipped"}


def test_a_skipped_update_is_left_out_and_the_data_goes_on(tmp_path):
    def step(state, batch):
        low = batch["y"].min() < 0.5  # the rows decide, not the state
        new = {"step": state["step"] + 1, "sum": state["sum"] + batch["y"].sum()}
        return new, {"loss": jnp.where(low, jnp.nan, batch["y"].min())}

    data, total, kept = toy.batches(), 0.0, 0
    for _ in range(40):
        rows = next(data)["y"]
        if rows.min() >= 0.5:
            total, kept = total + rows.sum(), kept + 1
    assert 0 < kept < 40
    last = run(step, tmp_path, 40, state=zero(), on_nonfinite="skip", save_every=7)
    assert last["step"] == kept
    np.testing.assert_allclose(last["sum"], total, rtol=1e-6)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert rows[-1]["skipped"] == 40 - kept
    assert all(np.isfinite(row.get("loss", 0.0)) for row in rows)


def test_time_makes_a_save_due(jitted, whole, tmp_path, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    saved = []
    save = Checkpointer.save

    def noted(self, step, *rest):
        saved.append(step)
        return save(self, step, *rest)

    monkeypatch.setattr(Checkpointer, "save", noted)
    last = run(jitted, tmp_path, 23, save_every=0, save_seconds=6)
    assert len(saved) >= 3 and saved[-1] == 23 and saved == sorted(set(saved))
    assert toy.same(last, whole[1])


def test_a_profile_of_some_steps_changes_nothing(jitted, whole, tmp_path):
    profiler = Profiler((3, 4), tmp_path / "profile")
    last = run(jitted, tmp_path, 23, profiler=profiler)
    assert toy.same(last, whole[1])
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    rows = [(f / "metrics.jsonl").read_bytes() for f in (tmp_path, whole[0])]
    assert rows[0] == rows[1]


def test_metrics_are_read_late_and_never_more_than_some_steps_late(jitted, monkeypatch):
    reads, done = [], []
    monkeypatch.setattr(
        Window, "_read", lambda self: reads.append(self._waiting.popleft()[0])
    )
    bare(toy.Hooked(jitted, lambda state: done.append(len(reads))), 10)
    assert done == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]
    assert reads == list(range(1, 11))


def test_without_metrics_and_checkpoints(jitted, whole):
    assert toy.same(bare(jitted, 23), whole[1])


def test_with_a_mesh(jitted, tmp_path):
    mesh = data_mesh(8, devices=1)
    last = run(toy.step, tmp_path, 6, mesh=mesh)
    assert all(leaf.sharding.mesh == mesh for leaf in jax.tree.leaves(last))
    resumed = run(toy.step, tmp_path, 6, mesh=mesh)
    places = [leaf.sharding for leaf in jax.tree.leaves(resumed)]
    assert places == [leaf.sharding for leaf in jax.tree.leaves(last)]
    assert toy.same(last, resumed)
