"""Contract rows of density ratios and weighted means."""

import numpy as np

from tests.contract.case import Bad, Case
from tests.oracles import adversarial_validation as oracle

NO_WEIGHT = "no mean is weighted by zeros, and weights are not negative"


def rows_of(rng, *shape):
    return rng.normal(size=shape)


def weights_of(rng, *shape):
    return rng.uniform(0.2, 3, shape)


def bad_rows(argument, place, shape=(2, 5)):
    """No rows, or of no axis; weights below 0 are known only outside of jit."""
    return (
        Bad(argument, args={place: np.ones(())}),
        Bad(argument, args={place: np.ones((*shape[:-1], 0))}),
    )


def bad_weights(place, shape=(2, 5)):
    return tuple(
        Bad("weights", args={place: np.full(shape, wrong)}, traced=False)
        for wrong in (-1.0, np.nan)
    )


LOSS = Case(
    "evaluation.discriminator_loss",
    lambda rng: (rows_of(rng, 2, 5), rows_of(rng, 2, 3)),
    oracle.discriminator_loss,
    bad=(
        *bad_rows("logits_train", 0),
        Bad("logits_test", args={1: np.ones((2, 0))}),
        Bad("logits_test", args={1: np.ones((3, 3))}),
        Bad("logits_test", args={1: np.ones((2, 3), np.float16)}),
    ),
)

RATIO = {
    "n_train": 4,
    "n_test": 1,
    "quantile": 0.7,
    "clip": 6.0,
    "temper": 0.8,
    "normalize": True,
}
BAD_RATIOS = (
    *bad_rows("logits", 0),
    *(Bad("quantile", static={"quantile": wrong}) for wrong in (-0.1, 1.1)),
    *(Bad("temper", static={"temper": wrong}) for wrong in (-0.1, 1.1)),
    *(Bad("clip", static={"clip": wrong}) for wrong in (0.0, -1.0)),
    Bad("n_train", static={"n_train": 0}),
    Bad("n_test", static={"n_test": 0}),
)
RATIOS = (
    Case(
        "evaluation.density_ratio",
        lambda rng: (rows_of(rng, 2, 6),),
        oracle.density_ratio,
        RATIO,
        optional=("clip",),
        bad=BAD_RATIOS,
    ),
    Case(
        "evaluation.density_ratio",
        lambda rng: (rows_of(rng, 2, 6),),
        oracle.density_ratio,
        {**RATIO, "quantile": 1.0, "normalize": False},
        variant="not scaled",
        optional=("clip",),
    ),
)

OVERLAP = tuple(
    Case(
        "evaluation.overlap_weights",
        lambda rng: (rows_of(rng, 2, 6),),
        oracle.overlap_weights,
        {"normalize": normalize},
        variant=f"{normalize}",
        bad=bad_rows("logits", 0),
    )
    for normalize in (True, False)
)

SIZE = Case(
    "evaluation.effective_sample_size",
    lambda rng: (weights_of(rng, 2, 5),),
    oracle.effective_sample_size,
    extremes=False,
    reason=NO_WEIGHT,
    bad=(*bad_rows("weights", 0), *bad_weights(0)),
)

MEAN = tuple(
    Case(
        "evaluation.importance_mean",
        lambda rng, own=own: (
            rows_of(rng, 2, 5),
            weights_of(rng, 2, 5) if own else weights_of(rng, 5),
        ),
        oracle.importance_mean,
        {"self_normalized": own},
        variant="self-normalized" if own else "unbiased",
        extremes=False,
        reason=NO_WEIGHT,
        bad=(
            *bad_weights(1),
            Bad("values", args={0: np.ones(())}),
            Bad("values", args={0: np.ones((2, 1)), 1: np.ones((2, 1))}),
            Bad("weights", args={1: np.ones((2, 4))}),
            Bad("weights", args={1: np.ones((3, 2, 5))}),
            Bad("weights", args={1: np.ones(5, np.float16)}),
        ),
    )
    for own in (True, False)
)

ROWS = (LOSS, *RATIOS, *OVERLAP, SIZE, *MEAN)
