"""Samplers in continuous time: the card's table of errors, and NumPy loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.diffusion import (
    ddim_sample,
    ddim_taus,
    flow_ode_drift,
    ode_sample,
    sde_drift,
    sde_sample,
    surrogate_schedule,
)
from tests.diffusion.chains import (
    draws,
    eps_fn,
    eps_numpy,
    normals,
    relative,
    surrogate_fn,
)
from tests.oracles import diffusion_sampling as oracle

T = 1000
DATA = 0.25
PERFECT = surrogate_fn(0.0, DATA, T)
KEY = jax.random.key(6)
X_T = normals(2, 4, 3)
METHODS = ("euler", "heun", "rk4", "exponential")


def exact_ratio() -> float:
    """Standard deviation at s = 0 over that at s = 1, on the exact flow."""
    at_1 = np.exp(-10) * DATA - np.expm1(-10)
    return float(np.sqrt(DATA / at_1))


@functools.lru_cache
def std_error(n: int, **options) -> float:
    """Relative error of the output's standard deviation; the flow is linear."""
    end = ode_sample(PERFECT, jnp.ones((1, 1), jnp.float64), T=T, n=n, **options)
    return float(end[0, 0]) / exact_ratio() - 1


# The card's numbers, in its digits: n -> error, by (method, form).
TABLE = [
    ("euler", "s", (-0.036, -0.010, -0.005), 5e-4),
    ("heun", "s", (0.022, 0.0011, 0.00028), 0.05),
    ("rk4", "s", (-4e-4, -4e-7, -2.5e-8), 0.1),
    ("euler", "s^2", (0.48, 0.11, 0.055), 0.02),
    ("exponential", "s", (-0.25, -0.055, -0.028), 0.02),
]


@pytest.mark.parametrize(("method", "time", "wanted", "digits"), TABLE)
def test_errors_of_the_card(method, time, wanted, digits) -> None:
    for n, error in zip((10, 50, 100), wanted, strict=True):
        got = std_error(n, method=method, time=time)
        within = digits if (method, time) == ("euler", "s") else digits * abs(error)
        assert abs(got - error) < within, (n, got)


def test_the_squared_form_is_far_worse_in_every_method() -> None:
    for method in ("euler", "heun", "rk4"):
        for n in (10, 50, 100):
            s_form = abs(std_error(n, method=method))
            squared = abs(std_error(n, method=method, time="s^2"))
            assert squared > 8 * s_form, (method, n)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2), ("rk4", 4)])
def test_methods_converge_at_their_order(method: str, order: int) -> None:
    coarse, fine = (std_error(n, method=method) for n in (100, 200))
    assert abs(np.log2(abs(coarse / fine)) - order) < 0.15


def test_standard_deviation_goes_to_the_exact_ratio() -> None:
    assert abs(std_error(400, method="rk4")) < 1e-9
    back = ode_sample(
        PERFECT, jnp.ones((1, 1), jnp.float64), T=T, n=400, method="rk4", encode=True
    )
    assert abs(float(back[0, 0]) * exact_ratio() - 1) < 1e-9


def test_exponential_is_ddim_on_the_surrogate_and_not_euler() -> None:
    schedule = surrogate_schedule(T=T, dtype=jnp.float64)
    for n in (10, 50, 125):
        taus = ddim_taus(T=T, S=n)
        ddim = ddim_sample(None, eps_fn, schedule, X_T, taus).x
        assert relative(ode_sample(eps_fn, X_T, n=n, method="exponential"), ddim) < (
            1e-11
        )
        assert relative(ode_sample(eps_fn, X_T, n=n, method="euler"), ddim) > 1e-3


@pytest.mark.parametrize("encode", [False, True])
@pytest.mark.parametrize("time", ["s", "s^2"])
@pytest.mark.parametrize("method", METHODS)
def test_equals_the_numpy_loop(method: str, time: str, encode: bool) -> None:
    options = {"T": T, "n": 9, "method": method, "time": time, "encode": encode}
    got = ode_sample(eps_fn, X_T, **options)
    wanted = oracle.flow(eps_numpy, np.asarray(X_T), **options)
    assert np.isfinite(got).all() and relative(got, wanted) < 1e-12


@pytest.mark.parametrize("time", ["s", "s^2"])
@pytest.mark.parametrize("method", METHODS)
def test_finite_at_the_singular_end_with_finite_gradients(method, time) -> None:
    @jax.jit
    def total(x):
        options = {"T": T, "n": 3, "method": method, "time": time}
        latent = ode_sample(PERFECT, x, encode=True, **options)
        return ode_sample(PERFECT, latent, **options).sum()

    value, gradient = jax.value_and_grad(total)(X_T)
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_encode_then_decode_returns_with_more_steps() -> None:
    errors = []
    for n in (10, 20, 40):
        latent = ode_sample(PERFECT, X_T, n=n, method="rk4", encode=True)
        back = ode_sample(PERFECT, latent, n=n, method="rk4")
        errors.append(relative(back, X_T))
    assert errors[0] > 4 * errors[1] > 16 * errors[2] and errors[2] < 1e-4


def test_time_given_to_the_network_is_floating_and_within_0_and_T() -> None:
    seen = []

    def watch(x, t):
        assert t.shape == (4,) and t.dtype == x.dtype
        jax.debug.callback(lambda t: seen.append(np.asarray(t)), t)
        return 0.5 * x

    for time in ("s", "s^2"):
        jax.block_until_ready(ode_sample(watch, X_T, n=4, method="rk4", time=time))
        jax.effects_barrier()
    seen = np.stack(seen)
    assert seen.min() == 0 and seen.max() == T and (seen == seen[:, :1]).all()


def test_drifts_are_their_formulas() -> None:
    s = np.array([0.01, 0.3, 0.7, 1.0])[:, None]
    x, eps = np.asarray(X_T), np.asarray(X_T)[::-1]
    score = -eps / np.sqrt(-np.expm1(-10 * s**2))
    for scale in (0.0, 0.5, 1.0):
        g_squared = 20 * s
        wanted = -10 * s * x - 0.5 * g_squared * (1 + scale**2) * score
        got = sde_drift(X_T, jnp.asarray(eps), jnp.asarray(s[:, 0]), noise_scale=scale)
        assert relative(got, wanted) < 1e-13
    flow = flow_ode_drift(X_T, jnp.asarray(eps), jnp.asarray(s[:, 0]))
    still = sde_drift(X_T, jnp.asarray(eps), jnp.asarray(s[:, 0]), noise_scale=0.0)
    assert (flow == still).all()
    # The removable singularity: s / sqrt(1 - exp(-10 s^2)) -> 1 / sqrt(10).
    at_0 = flow_ode_drift(X_T, X_T, 0.0)
    assert relative(at_0, np.sqrt(10) * x) < 1e-15
    assert relative(flow_ode_drift(X_T, X_T, 1e-9), at_0) < 1e-8
    slope = jax.grad(lambda s: flow_ode_drift(X_T, X_T, s).sum())(jnp.zeros(()))
    assert np.isfinite(slope)


def test_drift_is_the_derivative_of_the_exact_flow() -> None:
    # On Gaussian data x(s) = x(0) sqrt(V(s) / V(0)).
    def path(s):
        square = s**2
        v = jnp.exp(-10 * square) * DATA - jnp.expm1(-10 * square)
        return jnp.sqrt(v / DATA)

    for s in (0.05, 0.4, 0.9):
        x = path(jnp.asarray(s))[None, None]
        eps = PERFECT(x, jnp.full((1, 1), s * T))
        got = flow_ode_drift(x, eps, s)[0, 0]
        assert abs(got / jax.grad(path)(jnp.asarray(s)) - 1) < 1e-12


@pytest.mark.parametrize("last_noise", [False, True])
@pytest.mark.parametrize("scale", [0.0, 0.6, 1.0])
def test_sde_equals_the_numpy_loop_with_equal_noise(scale, last_noise) -> None:
    n = 23
    options = {"n": n, "noise_scale": scale, "last_noise": last_noise}
    got = sde_sample(KEY, eps_fn, X_T, T=T, **options)
    noises = draws(KEY, n, X_T.shape)
    wanted = oracle.reverse_sde(eps_numpy, np.asarray(X_T), noises, T=T, **options)
    assert relative(got, wanted) < 1e-12
    if scale == 0:
        euler = ode_sample(eps_fn, X_T, T=T, n=n, method="euler")
        assert relative(got, euler) < 1e-12


def sde_variance(n: int, scale: float) -> float:
    """The exact output variance of the Euler-Maruyama recursion on N(0, DATA)."""
    v = 1.0
    for i in range(n, 0, -1):
        s = i / n
        total = np.exp(-10 * s**2) * DATA - np.expm1(-10 * s**2)
        k = 1 - (10 * s * (1 + scale**2) / total - 10 * s) / n
        v = k**2 * v + (scale**2 * 20 * s / n if i > 1 else 0)
    return v


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_sde_samples_have_the_variance_of_the_data(scale: float) -> None:
    count, n = 1 << 16, 400
    x = normals(1, count, 1).astype(jnp.float32)
    got = sde_sample(KEY, PERFECT, x, T=T, n=n, noise_scale=scale)
    exact = sde_variance(n, scale)
    assert abs(exact / DATA - 1) < 0.02
    five = 5 * np.sqrt(2 / (count - 1))  # false alarm 6e-7
    found = np.var(np.asarray(got, np.float64), ddof=1)
    assert abs(found / exact - 1) < five
    # The drift of another member with this noise is caught.
    wrong = 1.3 if scale == 1 else 0.9
    assert abs(found / sde_variance(n, wrong) - 1) > 0 and exact != found


def test_compile_once_jit_equals_eager_and_low_precision() -> None:
    traces = []

    @jax.jit
    def run(key, x, params, scale):
        traces.append(1)
        predict = lambda x, t: params * eps_fn(x, t)  # noqa: E731
        flow = ode_sample(predict, x, n=9, method="heun")
        return flow, sde_sample(key, predict, x, n=9, noise_scale=scale)

    for scale in (0.2, 1.0):
        flow, sde = run(KEY, X_T, 1.0, jnp.asarray(scale))
        assert relative(sde, sde_sample(KEY, eps_fn, X_T, n=9, noise_scale=scale)) < (
            1e-12
        )
    assert len(traces) == 1
    assert relative(flow, ode_sample(eps_fn, X_T, n=9, method="heun")) < 1e-12
    for dtype, bound in ((jnp.float32, 2e-5), (jnp.bfloat16, 3e-2)):
        low = ode_sample(eps_fn, X_T.astype(dtype), n=9, method="heun")
        assert low.dtype == dtype
        exact = ode_sample(
            eps_fn, X_T.astype(dtype).astype(jnp.float64), n=9, method="heun"
        )
        assert relative(low, exact) < bound
        assert sde_sample(KEY, eps_fn, X_T.astype(dtype), n=9).dtype == dtype


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("eps_fn", {"eps_fn": None}),
        ("eps_fn", {"eps_fn": lambda x, t: x[:1]}),
        ("x", {"x": None}),
        ("x", {"x": jnp.ones(())}),
        ("T", {"T": 0}),
        ("n", {"n": 0}),
        ("n", {"n": 2.0}),
        ("method", {"method": "midpoint"}),
        ("time", {"time": "t"}),
        ("encode", {"encode": 1}),
    ],
)
def test_bad_input_is_refused_by_name(argument: str, changes: dict) -> None:
    call = {"eps_fn": eps_fn, "x": X_T, "n": 5, **changes}
    with pytest.raises((ValueError, TypeError), match=rf"ode_sample: `{argument}"):
        ode_sample(**call)


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("key", {"key": None}),
        ("x_T", {"x_T": 1.0}),
        ("n", {"n": None}),
        ("noise_scale", {"noise_scale": -1.0}),
        ("noise_scale", {"noise_scale": jnp.ones(3)}),
        ("last_noise", {"last_noise": None}),
    ],
)
def test_sde_refuses_bad_input_by_name(argument: str, changes: dict) -> None:
    call = {"key": KEY, "eps_fn": eps_fn, "x_T": X_T, "n": 5, **changes}
    with pytest.raises((ValueError, TypeError), match=rf"sde_sample: `{argument}"):
        sde_sample(**call)


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("x", {"x": None}),
        ("eps", {"eps": X_T[0]}),
        ("s", {"s": 1.5}),
        ("s", {"s": "0"}),
    ],
)
def test_drifts_refuse_bad_input_by_name(argument: str, changes: dict) -> None:
    call = {"x": X_T, "eps": X_T, "s": 0.5, **changes}
    for function in (flow_ode_drift, sde_drift):
        message = rf"{function.__name__}: `{argument}"
        with pytest.raises((ValueError, TypeError), match=message):
            function(**call)
