"""All ways between the five parametrizations, in both precisions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.diffusion import (
    Schedule,
    convert,
    cosine_schedule,
    kexue_schedule,
    predict_eps,
    predict_x0,
)
from tests.oracles import diffusion as oracle

PARAMS = ("eps", "eps1", "x0", "v", "score")
N = 1000


def instances(seed: int, T: int = 80):
    rng = np.random.default_rng(seed)
    c = oracle.chain(10 ** rng.uniform(-3, -0.5, T))
    t = rng.integers(1, T + 1, N)
    x0, eps = rng.normal(size=(N, 3)), rng.normal(size=(N, 3))
    x_t = oracle.q_sample(c, x0, t, eps)
    outputs = {p: oracle.from_eps(c, x_t, t, eps, p) for p in PARAMS}
    return Schedule(*map(jnp.asarray, c)), t, x_t, outputs | {"x0": x0, "eps": eps}


@pytest.mark.parametrize("to", PARAMS)
@pytest.mark.parametrize("from_", PARAMS)
def test_conversion_and_back(from_: str, to: str) -> None:
    schedule, t, x_t, outputs = instances(0)
    there = convert(schedule, x_t, t, outputs[from_], from_=from_, to=to)
    scale = np.abs(outputs[to]).max()
    np.testing.assert_allclose(there, outputs[to], atol=1e-11 * scale)
    back = convert(schedule, x_t, t, there, from_=to, to=from_)
    scale = np.abs(outputs[from_]).max()
    np.testing.assert_allclose(back, outputs[from_], atol=1e-10 * scale)


@pytest.mark.parametrize("param", PARAMS)
def test_predictions_are_conversions(param: str) -> None:
    schedule, t, x_t, outputs = instances(1)
    x0 = predict_x0(schedule, x_t, t, outputs[param], param=param)
    eps = predict_eps(schedule, x_t, t, outputs[param], param=param)
    np.testing.assert_allclose(x0, outputs["x0"], atol=1e-9)
    np.testing.assert_allclose(eps, outputs["eps"], atol=1e-9)


def test_eps_of_the_blog_and_of_the_paper() -> None:
    schedule, t, x_t, outputs = instances(2)
    ratio = np.asarray(schedule.beta_bar / schedule.beta)[t][:, None]
    got = convert(schedule, x_t, t, outputs["eps1"], from_="eps1", to="eps")
    np.testing.assert_allclose(got, ratio * outputs["eps1"], rtol=1e-12)
    # 9119: the mean (x_t - beta_t eps1) / alpha_t is (x_t - beta_t^2 / beta_bar_t eps)
    # / alpha_t of the paper.
    beta, bar = (np.asarray(v)[t][:, None] for v in (schedule.beta, schedule.beta_bar))
    np.testing.assert_allclose(
        beta * outputs["eps1"], beta**2 / bar * outputs["eps"], atol=1e-12
    )


@pytest.mark.parametrize(
    ("from_", "to"),
    [("v", "eps"), ("v", "score"), ("score", "eps"), ("v", "eps1"), ("score", "eps1")],
)
def test_no_detour_through_the_data_near_the_end(from_: str, to: str) -> None:
    fine = cosine_schedule(T=1000, dtype=jnp.float64)  # alpha_bar_T = 4.9e-5
    schedule = Schedule(*(part.astype(jnp.float32) for part in fine))
    rng = np.random.default_rng(3)
    x_t, out = (rng.normal(size=N).astype(np.float32) for _ in range(2))
    t = np.full(N, 1000)
    got = convert(schedule, x_t, t, out, from_=from_, to=to)
    wide = [v.astype(np.float64) for v in (x_t, out)]
    wanted = convert(fine, wide[0], t, wide[1], from_=from_, to=to)
    assert np.abs(got - wanted).max() < 1e-6 * np.abs(wanted).max()
    x0 = convert(schedule, x_t, t, out, from_=from_, to="x0")
    detour = convert(schedule, x_t, t, x0, from_="x0", to=to)
    if from_ != "v":
        assert np.abs(detour - wanted).max() > np.abs(got - wanted).max()


@pytest.mark.parametrize("param", PARAMS)
def test_at_0_the_data_is_x_itself_whatever_the_network_says(param: str) -> None:
    x, out = jnp.asarray([0.4, -1.2]), jnp.asarray([5.0, 7.0])
    got = predict_x0(kexue_schedule(), x, jnp.zeros(2, jnp.int32), out, param=param)
    np.testing.assert_array_equal(got, out if param == "x0" else x)


@pytest.mark.parametrize("to", PARAMS)
@pytest.mark.parametrize("from_", PARAMS)
def test_traced_0_gives_no_nan(from_: str, to: str) -> None:
    def total(schedule, x, t, out):
        return convert(schedule, x, t, out, from_=from_, to=to).sum()

    x, t = jnp.asarray([0.4, -1.2]), jnp.asarray([0, 0])
    inputs = (kexue_schedule(T=50), x, t, x)
    value, gradients = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 3)))(*inputs)
    assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(gradients))
    assert bool(jnp.isfinite(value))


def test_unknown_parametrization_is_refused() -> None:
    x = jnp.ones(2)
    with pytest.raises(ValueError, match=r"convert: `to` must be one of 'eps', 'eps1'"):
        convert(kexue_schedule(), x, 3, x, from_="v", to="noise")
    with pytest.raises(ValueError, match="predict_eps: `param`"):
        predict_eps(kexue_schedule(), x, 3, x, param="epsilon")
    with pytest.raises(ValueError, match=r"convert: `t` must be in 1\.\.1000"):
        convert(kexue_schedule(), x, 0, x, from_="eps", to="score")
    with pytest.raises(ValueError, match="predict_x0: `out` must be of shape"):
        predict_x0(kexue_schedule(), x, 3, jnp.ones((2, 1)))
