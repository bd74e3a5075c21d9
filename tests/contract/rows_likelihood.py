"""Contract rows of the decoder, the evidence bound and the analytic variance."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from tests.contract.case import Bad, Case
from tests.contract.chains import bad_arrays, bad_schedules, chain, eps_fn, normal
from tests.contract.rows_losses import bad_networks
from tests.oracles import diffusion as oracle
from tests.oracles.few_steps import elbo_from_few_steps

LEVELS, STEPS, FEW = 5, 4, 3
SHAPE = (3, 1, 2)


def pixels(rng, *shape, levels=LEVELS):
    return rng.integers(0, levels, shape) / (levels - 1) * 2 - 1


def decoder_inputs(rng, *, sigma, levels=LEVELS):
    """Pixels, means half a range off at most, and sigma by the rng."""
    x = pixels(rng, *SHAPE, levels=levels)
    return x, x + rng.uniform(-0.5, 0.5, SHAPE), sigma(rng)


DECODER = functools.partial(
    Case, "diffusion.discretized_log_likelihood", wide=True, static={"levels": LEVELS}
)

DECODERS = (
    DECODER(
        functools.partial(decoder_inputs, sigma=lambda rng: 0.3),
        oracle.discretized_log_likelihood,
        bad=(
            Bad("x", args={0: np.ones(SHAPE, np.int32)}),
            *bad_arrays("mean", 1, (3, 2), (1, 1, 2), ()),
            *(
                Bad("sigma", args={2: s}, traced=False)
                for s in (0.0, -1.0, np.nan, np.inf, True)
            ),
            *bad_arrays("sigma", 2, (2,), (3, 2), (3, 1, 2, 1)),
            Bad("levels", static={"levels": 1}),
        ),
    ),
    DECODER(
        functools.partial(
            decoder_inputs,
            sigma=lambda rng: np.array([0.02, 0.7, 30.0]) * rng.uniform(1, 2),
            levels=256,
        ),
        oracle.discretized_log_likelihood,
        static={"levels": 256},
        variant="sigma by example: far out, near, wide",
        extremes=False,
        reason="a sigma of 0 or below has no likelihood",
    ),
)


def bound_inputs(rng):
    return eps_fn, chain(rng, STEPS), pixels(rng, *SHAPE)


def noises(key, eps_fn, schedule, x0):
    """Entry t is the noise of ``fold_in(key, t)``, t = 0..T."""
    count = schedule.beta.shape[-1]
    return [normal(jax.random.fold_in(key, t), x0) for t in range(count)]


def few_noises(key, eps_fn, schedule, x0):
    dtype = jnp.promote_types(schedule.beta.dtype, x0.dtype)
    shape = (FEW, x0.shape[0])
    u = jax.random.uniform(jax.random.fold_in(key, 0), shape, dtype)
    return u, [normal(jax.random.fold_in(key, t), x0) for t in range(FEW + 2)]


def bound_oracle(f, c, x0, draws, levels, sigma, param):
    return oracle.elbo_bits_per_dim(f, c, x0, draws, levels, sigma, param)


def few_oracle(f, c, x0, draws, levels, sigma, param, num_t):
    return elbo_from_few_steps(f, c, x0, *draws, levels, sigma, param)


def options(sigma, param, **more):
    return {"levels": LEVELS, "sigma": sigma, "param": param, **more}


GIVEN = np.linspace(0.3, 0.7, STEPS + 1)

BOUND = functools.partial(
    Case,
    "diffusion.elbo_bits_per_dim",
    oracle=bound_oracle,
    draws=noises,
    follows=2,
    wide=True,
)

BOUNDS = (
    BOUND(
        bound_inputs,
        static=options("posterior", "eps"),
        bad=(
            *bad_networks(),
            *bad_schedules(1),
            Bad("x0", args={2: np.ones(())}),
            Bad("x0", args={2: np.ones(SHAPE, np.int32)}),
            Bad("levels", static={"levels": 1}),
            Bad("num_t", static={"num_t": 0}),
            Bad("num_t", static={"num_t": 2.0}),
            Bad("sigma", static={"sigma": "zero"}),
            Bad("sigma", static={"sigma": np.ones(STEPS)}),
            Bad("sigma", static={"sigma": np.ones((1, STEPS + 1))}),
            Bad("sigma", static={"sigma": np.ones(STEPS + 1, np.int32)}),
            Bad("sigma", static={"sigma": 0.5}),
        ),
    ),
    BOUND(bound_inputs, static=options(GIVEN, "x0"), variant="given sigma, x0"),
    BOUND(
        bound_inputs,
        static=options("beta", "score", num_t=FEW),
        oracle=few_oracle,
        draws=few_noises,
        variant="few steps",
        optional=("num_t",),
    ),
)


def quiet_fn(x, t):
    """A predictor so small that the variance it implies is no edge case."""
    return 0.3 * eps_fn(x, t)


def variance_inputs(rng):
    return quiet_fn, chain(rng, STEPS), rng.uniform(-1, 1, SHAPE)


def variance_oracle(f, c, data, draws, param, bounds):
    return oracle.analytic_variance(f, c, data, draws, param, bounds)


VARIANCES = tuple(
    Case(
        "diffusion.analytic_variance",
        variance_inputs,
        variance_oracle,
        {"param": param, "bounds": bounds},
        variant=f"{param}, bounds {bounds}",
        draws=noises,
        follows=2,
        wide=True,
        bad=(
            *bad_networks(),
            *bad_schedules(1),
            Bad("data", args={2: np.ones(())}),
            Bad("data", args={2: np.ones(SHAPE, np.int32)}),
            *(
                Bad("bounds", static={"bounds": b})
                for b in (1.0, "ab", (1.0,), (1.0, -1.0), (0.0, np.nan), (None, 1.0))
            ),
        ),
    )
    for param, bounds in (("eps", (-1.0, 1.0)), ("x0", None))
)

ROWS = (*DECODERS, *BOUNDS, *VARIANCES)
