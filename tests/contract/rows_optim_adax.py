"""Contract rows of AdaX and of the schedules of the second moment."""

import numpy as np
import optax

from kexue_jax.optim import (
    adax,
    adaxw,
    scale_by_adax,
    scale_by_second_moment_schedule,
    second_moment_weight,
)
from tests.contract.case import Bad, Case
from tests.contract.rows_optim import bad_trees, tree
from tests.oracles import optimizers as oracle

NAMES = {"eps": 1e-3, "eps_root": 1e-4}
ROOT = "the root of the second moment has no derivative at a gradient of 0"
BAD_MOMENTS = (
    Bad("b1", static={"b1": 1.0}),
    Bad("b1", static={"b1": -0.1}),
    Bad("eps", static={"eps": -1e-8}),
    Bad("eps_root", static={"eps_root": -1e-8}),
    Bad("mu_dtype", static={"mu_dtype": int}),
)


def two_updates(transformation, updates, more):
    """The second update of a transformation."""
    _, state = transformation.update(updates, transformation.init(updates))
    return transformation.update(more, state)[0]


def two_updates_oracle(step, updates, more):
    step(1, updates, None)
    return step(2, more, None)


def adax_updates(updates, more, **options):
    return two_updates(scale_by_adax(**options), updates, more)


def adax_updates_oracle(updates, more, *, bias_correction, normalize_first, **options):
    step = oracle.adax(bias=bias_correction, first=normalize_first, **options)
    return two_updates_oracle(step, updates, more)


def mean_weight(t):
    return second_moment_weight(t, kind="mean")


def scheduled_updates(updates, more, *, weight=mean_weight, **options):
    scale = scale_by_second_moment_schedule(weight, **options)
    return two_updates(scale, updates, more)


def scheduled_oracle(updates, more, *, bias_correction, normalize_first, **options):
    first = {"bias": bias_correction, "first": normalize_first}
    step = oracle.scheduled(lambda t: oracle.weight(t, "mean"), **first, **options)
    return two_updates_oracle(step, updates, more)


def trained(optimizer, params, updates, more):
    """The parameters after two updates."""
    state = optimizer.init(params)
    for step in (updates, more):
        found, state = optimizer.update(step, state, params)
        params = optax.apply_updates(params, found)
    return params


def adax_trained(params, updates, more, *, learning_rate, **options):
    return trained(adax(learning_rate, **options), params, updates, more)


def adaxw_trained(params, updates, more, *, learning_rate, **options):
    return trained(adaxw(learning_rate, **options), params, updates, more)


def trained_oracle(
    params, updates, more, *, learning_rate, weight_decay, decoupled=True, **options
):
    step = oracle.decayed(
        oracle.adax(**options), learning_rate, weight_decay, decoupled
    )
    return oracle.history(step, params, [updates, more])[-1]


def steps(rng):
    return (rng.integers(1, 3000, (2, 3)).astype(np.float64),)


def weight_row(kind, b2=None):
    options = {"kind": kind, "exponent": 0.7} | ({} if b2 is None else {"b2": b2})
    wrong = -0.1 if kind == "adam" else 0.0
    return Case(
        "optim.second_moment_weight",
        steps,
        oracle.weight,
        options,
        variant=kind,
        optional=("b2",),
        extremes=False,
        reason="there is no step 0",
        bad=(
            Bad("exponent", static={"exponent": 1.5}),
            Bad("exponent", static={"exponent": 0.0}),
            *([] if b2 is None else [Bad("b2", static={"b2": wrong})]),
        ),
    )


OPTIONS = {"b1": 0.8, "b2": 1e-2, **NAMES}
ROWS = (
    weight_row("adam", 0.99),
    weight_row("adax", 1e-2),
    weight_row("adafactor"),
    Case(
        "optim.second_moment_weight",
        lambda rng: (np.array(rng.integers(1, 3000), np.int32),),
        oracle.weight,
        {"kind": "mean"},
        variant="mean, one integer step",
        follows=None,
        grad=False,
        reason="an integer step has no gradient",
    ),
    Case(
        "optim.scale_by_second_moment_schedule",
        lambda rng: (tree(rng), tree(rng)),
        scheduled_oracle,
        {"b1": 0.8, "bias_correction": True, "normalize_first": False, **NAMES},
        call=scheduled_updates,
        data=(0, 1),
        extreme_grads=False,
        reason=ROOT,
        bad=(
            *bad_trees("updates", 1),
            *BAD_MOMENTS,
            Bad("weight", static={"weight": 3}),
            Bad("weight", static={"weight": None}),
        ),
    ),
    *(
        Case(
            "optim.scale_by_adax",
            lambda rng: (tree(rng), tree(rng)),
            adax_updates_oracle,
            {"bias_correction": False, "normalize_first": first, **OPTIONS},
            call=adax_updates,
            variant="normalize first" if first else "",
            data=(0, 1),
            extreme_grads=False,
            reason=ROOT,
            bad=(
                *bad_trees("updates", 1),
                *BAD_MOMENTS,
                Bad("b2", static={"b2": 0.0}),
            ),
        )
        for first in (False, True)
    ),
    Case(
        "optim.adax",
        lambda rng: (tree(rng), tree(rng), tree(rng)),
        trained_oracle,
        {"learning_rate": 0.1, "weight_decay": 0.2, "decoupled": False, **OPTIONS},
        call=adax_trained,
        data=(0, 1, 2),
        extreme_grads=False,
        reason=ROOT,
        bad=(
            *bad_trees("updates", 1),
            *bad_trees("params", 0)[-5:],
            *BAD_MOMENTS,
            Bad("params", args={0: None}),
            Bad("b2", static={"b2": 0.0}),
            Bad("learning_rate", static={"learning_rate": -0.1}),
            Bad("weight_decay", static={"weight_decay": -0.1}),
            Bad("mask", static={"mask": {"kernel": "text"}}),
            Bad("mask", static={"mask": {"kernel": {"more": True}}}),
        ),
    ),
    Case(
        "optim.adaxw",
        lambda rng: (tree(rng), tree(rng), tree(rng)),
        trained_oracle,
        {"learning_rate": 0.1, "weight_decay": 0.2, **OPTIONS},
        call=adaxw_trained,
        data=(0, 1, 2),
        extreme_grads=False,
        reason=ROOT,
        bad=(
            *bad_trees("updates", 1),
            *BAD_MOMENTS,
            Bad("learning_rate", static={"learning_rate": -0.1}),
            Bad("mask", static={"mask": "text"}),
        ),
    ),
    Case(
        "optim.rank_one_nonneg",
        lambda rng: (rng.uniform(0.1, 1, (2, 3, 4)),),
        lambda c: (c.sum(-1), c.sum(-2) / c.sum((-1, -2))[..., None]),
        bad=(
            Bad("c", args={0: np.ones(3)}),
            Bad("c", args={0: np.ones(())}),
        ),
    ),
)
