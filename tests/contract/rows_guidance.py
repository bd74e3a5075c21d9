"""Contract rows of guidance, of latents on the sphere and of perfect predictors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.diffusion import drop_labels, guided_eps_fn, mixture_eps
from tests.contract.case import Bad, Case, Static
from tests.contract.chains import (
    bad_arrays,
    bad_schedules,
    bad_steps,
    chain,
    eps_fn,
    steps,
)
from tests.oracles import diffusion_sampling as oracle

SHAPE = (3, 1, 2)


def by_example(values, x):
    """Numbers, or one an example, that multiply x."""
    return np.reshape(values, np.shape(values) + (1,) * (x.ndim - np.ndim(values)))


def bad_weights(argument: str, place: int) -> tuple[Bad, ...]:
    """Numbers by example that do not fit three examples, or are none."""
    return (
        *bad_arrays(argument, place, (2,), (3, 2), (1, 3)),
        *(Bad(argument, args={place: w}, traced=False) for w in (np.nan, True)),
    )


def pair_inputs(rng, *, shape=SHAPE, number=False):
    first, second = rng.normal(size=(2, *shape))
    weight = rng.uniform(0.2, 0.9, shape[:1])
    return first, second, float(weight[0]) if number else weight


def cfg_oracle(cond, uncond, w):
    return cond + by_example(w, cond) * (cond - uncond)


def slerp_oracle(z1, z2, lam):
    angle = by_example(lam, z1) * np.pi / 2
    return z1 * np.cos(angle) + z2 * np.sin(angle)


PAIRS = (
    *(
        Case(
            f"diffusion.{name}",
            functools.partial(pair_inputs, number=number),
            wanted,
            variant="one number" if number else "",
            bad=(
                *bad_arrays(second, 1, (3, 1, 3), (3, 2), ()),
                *bad_weights(weight, 2),
            ),
        )
        for name, wanted, second, weight in (
            ("cfg_eps", cfg_oracle, "eps_uncond", "w"),
            ("slerp", slerp_oracle, "z2", "lam"),
        )
        for number in (False, True)
    ),
)


def labelled(x, t, y):
    """A predictor with labels, in operators alone, for NumPy and JAX."""
    y = y.reshape(y.shape + (1,) * (x.ndim - 1)).astype(x.dtype)
    return eps_fn(x, t) + x * y / (2 + y)


def guided(eps_fn, labels, w, x, t, *, null_label):
    return guided_eps_fn(eps_fn, labels, w, null_label=null_label)(x, jnp.asarray(t))


def unguided(eps_fn, labels, x, t, *, null_label):
    return guided(eps_fn, labels, 0, x, t, null_label=null_label)


def guided_oracle(f, labels, w, x, t, null_label):
    cond, uncond = f(x, t, labels), f(x, t, np.full_like(labels, null_label))
    return cfg_oracle(cond, uncond, w)


def labels_of(rng, *shape):
    return rng.integers(0, 5, shape).astype(np.int32)


def guided_inputs(rng, *, w=True):
    t = Static(np.array([1, 4, 6], np.int32))
    weights = (rng.uniform(0.5, 2, 3),) if w else ()
    return (labelled, labels_of(rng, 3), *weights, rng.normal(size=SHAPE), t)


GUIDED = functools.partial(Case, "diffusion.guided_eps_fn", static={"null_label": 5})
GUIDED_BAD = (
    *(
        Bad("eps_fn", args={0: f})
        for f in (
            lambda x, t, y: x[:1],
            lambda x, t, y: x[None],
            lambda x, t, y: (x, t),
            lambda x, t, y: None,
        )
    ),
    Bad("labels", args={1: np.ones(3)}),
    Bad("labels", args={1: np.ones((3, 1), np.int32)}),
)


def batch_bad(x: int) -> tuple[Bad, ...]:
    """Batches that are not that of the labels; t comes after x."""
    return (
        *bad_arrays("x", x, (2, 1, 2), ()),
        Bad("t", args={x + 1: Static(np.ones(2, np.int32))}),
        Bad("t", args={x + 1: Static(np.ones((3, 1), np.int32))}),
    )


def drop_oracle(labels, rate, draws, null):
    return np.where(draws < rate, null, labels)


def drop(key, labels, rate, *, null):
    return drop_labels(key, labels, rate=rate, null=null)


LABELS = functools.partial(
    Case,
    "diffusion.drop_labels",
    oracle=drop_oracle,
    draws=lambda key, labels, *rate: jax.random.uniform(key, labels.shape, jnp.float32),
    follows=None,
    grad=False,
    reason="labels are integers",
)

CONDITIONS = (
    GUIDED(
        guided_inputs,
        guided_oracle,
        call=guided,
        follows=3,
        bad=(*GUIDED_BAD, *batch_bad(3), *bad_weights("w", 2)),
    ),
    GUIDED(
        functools.partial(guided_inputs, w=False),
        lambda f, labels, x, t, null_label: f(x, t, labels),
        variant="w = 0",
        call=unguided,
        follows=2,
        bad=(*GUIDED_BAD, *batch_bad(2)),
    ),
    LABELS(
        lambda rng: (labels_of(rng, 5, 3),),
        static={"rate": 0.4, "null": 5},
        bad=(
            Bad("labels", args={0: np.ones(3)}),
            Bad("rate", static={"rate": 1.1}),
            Bad("rate", static={"rate": -0.1}),
        ),
    ),
    LABELS(
        lambda rng: (labels_of(rng, 7), rng.uniform(0.3, 0.7)),
        static={"null": 5},
        variant="rate traced",
        call=drop,
        bad=(Bad("rate", args={1: np.ones(7)}),),
    ),
)


def mean_inputs(rng):
    mean, grad = rng.normal(size=(2, *SHAPE))
    return mean, rng.uniform(0.2, 0.9, 3), grad, rng.uniform(0.5, 2)


def mean_oracle(mean, sigma, grad, scale):
    return mean + scale * by_example(sigma, mean) ** 2 * grad


def moved_inputs(rng):
    eps, grad = rng.normal(size=(2, *SHAPE))
    return chain(rng), eps, steps(rng, 3), grad, rng.uniform(0.5, 2, 3)


def moved_oracle(schedule, eps, t, grad, scale):
    return eps - by_example(scale * schedule.beta_bar[t], eps) * grad


CLASSIFIERS = (
    Case(
        "diffusion.classifier_guided_mean",
        mean_inputs,
        mean_oracle,
        bad=(
            *bad_arrays("grad", 2, (3, 1, 3), (3, 2), ()),
            *bad_weights("sigma", 1),
            Bad("sigma", args={1: -0.1}, traced=False),
            *bad_weights("scale", 3),
        ),
    ),
    Case(
        "diffusion.classifier_guided_eps",
        moved_inputs,
        moved_oracle,
        follows=1,
        bad=(
            *bad_schedules(),
            *bad_steps(2, (3,)),
            *bad_arrays("eps", 1, (2, 1, 2), ()),
            *bad_arrays("grad", 3, (3, 1, 3), (3, 2), ()),
            *bad_weights("scale", 4),
        ),
    ),
)


def gaussian_inputs(rng, *, arrays=True):
    size, event = ((3,), (1, 2)) if arrays else ((), ())
    draw = lambda *shape: rng.uniform(0.2, 0.9, shape or None)  # noqa: E731
    levels = draw(*size), draw(*size)
    return (rng.normal(size=SHAPE), *levels, draw(*event), draw(*event))


def gaussian_oracle(x, alpha_bar, beta_bar, mean, variance):
    levels = by_example(alpha_bar, x), by_example(beta_bar, x)
    return oracle.gaussian_eps(x, *levels, mean, variance)


def mixture_inputs(rng, *, points=False):
    levels = rng.uniform(0.3, 0.9, (2, 3))
    variances = np.zeros(4) if points else rng.uniform(0.1, 0.5, 4)
    parts = rng.normal(size=(4, 1, 2)), variances, rng.uniform(0.5, 2, 4)
    return (rng.normal(size=SHAPE), *levels, *parts)


def mixture_oracle(x, alpha_bar, beta_bar, *parts):
    rows = zip(x, alpha_bar, beta_bar, strict=True)
    return np.stack([oracle.mixture_eps(*row, *parts) for row in rows])


def mixture(x, means, part):
    return mixture_eps(x, part["a"], part["b"], means, part["v"], part["w"])


def packed_inputs(rng):
    x, a, b, means, v, w = mixture_inputs(rng, points=True)
    return x, means, {"a": a, "b": b, "v": v, "w": w}


def packed_oracle(x, means, part):
    return mixture_oracle(x, part["a"], part["b"], means, part["v"], part["w"])


LEVELS_BAD = (
    *bad_weights("alpha_bar", 1),
    *bad_weights("beta_bar", 2),
    *(Bad("alpha_bar", args={1: a}, traced=False) for a in (-0.1, 1.1)),
    Bad("beta_bar", args={2: -0.1}, traced=False),
)

ORACLES = (
    Case(
        "diffusion.gaussian_eps",
        gaussian_inputs,
        gaussian_oracle,
        bad=(
            *LEVELS_BAD,
            *bad_arrays("mean", 3, (3, 1), (3,), (1, 3)),
            *bad_arrays("variance", 4, (3, 1), (3,), (1, 3)),
            Bad("variance", args={4: -0.1}, traced=False),
            Bad("mean", args={3: np.nan}, traced=False),
        ),
        extremes=False,
        reason="scaled levels and variances are none: the row of numbers is scaled",
    ),
    Case(
        "diffusion.gaussian_eps",
        functools.partial(gaussian_inputs, arrays=False),
        gaussian_oracle,
        variant="numbers",
    ),
    Case(
        "diffusion.mixture_eps",
        mixture_inputs,
        mixture_oracle,
        bad=(
            *LEVELS_BAD,
            *bad_arrays("means", 3, (3, 1, 2), ()),
            Bad("x", args={0: np.ones((3, 1, 3))}),
            *bad_arrays("variances", 4, (4, 1), ()),
            *bad_arrays("weights", 5, (3,), (4, 1), ()),
        ),
        extremes=False,
        reason="scaled levels and variances are none: the row of points is scaled",
    ),
    Case(
        "diffusion.mixture_eps",
        packed_inputs,
        packed_oracle,
        variant="points",
        call=mixture,
    ),
)

ROWS = (*PAIRS, *CONDITIONS, *CLASSIFIERS, *ORACLES)
