"""Contract rows of the comparison of powers."""

import jax.numpy as jnp
import numpy as np

from kexue_jax import numerics
from tests.contract.case import Bad, Case
from tests.oracles import powers as oracle

BAD_N = (
    Bad("n", args={0: 2.0}, traced=False),
    Bad("n", args={0: [1.0, 2.0]}, traced=False),
    Bad("n", args={0: None}, traced=False),
    Bad("n", args={0: np.ones(2, bool)}),
    Bad("n", args={0: np.ones(2, complex)}),
    Bad("n", args={0: "3"}, traced=False),
    Bad("n", args={0: {"n": 1}}, traced=False),
    Bad("n", args={0: (np.ones(2),)}, traced=False),
)
SIGNS = "a sign has no gradient"
BELOW = "below 0 there is no value"
HOST = "there is nothing but static arguments"


def numbers(rng):
    """On both sides of the crossover and of 1/n = 1e-3; exact in bfloat16."""
    return (np.array([[0.5, 1.0, 2.0, 3.0, 7.0], [24.0, 100.0, 992.0, 1024.0, 65536]]),)


def pairs(rng):
    a = np.array([[0.25, 1.0, 2.0], [3.0, 2.5, 28.0]])
    return a, np.array([[4.0], [3.0]])


def host(name, *bad, **static):
    function = getattr(numerics, name)

    def call(**static):
        found = function(**static)
        return (
            tuple(map(jnp.asarray, found))
            if isinstance(found, tuple)
            else (jnp.asarray(found),)
        )

    return {
        "call": call,
        "static": static,
        "bad": bad,
        "follows": None,
        "grad": False,
        "vmap": False,
        "extremes": False,
        "reason": HOST,
    }


ROWS = (
    Case(
        "numerics.log_power_gap",
        numbers,
        oracle.gap,
        extremes=False,
        bad=BAD_N,
        reason=BELOW,
    ),
    Case(
        "numerics.power_gap_series",
        numbers,
        oracle.series,
        {"terms": 3},
        extremes=False,
        reason=BELOW,
        bad=(
            *BAD_N,
            *(Bad("terms", static={"terms": t}) for t in (-1, 1.5, None, True)),
        ),
    ),
    Case(
        "numerics.compare_consecutive_powers",
        numbers,
        oracle.sign,
        follows=None,
        grad=False,
        bad=BAD_N,
        reason=SIGNS,
    ),
    Case(
        "numerics.compare_powers",
        pairs,
        oracle.compare,
        follows=None,
        grad=False,
        bad=(
            *(Bad("a", args=bad.args, traced=bad.traced) for bad in BAD_N),
            Bad("b", args={1: 2.0}, traced=False),
            Bad("b", args={1: np.ones(7)}),
            Bad("b", args={1: np.ones(2, complex)}),
        ),
        reason=SIGNS,
    ),
    Case(
        "numerics.exact_compare",
        lambda rng: (),
        lambda n: (np.asarray(1),),
        **host(
            "exact_compare",
            *(Bad("n", static={"n": n}) for n in (-1, 2.0, "3", None, True, [3])),
            Bad("n", static={"n": np.ones(1, int)}),
            Bad("n", static={"n": 1j}),
            n=5,
        ),
    ),
    Case(
        "numerics.power_limits",
        lambda rng: (),
        lambda dtype: (np.asarray(8), np.asarray(9)),
        **host(
            "power_limits",
            *(
                Bad("dtype", static={"dtype": d})
                for d in (None, bool, complex, "word", 3, "S5", [1], np.ones(2))
            ),
            dtype="int32",
        ),
    ),
    Case(
        "numerics.power_crossover",
        lambda rng: (),
        lambda: (np.asarray(2.293166287411861),),
        **host("power_crossover"),
    ),
)
