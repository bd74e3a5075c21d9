"""Contract rows of the process, the parametrizations and the network's outputs."""

import functools

import numpy as np

from kexue_jax.diffusion import ddim_posterior
from tests.contract.case import Bad, Case
from tests.contract.chains import (
    T,
    bad_arrays,
    bad_schedules,
    bad_steps,
    chain,
    steps,
)
from tests.oracles import diffusion as oracle

SHAPE = (3, 1, 5)


def inputs(rng, *, shape=SHAPE, batch=1, first=1, order="xtx"):
    """A chain, then arrays ("x") of one shape and steps ("t") in the given order."""
    kinds = {
        "x": lambda: rng.normal(size=shape),
        "t": lambda: steps(rng, *shape[:batch], first=first),
    }
    return (chain(rng), *(kinds[kind]() for kind in order))


def bad(first: int, **places: int) -> tuple[Bad, ...]:
    """Malformed calls of f(schedule, ...) with arrays at the places given."""
    at = places.pop("t")
    found = [*bad_schedules(), *bad_steps(at, SHAPE[:1], first)]
    (leading, start), *others = places.items()
    found += bad_arrays(leading, start, (2, 1, 5), ())
    for name, place in others:
        found += bad_arrays(name, place, (3, 1, 4), (3, 5), (1, 3, 1, 5))
    return tuple(found)


NOISED = functools.partial(
    Case, "diffusion.q_sample", oracle=oracle.q_sample, follows=1
)
BAYES = functools.partial(
    Case, "diffusion.posterior", oracle=oracle.posterior, follows=2
)
FAMILY = functools.partial(
    Case, "diffusion.ddim_posterior", oracle=oracle.ddim_posterior, follows=2
)
KINK = "at s = 0 no sigma but 0 is left, the end of its range, where there is a kink"


def family(rng, sigma, **options):
    return (*inputs(rng, order="xxt", **options), sigma(rng))


def jump(schedule, x0, x_t, t, sigma, s):
    return ddim_posterior(schedule, x0, x_t, t, sigma, s=s)


def family_jump(rng):
    base = inputs(rng, order="xxt", first=4)
    return (*base, rng.uniform(0.05, 0.2, 3), np.array([1, 2, 3], np.int32))


FAMILY_BAD = (
    *bad(1, t=3, x0=1, x_t=2),
    *(Bad("sigma", args={4: s}, traced=False) for s in (-0.1, np.nan, np.inf, True)),
    Bad("sigma", args={4: np.ones(2)}),
    Bad("sigma", args={4: np.ones(3, np.int32)}),
    Bad("s", static={"s": "text"}),
    Bad("s", static={"s": np.zeros(3)}),
    Bad("s", static={"s": np.zeros(2, np.int32)}),
    Bad("s", static={"s": np.full(3, T)}, traced=False),
    Bad("s", static={"s": np.full(3, -1)}, traced=False),
)

PROCESS = (
    NOISED(
        lambda rng: inputs(rng, first=0),
        bad=bad(0, x0=1, t=2, noise=3),
    ),
    NOISED(lambda rng: inputs(rng, shape=(2, 1, 3), batch=2), variant="two leading"),
    NOISED(lambda rng: inputs(rng, shape=(5,), batch=0), variant="one step"),
    NOISED(lambda rng: inputs(rng, shape=(), batch=0), variant="no axes"),
    BAYES(lambda rng: inputs(rng, order="xxt"), bad=bad(1, x0=1, x_t=2, t=3)),
    BAYES(
        lambda rng: (*inputs(rng, order="xx"), np.array([1, 1, T], np.int32)),
        variant="ends",
    ),
    BAYES(lambda rng: inputs(rng, shape=(1,), batch=0, order="xxt"), variant="one"),
    FAMILY(
        lambda rng: family(rng, lambda rng: 0.05, first=2),
        bad=FAMILY_BAD,
    ),
    FAMILY(lambda rng: family(rng, lambda rng: 0.0, first=2), variant="sigma 0"),
    FAMILY(
        lambda rng: family(rng, lambda rng: rng.uniform(0.1, 2, 3), first=2),
        variant="sigma by example, some too large",
    ),
    FAMILY(
        lambda rng: (*inputs(rng, order="xx"), np.array([1, 1, T], np.int32), 0.0),
        variant="last step",
        grad=False,
        reason=KINK,
    ),
    FAMILY(
        family_jump,
        variant="strided",
        call=jump,
        optional=("s",),
        bad=(
            Bad("s", args={5: np.array([0, 4, T])}, traced=False),
            Bad("s", args={5: np.array([0, -1, 1])}, traced=False),
            Bad("s", args={5: np.ones((3, 1), np.int32)}),
        ),
    ),
    *(
        Case(
            "diffusion.reverse_sigma",
            lambda rng: (chain(rng), steps(rng, 3, 1)),
            oracle.reverse_sigma,
            {"kind": kind},
            variant=kind,
            bad=(*bad_schedules(), *bad_steps(1, (3, 1))),
        )
        for kind in ("beta", "posterior", "zero")
    ),
)

# Each of the five as what comes in and as what goes out, once.
PAIRS = (
    ("eps", "v"),
    ("v", "score"),
    ("score", "x0"),
    ("x0", "eps1"),
    ("eps1", "eps"),
    ("v", "v"),
)

PARAMETRIZATIONS = (
    *(
        Case(
            "diffusion.convert",
            lambda rng: inputs(rng),
            oracle.convert,
            {"from_": from_, "to": to},
            variant=f"{from_} to {to}",
            follows=1,
            bad=bad(0 if to == "x0" else 1, x_t=1, t=2, out=3),
        )
        for from_, to in PAIRS
    ),
    *(
        Case(
            "diffusion.predict_x0",
            lambda rng, param=param: inputs(rng, first=int(param != "eps")),
            oracle.predict_x0,
            {"param": param},
            variant=param,
            follows=1,
            bad=bad(0, x_t=1, t=2, out=3),
        )
        for param in ("eps", "eps1", "v")
    ),
    *(
        Case(
            "diffusion.predict_eps",
            lambda rng: inputs(rng, shape=(1, 3)),
            oracle.predict_eps,
            {"param": param},
            variant=param,
            follows=1,
            bad=bad_steps(2, (1,)),
        )
        for param in ("x0", "v", "score")
    ),
)

ROWS = (*PROCESS, *PARAMETRIZATIONS)
