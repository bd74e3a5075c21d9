"""The experiment mitchell: its Adam, its layers, and how its claims are judged."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments._mitchell import claims, images
from experiments._mitchell.arms import EXACT, LMUL, MIMIC, OPTIMIZER, PLAIN, trained
from experiments._mitchell.optimizer import mitchell_adam
from kexue_jax import numerics

SEEDS = 4
NOISE = np.array([-1.0, 1.0, -1.0, 1.0])


def task(more: float, noise: float = 0.0, slope: float = 0.9614) -> claims.Task:
    """All arms but the exact one are better by ``more``, give or take the noise."""
    found = {arm.name: np.full(SEEDS, 0.9) for arm in trained(few=False)}
    for name in found.keys() - {EXACT.name}:
        found[name] = found[name] + more + noise * NOISE
    swapped = {arm.name: found[arm.name] for arm in (PLAIN, LMUL)}
    shrink = {
        PLAIN.name: np.array([[slope, 0.03, 1.0], [slope, 0.03, 0.93]]),
        LMUL.name: np.array([[1.0039, 0.03, 1.0], [1.0039, 0.03, 1.01]]),
    }
    exchanged = {claims.ATTENTION: swapped, claims.EVERYWHERE: swapped}
    return claims.Task(["one", "two"], found, exchanged, shrink)


def report(*args, least: float = 0.055, entered: float = 0.99) -> claims.Report:
    text = task(*args)
    text.shrink[PLAIN.name][-1, 2] = entered
    offsets = np.linspace(0, 0.14, 15)
    sweep = claims.Sweep(offsets, offsets, 0.03 + (offsets - least) ** 2)
    losses = {name: np.ones(SEEDS) for name in text.trained}
    return claims.Report(task(*args), text, losses, sweep)


@pytest.mark.parametrize(
    ("more", "noise", "verdict"),
    [
        (0.0, 0.0, "confirmed"),
        (0.02, 0.001, "confirmed"),
        (-0.008, 0.004, "qualified"),
        (-0.02, 0.0, "refuted"),
    ],
)
def test_a_point_is_the_margin(more, noise, verdict) -> None:
    first, second, *_ = claims.all_claims(report(more, noise))
    assert first.verdict == second.verdict == verdict


def test_attention_may_lose_a_tenth_of_a_point() -> None:
    assert claims._attention(report(-0.0005)).verdict == "confirmed"
    assert claims._attention(report(-0.002)).verdict == "refuted"


@pytest.mark.parametrize(
    ("slope", "verdict"),
    [(0.962, "confirmed"), (0.95, "qualified"), (1.0, "refuted")],
)
def test_slopes_are_the_cards(slope, verdict) -> None:
    assert claims._slopes(report(0.0, 0.0, slope)).verdict == verdict


def test_norms_absorb_and_offsets_are_found() -> None:
    assert claims._absorbed(report(0.0)).verdict == "confirmed"
    assert claims._absorbed(report(0.0, entered=0.93)).verdict == "refuted"
    assert report(0.0, least=0.0537).sweep.least == pytest.approx(0.0537)
    assert claims._offset(report(0.0)).verdict == "confirmed"
    assert claims._offset(report(0.0, least=0.07)).verdict == "qualified"
    assert claims._offset(report(0.0, least=0.1)).verdict == "refuted"


def test_base_three_is_worse() -> None:
    assert claims.worst(2) == pytest.approx(1 / 9, rel=1e-4)
    assert claims.worst(3) == pytest.approx(1 / 4, rel=1e-4)
    assert claims._base().verdict == "refuted"


def test_adam_of_additions_is_near_adam_and_makes_mitchells_products() -> None:
    draw = np.random.default_rng(0)
    # Of one sign: where terms cancel the ratio of sums has no bound.
    grads = jnp.asarray(np.abs(draw.standard_normal((5, 64))), jnp.float32)
    ours, theirs = mitchell_adam(lambda _: 1e-3), optax.adam(1e-3)
    states = ours.init(grads[0]), theirs.init(grads[0])
    steps = jax.jit(ours.update), jax.jit(theirs.update)
    for g in grads:
        (a, s), (b, t) = (f(g, x) for f, x in zip(steps, states, strict=True))
        states = s, t
        # Products of 8/9 to 1, quotients of 1 to 9/8, a root between.
        ratio = np.asarray(a / b)
        assert (ratio > 0.7).all()
        assert (ratio < 1.4).all()
    first = numerics.mitchell_mul(jnp.full(64, 0.1, jnp.float32), grads[0])
    fresh = ours.update(grads[0], ours.init(grads[0]))[1]
    np.testing.assert_allclose(fresh.mean, first, rtol=1e-6)


def test_exact_products_have_slope_one_and_mitchells_less() -> None:
    params = images.init(jax.random.key(0), (8, 8, 1), 10, 2)
    rows = np.random.default_rng(1).uniform(-1, 1, (4, 8, 8, 1)).astype(np.float32)
    found = images.shrink(params, rows, PLAIN)
    assert found.shape == (len(images.LAYERS), 3)
    assert ((found[:, 0] > 8 / 9) & (found[:, 0] < 1)).all()
    assert found[0, 2] == 1
    assert found[-1, 2] < 0.95


def test_arms_multiply_as_they_say() -> None:
    a = jnp.full((2, 3), 1.5, jnp.float32)
    for arm, wanted in ((EXACT, 6.75), (PLAIN, 6.0), (LMUL, 6.375), (MIMIC, 6.0)):
        np.testing.assert_allclose(arm.matmul(a, a.T), np.full((2, 2), wanted))
        x = a.reshape(1, 2, 3, 1)
        kernel = jnp.full((1, 1, 1, 1), 1.5, jnp.float32)
        np.testing.assert_allclose(arm.conv(x, kernel, 1), x * 0 + wanted / 3)
    assert OPTIMIZER.optimizer
    gradient = jax.grad(lambda a: MIMIC.matmul(a, a.T).sum())(a)
    np.testing.assert_allclose(gradient, np.full((2, 3), 6.0))
