"""Contract rows of one reverse step, ancestral or DDIM, and of the strides."""

import functools

import numpy as np

from kexue_jax.diffusion import ddim_step, ddpm_step
from tests.contract.case import Bad, Case
from tests.contract.chains import T, bad_arrays, bad_schedules, bad_steps, chain, steps
from tests.contract.rows_schedules import NO_ARRAYS
from tests.oracles import diffusion_sampling as oracle


def bad_variances(place: int) -> tuple[Bad, ...]:
    return (
        *bad_arrays("variance", place, (T,), (), (1, T + 1)),
        Bad("variance", args={place: np.ones(T + 1, bool)}),
    )


def ddpm_step_oracle(schedule, x, eps, t, noise, variance=None, **options):
    def one(i):
        noises = [0.0 if noise is None else noise[i]] * (T + 1)
        options.update(start=t[i], variance=variance)
        f = lambda x, t: eps[i]  # noqa: E731
        return oracle.ancestral(f, schedule, x[i], noises, **options)[0]

    return np.stack([one(i) for i in range(t.size)])


def ddim_step_oracle(schedule, x, eps, t, s, eta, noise, variance=None, **options):
    def one(i):
        noises = [0.0 if noise is None else noise[i]] * (T + 1)
        taus = [s[i], t[i]] if s[i] else [t[i]]
        options.update(eta=float(eta), variance=variance)
        f = lambda x, t: eps[i]  # noqa: E731
        return oracle.ddim(f, schedule, x[i], taus, noises, **options)[0]

    return np.stack([one(i) for i in range(t.size)])


def ddpm_step_analytic(schedule, x, eps, t, noise, variance, **options):
    return ddpm_step(schedule, x, eps, t, noise, variance=variance, **options)


def ddim_step_analytic(schedule, x, eps, t, s, eta, noise, variance, **options):
    return ddim_step(schedule, x, eps, t, s, eta, noise, variance=variance, **options)


def step_inputs(rng, *, shape=(4, 1, 2), noise=True, variance=False):
    x, eps, z = rng.normal(size=(3, *shape))
    last = (rng.uniform(0.1, 0.9, T + 1),) if variance else ()
    return (chain(rng), x, eps, steps(rng, shape[0]), z if noise else None, *last)


def jump_inputs(rng, *, shape=(4, 1, 2), noise=True, variance=False):
    schedule, x, eps, _, *rest = step_inputs(
        rng, shape=shape, noise=noise, variance=variance
    )
    t, s = rng.integers(4, T + 1, shape[0]), rng.integers(1, 4, shape[0])
    s[0] = 0
    levels = t.astype(np.int32), s.astype(np.int32)
    return (schedule, x, eps, *levels, 0.6, *rest)


def step_bad(t: int, noise: int, unlike: str) -> tuple[Bad, ...]:
    return (
        *bad_schedules(),
        *bad_arrays("x", 1, (3, 1, 2), ()),
        *bad_arrays("eps", 2, (4, 1, 3), (4, 2), ()),
        *bad_arrays("noise", noise, (4, 1, 3), (1, 4, 1, 2)),
        *bad_steps(t, (4,)),
        Bad(unlike, args={t: np.ones(3, np.int32)}),
    )


ONE = functools.partial(
    Case, "diffusion.ddpm_step", oracle=ddpm_step_oracle, follows=1, optional=("noise",)
)
JUMP = functools.partial(
    Case, "diffusion.ddim_step", oracle=ddim_step_oracle, follows=1, optional=("noise",)
)

STEPS = (
    ONE(
        step_inputs,
        static={"sigma": "posterior", "clip_x0": True, "last_noise": False},
        bad=(
            *step_bad(3, 4, "x"),
            Bad("variance", static={"variance": np.ones(T + 1)}),
            Bad("variance", static={"sigma": "analytic"}),
        ),
    ),
    ONE(
        functools.partial(step_inputs, shape=(3,)),
        static={"sigma": "beta", "last_noise": True},
        variant="beta, no further axes",
    ),
    ONE(
        functools.partial(step_inputs, noise=False),
        static={"sigma": "zero"},
        variant="no noise",
    ),
    ONE(
        functools.partial(step_inputs, variance=True),
        static={"sigma": "analytic"},
        variant="analytic",
        call=ddpm_step_analytic,
        bad=(*bad_variances(5), Bad("variance", static={"sigma": "beta"})),
    ),
    JUMP(
        jump_inputs,
        static={"sigma_hat": False, "clip_x0": True, "last_noise": False},
        bad=(
            *step_bad(3, 6, "s"),
            Bad("s", args={4: np.full(4, T)}, traced=False),
            Bad("s", args={4: np.full(4, -1)}, traced=False),
            Bad("s", args={4: np.zeros(4)}),
            Bad("s", args={4: np.zeros(3, np.int32)}),
            Bad("eta", args={5: -0.1}, traced=False),
            Bad("eta", args={5: np.ones(4)}),
            Bad("eta", args={5: True}, traced=False),
            Bad("variance", static={"variance": np.ones(T)}),
            Bad("variance", static={"variance": np.ones(T + 1), "sigma_hat": True}),
        ),
    ),
    JUMP(
        jump_inputs,
        static={"sigma_hat": True, "last_noise": True},
        variant="sigma_hat",
    ),
    JUMP(functools.partial(jump_inputs, noise=False), variant="no noise"),
    JUMP(
        functools.partial(jump_inputs, variance=True),
        static={"last_noise": True},
        variant="variance",
        call=ddim_step_analytic,
        optional=("noise", "variance"),
        bad=bad_variances(7),
    ),
)


def taus_oracle(T, S, kind):
    i = np.arange(1, S + 1)
    if kind == "leading":
        return 1 + (i - 1) * (T // S)
    power = {"trailing": 1, "quadratic": 2}[kind]
    return np.maximum(np.floor(T * (i / S) ** power + 0.5).astype(int), i)


STRIDES = tuple(
    Case(
        "diffusion.ddim_taus",
        lambda rng: (),
        taus_oracle,
        {"T": 40, "S": 7, "kind": kind},
        variant=kind,
        follows=None,
        grad=False,
        vmap=False,
        jit=False,
        extremes=False,
        reason=NO_ARRAYS,
        bad=(
            Bad("S", static={"S": 41}),
            Bad("S", static={"S": True}),
            Bad("T", static={"T": 0}),
        ),
    )
    for kind in ("trailing", "leading", "quadratic")
)


ROWS = (*STEPS, *STRIDES)
