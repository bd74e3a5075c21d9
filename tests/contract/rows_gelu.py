"""Contract rows of GELU, its approximations and their fits."""

import functools
import math

import jax.numpy as jnp
import numpy as np

from kexue_jax import numerics
from tests.contract.case import Bad, Case
from tests.oracles import gelu as oracle

HOST = "a fit in float64 on the host: nothing is traced"


def numbers(rng):
    return (3 * rng.normal(size=(3, 1, 5)),)


def fit(**static):
    """exp by a line: slope e - 1, error (e - (e - 1) log(e - 1) - ...) / 2."""
    function = static.pop("target", np.exp)
    start = static.pop("theta0", [1.0, 1.0])
    line = lambda x, t: t[0] + t[1] * x  # noqa: E731
    found = numerics.fit_activation(function, line, start, **static)
    return jnp.asarray(found.theta), jnp.asarray(found.max_error)


def line_of_exp(**_):
    slope = math.e - 1
    constant = (1 + slope - slope * math.log(slope)) / 2
    return np.array([constant, slope]), np.asarray(1 - constant)


def report(**static):
    function = static.pop("f", np.sin)
    found = numerics.approximation_report(function, lambda x: x, **static)
    return jnp.asarray(found.max_error), jnp.asarray(found.at)


def host(name, call, oracle, bad, **static):
    return Case(
        f"numerics.{name}",
        lambda rng: (),
        oracle,
        static,
        call=call,
        follows=None,
        grad=False,
        vmap=False,
        jit=False,
        extremes=False,
        bad=bad,
        tolerance={"float64": 1e-7, "float32": 1e-4},
        reason=HOST,
    )


BAD_DOMAIN = tuple(
    Bad("domain", static={"domain": d}) for d in (None, 3.0, (1.0, 1.0), (0.0, np.inf))
)

ROWS = (
    *(
        Case(
            "numerics.gelu",
            numbers,
            lambda x, approximate: oracle.FORMS[approximate](x),
            {"approximate": form},
            variant=form,
        )
        for form in oracle.FORMS
    ),
    Case(
        "numerics.gelu_tanh",
        numbers,
        oracle.tanh,
        {"coef": 0.05},
        bad=(Bad("coef", static={"coef": -1.0}),),
    ),
    Case(
        "numerics.gelu_sigmoid",
        numbers,
        oracle.sigmoid,
        {"scale": 1.5},
        bad=(Bad("scale", static={"scale": 0.0}),),
    ),
    Case(
        "numerics.silu",
        numbers,
        functools.partial(oracle.sigmoid, scale=1.0),
        bad=(
            Bad("x", args={0: np.ones(2, int)}),
            Bad("x", args={0: {"x": 1}}, traced=False),
        ),
    ),
    host(
        "fit_activation",
        fit,
        line_of_exp,
        (*BAD_DOMAIN, Bad("theta0", static={"theta0": []})),
        domain=(0.0, 1.0),
        criterion="minimax",
        num=4001,
    ),
    host(
        "approximation_report",
        report,
        lambda **_: (np.asarray(1 - math.sin(1)), np.asarray(1.0)),
        (*BAD_DOMAIN, Bad("f", static={"f": 3})),
        domain=(0.0, 1.0),
        num=101,
    ),
    host(
        "gelu_constants",
        lambda **s: tuple(map(jnp.asarray, numerics.gelu_constants(**s).values())),
        lambda: (
            np.asarray(math.sqrt(2 / math.pi)),
            np.asarray((4 - math.pi) / (6 * math.pi)),
            np.asarray(0.04471491123),
            np.asarray(1.70174492534),
        ),
        (),
    ),
)
