"""Contract rows of rotary positions, their scalings, windows and random positions."""

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax import positions
from kexue_jax.positions import ntk_dynamic_base, rope_frequencies
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


def dynamic_base(length, **options):
    return ntk_dynamic_base(length=length, **options)


def bad_counts(*names, smallest=1):
    """Static counts that are too small, no integer, or a bool."""
    return tuple(
        Bad(name, static={name: value})
        for name in names
        for value in (smallest - 1, True, 2.0)
    )


def windows(name, **options):
    """The windows of layers as an array, 0 for none."""
    return jnp.asarray([w or 0 for w in getattr(positions, name)(**options)])


def relative(delta, leak, **options):
    """The relative position with a leak that may be traced."""
    return positions.relative_position(delta, leak=leak, **options)


def plan_row(name, oracle, static, bad):
    return Case(
        f"positions.{name}",
        lambda rng: (),
        oracle,
        static,
        follows=None,
        call=lambda **options: windows(name, **options),
        grad=False,
        vmap=False,
        jit=False,
        extremes=False,
        reason="returns a tuple of Python integers and takes no array",
        bad=bad,
    )


def permuted(key, *, n, max_len):
    return jax.random.permutation(key, max_len)


def drawn_end(key, *, n, mean, dist, max_len=None, concentration=2.0):
    if dist == "exponential":
        return mean * jax.random.exponential(key, (), jnp.float32)
    a = concentration * mean / max_len
    return max_len * jax.random.beta(key, a, concentration - a, (), jnp.float32)


def random_row(name, oracle, draws, static, variant="", bad=(), exact=True):
    return Case(
        f"positions.{name}",
        lambda rng: (),
        oracle,
        static,
        variant=variant,
        draws=(lambda key: draws(key, **static)) if draws else None,
        follows=None,
        grad=False,
        vmap=draws is not None and exact,
        jit=draws is not None and exact,
        extremes=False,
        tolerance={"float64": 2e-5},
        reason="takes no array but the key; positions are integers or float32, and a "
        "beta draw by rejection differs in its last bit under jit",
        bad=bad,
    )


NO_LENGTHS = tuple(
    Bad("length", args={0: value}, traced=False) for value in (-1.0, True, "text")
)
MEAN_BAD = (
    Bad("mean", static={"mean": 0.0}),
    Bad("max_len", static={"dist": "beta", "max_len": 3}),
    Bad("max_len", static={"dist": "beta", "max_len": None}),
    Bad("concentration", static={"concentration": 0.0}),
    *bad_counts("n"),
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
        follows=None,
        extremes=False,
        reason="positions are not negative",
        bad=(*BAD_LENGTHS, Bad("positions", args={0: np.ones((2, 5), np.float16)})),
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
    Case(
        "positions.dynamic_scale",
        lambda rng: (rng.uniform(1, 90, 6),),
        oracle.dynamic_scale,
        {"train_length": 16},
        wide=True,
        extremes=False,
        reason="lengths are not negative",
        bad=(*bad_counts("train_length"), *NO_LENGTHS[1:]),
    ),
    Case(
        "positions.ntk_dynamic_base",
        lambda rng: (rng.uniform(1, 90, 6),),
        oracle.dynamic_base,
        {"base": 30.0, "dim": 6, "factor": 1.5, "train_length": 16},
        call=dynamic_base,
        wide=True,
        extremes=False,
        reason="lengths are not negative",
        bad=(
            *bad_counts("train_length"),
            *(Bad("dim", static={"dim": d}) for d in (2, 5)),
            Bad("factor", static={"factor": 0.5}),
            Bad("base", static={"base": 1.0}),
        ),
    ),
    Case(
        "positions.yarn_logit_scale",
        lambda rng: (rng.uniform(2, 9, ()),),
        oracle.yarn_logit_scale,
        wide=True,
        extremes=False,
        reason="a scale is positive",
        bad=(
            Bad("scale", args={0: 0.0}, traced=False),
            Bad("scale", args={0: -1.0}, traced=False),
            Bad("scale", args={0: np.ones(2)}),
            Bad("scale", args={0: np.ones((), int)}),
        ),
    ),
    Case(
        "positions.base_digits",
        lambda rng: (rng.integers(0, 10**6, (2, 5)),),
        oracle.digits,
        {"base": 7, "num_digits": 9},
        follows=None,
        grad=False,
        extremes=False,
        reason=INTEGERS,
        bad=(
            *bad_counts("num_digits"),
            *bad_counts("base", smallest=2),
            Bad("num_digits", static={"num_digits": 64}),
            Bad("positions", args={0: np.ones(2)}),
        ),
    ),
    *(
        Case(
            "positions.relative_position",
            lambda rng, leak=leak: (rng.uniform(-30, 30, (2, 9)), np.array(leak)),
            lambda delta, leak, **options: oracle.relative(
                delta, leak=float(leak), **options
            ),
            {"window": 7, "causal": causal},
            call=relative,
            variant=f"leak {leak}, causal {causal}",
            follows=None,
            optional=("window",),
            extremes=False,
            reason="a leak is positive",
            bad=(
                Bad("window", static={"window": jnp.ones(2, int)}),
                Bad("window", static={"window": jnp.ones(())}),
                Bad("leak", args={1: 0.0}, traced=False),
                Bad("delta", args={0: np.ones((2, 9), np.float16)}),
            ),
        )
        for leak, causal in ((4.0, True), (4.0, False), (1 / 8, False))
    ),
    Case(
        "positions.self_extend_position",
        lambda rng: (rng.integers(0, 50, (2, 4)), rng.integers(0, 50, (2, 5))),
        oracle.self_extend,
        {"window": 7, "group": 3, "causal": False},
        follows=None,
        grad=False,
        extremes=False,
        reason=INTEGERS,
        bad=(
            *bad_counts("window", "group"),
            Bad("keys", args={1: np.ones((3, 5), int)}),
            Bad("queries", args={0: np.ones(2)}),
        ),
    ),
    *(
        Case(
            f"positions.{name}",
            lambda rng: (rng.integers(-3, 20, (2, 7)),),
            oracle.window_mask,
            {"window": 6, "causal": causal, **more},
            variant=f"causal {causal}",
            follows=None,
            grad=False,
            extremes=False,
            reason=INTEGERS,
            bad=(
                *bad_counts("window"),
                Bad("positions", args={0: np.ones(2)}),
                Bad("positions", args={0: np.ones((), int)}),
            ),
        )
        for name, more in (("window_mask", {}), ("lambda_mask", {"sinks": 2}))
        for causal in (True, False)
    ),
    plan_row(
        "hwfa_layer_windows",
        lambda **_: np.array([16] * 23 + [0]),
        {"num_layers": 24, "train_length": 512, "alpha": 0.676},
        (
            *bad_counts("num_layers", smallest=2),
            *bad_counts("train_length"),
            Bad("alpha", static={"alpha": 0.0}),
            Bad("alpha", static={"alpha": 1.5}),
        ),
    ),
    plan_row(
        "hwfa2_layer_windows",
        lambda **_: np.array([48, 48, 0, 48, 0, 48]),
        {"num_layers": 6, "train_length": 96, "full_layers": 2, "share": 3.0},
        (
            *bad_counts("num_layers", smallest=2),
            *bad_counts("train_length", "full_layers"),
            Bad("full_layers", static={"full_layers": 6}),
            Bad("share", static={"share": 0.0}),
        ),
    ),
    random_row(
        "random_positions",
        lambda n, max_len, draws: np.sort(draws[:n]),
        permuted,
        {"n": 5, "max_len": 12},
        bad=(*bad_counts("n", "max_len"), Bad("max_len", static={"max_len": 4})),
    ),
    random_row(
        "spaced_positions",
        lambda n, max_len: np.round(np.arange(n) * (max_len - 1) / (n - 1)).astype(int),
        None,
        {"n": 5, "max_len": 12},
        bad=(*bad_counts("n", "max_len"), Bad("max_len", static={"max_len": 4})),
    ),
    *(
        random_row(
            "equal_mean_positions",
            lambda n, draws, **_: np.arange(n) / (n - 1) * float(draws),
            drawn_end,
            {"n": 5, "mean": 6.0, **options},
            variant=options["dist"],
            bad=MEAN_BAD,
            exact=options["dist"] == "exponential",
        )
        for options in (
            {"dist": "exponential"},
            {"dist": "beta", "max_len": 20, "concentration": 2.0},
        )
    ),
)
