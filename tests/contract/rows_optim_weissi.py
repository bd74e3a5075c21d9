"""Contract rows of WEISSI, L2 and shifts of scales."""

import numpy as np

from kexue_jax.optim import add_weissi_decay
from tests.contract.case import Bad, Case
from tests.contract.rows_optim import bad_trees
from tests.oracles import optimizers
from tests.oracles import weight_scales as oracle

ZERO = "the logarithm of a product with a zero is -inf"


def weights(rng):
    """Weights of two and three axes, and one that is no matrix."""
    return {
        "first": rng.normal(size=(2, 3)),
        "second": rng.normal(size=(2, 1, 2)),
        "bias": rng.normal(size=3),
    }


def bad_weights(argument, place):
    good = weights(np.random.default_rng(0))
    wrong = (
        {**good, "first": good["first"].astype(np.int32)},
        {**good, "first": good["first"] > 0},
        {**good, "first": good["first"].astype(complex)},
    )
    python = ({**good, "first": "text"}, {**good, "first": 1.0}, "text")
    return (
        *(Bad(argument, args={place: value}) for value in wrong),
        *(Bad(argument, args={place: value}, traced=False) for value in python),
    )


BAD_MASKS = tuple(
    Bad("mask", static={"mask": mask})
    for mask in ("text", {"first": 1}, {"first": {"more": True}})
)
BAD_DELTA = (Bad("delta", static={"delta": 0.0}), Bad("delta", static={"delta": -1.0}))


def decayed(updates, params, *, log_coef, direction_coef, delta, mask=None):
    options = {"mask": mask, "delta": delta}
    decay = add_weissi_decay(log_coef, direction_coef, **options)
    return decay.update(updates, decay.init({}), params)[0]


def decayed_oracle(updates, params, *, log_coef, direction_coef, delta):
    step = optimizers.weissi_decay(log_coef, direction_coef)
    return step(1, updates, params)


def layers(rng):
    sizes = ((3, 2), (2, 3), (1, 2))
    return (
        [rng.normal(size=s) for s in sizes],
        [rng.normal(size=s[0]) for s in sizes[:2]] + [None],
    )


BAD_LAYERS = (
    Bad("weights", args={0: []}, traced=False),
    Bad("biases", args={1: []}, traced=False),
    Bad("weights", args={0: [None] * 3}, traced=False),
)

ROWS = (
    Case(
        "optim.weissi_penalty",
        lambda rng: (weights(rng),),
        oracle.weissi,
        {"log_coef": 0.3, "direction_coef": 0.2, "delta": 1e-3},
        wide=True,
        data=(0,),
        bad=(*bad_weights("params", 0), *BAD_MASKS, *BAD_DELTA),
    ),
    Case(
        "optim.l2_penalty",
        lambda rng: (weights(rng),),
        oracle.l2,
        {"coef": 0.3},
        wide=True,
        data=(0,),
        bad=(*bad_weights("params", 0), *BAD_MASKS),
    ),
    Case(
        "optim.add_weissi_decay",
        lambda rng: (weights(rng), weights(rng)),
        decayed_oracle,
        {"log_coef": 0.3, "direction_coef": 0.2, "delta": 1e-8},
        call=decayed,
        data=(0, 1),
        bad=(
            *bad_weights("params", 1),
            *bad_trees("updates", 0)[-5:],
            Bad("params", args={1: None}),
            *BAD_MASKS,
            *BAD_DELTA,
        ),
    ),
    *(
        Case(
            f"optim.{name}",
            lambda rng: (weights(rng),),
            function,
            wide=True,
            extremes=False,
            reason=ZERO,
            bad=(*bad_weights("params", 0), *BAD_MASKS),
        )
        for name, function in (
            ("log_norm_product", oracle.log_norms),
            ("log_spectral_product", oracle.log_spectral),
        )
    ),
    Case(
        "optim.log_residual_product",
        lambda rng: ([weights(rng), weights(rng)],),
        oracle.log_residual,
        wide=True,
        extremes=False,
        reason=ZERO,
        bad=(
            *(
                Bad("blocks", args={0: [bad.args[0]]}, traced=bad.traced)
                for bad in bad_weights("blocks", 0)
            ),
            Bad("mask", static={"mask": "text"}),
            Bad("blocks", args={0: {"first": np.ones((2, 2))}}, traced=False),
        ),
    ),
    Case(
        "optim.excess_l2",
        lambda rng: (weights(rng),),
        oracle.excess,
        wide=True,
        data=(0,),
        bad=(*bad_weights("params", 0), *BAD_MASKS),
    ),
    Case(
        "optim.shift_scales",
        lambda rng: (*layers(rng), rng.uniform(0.5, 2, 3)),
        oracle.shift,
        data=(0, 1),
        bad=(
            *BAD_LAYERS,
            Bad("gammas", args={2: np.ones(2)}),
            Bad("gammas", args={2: np.ones(())}),
        ),
    ),
    Case(
        "optim.balance_scales",
        layers,
        oracle.balance,
        data=(0, 1),
        bad=BAD_LAYERS,
    ),
)
