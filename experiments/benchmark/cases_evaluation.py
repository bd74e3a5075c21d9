"""Weighted AUC and the logistic discriminator, beside scikit-learn."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.extras import need
from experiments.benchmark.case import Case, Form, Peer
from kexue_jax import evaluation

L2 = 1e-2


def scored(seed: int) -> Any:
    """Scores with ties, sides and weights of 4,096 rows."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.normal(size=4096), 2)
    weights = rng.exponential(size=4096)
    up = jnp.asarray(rng.random(4096) < 0.4)
    return jnp.asarray(scores, jnp.float32), up, jnp.asarray(weights, jnp.float32)


def all_pairs(scores: jax.Array, up: jax.Array, weights: jax.Array) -> jax.Array:
    """The AUC pair by pair."""
    higher = jnp.sign(scores[:, None] - scores[None]) / 2 + 0.5
    pairs = jnp.where(up, weights, 0)[:, None] * jnp.where(up, 0, weights)[None]
    return (pairs * higher).sum() / pairs.sum()


def sklearn_auc(scores: Any, up: Any, weights: Any) -> Form:
    """roc_auc_score."""
    metrics = need("sklearn.metrics", "experiments")
    arrays = [np.asarray(x) for x in (up, scores, weights)]

    def run() -> Any:
        return metrics.roc_auc_score(*arrays[:2], sample_weight=arrays[2])

    return Form(run, np.float32(run()))


def two_sets(seed: int) -> Any:
    """2,000 rows of 64 features on each side, shifted."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(64, 64)) / 8
    p, q = (rng.normal(size=(2000, 64)) @ mix for _ in range(2))
    return jnp.asarray(p, jnp.float32), jnp.asarray(q + 0.1, jnp.float32)


def discriminated(p: jax.Array, q: jax.Array) -> jax.Array:
    """The logits of the second set by the discriminator of both."""
    found = evaluation.fit_logistic_discriminator(p, q, l2=L2)
    return evaluation.discriminator_logits(found, q)


def standardized(p: Any, q: Any) -> tuple[Any, Any]:
    """Both sets with the scales that the discriminator takes, and a column of ones."""
    mean = (p.mean(0) + q.mean(0)) / 2
    variance = (((p - mean[None]) ** 2).mean(0) + ((q - mean[None]) ** 2).mean(0)) / 2
    return tuple((x - mean[None]) / variance[None] ** 0.5 for x in (p, q))


def newton(p: jax.Array, q: jax.Array) -> jax.Array:
    """The same optimum by ten steps of Newton's method."""
    p, q = (jnp.pad(x, ((0, 0), (0, 1)), constant_values=1) for x in standardized(p, q))
    ridge = L2 * jnp.ones(p.shape[1]).at[-1].set(0)
    theta = jnp.zeros(p.shape[1])
    for _ in range(10):
        up, down = jax.nn.sigmoid(p @ theta), jax.nn.sigmoid(-(q @ theta))
        slope = up @ p / len(p) - down @ q / len(q) + ridge * theta
        first = (p.T * (up * (1 - up))[None]) @ p / len(p)
        second = (q.T * (down * (1 - down))[None]) @ q / len(q)
        theta = theta - jnp.linalg.solve(first + second + jnp.diag(ridge), slope)
    return q @ theta


def sklearn_logistic(p: Any, q: Any) -> Form:
    """LogisticRegression of the same penalty, standardization included."""
    linear = need("sklearn.linear_model", "experiments")
    sets = [np.asarray(x, np.float64) for x in (p, q)]
    labels = np.repeat([0, 1], [len(x) for x in sets])

    def run() -> Any:
        left, right = standardized(*sets)
        model = linear.LogisticRegression(C=1 / (L2 * len(left)), tol=1e-6)
        model.fit(np.concatenate([left, right]), labels)
        return model.decision_function(right)

    return Form(run, run().astype(np.float32))


CASES = (
    Case(
        "evaluation.weighted_auc_4096",
        scored,
        evaluation.weighted_auc,
        all_pairs,
        (Peer("scikit-learn", sklearn_auc, module="sklearn"),),
        goal=1.0,
        about="AUC of 4,096 weighted rows with ties; twin: all pairs",
    ),
    Case(
        "evaluation.logistic_discriminator",
        two_sets,
        discriminated,
        newton,
        (Peer("scikit-learn", sklearn_logistic, module="sklearn"),),
        tolerance=1e-3,
        goal=1.0,
        about="2,000 rows of 64 features against 2,000: fit and logits; twin: ten "
        "steps of Newton's method",
    ),
)
