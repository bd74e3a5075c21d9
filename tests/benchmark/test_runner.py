"""A case from row to result: measured, red, or beside a peer that is missing."""

import jax.numpy as jnp
import pytest

from experiments.benchmark import runner, tables
from experiments.benchmark.case import Case, Form, Prepared
from experiments.benchmark.forms import jitted, stepping
from tests.benchmark import toy


def measure(case):
    said = []
    result = runner.measure(case, rounds=2, seconds=0, say=said.append)
    return result, "\n".join(said)


def rows(result):
    return {row["form"]: row for row in result["forms"]}


def test_a_case_is_measured():
    result, said = measure(toy.case(peers=[toy.working(toy.numpy_square)]))
    assert result["status"] == "measured"
    assert list(rows(result)) == ["fast", "twin", "numpy"]
    assert result["best_peer"] == "numpy"
    for row in result["forms"]:
        assert row["median_seconds"] > 0
        assert row["ratio"]["low"] <= row["ratio"]["median"] <= row["ratio"]["high"]
    assert rows(result)["fast"]["ratio"]["median"] == 1
    for fact in ("compile_seconds", "flops", "bytes", "peak_bytes", "devices"):
        assert rows(result)["fast"][fact] >= 0
    assert rows(result)["numpy"]["version"]
    assert "toy.square: numpy" in said
    assert {name: len(s) for name, s in result["samples"].items()} == {
        "fast": 2,
        "twin": 2,
        "numpy": 2,
    }


def test_a_missing_peer_names_the_extra_and_the_run_goes_on():
    result, said = measure(toy.case(peers=[toy.MISSING], goal=0.5))
    row = rows(result)["no-such-package"]
    assert row["status"] == "not installed: pip install 'kexue_jax[bench]'"
    assert result["status"] == "measured"
    assert result["best_peer"] is None
    assert "not installed" in said
    assert tables.claims([result]) == []


def test_a_peer_that_does_not_import_is_reported():
    def broken(x):
        raise ImportError("libgone.so: cannot\nopen")

    result, _ = measure(toy.case(peers=[toy.working(broken)]))
    assert rows(result)["numpy"]["status"].startswith("cannot be imported: libgone")
    assert "\n" not in rows(result)["numpy"]["status"]


RED = {
    "value": toy.case(fast=lambda x: x * x + 1e-3),
    "nan": toy.case(fast=lambda x: jnp.full_like(x, jnp.nan)),
    "shape": toy.case(fast=lambda x: (x * x)[None]),
    "peer": toy.case(
        peers=[toy.working(lambda x: Form(lambda: None, 2 * toy.numpy_square(x).value))]
    ),
    "work": toy.case(
        fast=toy.with_work(toy.square, parameters=10),
        twin=toy.with_work(toy.power, parameters=11),
    ),
    "work of a peer": toy.case(
        fast=toy.with_work(toy.square, parameters=10),
        peers=[toy.working(toy.with_work(toy.power, parameters=11).build)],
    ),
}


@pytest.mark.parametrize("name", RED)
def test_forms_that_disagree_are_not_timed(name):
    result, said = measure(RED[name])
    assert result["status"].startswith("gate red: ")
    assert result["forms"] == []
    assert "samples" not in result
    assert "gate red" in said


def test_a_wrong_gradient_is_red():
    import jax

    @jax.custom_vjp
    def fast(x):
        return x * x

    fast.defvjp(lambda x: (x * x, x), lambda x, d: (2.1 * x * d,))
    assert measure(toy.case(fast=fast))[0]["status"] == "measured"
    red, _ = measure(toy.case(fast=fast, gradient=(0,)))
    assert red["status"].startswith("gate red: gradient of twin")


def test_a_peers_tolerance_may_be_its_own():
    def rough(x):
        return Form(lambda: None, toy.numpy_square(x).value * 1.01)

    result, _ = measure(toy.case(peers=[toy.working(rough, tolerance=0.02)]))
    assert rows(result)["numpy"]["difference"] == pytest.approx(0.01, rel=0.02)


def test_an_unequal_peer_is_compared_per_flop_and_is_no_rival():
    fast = toy.with_work(toy.square, flops=100.0)
    other = toy.with_work(toy.square, flops=300.0).build
    peer = toy.working(other, equal=False)
    result, _ = measure(toy.case(fast=fast, twin=toy.power, peers=[peer], goal=0.9))
    assert result["best_peer"] is None
    row, ours = rows(result)["numpy"], rows(result)["fast"]
    assert row["work_flops_per_second"] == pytest.approx(300 / row["median_seconds"])
    [times, work] = tables.tables([result])
    cells = dict(zip(times.columns, times.rows[2], strict=True))
    assert cells["form"] == "numpy (not equal)"
    assert cells["same, per flop"] == pytest.approx(
        3 * ours["median_seconds"] / row["median_seconds"]
    )
    assert [row[5] for row in work.rows] == [1e-7, None, 3e-7]


@pytest.mark.parametrize(
    ("goal", "verdict"), [(1e9, "confirmed"), (1e-9, None), (0.0, None)]
)
def test_a_goal_becomes_a_claim(goal, verdict):
    result, _ = measure(toy.case(peers=[toy.working(toy.numpy_square)], goal=goal))
    [claim] = tables.claims([result])
    assert "the best peer (numpy)" in claim.text
    assert claim.verdict == verdict or claim.verdict in ("qualified", "refuted")


def test_without_peers_the_goal_is_against_the_twin():
    result, _ = measure(toy.case(goal=1e9))
    [claim] = tables.claims([result])
    assert "the twin" in claim.text
    assert claim.verdict == "confirmed"


def test_a_red_case_has_a_row_and_no_claim():
    result, _ = measure(toy.case(fast=lambda x: x, goal=0.9))
    assert tables.claims([result]) == []
    [times, work] = tables.tables([result])
    assert times.rows[0][0] == "toy.square"
    assert times.rows[0][1].startswith("gate red")
    assert work.rows == []


def test_a_stepping_form_goes_on_from_its_state_and_donates_it():
    def step(state, x):
        return state + x, state.sum()

    x = jnp.ones(4, jnp.float32)
    form = stepping(step, jnp.zeros(4, jnp.float32), x, gate=lambda s, aux: (s, aux))
    state, aux = form.value
    assert state.tolist() == [1.0] * 4
    assert aux == 0
    form.call()
    form.call()
    assert form.facts["compile_seconds"] > 0


def test_gradient_of_a_prepared_form_is_refused():
    with pytest.raises(ValueError, match="pure functions"):
        Case("toy.x", toy.inputs, Prepared(jitted), toy.square, gradient=(0,))


def test_goals_over_other_forms_and_of_memory_are_claims_of_their_own():
    peers = [toy.working(toy.numpy_square), toy.MISSING]
    goals = {"numpy": 1e9, "twin": 1e-9, "no-such-package": 1.0}
    result, _ = measure(toy.case(peers=peers, goals=goals, memory_goal=10.0))
    over, under, memory = tables.claims([result])
    assert "of the time of numpy" in over.text and over.verdict == "confirmed"
    assert "of the time of twin" in under.text and under.verdict != "confirmed"
    assert memory.verdict == "confirmed" and "memory" in memory.text
    result, _ = measure(toy.case(goal=1.5, goals={"twin": 1e-9}))
    assert "qualified" not in tables.claims([result])[0].rule
