"""What is measured of trained networks: bounds, curves, noise, scores of strangers."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._vae import networks
from experiments._vae.networks import Bits
from experiments._vae.training import Trained, Way, signal
from kexue_jax.generative import active_units
from kexue_jax.models import Vae

CURVE = (1, 2, 5, 10, 20, 50, 100, 200, 500)
CURVE_ROWS = 100  # test images of the curve
PARTS = 4  # the curve takes so many times the samples of a density: weights are heavy
SIGNAL_ROWS = 20
REPEATS = 400  # samples, at least, that L_M of the training's own M is a mean of
FEW = 10  # an effective sample size below which an estimate is noise


class Measured(NamedTuple):
    """Of one way and test images, a number a seed each, nats an image.

    ``low`` is L_1, ``own`` L_M at the training's M, ``high`` L_K of all samples,
    ``error`` its standard error over images; ``ess`` the median effective sample size
    of K, ``poor`` the share of images below FEW, ``bias`` the mean bias estimate.
    """

    low: np.ndarray
    own: np.ndarray
    high: np.ndarray
    error: np.ndarray
    ess: np.ndarray
    poor: np.ndarray
    bias: np.ndarray
    units: np.ndarray
    seconds: float


class Curve(NamedTuple):
    """Of fixed networks and the first test images, nats an image, [seeds, sizes].

    ``bounds`` are L_M, ``gaps`` by how much L_K of the same K samples is above them,
    ``predicted`` what V of other samples says, V (1 / M - 1 / K) / 2: means over
    images. ``top`` [seeds] is the share of all squares of V that the largest weight of
    each image holds: where it is large V is not known, however many samples.
    """

    bounds: np.ndarray
    gaps: np.ndarray
    predicted: np.ndarray
    top: np.ndarray


def measured(model: Vae, way: Way, trained: Trained, x: Any, samples: int) -> Measured:
    """The Measured of a way."""
    key = jax.random.key(networks.EVALUATION_SEED)
    found = networks.estimates(model, trained.params, x, key, samples)
    own = [np.asarray(found.elbo).mean(-1)]  # L_M at M = 1
    if way.m > 1:
        keys = jax.random.split(key, max(1, REPEATS // way.m))
        one = functools.partial(networks.estimates, model, trained.params, x)
        own = [one(key, way.m).log_prob.mean(-1) for key in keys]
    means = networks.means(model, trained.params, x)
    units = jax.vmap(active_units)(means).sum(-1)
    high = np.asarray(found.log_prob)
    return Measured(
        np.asarray(found.elbo).mean(-1),
        np.mean(own, axis=0),
        high.mean(-1),
        high.std(-1) / high.shape[-1] ** 0.5,
        np.median(found.ess, axis=-1),
        (np.asarray(found.ess) < FEW).mean(-1),
        np.asarray(found.bias_estimate).mean(-1),
        np.asarray(units, float),
        trained.seconds,
    )


def sizes(samples: int) -> list[int]:
    """The M of the curve that leave ten groups or more."""
    return [m for m in CURVE if 10 * m <= samples]


def curve(model: Vae, trained: Trained, x: Any, samples: int) -> Curve:
    """The Curve of a way, by two sets of PARTS times so many samples."""
    key = jax.random.key(networks.EVALUATION_SEED + 1)

    def drawn(key: jax.Array) -> np.ndarray:
        found = [
            networks.all_weights(model, trained.params, x[:CURVE_ROWS], own, samples)
            for own in jax.random.split(key, PARTS)
        ]
        return np.concatenate([np.asarray(part, np.float64) for part in found], 1)

    first, second = (drawn(own) for own in jax.random.split(key))
    return curve_of(first, second, sizes(samples))


def curve_of(first: np.ndarray, second: np.ndarray, ms: Sequence[int]) -> Curve:
    """The Curve of log w [seeds, K, images], of which the first give gaps, others V.

    Two estimates of log q by K samples of their own differ by about sqrt(2 V / K) an
    image, more than the gap of a large M; of the same samples that noise cancels.
    """
    samples = first.shape[1]
    bounds, gaps = [], []
    for m in ms:
        whole = first[:, : samples // m * m]
        groups = whole.reshape(len(first), -1, m, first.shape[-1])
        bounds.append(log_mean(groups, 2).mean(1))
        gaps.append(log_mean(whole, 1) - bounds[-1])
    squares = (np.exp(second - log_mean(second, 1)[:, None]) - 1) ** 2
    total = squares.sum(1)
    half = total.mean(-1) / (samples - 1) / 2
    factors = np.array([1 / m - 1 / (samples // m * m) for m in ms])
    return Curve(
        np.stack(bounds).mean(-1).T,
        np.stack(gaps).mean(-1).T,
        half[:, None] * factors,
        squares.max(1).sum(-1) / total.sum(-1),
    )


def log_mean(log_w: np.ndarray, axis: int) -> np.ndarray:
    """The logarithm of the mean weight, in float64."""
    return np.logaddexp.reduce(log_w, axis) - np.log(log_w.shape[axis])


def signals(
    model: Vae, ways: Sequence[Way], trained: Trained, x: Any, draws: int
) -> Mapping[Way, Mapping[str, np.ndarray]]:
    """Signal over noise of every way's gradient at the same networks."""
    key = jax.random.key(networks.EVALUATION_SEED + 2)
    x = jnp.asarray(x[:SIGNAL_ROWS])
    return {
        way: jax.tree.map(np.asarray, signal(model, way, trained.params, x, key, draws))
        for way in ways
    }


def auc(inside: np.ndarray, outside: np.ndarray) -> float:
    """The share of pairs in which the inner score is above, half of the equal ones."""
    above = inside[:, None] > outside[None]
    equal = inside[:, None] == outside[None]
    return float(above.mean() + equal.mean() / 2)


def rolled(x: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """The images moved by two pixels down and to the right, around the edges."""
    images = x.reshape(-1, *shape)
    return np.roll(images, (2, 2), (1, 2)).reshape(x.shape)


def scores(
    model: Vae, trained: Trained, data: Bits, samples: int
) -> dict[str, dict[str, np.ndarray]]:
    """AUC by seed, of two kinds of strangers, by L_1, by L_samples and by ink alone."""
    known = data.test[data.test_labels < 5]
    strangers = {
        "digits 5 to 9": data.test[data.test_labels >= 5],
        "moved by two pixels": rolled(known, data.shape),
    }
    key = jax.random.key(networks.EVALUATION_SEED + 3)
    # All rows in one program; L_1 and L_M of the same samples.
    sets = [known, *strangers.values()]
    rows = np.concatenate(sets)
    made = networks.estimates(model, trained.params, rows, key, samples)
    ends = np.cumsum([len(x) for x in sets])[:-1]
    bounds = {"L_1": made.elbo, f"L_{samples}": made.log_prob}
    parts = {n: np.split(np.asarray(v), ends, -1) for n, v in bounds.items()}
    seeds, found = range(len(made.elbo)), {}
    for place, (kind, x) in enumerate(strangers.items(), 1):
        found[kind] = {
            name: np.array([auc(part[0][s], part[place][s]) for s in seeds])
            for name, part in parts.items()
        }
        ink = auc(-known.sum(-1), -x.sum(-1))
        found[kind]["set bits alone"] = np.array([max(ink, 1 - ink) for _ in seeds])
    return found
