"""Contract rows of the samplers of a chain, and of image interpolation."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.diffusion import ddim_sample, ddpm_sample
from tests.contract.case import Bad, Case
from tests.contract.chains import (
    T,
    bad_arrays,
    bad_schedules,
    chain,
    eps_fn,
)
from tests.contract.rows_steps import bad_variances
from tests.oracles import diffusion_sampling as oracle

SHAPE = (3, 2)
TAUS = np.array([1, 3, 6], np.int32)


def at_level(f: Any) -> Any:
    """A predictor that the oracles may call with one level for the whole batch."""
    return lambda x, t: f(x, np.full(x.shape[:1], t))


def level_draws(key: jax.Array, x: jax.Array) -> jax.Array:
    """Entry t is the normal of ``fold_in(key, t)``, for t = 0..T + 1."""
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(T + 2))
    return jax.vmap(lambda k: jax.random.normal(k, x.shape, dtype))(keys)


def sampler_draws(key, eps_fn, schedule, x_T, *others):
    return level_draws(key, x_T)


def bad_networks(place: int = 0) -> tuple[Bad, ...]:
    """Predictors that drop examples, add an axis, return nothing or too much."""
    wrong = (
        lambda x, t: x[:1],
        lambda x, t: x[None],
        lambda x, t: None,
        lambda x, t: (x, x),
    )
    return tuple(Bad("eps_fn", args={place: f}) for f in wrong)


def bad_taus(place: int) -> tuple[Bad, ...]:
    values = ([3, 2], [2, 2], [0, 3], [1, T + 1])
    shapes = (np.zeros(0, np.int32), np.array(3), np.array([[1, 3]]), np.ones(3))
    return (
        *(Bad("taus", args={place: np.array(v)}, traced=False) for v in values),
        *(Bad("taus", args={place: v}) for v in shapes),
    )


def shown(states, estimates, frames, frames_of):
    """The last step i of each frame k, i frames // S = k, of the states or of x_0."""
    all_of, S = {"x": states, "x0": estimates}[frames_of], len(states)
    lasts = [max(i for i in range(S) if i * frames // S == k) for k in range(frames)]
    return np.array([all_of[i] for i in lasts]).reshape(frames, *states[0].shape)


def sample(f, schedule, x, levels, states, options, frames=0, frames_of="x"):
    estimates = []
    for t, before in zip(levels, [x, *states[:-1]], strict=True):
        x0 = (before - schedule.beta_bar[t] * f(before, t)) / schedule.alpha_bar[t]
        estimates.append(np.clip(x0, -1, 1) if options.get("clip_x0") else x0)
    return states[-1], shown(states, estimates, frames, frames_of)


def ddpm_oracle(
    f, schedule, x, variance=None, draws=None, frames=0, frames_of="x", **options
):
    f, draws = at_level(f), np.zeros((T + 1, *SHAPE)) if draws is None else draws
    states = oracle.ancestral(f, schedule, x, draws, variance=variance, **options)
    levels = range(options.get("start") or T, 0, -1)
    return sample(f, schedule, x, levels, states, options, frames, frames_of)


def drawn_oracle(f, schedule, draws, shape):
    x, frames = ddpm_oracle(f, schedule, draws[0], draws=draws, sigma="beta")
    return np.clip(x, -1, 1), frames


def drawn(key, eps_fn, schedule, *, shape, dtype=jnp.float32):
    options = {"shape": shape, "dtype": dtype, "clip_final": True}
    return ddpm_sample(key, eps_fn, schedule, **options)


def drawn_draws(key, eps_fn, schedule):
    return level_draws(key, jnp.zeros(SHAPE, schedule.beta.dtype))


def ddpm_keyless(eps_fn, schedule, x_T, **options):
    return ddpm_sample(None, eps_fn, schedule, x_T, **options)


def ddpm_analytic(key, eps_fn, schedule, x_T, variance, **options):
    return ddpm_sample(key, eps_fn, schedule, x_T, variance=variance, **options)


def start_inputs(rng):
    return eps_fn, chain(rng), rng.normal(size=SHAPE)


def analytic_inputs(rng):
    return (*start_inputs(rng), rng.uniform(0.1, 0.9, T + 1))


DDPM = functools.partial(
    Case, "diffusion.ddpm_sample", start_inputs, ddpm_oracle, follows=2
)
DDPM_BAD = (
    *bad_networks(),
    *bad_schedules(1),
    *bad_arrays("x_T", 2, ()),
    Bad("shape", static={"shape": SHAPE}),
    Bad("frames", static={"frames": T + 1}),
    Bad("start", static={"start": T + 1}),
    Bad("start", static={"start": 0}),
    Bad("start", static={"start": 2.0}),
    Bad("start", args={2: None}, static={"start": 2}),
    Bad("clip_final", static={"clip_final": 1}),
    Bad("variance", static={"variance": np.ones(T + 1)}),
    Bad("variance", static={"sigma": "analytic"}),
)

ANCESTRAL = (
    DDPM(
        static={
            "sigma": "posterior",
            "clip_x0": True,
            "last_noise": False,
            "frames": 4,
            "frames_of": "x0",
        },
        draws=sampler_draws,
        bad=DDPM_BAD,
    ),
    DDPM(
        static={"sigma": "beta", "last_noise": True, "start": 4, "frames": 2},
        variant="from level 4",
        draws=sampler_draws,
        optional=("start",),
        bad=(Bad("frames", static={"frames": 5}),),
    ),
    DDPM(
        static={"sigma": "zero"},
        variant="no key",
        call=ddpm_keyless,
        bad=(Bad("key", static={"sigma": "beta"}),),
    ),
    Case(
        "diffusion.ddpm_sample",
        analytic_inputs,
        ddpm_oracle,
        {"sigma": "analytic"},
        variant="analytic",
        call=ddpm_analytic,
        draws=sampler_draws,
        follows=2,
        bad=(*bad_variances(3), Bad("variance", static={"sigma": "posterior"})),
    ),
    Case(
        "diffusion.ddpm_sample",
        lambda rng: (eps_fn, chain(rng)),
        drawn_oracle,
        {"shape": SHAPE},
        variant="x_T drawn",
        call=drawn,
        draws=drawn_draws,
        follows=None,
        takes_dtype=True,
        bad=(
            *(
                Bad("shape", static={"shape": s})
                for s in (None, (), "text", 3, (3, -1), (3, 2.0), (True, 2))
            ),
            *(Bad("dtype", static={"dtype": d}) for d in (None, "text", "int32")),
        ),
    ),
)


def ddim_oracle(
    f,
    schedule,
    x,
    taus,
    extra=None,
    *,
    draws=None,
    frames=0,
    frames_of="x",
    eta=0.0,
    **options,
):
    """``extra`` is the eta that is traced (a scalar) or the analytic variance."""
    if extra is not None:
        name = "variance" if np.ndim(extra) else "eta"
        options = {**options, "eta": eta, name: extra}
        eta = float(options.pop("eta"))
    f, draws = at_level(f), np.zeros((T + 1, *SHAPE)) if draws is None else draws
    states = oracle.ddim(f, schedule, x, taus, draws, eta=eta, **options)
    levels = taus[::-1]
    return sample(f, schedule, x, levels, states, options, frames, frames_of)


def ddim_keyless(eps_fn, schedule, x_T, taus, **options):
    return ddim_sample(None, eps_fn, schedule, x_T, taus, **options)


def ddim_traced_eta(key, eps_fn, schedule, x_T, taus, eta, **options):
    return ddim_sample(key, eps_fn, schedule, x_T, taus, eta=eta, **options)


def ddim_analytic(key, eps_fn, schedule, x_T, taus, variance, **options):
    return ddim_sample(key, eps_fn, schedule, x_T, taus, variance=variance, **options)


def taus_inputs(rng):
    return (*start_inputs(rng), TAUS)


DDIM = functools.partial(Case, "diffusion.ddim_sample", oracle=ddim_oracle, follows=2)
DDIM_BAD = (
    *bad_networks(),
    *bad_schedules(1),
    *bad_arrays("x_T", 2, ()),
    *bad_taus(3),
    Bad("eta", static={"eta": -0.1}),
    Bad("eta", static={"eta": True}),
    Bad("frames", static={"frames": 4}),
    Bad("variance", static={"variance": np.ones(T)}),
    Bad("variance", static={"variance": np.ones(T + 1), "sigma_hat": True}),
)

FAMILY = (
    DDIM(
        taus_inputs,
        static={
            "eta": 0.6,
            "sigma_hat": False,
            "clip_x0": True,
            "last_noise": True,
            "frames": 2,
            "frames_of": "x0",
        },
        draws=sampler_draws,
        bad=DDIM_BAD,
    ),
    DDIM(
        taus_inputs,
        static={"eta": 0.0, "frames": 3},
        variant="no key",
        call=ddim_keyless,
        bad=(Bad("key", static={"eta": 0.5}), Bad("key", static={"sigma_hat": True})),
    ),
    DDIM(
        taus_inputs,
        static={"sigma_hat": True},
        variant="sigma_hat",
        draws=sampler_draws,
    ),
    DDIM(
        lambda rng: (*taus_inputs(rng), rng.uniform(0.3, 0.7)),
        variant="eta traced",
        call=ddim_traced_eta,
        draws=sampler_draws,
        bad=(
            Bad("eta", args={4: np.ones(3)}),
            Bad("eta", args={4: -0.5}, traced=False),
        ),
    ),
    DDIM(
        lambda rng: (*taus_inputs(rng), rng.uniform(0.1, 0.9, T + 1)),
        static={"eta": 0.4},
        variant="variance",
        call=ddim_analytic,
        draws=sampler_draws,
        optional=("variance",),
        bad=bad_variances(4),
    ),
    Case(
        "diffusion.ddim_encode",
        taus_inputs,
        lambda f, schedule, x, taus: oracle.encode(at_level(f), schedule, x, taus),
        follows=2,
        bad=(
            *bad_networks(),
            *bad_schedules(1),
            *bad_arrays("x0", 2, ()),
            *bad_taus(3),
        ),
    ),
)


def image_inputs(rng):
    x1, x2 = rng.uniform(-1, 1, (2, *SHAPE))
    return eps_fn, chain(rng), x1, x2, rng.uniform(0.1, 0.9, SHAPE[0])


def image_oracle(f, schedule, x1, x2, lam, draws, t0, kind, sigma, clip_x0):
    w = lam[:, None]
    first, second = (
        schedule.alpha_bar[t0] * x + schedule.beta_bar[t0] * draws[z]
        for x, z in ((x1, 0), (x2, 0 if kind == "author" else T + 1))
    )
    x = (1 - w) * first + w * second
    options = {"sigma": sigma, "start": t0, "clip_x0": clip_x0}
    return oracle.ancestral(at_level(f), schedule, x, draws, **options)[-1]


IMAGES = tuple(
    Case(
        "diffusion.interpolate_images",
        image_inputs,
        image_oracle,
        {"t0": 3, "kind": kind, "sigma": sigma, "clip_x0": clip_x0},
        variant=kind,
        titles=("ddpm_sample",),
        draws=sampler_draws,
        follows=2,
        bad=(
            *bad_networks(),
            *bad_schedules(1),
            Bad("x1", args={2: np.ones(()), 3: np.ones(())}),
            Bad("x1", args={2: np.ones(SHAPE, np.int32)}),
            *bad_arrays("x2", 3, (2, 2), (3, 1)),
            Bad("x2", args={3: np.ones(SHAPE)}),
            Bad("lam", args={4: np.ones(2)}),
            Bad("lam", args={4: np.ones(3, np.int32)}),
            Bad("t0", static={"t0": 0}),
            Bad("t0", static={"t0": T + 1}),
            Bad("sigma", static={"sigma": "analytic"}),
        ),
    )
    for kind, sigma, clip_x0 in (
        ("author", "posterior", True),
        ("paper", "beta", False),
    )
)

ROWS = (*ANCESTRAL, *FAMILY, *IMAGES)
