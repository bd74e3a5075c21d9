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
from kexue_jax.generative import active_units, iwae_bound
from kexue_jax.models import Vae

CURVE = (1, 2, 5, 10, 20, 50, 100, 200, 500)
CURVE_ROWS = 100  # test images of the curve
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
    """L_M [seeds, sizes], the corrected estimate of all samples, V / 2 [seeds]."""

    bounds: np.ndarray
    reference: np.ndarray
    half_variance: np.ndarray


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
    """L_M by groups of one set of samples, what the variance of another predicts."""
    key = jax.random.key(networks.EVALUATION_SEED + 1)
    log_w, others = (
        np.asarray(
            networks.all_weights(model, trained.params, x[:CURVE_ROWS], k, samples)
        )
        for k in jax.random.split(key)
    )
    bounds = []
    for m in sizes(samples):
        whole = log_w[:, : samples // m * m]
        groups = whole.reshape(len(log_w), -1, m, log_w.shape[-1])
        bounds.append(np.asarray(iwae_bound(jnp.asarray(groups), axis=2)).mean((1, 2)))
    last = np.asarray(iwae_bound(jnp.asarray(others), axis=1), np.float64)
    ratio = np.exp(others - last[:, None])
    half = ratio.var(1, ddof=1) / 2
    corrected = last + half / samples
    return Curve(np.stack(bounds, 1), corrected.mean(-1), half.mean(-1))


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
