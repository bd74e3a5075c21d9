"""ddpm_loss_scale: its measurements on a network of three numbers, and its rules."""

import jax
import numpy as np
import optax
import pytest

from experiments import ddpm_loss_scale as experiment
from experiments._comparison.training import HeldOut, flat
from experiments._harness.data import Batches
from experiments.ddpm_loss_scale import AUTHOR, EPSILONS, HALVES, Cell, Report
from kexue_jax import diffusion
from tests.experiments.comparisons import MODEL, images, init, trainer

CONFIG = experiment.Config(workdir="none", T=50, num_steps=20, batch_size=8)


def test_gradient_is_that_of_the_loss(tmp_path) -> None:
    found = trainer(CONFIG, tmp_path, experiment.loss_in("float32"))
    params = init(jax.random.key(4))
    got = found.gradient(params, 7, scale=0.5)
    again = found.gradient(params, 7, scale=0.25)
    np.testing.assert_allclose(got, 2 * again, rtol=1e-6)
    assert np.isfinite(flat(params)).all()  # not donated

    _, draw = jax.random.split(found.init(7, {})["key"])
    batch = images().train_images
    order = rows(found, 7)

    def loss(params):
        return diffusion.ddpm_loss(
            draw, lambda x, t: MODEL.apply(params, x, t), found.schedule, batch[order]
        ).loss

    wanted = flat(jax.grad(loss)(params))
    np.testing.assert_allclose(got, wanted / 2, rtol=1e-5)


def rows(found, seed: int) -> np.ndarray:
    return Batches(found.data, CONFIG.batch_size, seed).rows(0)


def test_without_epsilon_adam_does_not_see_the_scale(tmp_path) -> None:
    found = trainer(CONFIG, tmp_path, experiment.loss_in("float32"))

    def trained(**numbers) -> np.ndarray:
        return flat(found(None, 3, **numbers)["params"])

    tiny, large = {"adam_eps": 1e-15}, {"adam_eps": 1e-2}
    sums = trained(scale=1.0, **tiny)
    np.testing.assert_allclose(trained(scale=1 / 64, **tiny), sums, rtol=1e-6)
    np.testing.assert_allclose(trained(scale=1 / AUTHOR, **tiny), sums, rtol=1e-4)
    apart = trained(scale=1 / AUTHOR, **large) - trained(scale=1.0, **large)
    assert np.abs(apart).max() > 1e-3


def test_float16_flushes_what_float32_keeps(tmp_path) -> None:
    exact = trainer(CONFIG, tmp_path, experiment.loss_in("float32"))
    half = trainer(CONFIG, tmp_path, experiment.loss_in("float16"))
    params = init(jax.random.key(4))
    kept = experiment.lost(exact, half, params, 0, 1)
    gone = experiment.lost(exact, half, params, 0, 10**10)
    assert kept[0] == 0 and kept[1] < 1e-2
    assert gone[0] == 1 and gone[1] == 1
    brain = trainer(CONFIG, tmp_path, experiment.loss_in("bfloat16"))
    flushed, error = experiment.lost(exact, brain, params, 0, 10**10)
    assert flushed == 0 and error < 0.1


def test_small_share() -> None:
    state = optax.adam(1e-3).init({"a": np.ones(4, np.float32)})
    v = np.array([0.0, 1e-18, 1e-14, 1e-12]) * (1 - 0.999**5)
    adam = state[0]._replace(
        nu={"a": v.astype(np.float32)}, count=np.asarray(5, np.int32)
    )
    share = experiment.small_share({"optimizer": (adam, state[1])}, 1e-8)
    assert share == pytest.approx(1 / 3)


def test_held_out_takes_eps1_as_eps() -> None:
    held = HeldOut(CONFIG, images(), MODEL)
    params = {name: np.asarray(0, np.float32) for name in "abc"}
    zero = held(params)
    assert abs(zero - 1) < 0.15 and held(params, "eps1") == zero
    steps = np.asarray(held.batch[1])
    assert sorted(set(steps)) == sorted(steps) and steps.min() == 1
    ratio = held.schedule.beta_bar[steps] / held.schedule.beta[steps]
    x0, t, eps = map(np.asarray, held.batch)
    at = held.schedule.alpha_bar[t], held.schedule.beta_bar[t]
    a, b = (np.asarray(v)[:, None, None, None] for v in at)
    out = np.asarray(ratio)[:, None, None, None] * (a * x0 + b * eps)
    wanted = np.mean((eps - out) ** 2)
    params["a"] = np.asarray(1, np.float32)
    assert abs(held(params, "eps1") / wanted - 1) < 1e-5


def test_exponent_of_a_power_law() -> None:
    sizes = {d: 3 * d**0.4 for d in (64, 256, 1024)}
    assert abs(experiment.exponent(sizes) - 0.4) < 1e-12


def report(mean: float, author: float) -> Report:
    cells = {}
    for dtype in ("float32", *HALVES):
        for epsilon in EPSILONS if dtype == "float32" else (1e-8,):
            for divisor, factor in ((1, 1.0), (64, mean), (AUTHOR, author)):
                held = [0.3 * factor, 0.31 * factor]
                cells[dtype, epsilon, divisor] = [Cell(h, 0.1, 0.0, 0.0) for h in held]
    return Report(cells, {64: 1.0, 256: 2.0}, 64)


@pytest.mark.parametrize(
    ("mean", "author", "verdict"),
    [
        (1.2, 1.3, "confirmed"),
        (1.01, 1.3, "qualified"),
        (1.0, 1.04, "refuted"),
        (0.9, 0.8, "refuted"),
    ],
)
def test_rules(mean: float, author: float, verdict: str) -> None:
    claims = experiment.claims(CONFIG, report(mean, author))
    *advice, invariant, shrinks = claims
    assert [claim.verdict for claim in advice] == [verdict] * 5
    same = max(abs(mean - 1), abs(author - 1)) < 0.045
    assert invariant.verdict == ("confirmed" if same else "refuted")
    assert shrinks.verdict == "qualified"  # exponents 0.5 and -0.5


def test_train_metrics_are_written_where_asked(tmp_path) -> None:
    found = trainer(CONFIG, tmp_path, experiment.loss_in("float32"))
    found("sum", 0, scale=1.0)
    found(None, 0, scale=1.0)
    assert [p.name for p in tmp_path.iterdir()] == ["metrics_sum.jsonl"]
