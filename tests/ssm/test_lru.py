"""LRU, SLRU and S5: whole sequences = steps, what their starts are, real = complex."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.ssm import (
    lru_apply,
    lru_init,
    lru_step,
    s5_apply,
    s5_init,
    s5_step,
    slru_apply,
    slru_init,
    slru_step,
)
from tests.ssm.forms import run
from tests.ssm.test_diagonal import close, with_gradients

FORMS = {
    "lru": (lru_init, lru_apply, lru_step),
    "slru": (slru_init, slru_apply, slru_step),
    "s5": (s5_init, s5_apply, s5_step),
}


def start(name, n=4, h=3):
    return run(FORMS[name][0], jax.random.key(1), n=n, h=h, dtype=jnp.float64)


@pytest.mark.parametrize("name", FORMS)
def test_whole_parts_and_steps_agree_in_value_and_gradient(name) -> None:
    _, apply, step = FORMS[name]
    params = start(name)
    u = np.random.default_rng(0).normal(size=(2, 9, 3))

    def whole(params, u):
        return apply(params, u)

    def parts(params, u):
        state, out = apply(params, u[:, :4])
        outs = [out]
        state, out = apply(params, u[:, 4:7], state=state)
        outs.append(out)
        for t in (7, 8):
            state, one = step(state, params, u[:, t])
            outs.append(one[:, None])
        return state, jnp.concatenate(outs, 1)

    assert close(with_gradients(parts, params, u), with_gradients(whole, params, u))


@pytest.mark.parametrize("name", FORMS)
def test_float32_over_16384_steps(name) -> None:
    params = start(name, n=8)
    u = np.random.default_rng(3).normal(size=(16384, 3))
    low = jax.tree.map(lambda x: np.asarray(x, np.float32), (params, u))
    apply = FORMS[name][1]
    got, wanted = run(apply, *low).out, run(apply, params, u).out
    error = np.linalg.norm(got - wanted) / np.linalg.norm(wanted)
    assert got.dtype == np.float32 and error < 2e-5, error


def test_lru_starts_in_its_ring() -> None:
    params = run(lru_init, jax.random.key(0), n=4000, h=2, dtype=jnp.float64)
    params = jax.tree.map(np.asarray, params)
    r = np.exp(-np.exp(params.nu_log))
    assert r.min() >= 0.9 and r.max() <= 0.999
    # E r^2 = (0.81 + 0.998001) / 2; 6 standard errors of uniform numbers.
    assert abs((r**2).mean() - 0.9040) < 6 * 0.188 / np.sqrt(12 * 4000)
    assert close(np.exp(params.gamma_log) ** 2, 1 - r**2)
    phase = np.exp(params.theta_log)
    assert phase.min() > 0 and phase.max() < 2 * np.pi and phase.std() > 1.5
    assert abs((params.b_re**2).mean() * 4 - 1) < 0.15
    assert abs((params.c_im**2).mean() * 4000 - 1) < 0.15


def test_variance_of_the_state_has_its_limit_and_transient() -> None:
    # E|x_t|^2 = E|u|^2 (1 - r^(2 (t + 1))) / (1 - r^2) for white noise.
    params = start("lru", n=1, h=1)._replace(
        nu_log=jnp.log(-jnp.log(jnp.array([0.9]))),
        gamma_log=jnp.zeros(1),
        b_re=jnp.ones((1, 1)),
        b_im=jnp.zeros((1, 1)),
    )
    u = np.random.default_rng(0).normal(size=(20_000, 40, 1))
    for t in (1, 5, 40):
        state = np.asarray(run(lru_apply, params, u[:, :t]).state)
        wanted = (1 - 0.9 ** (2 * t)) / (1 - 0.81)
        # |x|^2 is wanted times a chi^2 of one to two degrees: spread at most sqrt 2.
        error = 6 * 1.5 * wanted / np.sqrt(20_000)
        assert abs((abs(state) ** 2).mean() - wanted) < error


def test_modes_are_inside_of_the_circle_whatever_the_parameters() -> None:
    rng = np.random.default_rng(1)
    nu = rng.normal(size=1000) * 3
    assert (np.exp(-np.exp(nu)) < 1).all()
    u = np.ones((50, 3))
    for name, (_, apply, _) in FORMS.items():
        params = jax.tree.map(lambda x: np.asarray(x) + 2.0, start(name))
        state, out = run(apply, params, u)
        assert np.isfinite(out).all() and np.isfinite(state).all()


def test_s5_starts_from_legs_and_stacks_conjugates() -> None:
    params = run(s5_init, jax.random.key(0), n=8, h=2, dtype=jnp.float64)
    params = jax.tree.map(np.asarray, params)
    assert np.allclose(-np.exp(params.decay_log), -0.5)
    assert abs(params.frequency[-1] - 80.97) < 0.01
    steps = np.exp(params.dt_log)
    assert steps.min() >= 1e-3 and steps.max() <= 1e-1
    # The real output by all modes written out: C x + conj(C) conj(x).
    u = np.random.default_rng(2).normal(size=(6, 2))
    lam = -np.exp(params.decay_log) + 1j * params.frequency
    b, c = params.b_re + 1j * params.b_im, params.c_re + 1j * params.c_im
    lam, steps = np.concatenate([lam, lam.conj()]), np.tile(steps, 2)
    b, c = np.concatenate([b, b.conj()]), np.concatenate([c, c.conj()], 1)
    a, drive = np.exp(lam * steps), (np.expm1(lam * steps) / lam)[:, None] * b
    x, out = np.zeros(16, complex), []
    for row in u:
        x = a * x + drive @ row
        out.append(c @ x + params.d * row)
    assert np.abs(np.imag(out)).max() < 1e-12
    assert close(run(s5_apply, params, u).out, np.real(out))


@pytest.mark.parametrize("name", FORMS)
def test_bfloat16_inputs_keep_a_wide_state(name) -> None:
    init, apply, _ = FORMS[name]
    made = functools.partial(init, n=4, h=2, dtype=jnp.bfloat16)
    params = jax.eval_shape(made, jax.random.key(0))
    u = jax.ShapeDtypeStruct((1000, 2), jnp.bfloat16)
    state, out = jax.eval_shape(apply, params, u)
    assert out.dtype == jnp.bfloat16
    assert state.dtype == (jnp.float32 if name == "slru" else jnp.complex64)
