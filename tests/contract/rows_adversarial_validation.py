"""Contract rows of discriminators, splits and weighted metrics."""

import jax
import numpy as np

from kexue_jax import evaluation
from kexue_jax.evaluation import LogisticDiscriminator
from tests.contract.case import Bad, Case
from tests.contract.chains import bad_arrays
from tests.contract.rows_density_ratio import (
    NO_WEIGHT,
    bad_rows,
    bad_weights,
    rows_of,
    weights_of,
)
from tests.oracles import adversarial_validation as oracle

NO_FIT = "a fit is not differentiated through"
DRAWS = "indices are integers, which gradients do not see"


FIT = Case(
    "evaluation.fit_logistic_discriminator",
    lambda rng: (rows_of(rng, 30, 3), rows_of(rng, 20, 3) + 0.3),
    oracle.fit_logistic,
    {"l2": 0.1, "steps": 300},
    grad=False,
    reason=NO_FIT,
    bad=(
        *bad_arrays("x_train", 0, (3,), (2, 4, 3), (0, 3)),
        *bad_arrays("x_test", 1, (3,), (4, 2), (0, 3)),
        Bad("x_test", args={1: np.ones((4, 3), np.float16)}),
        Bad("l2", static={"l2": 0.0}),
        Bad("steps", static={"steps": 0}),
    ),
)


def params_of(rng, d=3):
    return LogisticDiscriminator(rows_of(rng, d), rows_of(rng))


LOGITS = Case(
    "evaluation.discriminator_logits",
    lambda rng: (params_of(rng), rows_of(rng, 2, 4, 3)),
    lambda params, x: x @ params[0] + params[1],
    bad=(
        Bad("params", args={0: (np.ones(3), np.ones(()))}, traced=False),
        *(
            Bad(f"params.{part}", args={0: LogisticDiscriminator(*wrong)}, traced=False)
            for part, wrong in (
                ("weights", (None, None)),
                ("weights", (np.ones((3, 1)), np.ones(()))),
                ("bias", (np.ones(3), 1.0)),
                ("bias", (np.ones(3), np.ones(2))),
                ("bias", (np.ones(3), np.ones((), np.float16))),
            )
        ),
        Bad("x", args={1: np.ones((2, 4))}),
        Bad("x", args={1: np.ones((2, 3), np.float16)}),
        Bad("x", args={1: np.ones(())}),
    ),
)


def linear_fit(key, p, q):
    """Means in operators alone, for NumPy and JAX."""
    return q.mean(0) - p.mean(0), (p.mean(0) + q.mean(0)) / 2


def linear_logits(params, x):
    return ((x - params[1][None]) * params[0][None]).sum(-1)


def orders(key, n, m, repeats):
    """The permutations that the docstring promises."""
    found = []
    for one in jax.random.split(key, repeats):
        keys = jax.random.split(one, 3)
        found.append(
            (jax.random.permutation(keys[0], n), jax.random.permutation(keys[1], m))
        )
    return found


FOLDS = {"k": 3, "repeats": 2}
BAD_FOLDS = (
    Bad("x_train", args={0: np.ones(())}),
    Bad("x_train", args={0: np.ones((2, 3))}),
    Bad("x_test", args={1: np.ones((2, 3))}),
    Bad("x_test", args={1: np.ones((6, 4))}),
    Bad("x_test", args={1: np.ones((6, 3), np.float16)}),
    Bad("k", static={"k": 1}),
    Bad("repeats", static={"repeats": 0}),
    Bad("fit_fn", static={"fit_fn": None}),
    Bad("apply_fn", static={"apply_fn": 3}),
    Bad("apply_fn", static={"apply_fn": lambda params, x: x}),
    Bad("apply_fn", static={"apply_fn": lambda params, x: x[:, 0] > 0}),
)


CROSS = Case(
    "evaluation.cross_fit_logits",
    lambda rng: (rows_of(rng, 7, 3), rows_of(rng, 6, 3)),
    oracle.cross_fit,
    {**FOLDS, "fit_fn": linear_fit, "apply_fn": linear_logits},
    draws=lambda key, x_train, x_test: orders(key, len(x_train), len(x_test), 2),
    grad=False,
    reason=NO_FIT,
    bad=BAD_FOLDS,
)

SCALE = Case(
    "evaluation.calibration_scale",
    lambda rng: (rows_of(rng, 2, 9) - 0.3, rows_of(rng, 2, 7) + 0.3),
    lambda logits_train, logits_test, *, steps: oracle.calibration_scale(
        logits_train, logits_test
    ),
    {"steps": 60},
    grad=False,
    reason=NO_FIT,
    bad=(
        *bad_rows("logits_train", 0),
        Bad("logits_test", args={1: np.ones((2, 0))}),
        Bad("logits_test", args={1: np.ones((2, 3), np.float16)}),
        Bad("steps", static={"steps": 0}),
    ),
)

RESAMPLES = tuple(
    Case(
        "evaluation.resample_indices",
        lambda rng: (weights_of(rng, 6) * (np.arange(6) != 5),),
        oracle.resample,
        {"n": 9, "method": method},
        draws=lambda key, weights, shape=shape: jax.random.uniform(
            key, shape, "float64" if weights.dtype == "float64" else "float32"
        ),
        variant=method,
        grad=False,
        extremes=False,
        reason=f"{DRAWS}; {NO_WEIGHT}",
        bad=(
            Bad("weights", args={0: np.ones((2, 3))}),
            Bad("weights", args={0: np.ones(())}),
            Bad("weights", args={0: np.ones(0)}),
            Bad("weights", args={0: np.zeros(6)}, traced=False),
            *bad_weights(0, (6,)),
            Bad("n", static={"n": 0}),
        ),
    )
    for method, shape in (("multinomial", (9,)), ("systematic", ()))
)


def split_oracle(x_train, x_test, *, draws, **options):
    return draws


def split_draws(key, x_train, x_test):
    """The split from its parts, in the order of its keys."""
    folds, shuffle, draw = jax.random.split(key, 3)
    found = evaluation.cross_fit_logits(
        folds, x_train, x_test, fit_fn=linear_fit, apply_fn=linear_logits, k=3
    )
    order = jax.random.permutation(shuffle, len(x_train)).astype("int32")
    pool = order[-4:]
    weights = evaluation.density_ratio(found.train[pool], clip=4.0, temper=0.5)
    drawn = evaluation.resample_indices(draw, weights, n=5, method="systematic")
    return (
        order[:-4],
        pool[drawn.indices],
        pool,
        weights,
        evaluation.adversarial_auc(found.train, found.test),
        evaluation.effective_sample_size(weights),
        weights.max(),
    )


SPLIT_STATIC = {
    "n_val": 5,
    "pool_size": 4,
    "k": 3,
    "repeats": 1,
    "quantile": 1.0,
    "clip": 4.0,
    "temper": 0.5,
    "method": "systematic",
    "fit_fn": linear_fit,
    "apply_fn": linear_logits,
}

SPLIT = Case(
    "evaluation.split_like_test",
    lambda rng: (rows_of(rng, 9, 3), rows_of(rng, 6, 3)),
    split_oracle,
    SPLIT_STATIC,
    draws=split_draws,
    titles=("cross_fit_logits", "density_ratio", "resample_indices"),
    optional=("clip",),
    grad=False,
    extremes=False,
    reason=f"{NO_FIT}; weights of logits that overflow are of one row",
    bad=(
        *BAD_FOLDS[2:],
        Bad("pool_size", static={"pool_size": 9}),
        Bad("n_val", static={"n_val": 0}),
    ),
)


def integers(rng, *shape, top=3):
    return rng.integers(0, top, shape).astype(np.int32)


BAD_LABELS = (
    *bad_weights(2),
    Bad("weights", args={2: np.ones((2, 0))}),
    Bad("predictions", args={0: np.zeros((2, 4), np.int32)}),
    Bad("predictions", args={0: np.zeros((2, 5))}),
    Bad("labels", args={1: np.zeros((3, 5), np.int32)}),
    Bad("labels", args={1: np.zeros((2, 5), bool)}),
)

ACCURACY = Case(
    "evaluation.weighted_accuracy",
    lambda rng: (integers(rng, 2, 5), integers(rng, 2, 5), weights_of(rng, 2, 5)),
    oracle.accuracy,
    follows=2,
    extremes=False,
    reason=NO_WEIGHT,
    bad=BAD_LABELS,
)

F1 = tuple(
    Case(
        "evaluation.weighted_f1",
        lambda rng: (integers(rng, 2, 5), integers(rng, 2, 5), weights_of(rng, 2, 5)),
        oracle.f1,
        {"num_classes": 4, "average": average},
        variant=average,
        follows=2,
        extremes=False,
        reason=NO_WEIGHT,
        bad=(*BAD_LABELS, Bad("num_classes", static={"num_classes": 1})),
    )
    for average in ("macro", "micro", "binary")
)

AUC = Case(
    "evaluation.weighted_auc",
    lambda rng: (
        integers(rng, 2, 8) + 0.5,
        rng.random((2, 8)) < 0.5,
        weights_of(rng, 2, 8),
    ),
    oracle.auc,
    grad=False,
    extremes=False,
    reason=f"equal scores part under any step; {NO_WEIGHT}",
    bad=(
        *bad_weights(2, (2, 8)),
        Bad("scores", args={0: np.ones(())}),
        Bad("positive", args={1: np.ones((2, 8))}),
        Bad("positive", args={1: np.ones((2, 7), bool)}),
        Bad("weights", args={2: np.ones((2, 8), np.float16)}),
    ),
)

BETWEEN = Case(
    "evaluation.adversarial_auc",
    lambda rng: (integers(rng, 2, 6) + 0.5, integers(rng, 2, 4) + 0.5),
    oracle.adversarial_auc,
    grad=False,
    reason="equal scores part under any step",
    bad=(
        *bad_rows("scores_train", 0),
        Bad("scores_test", args={1: np.ones((2, 0))}),
        Bad("scores_test", args={1: np.ones((3, 4))}),
        Bad("scores_test", args={1: np.ones((2, 4), np.float16)}),
    ),
)


def confused(rng, n):
    """Labels of every class, and predictions that are right more often than not."""
    labels = np.arange(n, dtype=np.int32) % 3
    wrong = rng.random(n) < 0.2
    return np.where(wrong, (labels + 1) % 3, labels).astype(np.int32), labels


LABEL_SHIFT = Case(
    "evaluation.label_shift_weights",
    lambda rng: (*confused(rng, 30), integers(rng, 20)),
    oracle.label_shift_weights,
    {"num_classes": 3},
    grad=False,
    follows=None,
    reason="its inputs are integers",
    bad=(
        Bad("predictions", args={0: np.zeros((3, 10), np.int32)}),
        Bad("predictions", args={0: np.zeros(30)}),
        Bad("labels", args={1: np.zeros(29, np.int32)}),
        Bad("predictions_test", args={2: np.zeros(0, np.int32)}),
        Bad("predictions_test", args={2: np.zeros((2, 2), np.int32)}),
        Bad("num_classes", static={"num_classes": 1}),
    ),
)

ROWS = (
    FIT,
    LOGITS,
    CROSS,
    SCALE,
    *RESAMPLES,
    SPLIT,
    ACCURACY,
    *F1,
    AUC,
    BETWEEN,
    LABEL_SHIFT,
)
