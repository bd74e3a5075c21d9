"""linear_attention_lm: its kernels, its fits of memory, its verdicts."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import linear_attention_lm as experiment
from experiments._harness.data_text import TextData
from experiments._language import attentions, lengths
from experiments._language.attentions import KINDS, attend
from experiments._linear.claims import HIDDEN, NEXT, TASKS, Report


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("causal", [True, False])
def test_every_kind_mixes_values_by_weights_that_sum_to_one(kind, causal):
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(a, jnp.float32) for a in rng.normal(size=(3, 2, 2, 20, 8)))
    run = attend(kind, causal=causal)
    np.testing.assert_allclose(run(q, k, jnp.ones_like(v), 0), 1, atol=1e-4)
    changed = v.at[:, :, 12].add(1)
    moved = np.abs(np.asarray(run(q, k, changed, 0) - run(q, k, v, 0))).max((0, 1, 3))
    assert (moved[:12] > 1e-6).all() != causal or (moved[:12] == 0).all() == causal
    assert (moved[12:] > 1e-6).all()
    if causal:
        assert (moved[:12] < 1e-6).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("causal", [True, False])
def test_short_texts_take_the_same_attention_as_long_ones(kind, causal, monkeypatch):
    rng = np.random.default_rng(1)
    q, k, v = (jnp.asarray(a, jnp.float32) for a in rng.normal(size=(3, 1, 2, 30, 4)))
    short = attend(kind, causal=causal)(q, k, v, 0)
    monkeypatch.setattr(attentions, "SHORT", 1)
    np.testing.assert_allclose(
        attend(kind, causal=causal)(q, k, v, 0), short, atol=1e-4
    )


@pytest.mark.parametrize("power", [1, 2])
def test_the_slope_is_the_exponent(power):
    sizes = {n: 7 * n**power for n in (256, 512, 1024, 2048, 4096)}
    assert lengths.slope(sizes) == pytest.approx(power)
    assert lengths.slope({256: 3, 512: 3 * 2**power}) == pytest.approx(power)


def test_memory_of_softmax_grows_faster_than_that_of_chunks(monkeypatch):
    monkeypatch.setattr(lengths, "ROOM", 2**21)
    found = {
        name: lengths.by_length(lengths.FORMS[name], 1024)
        for name in ("softmax, causal", "linear in chunks, causal")
    }
    slopes = {name: lengths.slope(costs.memory) for name, costs in found.items()}
    assert slopes["softmax, causal"] > 1.6 > 1.3 > slopes["linear in chunks, causal"]
    dense, chunks = (list(costs.seconds) for costs in found.values())
    assert dense == [256] and chunks == [256, 512, 1024]  # what fits has run
    assert all(t > 0 for costs in found.values() for t in costs.seconds.values())


def test_the_loss_by_frequency_is_that_of_the_training_bytes():
    train = np.repeat(np.array([3, 7], np.uint8), [300, 100])
    text = TextData(train, np.full(40, 7, np.uint8), "toy", "two bytes")
    config = experiment.Config(length=10, tested=4)
    found = experiment.by_frequency(config, text)
    assert found == pytest.approx(-np.log(101 / 656))


def made_up(frequency=1.4, **losses):
    """A report where all kinds have loss 1 in both tasks, but for ``losses``."""
    once, twice = ({256 * 2**i: size**i for i in range(4)} for size in (2, 4))
    costs = {n: lengths.Costs(once, once) for n in lengths.FORMS}
    costs["softmax, causal"] = lengths.Costs(twice, twice)
    return Report(
        {
            task: {kind: [losses.get(kind, 1.0)] * 2 for kind in kinds}
            for task, kinds in TASKS.items()
        },
        frequency,
        costs,
    )


def verdict(report, start):
    (found,) = [c for c in experiment.claims(report) if c.text.startswith(start)]
    return found.verdict


def test_verdicts_follow_the_numbers():
    report = made_up(uniform=1.3, elu1=1.1, cosine=1.2, exp=1.02)
    assert verdict(report, "the memory of linear") == "confirmed"
    assert verdict(report, "the time of linear") == "confirmed"
    slow = report.costs["linear, bidirectional"]._replace(
        seconds=report.costs["softmax, causal"].seconds
    )
    other = report._replace(costs={**report.costs, "linear, bidirectional": slow})
    assert verdict(other, "the time of linear") == "refuted"
    assert verdict(other, "the memory of linear") == "confirmed"
    assert verdict(report, "by cumulative sums") == "refuted"
    assert verdict(report, "causal linear attention with exp") == "confirmed"
    assert verdict(report, "causal linear attention with elu1") == "qualified"
    assert verdict(report, "exp is the best") == "confirmed"
    assert verdict(report, "the cosine kernel") == "confirmed"
    assert verdict(report, "linear attention loses much more") == "refuted"
    report.losses[HIDDEN]["exp"] = report.losses[HIDDEN]["elu1"] = [1.25, 1.25]
    assert verdict(report, "linear attention loses much more") == "confirmed"
    better = made_up(uniform=1.3, cosine=1.01, exp=1.02)
    assert verdict(better, "exp is the best") == "refuted"
    assert verdict(better, "the cosine kernel") == "refuted"
    # Means that pass a bound but for the noise of the seeds show nothing.
    noisy = made_up(uniform=1.3, elu1=1.1, cosine=1.2, exp=1.02)
    noisy.losses[NEXT].update(exp=[0.99, 1.07], cosine=[1.13, 1.2], elu1=[1, 1.2])
    assert verdict(noisy, "causal linear attention with exp") == "qualified"
    assert verdict(noisy, "the cosine kernel") == "qualified"
    noisy.losses[NEXT].update(elu1=[1.1, 0.99], cosine=[1.0, 1.2])
    assert verdict(noisy, "exp is the best") == "refuted"
    assert len(experiment.tables(report)[0].rows) == 2 * len(KINDS)


@pytest.mark.parametrize("where", ["uniform", "frequency", "softmax", "noise"])
def test_a_kind_on_the_plateau_decides_nothing(where):
    """Whichever loss without attention it does not clearly pass."""
    start = "linear attention loses much more"
    report = made_up(uniform=1.3, elu1=1.25, exp=1.25)
    report.losses[NEXT].update(exp=[1.02, 1.02], elu1=[1.02, 1.02])
    assert verdict(report, start) == "confirmed"
    if where == "frequency":
        report = report._replace(frequency=1.26)
    elif where == "noise":
        report.losses[HIDDEN]["elu1"] = [1.2, 1.32]
    else:
        report.losses[HIDDEN].update(
            {where: [1.26 if where == "uniform" else 1.29] * 2}
        )
    assert verdict(report, start) == "qualified"


def test_order_2_taylor_features_are_judged_in_both_tasks():
    start = "causal linear attention with taylor2"
    report = made_up(uniform=1.3, elu1=1.1, cosine=1.2, taylor2=1.02)
    assert verdict(report, start) == "confirmed"
    for task in TASKS:
        name = f"order-2 Taylor features beat elu1 and cosine ({task})"
        assert verdict(report, name) == "confirmed"
        report.losses[task]["elu1"] = [1.01, 1.05]
        assert verdict(report, name) == "qualified"
        report.losses[task]["elu1"] = [1.01, 1.01]
        assert verdict(report, name) == "refuted"
    report.losses[NEXT]["taylor2"] = [1.1, 1.1]
    assert verdict(report, start) == "qualified"
