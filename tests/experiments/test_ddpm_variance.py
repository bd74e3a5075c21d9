"""ddpm_variance: its meter is right, and its rules catch what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import ddpm_variance as experiment
from experiments._comparison import gradients
from experiments._comparison.gradients import OVERALL, Meter, Spread
from tests.experiments.comparisons import MODEL, images, init

T, DRAWS, BATCH = 100, 64, 8
CONFIG = experiment.Config(workdir="none", T=T)


def measured(param: str = "eps1") -> dict[str, Spread]:
    meter = Meter(MODEL, T, param, BATCH)
    params = init(jax.random.key(1))
    drawn = gradients.draws_of(images().train_images, T, DRAWS, BATCH, 0)
    return {
        name: meter(params, x0, t, jax.random.key(i))
        for i, (name, x0, t) in enumerate(drawn)
    }


@pytest.mark.parametrize("param", ["eps1", "eps"])
def test_spread_is_that_of_the_gradients_one_by_one(param: str) -> None:
    meter, params = Meter(MODEL, T, param, BATCH), init(jax.random.key(1))
    drawn = {
        name: (x0, t)
        for name, x0, t in gradients.draws_of(images().train_images, T, DRAWS, BATCH, 0)
    }
    x0, t = drawn["t=20"]
    found = meter(params, x0, t, jax.random.key(5))

    @jax.jit
    def both(k):
        own = jax.random.fold_in(jax.random.key(5), k)

        def loss(which):
            return lambda p: meter.losses(p, own, jnp.asarray(x0[0]), t[0])[which]

        return [jax.grad(loss(which))(params) for which in (0, 1)]

    rows = [both(k) for k in range(DRAWS)]
    four, reduced = (
        np.array([[float(row[i][n]) for n in "abc"] for row in rows]) for i in (0, 1)
    )
    assert abs(found.four / four.var(0, ddof=1).sum() - 1) < 1e-4
    assert abs(found.reduced / reduced.var(0, ddof=1).sum() - 1) < 1e-4
    gap = four - reduced
    assert abs(found.difference / gap.var(0, ddof=1).sum() - 1) < 1e-4
    assert abs(found.squared_mean / (gap.mean(0) ** 2).sum() - 1) < 1e-3


def test_the_two_losses_are_one_at_the_first_step_and_differ_later() -> None:
    found = measured()
    assert list(found) == [f"t={t}" for t in (1, 2, 5, 10, 20, 50, 100)] + [OVERALL]
    first = found["t=1"]
    np.testing.assert_allclose(first.losses[:, 0], first.losses[:, 1], rtol=1e-5)
    assert abs(first.ratio - 1) < 1e-4
    later = [found[f"t={t}"] for t in (10, 20, 50, 100)]
    assert all(s.ratio > 1 for s in later)
    # Three parameters: each mismatch is a chi-squared of one or two degrees over them.
    assert 0.02 < np.mean([s.mismatch for s in later]) < 6
    assert abs(experiment.pooled_z(later)) < 5


def report(**changes) -> experiment.Report:
    losses = np.random.default_rng(3).normal(100, 1, (DRAWS, 2))
    good = Spread(4.0, 2.0, 1.0, 1.0 / DRAWS, losses)
    names = ("t=1", "t=10", "t=100", OVERALL)
    spreads = {
        (stage, name): [good._replace(**changes)] * 2
        for stage in experiment.STAGES
        for name in names
    }
    simple = {"four variables": [2.0, 3.0], "reduced": [1.0, 2.9], "simple": [0.5, 0.5]}
    return experiment.Report(spreads, simple)


def test_rules_confirm_and_refute() -> None:
    assert experiment._variance(report()).verdict == "confirmed"
    assert experiment._variance(report(four=1.0)).verdict == "refuted"
    assert experiment._equal_means(report()).verdict == "confirmed"
    apart = report(squared_mean=0.2)
    assert experiment._equal_means(apart).verdict == "refuted"
    higher = np.array([[101.0, 100.0], [101.2, 100.0]] * (DRAWS // 2))
    assert experiment._equal_means(report(losses=higher)).verdict == "refuted"
    assert experiment._training(CONFIG, report()).verdict == "qualified"
    worse = report()._replace(simple={**report().simple, "reduced": [1.0, 2.0]})
    assert experiment._training(CONFIG, worse).verdict == "confirmed"
    better = report()._replace(simple={**report().simple, "reduced": [9.0, 9.0]})
    assert experiment._training(CONFIG, better).verdict == "refuted"
    shares = {"four variables": [4.0] * 2, "reduced": [2.0] * 2, "simple": [1.0] * 2}
    half = report()._replace(simple=shares)
    assert experiment._explained(half).verdict == "confirmed"
    little = half._replace(simple={**shares, "reduced": [3.9] * 2})
    assert experiment._explained(little).verdict == "refuted"
