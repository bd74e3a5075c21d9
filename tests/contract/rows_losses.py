"""Contract rows of the training losses and their weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from tests.contract.case import Bad, Case
from tests.contract.chains import (
    T,
    bad_arrays,
    bad_schedules,
    bad_steps,
    chain,
    eps_fn,
    normal,
    steps,
)
from tests.oracles import diffusion as oracle

SHAPE = (3, 1, 2)


def weight_inputs(rng, first):
    return chain(rng), steps(rng, 3, first=first)


# kind, sigma, the first step where the weight is finite
WEIGHTS = (
    ("simple", "posterior", 1),
    ("regression", "posterior", 1),
    ("vae", "posterior", 2),
    ("vae", "beta", 1),
    ("x0", "posterior", 1),
    ("score", "posterior", 1),
    ("min_snr", "posterior", 1),
)

WEIGHT = tuple(
    Case(
        "diffusion.loss_weight",
        functools.partial(weight_inputs, first=first),
        oracle.loss_weight,
        {"kind": kind, "sigma": sigma, "gamma": 0.8},
        variant=f"{kind}, {sigma}" if kind == "vae" else kind,
        bad=(
            *bad_schedules(),
            *bad_steps(1, (3,)),
            Bad("gamma", static={"gamma": 0.0}),
            Bad("gamma", static={"gamma": -5.0}),
            Bad("sigma", static={"sigma": "zero"}),
        ),
    )
    for kind, sigma, first in WEIGHTS
)


def at_inputs(rng, *, shape=SHAPE, noises=1, t=None):
    """eps_fn, chain, x0, t and noises of one shape."""
    t = steps(rng, shape[0]) if t is None else np.array(t, np.int32)
    noise = [rng.normal(size=shape) for _ in range(noises)]
    return (eps_fn, chain(rng), rng.normal(size=shape), t, *noise)


def keyed_inputs(rng):
    return (eps_fn, chain(rng), rng.normal(size=SHAPE))


def bad_networks(place: int = 0) -> tuple[Bad, ...]:
    """Predictors that change the shape, add an axis, or return no array."""
    wrong = (
        lambda x, t: x[:1],
        lambda x, t: x[None],
        lambda x, t: (x, t),
        lambda x, t: None,
    )
    return tuple(Bad("eps_fn", args={place: f}) for f in wrong)


def at_bad(*noises: str) -> tuple[Bad, ...]:
    wrong = (
        *bad_networks(),
        *bad_schedules(1),
        *bad_steps(3, SHAPE[:1]),
        *bad_arrays("x0", 2, (2, 1, 2), ()),
        Bad("t", args={3: np.array(2, np.int32)}),
        Bad("t", args={3: np.ones((3, 1), np.int32)}),
    )
    for place, name in enumerate(noises, 4):
        wrong += bad_arrays(name, place, (3, 1, 3), (3, 2), ())
    return wrong


KEYED_BAD = (
    *bad_networks(),
    *bad_schedules(1),
    Bad("x0", args={2: np.ones(())}),
    Bad("x0", args={2: np.ones(SHAPE, np.int32)}),
)


def draw_steps(key, schedule, x0):
    last = schedule.beta.shape[-1] - 1
    return jax.random.randint(key, x0.shape[:1], 1, last + 1, jnp.int32)


def two_draws(key, eps_fn, schedule, x0):
    key_t, key_noise = jax.random.split(key)
    return draw_steps(key_t, schedule, x0), normal(key_noise, x0)


def three_draws(key, eps_fn, schedule, x0):
    key_t, key_bar, key_eps = jax.random.split(key, 3)
    t = draw_steps(key_t, schedule, x0)
    return t, normal(key_bar, x0), normal(key_eps, x0)


def keyed_oracle(at):
    """The oracle at given draws as one that takes them from the row."""
    return lambda f, c, x0, draws, **options: at(f, c, x0, *draws, **options)


def options(param="eps", weight="simple", sigma="posterior", reduction="sum"):
    return {
        "param": param,
        "weight": weight,
        "sigma": sigma,
        "gamma": 0.8,
        "reduction": reduction,
    }


AT = functools.partial(
    Case, "diffusion.ddpm_loss_at", oracle=oracle.ddpm_loss_at, follows=2, wide=True
)
GAMMA_BAD = (Bad("gamma", static={"gamma": 0.0}),)

DDPM = (
    AT(at_inputs, static=options(), bad=(*at_bad("noise"), *GAMMA_BAD)),
    AT(
        lambda rng: at_inputs(rng, t=[1, 2, T]),
        static=options("eps1", "vae", reduction="mean"),
        variant="eps1, vae with t = 1",
    ),
    AT(
        lambda rng: at_inputs(rng, shape=(1, 3)),
        static=options("x0", "min_snr"),
        variant="x0, min_snr",
    ),
    AT(
        lambda rng: at_inputs(rng, shape=(2,)),
        static=options("v", "x0"),
        variant="v, x0, no further axes",
    ),
    AT(at_inputs, static=options("score", "regression"), variant="score, regression"),
    AT(at_inputs, static=options("v", "vae", "beta"), variant="v, vae of beta"),
    Case(
        "diffusion.ddpm_loss",
        keyed_inputs,
        keyed_oracle(oracle.ddpm_loss_at),
        options("v", "score"),
        draws=two_draws,
        follows=2,
        wide=True,
        bad=(*KEYED_BAD, *GAMMA_BAD),
    ),
)

FOUR = tuple(
    Case(
        "diffusion.four_variable_loss_at",
        functools.partial(at_inputs, noises=2, t=[1, 2, T]),
        oracle.four_variable_loss_at,
        {"param": param, "reduction": reduction},
        variant=f"{param}, {reduction}",
        follows=2,
        wide=True,
        bad=at_bad("eps_bar", "eps"),
    )
    for param, reduction in (("eps1", "sum"), ("x0", "mean"))
)

REDUCED = tuple(
    Case(
        "diffusion.reduced_variance_loss_at",
        functools.partial(at_inputs, t=[1, 2, T]),
        oracle.reduced_variance_loss_at,
        {"param": param, "reduction": reduction},
        variant=f"{param}, {reduction}",
        follows=2,
        wide=True,
        bad=at_bad("noise"),
    )
    for param, reduction in (("eps1", "sum"), ("v", "mean"))
)

KEYED = tuple(
    Case(
        f"diffusion.{name}",
        keyed_inputs,
        keyed_oracle(at),
        {"param": "eps1", "reduction": "sum"},
        draws=draws,
        follows=2,
        wide=True,
        bad=KEYED_BAD,
    )
    for name, at, draws in (
        ("four_variable_loss", oracle.four_variable_loss_at, three_draws),
        ("reduced_variance_loss", oracle.reduced_variance_loss_at, two_draws),
    )
)

ROWS = (*WEIGHT, *DDPM, *FOUR, *REDUCED, *KEYED)
