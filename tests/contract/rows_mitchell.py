"""Contract rows of Mitchell's arithmetic."""

import functools

import jax.numpy as jnp
import numpy as np

from kexue_jax import numerics
from kexue_jax.attention import mitchell_attention
from tests.contract.case import Bad, Case, Static
from tests.contract.rows_attention import bad_qkv, masked
from tests.oracles import mitchell as oracle

RULE = {"offset": 0.0, "grad": "exact", "overflow": "inf"}
BAD_RULE = tuple(Bad("offset", static={"offset": c}) for c in (1.0, -0.1))
BETWEEN = "results are powers of two times straight lines, rounded to the dtype"
PIECES = "at 1e4 the numerical gradient meets the ends of pieces"
STRAIGHT = (
    "the gradient is that of the exact function and not the derivative, by design"
)
NARROW = {"bfloat16": 2.0**-6}


def numbers(rng):
    """Mantissas of a few bits, exact in bfloat16, away from the ends of pieces."""
    a = np.array([[1.25, -2.75, 0.3125], [5.5, -0.75, 40.0]])
    return a, np.array([[1.65625], [-1.453125 / 16]])


def positive(rng):
    return (np.array([[0.375, 1.25, 2.75], [5.5, 100.0, 0.0859375]]),)


def matrices(rng):
    return rng.normal(size=(2, 3, 5)), rng.normal(size=(5, 2))


def dot(lhs, rhs, numbers, **static):
    return numerics.mitchell_dot_general(lhs, rhs, numbers, **static)


AXES = Static((((1,), (0,)), ((), ())))


def attention(q, k, v, mask=None, **options):
    return mitchell_attention(q, k, v, mask=mask, **options)


ROWS = (
    Case(
        "attention.mitchell_attention",
        masked,
        oracle.attention,
        {"scale": 0.7, "causal": True, "offset": 0.0, "grad": "exact", "block": 4},
        call=attention,
        optional=("mask", "scale"),
        extremes=False,
        tolerance={"float32": 2e-3, "bfloat16": 6e-2},
        bad=(*bad_qkv(), *BAD_RULE, Bad("block", static={"block": 0})),
        reason="rounding moves an operand over the end of a piece",
    ),
    *(
        Case(
            f"numerics.mitchell_{kind}",
            numbers,
            getattr(oracle, kind),
            static,
            variant=f"offset {static.get('offset', 0):g}",
            extremes=False,
            bad=(
                *(BAD_RULE if kind == "mul" else ()),
                Bad("b", args={1: np.ones((3, 3), np.float32)}),
            ),
            tolerance=NARROW,
            reason=PIECES,
        )
        for kind, static in (
            ("mul", RULE),
            ("mul", {**RULE, "offset": 0.0625}),
            ("div", {"grad": "exact", "overflow": "inf"}),
        )
    ),
    Case(
        "numerics.mitchell_mul",
        numbers,
        oracle.mul,
        {"offset": 0.0, "grad": "mimic", "overflow": "clamp"},
        variant="mimic",
        grad=False,
        reason=STRAIGHT,
    ),
    Case(
        "numerics.lmul",
        numbers,
        functools.partial(oracle.mul, offset=1 / 16),
        {"grad": "exact", "overflow": "inf"},
        extremes=False,
        bad=(Bad("b", args={1: np.ones((3, 3), np.float32)}),),
        tolerance=NARROW,
        reason=PIECES,
    ),
    *(
        Case(
            f"numerics.mitchell_{kind}",
            positive if kind == "log2" else lambda rng: (rng.uniform(-6, 6, (3, 4)),),
            getattr(oracle, kind),
            {"grad": "exact"},
            extremes=False,
            reason="below 0 there is no logarithm, beyond 128 no power",
        )
        for kind in ("log2", "exp2")
    ),
    Case(
        "numerics.mitchell_sqrt",
        positive,
        oracle.sqrt,
        grad=False,
        extremes=False,
        bad=(
            Bad("x", args={0: np.ones(2, int)}),
            Bad("x", args={0: {"x": 1}}, traced=False),
        ),
        tolerance=NARROW,
        reason=STRAIGHT,
    ),
    Case(
        "numerics.mitchell_rsqrt",
        positive,
        oracle.rsqrt,
        {"tuned": True, "newton_steps": 1},
        grad=False,
        extremes=False,
        tolerance=NARROW,
        reason=STRAIGHT,
    ),
    Case(
        "numerics.mitchell_relative_error",
        lambda rng: (
            np.array([[0.125, 0.5, 0.75]]),
            np.array([[0.25], [0.625]]),
        ),
        lambda x1, x2, offset: (
            oracle.mul(1 + x1, 1 + x2, offset=offset) / ((1 + x1) * (1 + x2)) - 1
        ),
        {"offset": 0.0625},
        extremes=False,
        bad=(*BAD_RULE, Bad("x2", args={1: np.ones((3, 2), np.float32)})),
        reason="mantissas lie below 1",
    ),
    Case(
        "numerics.mitchell_matmul",
        matrices,
        lambda a, b, block, acc_dtype, **s: oracle.matmul(a, b, **s),
        {**RULE, "grad": "exact", "block": 2, "acc_dtype": "float32"},
        extremes=False,
        bad=(
            *BAD_RULE,
            Bad("b", args={1: np.ones((4, 2), np.float32)}),
            Bad("a", args={0: np.ones(5)}),
            Bad("block", static={"block": 0}),
        ),
        reason=PIECES,
    ),
    Case(
        "numerics.mitchell_dot_general",
        lambda rng: (matrices(rng)[0][0], matrices(rng)[1], AXES),
        lambda a, b, numbers, block, **s: oracle.matmul(a, b, **s),
        {**RULE, "block": 64},
        call=dot,
        extremes=False,
        bad=(
            *BAD_RULE,
            Bad("dimension_numbers", args={2: None}, traced=False),
            Bad("dimension_numbers", args={1: np.ones((4, 2), np.float32)}),
        ),
        reason=PIECES,
    ),
    Case(
        "numerics.mitchell_conv",
        lambda rng: (matrices(rng)[0], matrices(rng)[0][:, :2].repeat(3, 1)[:, :5]),
        lambda x, kernel, block, **s: oracle.conv(x, kernel, **s),
        {**RULE, "padding": "SAME", "block": 64},
        extremes=False,
        bad=(
            *BAD_RULE,
            Bad("kernel", args={1: np.ones((2, 4, 2), np.float32)}),
            Bad("strides", static={"strides": (1, 1)}),
        ),
        reason=PIECES,
    ),
    *(
        Case(
            f"numerics.{name}",
            lambda rng: (),
            lambda wanted=wanted, **_: (np.asarray(wanted),),
            static,
            call=lambda name=name, **s: (jnp.asarray(getattr(numerics, name)(**s)),),
            follows=None,
            grad=False,
            vmap=False,
            extremes=False,
            bad=bad,
            tolerance=dict.fromkeys(("float64", "float32"), 1e-3),
            reason="a number found on the host, which the card has to four digits",
        )
        for name, wanted, static, bad in (
            (
                "lmul_offset",
                0.0625,
                {"dtype": "float32"},
                tuple(
                    Bad("dtype", static={"dtype": d})
                    for d in (None, int, bool, "word", 3.5, [1], complex, "int8")
                ),
            ),
            (
                "optimal_offset",
                0.05526,
                {"criterion": "rms", "mantissas": "uniform"},
                tuple(
                    Bad(n, static={n: v})
                    for n in ("criterion", "mantissas")
                    for v in ("none", 3)
                ),
            ),
        )
    ),
)
