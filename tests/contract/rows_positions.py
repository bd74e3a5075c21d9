"""Contract rows of rotary positions and the log-n factor."""

import numpy as np

from kexue_jax.positions import rope_frequencies
from tests.contract.case import Bad, Case, Static
from tests.oracles import positions as oracle

INTEGERS = "integers carry no gradient, and 1e4 times a count is no other count"
FREQS = oracle.frequencies(6, base=30.0)


def frequencies(base, scale, *, dim, **options):
    """The frequencies of a base and a scale that may be traced."""
    return rope_frequencies(dim, base=base, scale=scale, **options)


def frequency_row(scaling, dim=6, variant="", **options):
    static = {"dim": dim, "scaling": scaling, **options}

    def exact(base, scale, *, dim, **options):
        return oracle.frequencies(dim, base=base, scale=scale, **options)

    return Case(
        "positions.rope_frequencies",
        lambda rng: tuple(rng.uniform((20.0, 2.0), (90.0, 9.0))),
        exact,
        static,
        call=frequencies,
        variant=variant or scaling,
        follows=None,
        takes_dtype=True,
        extremes=False,
        reason="a base or a scale of 0 or less is no rotary embedding",
        bad=(
            *(Bad("dim", static={"dim": d}) for d in (0, 3, True, 2.0)),
            Bad("base", args={0: 1.0}, traced=False),
            Bad("base", args={0: np.ones(2)}),
            Bad("scale", args={1: 0.0}, traced=False),
            Bad("scale", args={1: np.ones(2)}),
            Bad("beta", static={"beta": -0.1}),
            Bad("tau", static={"tau": 1.0}),
            Bad("train_length", static={"train_length": 0}),
            Bad("dtype", static={"dtype": "int32"}),
        ),
    )


def rope_row(interleaved, positions, variant, shape=(2, 3, 5, 6)):
    return Case(
        "positions.apply_rope",
        lambda rng: (rng.normal(size=shape), positions(rng), Static(FREQS)),
        oracle.rope,
        {"interleaved": interleaved},
        variant=variant,
        bad=(
            Bad("x", args={0: np.ones((5, 3))}),
            Bad("x", args={0: np.ones(6)}),
            Bad("positions", args={1: np.ones(4)}),
            Bad("positions", args={1: np.ones((2, 5))}),
            Bad("positions", args={1: np.ones((2, 4, 5))}),
            Bad("positions", args={1: np.ones(5, np.float16)}),
            Bad("positions", args={1: np.ones(())}),
            Bad("freqs", args={2: Static(np.ones(2))}),
            Bad("freqs", args={2: Static(np.ones(3, np.float16))}),
            Bad("freqs", args={2: Static(np.ones(3, int))}),
            Bad("freqs", args={2: Static(None)}),
        ),
    )


def integers(*shape):
    return lambda rng: rng.integers(0, 40, shape).astype(np.int32)


BAD_LENGTHS = tuple(
    Bad("train_length", static={"train_length": n}) for n in (0, 1, True, 2.0)
)

ROWS = (
    *(frequency_row(s) for s in ("none", "linear", "ntk", "ntk_old", "ntk_fixed")),
    frequency_row("ntk_mixed", beta=0.75),
    frequency_row("ntk_mixed", 2, "one pair"),
    frequency_row("yarn", 8, train_length=64, tau=4.0),
    rope_row(True, integers(5), "interleaved"),
    rope_row(False, integers(2, 1, 5), "half-split, positions of each row"),
    Case(
        "positions.log_n_scale",
        lambda rng: (rng.uniform(0, 90, (2, 5)),),
        oracle.log_n,
        {"train_length": 16, "floor": 0.3},
        wide=True,
        extremes=False,
        reason="positions are not negative",
        bad=BAD_LENGTHS,
    ),
    Case(
        "positions.log_n_mask_scale",
        lambda rng: (rng.random((2, 40)) < 0.7,),
        oracle.log_n_mask,
        {"train_length": 7, "floor": 0.1, "min_keys": 3},
        follows=None,
        tolerance={"float64": 2e-5},
        grad=False,
        extremes=False,
        reason="a mask has no dtype to follow: the factor is in float32",
        bad=(*BAD_LENGTHS, Bad("mask", args={0: np.ones(3, int)})),
    ),
)
