"""Contract rows of the residual networks of state spaces."""

import numpy as np

from kexue_jax.models import ssm_stack
from tests.contract.case import Bad, Case
from tests.contract.rows_models import (
    BAD_KEYS,
    bad_options,
    bad_params,
    draw_params,
    shapes_of,
)
from tests.oracles import ssm_stack as oracle

NO_FORWARD = (
    "the recurrence has a custom gradient and no forward mode, and exponentials of "
    "exponentials of huge parameters are not finite; reverse mode is checked against "
    "the steps in tests/models"
)
SIZES = {
    "outputs": 3,
    "width": 4,
    "state_size": 4,
    "layers": 2,
    "vocabulary": None,
    "channels": None,
    "hidden": None,
}


def run(params, inputs, *, key=None, **options):
    """The model that the keywords describe."""
    return ssm_stack(**options).apply(params, inputs, key=key)


def row(variant, inputs, bad, **options):
    sizes = {**SIZES, **options}
    return Case(
        "models.ssm_stack",
        lambda rng: (draw_params(rng, ssm_stack, sizes), inputs(rng)),
        oracle.stack,
        sizes,
        variant=variant,
        call=run,
        titles=("apply",),
        follows=0,
        grad=False,
        extremes=False,
        reason=NO_FORWARD,
        optional=("vocabulary", "channels", "hidden"),
        bad=(
            *bad_params(shapes_of(ssm_stack, tuple(sizes.items()))),
            *BAD_KEYS,
            *bad_options(
                mixer=("s6",),
                head=("last",),
                width=(0,),
                layers=(0, 1.0),
                outputs=(0,),
                state_size=(0,),
                heads=(0,),
                hidden=(0,),
                length=(0,),
                dropout_rate=(-0.1, 1.0),
            ),
            *bad,
        ),
    )


ROWS = (
    row(
        "s4d",
        lambda rng: rng.integers(0, 7, (2, 1, 5)).astype(np.int32),
        (
            Bad("inputs", args={1: np.ones((2, 1, 5))}),
            Bad("inputs", args={1: np.int32(3)}),
            Bad("inputs", args={1: np.ones((2, 0), np.int32)}),
            Bad("inputs", static={"length": 4}),
            Bad("state_size", static={"state_size": 3}),
            Bad("length", static={"mixer": "s4"}),
            Bad("vocabulary", static={"channels": 2}),
            Bad("heads", static={"mixer": "retention", "heads": 3}),
        ),
        mixer="s4d",
        head="token",
        vocabulary=7,
    ),
    row(
        "lru",
        lambda rng: rng.normal(size=(2, 5, 2)),
        (
            Bad("inputs", args={1: np.ones((2, 5, 3))}),
            Bad("vocabulary", static={"channels": None}),
        ),
        mixer="lru",
        head="pooled",
        channels=2,
        hidden=6,
    ),
)
