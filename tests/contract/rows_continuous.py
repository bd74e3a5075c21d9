"""Contract rows of the samplers in continuous time, their drifts, and the moments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.diffusion import gaussian_moments, sde_drift, sde_sample
from tests.contract.case import Bad, Case
from tests.contract.chains import bad_arrays, bad_schedules, chain, eps_fn
from tests.contract.rows_sampling import SHAPE, TAUS, at_level, bad_networks, bad_taus
from tests.oracles import diffusion_sampling as oracle

T, STEPS = 20, 5
AMPLIFIED = (
    "eps_fn runs in bfloat16, and from s = 1 its rounding is divided by alpha_bar"
)
KINK = "at s = 0, the end of the range, the quotient of the drift has a kink"


def drift_inputs(rng, *, s=None):
    x, eps = rng.normal(size=(2, 3, 1, 2))
    return x, eps, rng.uniform(0.2, 0.9, 3) if s is None else np.array(s)


def flow_oracle(x, eps, s):
    def one(i):
        return oracle.flow_drift(lambda x, t: eps[i], x[i], s[i], 1)

    s = np.broadcast_to(s, x.shape[:1])
    return np.stack([one(i) for i in range(s.size)])


def reverse_oracle(x, eps, s, scale=1.0, noise_scale=1.0):
    """f x - (g^2 + sigma^2) / 2 score, with f, g, sigma and the score as named."""
    s, sigma = s.reshape(s.shape + (1,) * (x.ndim - s.ndim)), scale * noise_scale
    f, g_squared, score = -10 * s, 20 * s, -eps / np.sqrt(1 - np.exp(-10 * s**2))
    return f * x - (1 + sigma**2) * g_squared / 2 * score


def drift_traced(x, eps, s, noise_scale):
    return sde_drift(x, eps, s, noise_scale=noise_scale)


DRIFT_BAD = (
    *bad_arrays("eps", 1, (3, 1, 3), (3, 2), ()),
    *(Bad("s", args={2: s}, traced=False) for s in (-0.1, 1.1, np.nan, True)),
    Bad("s", args={2: np.ones(2)}),
    Bad("s", args={2: np.ones(3, np.int32)}),
    Bad("s", args={2: np.ones((3, 1, 2, 1))}),
)

FLOW = functools.partial(Case, "diffusion.flow_ode_drift", oracle=flow_oracle)
REVERSE = functools.partial(Case, "diffusion.sde_drift", oracle=reverse_oracle)

DRIFTS = (
    FLOW(drift_inputs, bad=DRIFT_BAD),
    FLOW(lambda rng: (*drift_inputs(rng)[:2], 0.7), variant="one s"),
    FLOW(
        functools.partial(drift_inputs, s=[0.0, 0.5, 1.0]),
        variant="ends",
        grad=False,
        reason=KINK,
    ),
    REVERSE(drift_inputs, static={"noise_scale": 0.5}, bad=DRIFT_BAD),
    REVERSE(
        lambda rng: (*drift_inputs(rng), rng.uniform(0.5, 1.5)),
        variant="noise_scale traced",
        call=drift_traced,
        bad=(
            Bad("noise_scale", args={3: np.ones(3)}),
            Bad("noise_scale", args={3: -1.0}, traced=False),
        ),
    ),
)


def flow_inputs(rng):
    return eps_fn, rng.normal(size=SHAPE)


ODES = tuple(
    Case(
        "diffusion.ode_sample",
        flow_inputs,
        lambda f, x, **options: oracle.flow(at_level(f), x, **options),
        {"T": T, "n": STEPS, "method": method, "time": time, "encode": encode},
        variant=f"{method} in {time}, {'encode' if encode else 'decode'}",
        follows=1,
        tolerance=loose,
        reason=AMPLIFIED if loose else "",
        bad=(
            *bad_networks(),
            *bad_arrays("x", 1, ()),
            Bad("T", static={"T": 0}),
            Bad("n", static={"n": 0}),
            Bad("n", static={"n": True}),
        ),
    )
    for method, time, encode, loose in (
        ("euler", "s", False, {}),
        ("heun", "s", True, {}),
        ("rk4", "s", False, {}),
        ("exponential", "s", True, {}),
        ("euler", "s^2", True, {}),
        ("exponential", "s^2", False, {"bfloat16": 5e-2}),
    )
)


def sde_draws(key, eps_fn, x_T, *others):
    dtype = jnp.promote_types(x_T.dtype, jnp.float32)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(STEPS + 1))
    return jax.vmap(lambda k: jax.random.normal(k, x_T.shape, dtype))(keys)


def sde_oracle(f, x, scale=1.0, *, draws, T, n, noise_scale=1.0, last_noise=False):
    options = {"T": T, "n": n, "last_noise": last_noise}
    sigma = scale * noise_scale
    return oracle.reverse_sde(at_level(f), x, draws, noise_scale=sigma, **options)


def sde_traced(key, eps_fn, x_T, noise_scale, *, T, n, last_noise):
    options = {"T": T, "n": n, "last_noise": last_noise}
    return sde_sample(key, eps_fn, x_T, noise_scale=noise_scale, **options)


SDES = (
    Case(
        "diffusion.sde_sample",
        flow_inputs,
        sde_oracle,
        {"T": T, "n": STEPS, "noise_scale": 0.5, "last_noise": False},
        draws=sde_draws,
        follows=1,
        bad=(
            *bad_networks(),
            *bad_arrays("x_T", 1, ()),
            Bad("T", static={"T": 0}),
            Bad("n", static={"n": 0}),
            Bad("noise_scale", static={"noise_scale": -0.5}),
        ),
    ),
    Case(
        "diffusion.sde_sample",
        lambda rng: (*flow_inputs(rng), rng.uniform(0.5, 1.0)),
        sde_oracle,
        {"T": T, "n": STEPS, "last_noise": True},
        variant="noise_scale traced",
        call=sde_traced,
        draws=sde_draws,
        follows=1,
        bad=(Bad("noise_scale", args={2: np.ones(3)}),),
    ),
)


def traced_moments(schedule, taus, mean, variance, eta, **options):
    given = {"mean": mean, "variance": variance, "eta": eta}
    return gaussian_moments(schedule, taus, **given, **options)


def traced_oracle(schedule, taus, mean, variance, eta, **options):
    data = {"mean": float(mean), "variance": float(variance)}
    return oracle.moments(schedule, taus, **data, eta=float(eta), **options)


MOMENTS = (
    *(
        Case(
            "diffusion.gaussian_moments",
            lambda rng: (chain(rng), TAUS),
            oracle.moments,
            {
                "mean": 0.7,
                "variance": 0.3,
                "sigma": sigma,
                "last_noise": last_noise,
                "start": start,
            },
            variant=f"{sigma} from {start}",
            bad=(
                *bad_schedules(),
                *bad_taus(1),
                Bad("variance", static={"variance": -0.1}),
                Bad("mean", static={"mean": np.ones(2)}),
                Bad("eta", static={"eta": -0.1}),
            ),
        )
        for sigma, last_noise, start in (
            ("beta", False, "noise"),
            ("posterior", True, "marginal"),
            ("zero", False, "marginal"),
        )
    ),
    *(
        Case(
            "diffusion.gaussian_moments",
            lambda rng: (chain(rng), TAUS, *rng.uniform(0.2, 0.8, 3).tolist()),
            traced_oracle,
            {"sigma": sigma, "last_noise": last_noise, "start": "noise"},
            variant=f"{sigma}, numbers traced",
            call=traced_moments,
            bad=(
                Bad("mean", args={2: np.ones(2)}),
                Bad("variance", args={3: -1.0}, traced=False),
                Bad("eta", args={4: np.ones(1)}),
            ),
        )
        for sigma, last_noise in (("eta", False), ("analytic", True))
    ),
)

ROWS = (*DRIFTS, *ODES, *SDES, *MOMENTS)
