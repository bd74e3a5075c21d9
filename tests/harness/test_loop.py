"""The loop: what it steps, logs and saves, and that a resumed run is the same bits."""

import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._harness import loop
from experiments._harness.checkpoint import Checkpointer
from experiments._harness.devices import data_mesh, jit_step
from experiments._harness.errors import NonFinite, Stopped, UserError
from experiments._harness.metrics import MetricsWriter, read_metrics
from tests.harness import toy


@pytest.fixture(scope="module")
def jitted():
    """The toy's step, compiled once; how often it was traced in ``traces``."""
    traces = []

    def step(state, batch):
        traces.append(None)
        return toy.step(state, batch)

    compiled = jit_step(step, toy.start())
    compiled_with_traces = lambda state, batch: compiled(state, batch)  # noqa: E731
    compiled_with_traces.traces = traces
    return compiled_with_traces


def run(step, folder, steps, **options):
    """The toy trained in ``folder``."""
    folder.mkdir(exist_ok=True)
    return loop.run(
        step,
        options.pop("state") if "state" in options else toy.start(),
        toy.batches(),
        num_steps=steps,
        checkpointer=Checkpointer(folder / "checkpoints"),
        metrics=MetricsWriter(folder / "metrics.jsonl"),
        progress=False,
        **{"log_every": 5, "save_every": 4, **options},
    )


@pytest.fixture(scope="module")
def whole(jitted, tmp_path_factory):
    """An uninterrupted run of 23 steps: its folder and last state."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(jitted, folder, 23)


def test_it_is_the_plain_python_loop(whole):
    state, data = toy.start(), toy.batches()
    step = jax.jit(toy.step)
    losses = []
    for _ in range(23):
        state, scalars = step(state, next(data))
        losses.append(float(scalars["loss"]))
    folder, last = whole
    assert toy.same(state, last)
    rows = read_metrics(folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == [5, 10, 15, 20, 23]
    assert rows[0].keys() == {"step", "loss", "norm"}
    means = [np.mean(losses[i : i + 5]) for i in (0, 5, 10, 15, 20)]
    np.testing.assert_allclose([row["loss"] for row in rows], means, rtol=1e-12)


def test_the_step_is_traced_once(jitted, whole):
    assert len(jitted.traces) == 1


def test_two_steps_are_kept_and_the_last_is_there(whole):
    assert Checkpointer(whole[0] / "checkpoints").steps() == [20, 23]


class Break(Exception):
    """The crash of a test."""


def breaking(step, at):
    """``step`` that raises at its call number ``at``."""
    calls = []

    def broken(state, batch):
        calls.append(None)
        if len(calls) == at:
            raise Break
        return step(state, batch)

    return broken


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
    def signalled(state, batch):
        if state["seen"] == 8 * 6:
            os.kill(os.getpid(), signum)
        return jitted(state, batch)

    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Stopped, match="stopped at step 7 of 23 and saved") as caught:
        run(signalled, tmp_path, 23)
    assert caught.value.signum == signum
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
    assert Checkpointer(tmp_path / "checkpoints").steps()[-1] == 7
    assert toy.same(run(jitted, tmp_path, 23), whole[1])
    rows = [(f / "metrics.jsonl").read_bytes() for f in (tmp_path, whole[0])]
    assert rows[0] == rows[1]


def test_a_second_signal_interrupts(jitted):
    def signalled(state, batch):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return jitted(state, batch)

    with pytest.raises(KeyboardInterrupt):
        loop.run(signalled, toy.start(), toy.batches(), num_steps=3, progress=False)


def test_a_signal_in_the_last_step_still_stops_what_comes_after(jitted, tmp_path):
    def signalled(state, batch):
        os.kill(os.getpid(), signal.SIGTERM)
        return jitted(state, batch)

    with pytest.raises(Stopped, match="stopped at step 1 of 1 and saved"):
        run(signalled, tmp_path, 1)
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


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_the_first_non_finite_quantity_stops_the_run(tmp_path, bad):
    @jax.jit
    def step(state, batch):
        state = state + 1
        return state, {"loss": 1.0 * state, "norm": jnp.where(state == 6, bad, 0.0)}

    with pytest.raises(NonFinite, match=r"norm became -?(nan|inf) at step 6"):
        run(step, tmp_path, 50, state=jnp.zeros((), jnp.int32))
    checkpoints = Checkpointer(tmp_path / "checkpoints")
    assert checkpoints.steps() == [4]
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [5]


def test_metrics_are_read_late_and_never_more_than_some_steps_late(monkeypatch):
    reads = []
    monkeypatch.setattr(
        loop._Window, "_read", lambda self: reads.append(self._waiting.popleft()[0])
    )
    done = []

    def step(state, batch):
        done.append(len(reads))
        return state, {"loss": jnp.zeros(())}

    loop.run(step, toy.start(), toy.batches(), num_steps=10, progress=False)
    assert done == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]
    assert reads == list(range(1, 11))


def test_without_metrics_and_checkpoints(jitted, whole):
    last = loop.run(jitted, toy.start(), toy.batches(), num_steps=23, progress=False)
    assert toy.same(last, whole[1])


def test_with_a_mesh(jitted, tmp_path):
    mesh = data_mesh(8, devices=1)
    last = run(jax.jit(toy.step), tmp_path, 6, mesh=mesh)
    assert all(leaf.sharding.mesh == mesh for leaf in jax.tree.leaves(last))
    resumed = run(jax.jit(toy.step), tmp_path, 6, mesh=mesh)
    places = [leaf.sharding for leaf in jax.tree.leaves(resumed)]
    assert places == [leaf.sharding for leaf in jax.tree.leaves(last)]
    assert toy.same(last, resumed)
