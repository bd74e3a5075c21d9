"""Ancestral sampling against a float64 NumPy loop with equal noise, and its program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.diffusion import (
    ddim_sample,
    ddim_taus,
    ddpm_sample,
    ddpm_step,
    kexue_schedule,
    linear_schedule,
)
from tests.diffusion.chains import draws, eps_fn, eps_numpy, normals, relative
from tests.oracles import diffusion_sampling as oracle

T = 60
SCHEDULE = kexue_schedule(T=T, dtype=jnp.float64)
VARIANCE = jnp.linspace(0.0, 0.7, T + 1, dtype=jnp.float64)
KEY = jax.random.key(3)
SHAPE = (3, 2, 5)
X_T = normals(1, *SHAPE)
SIGMAS = ("beta", "posterior", "zero", "analytic")


def sample(key=KEY, x=X_T, *, sigma="beta", schedule=SCHEDULE, **options):
    if sigma == "analytic":
        options["variance"] = VARIANCE
    return ddpm_sample(key, eps_fn, schedule, x, sigma=sigma, **options)


def loop(*, sigma, x=X_T, schedule=SCHEDULE, noises=None, **options):
    if sigma == "analytic":
        options["variance"] = np.asarray(VARIANCE)
    if noises is None:
        noises = draws(KEY, T, np.shape(x))
    arrays = jax.tree.map(lambda v: np.asarray(v, np.float64), schedule)
    x = np.asarray(x, np.float64)
    return oracle.ancestral(eps_numpy, arrays, x, noises, sigma=sigma, **options)


@pytest.mark.parametrize("options", [(), ("clip_x0", "last_noise")])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_equals_the_numpy_loop_with_equal_noise(sigma, options) -> None:
    options = dict.fromkeys(options, True)
    wanted = loop(sigma=sigma, **options)[-1]
    assert relative(sample(sigma=sigma, **options).x, wanted) < 1e-12


@pytest.mark.parametrize("start", [1, 37])
def test_partial_chain_starts_where_it_says(start: int) -> None:
    got = sample(start=start, sigma="posterior").x
    assert relative(got, loop(sigma="posterior", start=start)[-1]) < 1e-12


def test_partial_chains_compose_under_one_key() -> None:
    whole = sample(frames=T)
    middle = whole.frames[T - 21]  # frame k is x after k + 1 steps: at level 20
    assert relative(sample(x=middle, start=20).x, whole.x) < 1e-13


@pytest.mark.parametrize("sigma", SIGMAS)
def test_one_step_equals_the_loop_at_mixed_times(sigma) -> None:
    t, noise = jnp.array([1, 2, T]), X_T + 1
    variance = VARIANCE if sigma == "analytic" else None
    eps = eps_fn(X_T, t)
    step = jax.jit(functools.partial(ddpm_step, sigma=sigma, variance=variance))
    got = step(SCHEDULE, X_T, eps, t, noise)
    for i, start in enumerate((1, 2, T)):
        noises = [np.asarray(noise[i])] * (T + 1)
        states = loop(sigma=sigma, x=X_T[i], start=start, noises=noises)
        assert relative(got[i], states[0]) < 1e-12


def test_start_noise_and_step_noise_follow_the_documented_rule() -> None:
    got = ddpm_sample(KEY, eps_fn, SCHEDULE, shape=SHAPE, dtype=jnp.float64).x
    start = draws(KEY, 0, SHAPE)[0]
    assert relative(got, loop(sigma="beta", x=start)[-1]) < 1e-12


@pytest.mark.parametrize(("make", "T"), [(kexue_schedule, 1000), (linear_schedule, 60)])
def test_posterior_is_ddim_of_all_steps_at_eta_1_with_equal_noise(make, T) -> None:
    schedule = make(T=T, dtype=jnp.float64)
    x = X_T[:, 0]
    ddpm = ddpm_sample(KEY, eps_fn, schedule, x, sigma="posterior").x
    taus = ddim_taus(T=T, S=T)
    assert relative(ddim_sample(KEY, eps_fn, schedule, x, taus, eta=1.0).x, ddpm) < (
        1e-11 if T == 1000 else 1e-12
    )


def test_float32_stays_near_the_float64_loop_over_1000_steps() -> None:
    schedule = kexue_schedule(T=1000)
    x = X_T.astype(jnp.float32)
    noises = draws(KEY, 1000, SHAPE, jnp.float32)
    got = ddpm_sample(KEY, eps_fn, schedule, x).x
    exact = kexue_schedule(T=1000, dtype=jnp.float64)
    wanted = loop(sigma="beta", x=x, schedule=exact, noises=noises)[-1]
    assert got.dtype == jnp.float32 and relative(got, wanted) < 2e-5


def test_bfloat16_keeps_its_dtype_and_updates_in_float32() -> None:
    seen = []

    def half(x, t):
        seen.append((x.dtype, t.dtype, t.shape))
        return eps_fn(x, t)

    schedule, x = kexue_schedule(T=T), X_T.astype(jnp.bfloat16)
    got = ddpm_sample(KEY, half, schedule, x, sigma="posterior", frames=2)
    assert got.x.dtype == got.frames.dtype == jnp.bfloat16
    assert set(seen) == {(jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.int32), (3,))}
    # The state itself is carried in float32: a chain of 60 roundings to bfloat16
    # (2^-9 each) would be far off.
    noises = draws(KEY, T, SHAPE, jnp.float32)

    def rounded(x, t):
        eps = eps_fn(jnp.asarray(x, jnp.bfloat16), jnp.full(x.shape[:1], t, jnp.int32))
        return np.asarray(eps, np.float64)

    arrays = jax.tree.map(lambda v: np.asarray(v, np.float64), schedule)
    start = np.asarray(x, np.float64)
    wanted = oracle.ancestral(rounded, arrays, start, noises, sigma="posterior")[-1]
    assert relative(got.x, wanted) < 3e-2


def test_compiles_once_while_key_start_schedule_and_params_change() -> None:
    traces, calls = [], []

    def network(params, x, t):
        calls.append(1)
        return params * eps_fn(x, t)

    @jax.jit
    def run(key, params, schedule, x):
        traces.append(1)
        return ddpm_sample(key, lambda x, t: network(params, x, t), schedule, x).x

    first = run(KEY, 1.0, SCHEDULE, X_T)
    for i in range(3):
        schedule = kexue_schedule(T=T, dtype=jnp.float64)
        run(jax.random.key(i), 0.9 + i / 10, schedule, X_T + i)
    assert len(traces) == 1
    assert len(calls) <= 2  # traced in the scan, not once a step
    assert relative(first, sample().x) < 1e-12  # jit = eager


def test_vmap_over_keys_equals_a_loop() -> None:
    keys = jax.random.split(KEY, 3)
    many = jax.jit(jax.vmap(lambda k: sample(k).x))(keys)
    for key, one in zip(keys, many, strict=True):
        assert relative(one, sample(key).x) < 1e-13


@pytest.mark.parametrize("frames", [7, T])
def test_frames_are_spread_evenly_and_end_at_the_sample(frames: int) -> None:
    got = sample(frames=frames)
    states = loop(sigma="beta")
    last = [-(-(k + 1) * T // frames) - 1 for k in range(frames)]
    assert relative(got.frames, np.stack([states[i] for i in last])) < 1e-12
    assert (got.frames[-1] == got.x).all()
    assert sample().frames.shape == (0, *SHAPE)


def test_frames_of_x0_show_the_estimate() -> None:
    got = sample(sigma="zero", frames=T, frames_of="x0")
    states = [np.asarray(X_T), *loop(sigma="zero")]
    for i in (0, 30, T - 1):
        t = T - i
        eps = eps_numpy(states[i], t)
        x0 = (states[i] - SCHEDULE.beta_bar[t] * eps) / SCHEDULE.alpha_bar[t]
        assert relative(got.frames[i], x0) < 1e-12


def test_clips() -> None:
    assert np.abs(sample(sigma="posterior", x=9 * X_T, clip_x0=True).x).max() <= 1
    wild = sample(x=9 * X_T)
    assert np.abs(wild.x).max() > 1
    final = sample(x=9 * X_T, clip_final=True).x
    np.testing.assert_array_equal(final, np.clip(wild.x, -1, 1))


@pytest.mark.parametrize("sigma", ["posterior", "analytic"])
def test_finite_values_and_gradients_on_the_shortest_chain(sigma) -> None:
    steps = 21
    schedule = kexue_schedule(T=steps, dtype=jnp.float64)
    variance = jnp.zeros(steps + 1) if sigma == "analytic" else None

    def total(x, schedule):
        return ddpm_sample(
            KEY, eps_fn, schedule, x, sigma=sigma, variance=variance, last_noise=True
        ).x.sum()

    both = jax.jit(jax.value_and_grad(total, (0, 1)))
    value, gradients = both(X_T[:, 0], schedule)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))


def test_zero_needs_no_key() -> None:
    assert relative(sample(None, sigma="zero").x, sample(sigma="zero").x) == 0


BAD = [
    ("x_T", {"x_T": jnp.ones((), jnp.float32)}),
    ("x_T", {"x_T": [1.0]}),
    ("shape", {"x_T": None}),
    ("shape", {"shape": (2, 3)}),
    ("shape", {"x_T": None, "shape": 3}),
    ("shape", {"x_T": None, "shape": ()}),
    ("shape", {"x_T": None, "shape": (2, -1)}),
    ("dtype", {"x_T": None, "shape": (2, 3), "dtype": "int32"}),
    ("dtype", {"x_T": None, "shape": (2, 3), "dtype": None}),
    ("start", {"start": T + 1}),
    ("start", {"start": 0}),
    ("start", {"x_T": None, "shape": (2, 3), "start": 5}),
    ("sigma", {"sigma": "large"}),
    ("variance", {"sigma": "analytic"}),
    ("variance", {"variance": VARIANCE}),
    ("variance", {"sigma": "analytic", "variance": VARIANCE[1:]}),
    ("last_noise", {"last_noise": 1}),
    ("clip_x0", {"clip_x0": None}),
    ("clip_final", {"clip_final": "yes"}),
    ("frames", {"frames": -1}),
    ("frames", {"frames": T + 1}),
    ("frames_of", {"frames_of": "eps"}),
    ("key", {"key": None}),
    ("key", {"key": 0}),
    ("key", {"key": None, "x_T": None, "shape": (2, 3), "sigma": "zero"}),
    ("eps_fn", {"eps_fn": None}),
    ("eps_fn", {"eps_fn": lambda x, t: x[0]}),
    ("eps_fn", {"eps_fn": lambda x, t: None}),
    ("schedule", {"schedule": None}),
]


@pytest.mark.parametrize(("argument", "changes"), BAD)
def test_bad_input_is_refused_by_name(argument: str, changes: dict) -> None:
    good = {"key": KEY, "eps_fn": eps_fn, "schedule": SCHEDULE, "x_T": X_T}
    with pytest.raises((ValueError, TypeError), match=rf"ddpm_sample: `{argument}"):
        ddpm_sample(**{**good, **changes})
