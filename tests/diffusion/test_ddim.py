"""The DDIM family against a float64 NumPy loop with equal noise; its inverse."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.diffusion import (
    cosine_schedule,
    ddim_encode,
    ddim_sample,
    ddim_step,
    ddim_taus,
    kexue_schedule,
    linear_schedule,
    mixture_eps,
)
from tests.diffusion.chains import (
    draws,
    eps_fn,
    eps_numpy,
    gaussian_fn,
    normals,
    relative,
)
from tests.oracles import diffusion_sampling as oracle

T = 1000
SCHEDULE = kexue_schedule(T=T, dtype=jnp.float64)
VARIANCE = jnp.linspace(0.0, 0.7, T + 1, dtype=jnp.float64)
KEY = jax.random.key(5)
SHAPE = (4, 3)
X_T = normals(2, *SHAPE)
OPTIONS = {
    "ddim": {"eta": 0.0},
    "between": {"eta": 0.6},
    "posterior": {"eta": 1.0},
    "cut": {"eta": 3.0},
    "sigma_hat": {"sigma_hat": True},
    "analytic": {"eta": 0.3, "variance": VARIANCE},
}


def arrays(schedule):
    return jax.tree.map(lambda v: np.asarray(v, np.float64), schedule)


def loop(taus, *, schedule=SCHEDULE, x=X_T, noises=None, **options):
    options = {"eta": 0.0, **options}
    if noises is None:
        noises = draws(KEY, T, SHAPE)
    x, taus = np.asarray(x, np.float64), [int(t) for t in taus]
    return oracle.ddim(eps_numpy, arrays(schedule), x, taus, noises, **options)


@pytest.mark.parametrize("extra", [(), ("clip_x0", "last_noise")])
@pytest.mark.parametrize("kind", OPTIONS)
def test_equals_the_numpy_loop_with_equal_noise(kind: str, extra) -> None:
    options = {**OPTIONS[kind], **dict.fromkeys(extra, True)}
    taus = ddim_taus(T=T, S=17)
    got = ddim_sample(KEY, eps_fn, SCHEDULE, X_T, taus, **options)
    assert relative(got.x, loop(taus, **options)[-1]) < 1e-12


@pytest.mark.parametrize("S", [1, 2, 7, 999])
def test_equals_the_numpy_loop_at_awkward_numbers_of_steps(S: int) -> None:
    taus = ddim_taus(T=T, S=S, kind="quadratic")
    got = ddim_sample(KEY, eps_fn, SCHEDULE, X_T, taus, eta=0.7).x
    assert relative(got, loop(taus, eta=0.7)[-1]) < 1e-12


@pytest.mark.parametrize("make", [linear_schedule, cosine_schedule])
def test_equals_the_numpy_loop_on_other_schedules(make) -> None:
    schedule, taus = make(T=T, dtype=jnp.float64), [3, 4, 90, 800, 1000]
    got = ddim_sample(KEY, eps_fn, schedule, X_T, taus, eta=0.7).x
    assert relative(got, loop(taus, schedule=schedule, eta=0.7)[-1]) < 1e-12


def test_partial_chain_and_frames() -> None:
    taus = ddim_taus(T=T, S=20)
    whole = ddim_sample(KEY, eps_fn, SCHEDULE, X_T, taus, eta=1.0, frames=20)
    assert relative(whole.frames, np.stack(loop(taus, eta=1.0))) < 1e-12
    rest = ddim_sample(KEY, eps_fn, SCHEDULE, whole.frames[11], taus[:8], eta=1.0).x
    assert relative(rest, whole.x) < 1e-13


def test_one_step_equals_the_loop_at_mixed_times() -> None:
    t, s = jnp.array([1, 40, 999, 1000]), jnp.array([0, 0, 998, 1])
    for kind, options in OPTIONS.items():
        rest = {"eta": 0.0, **options}
        eta = rest.pop("eta")
        eps, noise = eps_fn(X_T, t), X_T + 1
        step = jax.jit(functools.partial(ddim_step, **rest))
        got = step(SCHEDULE, X_T, eps, t, s, eta, noise)
        for i in range(4):
            taus = [int(s[i]), int(t[i])] if s[i] else [int(t[i])]
            noises = {int(t[i]): np.asarray(noise[i]), int(s[i]): 0.0}
            states = loop(taus, x=X_T[i], noises=noises, **options)
            assert relative(got[i], states[0]) < 1e-12, kind


def test_float32_and_bfloat16_stay_near_the_float64_loop() -> None:
    taus = ddim_taus(T=T, S=50)
    for dtype, bound in ((jnp.float32, 2e-5), (jnp.bfloat16, 3e-2)):
        x = X_T.astype(dtype)
        noises = draws(KEY, T, SHAPE, jnp.float32)
        got = ddim_sample(KEY, eps_fn, kexue_schedule(T=T), x, taus, eta=0.5).x
        wanted = loop(taus, x=x, noises=noises, eta=0.5)[-1]
        assert got.dtype == dtype and relative(got, wanted) < bound


def test_no_nan_at_any_stride_with_any_noise_and_finite_gradients() -> None:
    # The card's pitfall: beta_bar_s^2 < b^2 for the first 3 or 4 entries of any short
    # chain, where sigma = b (eta large) would be the root of a negative number.
    def total(eta, x, schedule, taus, sigma_hat):
        sample = ddim_sample(
            KEY, eps_fn, schedule, x, taus, eta=eta, sigma_hat=sigma_hat
        )
        return sample.x.sum()

    gradient = jax.jit(jax.value_and_grad(total, (0, 1, 2)), static_argnums=4)
    for make in (kexue_schedule, linear_schedule, cosine_schedule):
        schedule = make(T=T, dtype=jnp.float64)
        for kind in ("trailing", "leading", "quadratic"):
            taus = ddim_taus(T=T, S=10, kind=kind)
            for eta in (0.0, 1.0, 50.0):
                found = gradient(jnp.asarray(eta), X_T, schedule, taus, False)
                assert all(np.isfinite(v).all() for v in jax.tree.leaves(found))
            found = gradient(jnp.asarray(0.0), X_T, schedule, taus, True)
            assert all(np.isfinite(v).all() for v in jax.tree.leaves(found))


def test_sigma_beta_is_outside_the_family_at_the_first_steps() -> None:
    # Which entries the pitfall names: kexue t = 1, 2, 3; linear t = 1, 2; and the first
    # 3 or 4 entries of short chains.
    kexue, linear = arrays(SCHEDULE), arrays(linear_schedule(T=T, dtype=jnp.float64))
    for schedule, wanted in ((kexue, [1, 2, 3]), (linear, [1, 2])):
        outside = schedule.beta_bar[:-1] ** 2 < schedule.beta[1:] ** 2
        assert (np.nonzero(outside)[0] + 1).tolist() == wanted
    for S in (10, 20, 50, 100):
        levels = np.concatenate([[0], ddim_taus(T=T, S=S)])
        a = kexue.alpha_bar[levels[1:]] / kexue.alpha_bar[levels[:-1]]
        outside = kexue.beta_bar[levels[:-1]] ** 2 < 1 - a**2
        assert np.nonzero(outside)[0].tolist() in ([0, 1, 2], [0, 1, 2, 3])


def test_chain_ends_at_the_data_exactly() -> None:
    # A perfect predictor of one point returns it whatever the stride: the last move
    # goes to alpha_bar = 1, beta_bar = 0, not to step 1.
    perfect = gaussian_fn(SCHEDULE, 0.7, 0.0)
    for S, kind in ((1, "ddim"), (4, "posterior"), (50, "sigma_hat")):
        taus, options = ddim_taus(T=T, S=S), OPTIONS[kind]
        got = ddim_sample(KEY, perfect, SCHEDULE, X_T, taus, **options).x
        assert np.abs(got - 0.7).max() < 1e-12


def test_compiles_once_while_eta_key_and_params_change() -> None:
    traces, calls = [], []
    taus = ddim_taus(T=T, S=25)

    def network(params, x, t):
        calls.append(1)
        return params * eps_fn(x, t)

    @jax.jit
    def run(key, params, x, eta, taus):
        traces.append(1)
        predict = lambda x, t: network(params, x, t)  # noqa: E731
        return ddim_sample(key, predict, SCHEDULE, x, taus, eta=eta).x

    for eta in (0.0, 0.3, 1.0):
        got = run(KEY, 1.0, X_T, jnp.asarray(eta), taus)
        assert relative(got, loop(taus, eta=eta)[-1]) < 1e-12
    run(jax.random.key(9), 0.5, X_T, jnp.asarray(0.5), taus - 1)
    assert len(traces) == 1 and len(calls) <= 2


def test_vmap_over_keys_equals_a_loop() -> None:
    taus, keys = ddim_taus(T=T, S=5), jax.random.split(KEY, 3)

    def run(key):
        return ddim_sample(key, eps_fn, SCHEDULE, X_T, taus, eta=1.0).x

    for key, one in zip(keys, jax.jit(jax.vmap(run))(keys), strict=True):
        assert relative(one, run(key)) < 1e-13


def test_key_may_be_none_only_where_nothing_is_drawn() -> None:
    taus = ddim_taus(T=T, S=5)
    same = [
        ddim_sample(key, eps_fn, SCHEDULE, X_T, taus).x
        for key in (None, KEY, jax.random.key(0))
    ]
    assert (same[0] == same[1]).all() and (same[1] == same[2]).all()
    for options in ({"eta": 0.5}, {"sigma_hat": True}, {"variance": VARIANCE}):
        with pytest.raises(TypeError, match="ddim_sample: `key`"):
            ddim_sample(None, eps_fn, SCHEDULE, X_T, taus, **options)
    with pytest.raises(TypeError, match="ddim_sample: `key`"):
        ddim_sample(None, eps_fn, SCHEDULE, X_T, taus, eta=jnp.zeros(()))


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_two_deltas_all_samples_within_005_of_a_point_in_50_steps(eta: float) -> None:
    means, zeros = jnp.array([[1.0], [-1.0]]), jnp.zeros(2)

    def perfect(x, t):
        alpha_bar, beta_bar = SCHEDULE.alpha_bar[t], SCHEDULE.beta_bar[t]
        return mixture_eps(x, alpha_bar, beta_bar, means, zeros, jnp.ones(2))

    x = normals(3, 2000, 1)
    taus = ddim_taus(T=T, S=50)
    got = ddim_sample(KEY, perfect, SCHEDULE, x, taus, eta=eta).x
    assert np.abs(np.abs(got) - 1).max() < 0.05
    assert 0.4 < (got > 0).mean() < 0.6


@pytest.mark.parametrize("S", [1, 2, 333])
def test_encoding_equals_the_numpy_loop(S: int) -> None:
    taus = ddim_taus(T=T, S=S)
    got = ddim_encode(eps_fn, SCHEDULE, X_T, taus)
    wanted = oracle.encode(eps_numpy, arrays(SCHEDULE), np.asarray(X_T), taus.tolist())
    assert relative(got, wanted) < 1e-12


def test_encode_then_decode_reconstructs_better_with_more_steps() -> None:
    perfect = gaussian_fn(SCHEDULE, 0.2, 0.25)
    errors = []
    for S in (10, 50, 250, 1000):
        taus = ddim_taus(T=T, S=S)
        latent = ddim_encode(perfect, SCHEDULE, X_T, taus)
        back = ddim_sample(None, perfect, SCHEDULE, latent, taus).x
        errors.append(relative(back, X_T))
    assert all(b < 0.5 * a for a, b in itertools.pairwise(errors)), errors
    assert errors[-1] < 0.01


def test_encoding_gives_the_latent_of_gaussian_data() -> None:
    # Data N(m, s^2) go to N(alpha_bar_T m, V_T) coordinate by coordinate.
    mean, std = 0.3, 0.5
    perfect = gaussian_fn(SCHEDULE, mean, std**2)
    latent = ddim_encode(perfect, SCHEDULE, mean + std * X_T, ddim_taus(T=T, S=T))
    alpha_bar, beta_bar = SCHEDULE.alpha_bar[-1], SCHEDULE.beta_bar[-1]
    total = alpha_bar**2 * std**2 + beta_bar**2
    assert relative(latent, alpha_bar * mean + jnp.sqrt(total) * X_T) < 5e-3


def test_encode_compiles_once_and_keeps_bfloat16() -> None:
    traces, taus = [], ddim_taus(T=T, S=9)

    @jax.jit
    def run(x, taus):
        traces.append(1)
        return ddim_encode(eps_fn, SCHEDULE, x, taus)

    first = run(X_T, taus)
    run(X_T + 1, taus - 1)
    assert len(traces) == 1
    assert relative(first, ddim_encode(eps_fn, SCHEDULE, X_T, taus)) < 1e-12
    low = ddim_encode(eps_fn, SCHEDULE, X_T.astype(jnp.bfloat16), taus)
    assert low.dtype == jnp.bfloat16 and relative(low, first) < 3e-2


TAUS = ddim_taus(T=T, S=5)
BAD = [
    ("eps_fn", {"eps_fn": 3}),
    ("eps_fn", {"eps_fn": lambda x, t: x[:, :1]}),
    ("schedule", {"schedule": SCHEDULE.alpha}),
    ("x_T", {"x_T": jnp.ones(3, jnp.int32)}),
    ("x_T", {"x_T": jnp.ones((), jnp.float32)}),
    ("eta", {"eta": -0.1}),
    ("eta", {"eta": None}),
    ("eta", {"eta": jnp.ones(2)}),
    ("sigma_hat", {"sigma_hat": 1}),
    ("variance", {"variance": VARIANCE[:-1]}),
    ("variance", {"variance": VARIANCE, "sigma_hat": True}),
    ("variance", {"variance": 0.5}),
    ("clip_x0", {"clip_x0": None}),
    ("last_noise", {"last_noise": "yes"}),
    ("frames", {"frames": 6}),
    ("frames_of", {"frames_of": None}),
]


@pytest.mark.parametrize(("argument", "changes"), BAD)
def test_bad_input_is_refused_by_name(argument: str, changes: dict) -> None:
    good = {"key": KEY, "eps_fn": eps_fn, "schedule": SCHEDULE, "x_T": X_T}
    with pytest.raises((ValueError, TypeError), match=rf"ddim_sample: `{argument}"):
        ddim_sample(**{**good, "taus": TAUS, **changes})


@pytest.mark.parametrize(
    ("argument", "t", "s"),
    [("t", 0, 0), ("t", T + 1, 5), ("s", 5, -1), ("s", 5, 5), ("s", 5, 6)],
)
def test_step_refuses_levels_out_of_range_or_order(argument, t, s) -> None:
    t, s = (jnp.full(4, v) for v in (t, s))
    with pytest.raises(ValueError, match=f"ddim_step: `{argument}`"):
        ddim_step(SCHEDULE, X_T, X_T, t, s, 0.0, None)
