"""Validation rows drawn as the test set would have them, duplicates kept."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax._base.weights import over_largest
from kexue_jax.evaluation.density_ratio import (
    check_weights,
    density_ratio,
    effective_sample_size,
)
from kexue_jax.evaluation.discriminator import Apply, Fit, cross_fit_logits
from kexue_jax.evaluation.weighted_metrics import adversarial_auc

METHODS = ("multinomial", "systematic")


class Resample(NamedTuple):
    """indices [n]: the rows drawn, with repetition; counts: how often each row was."""

    indices: jax.Array
    counts: jax.Array


class SplitLikeTest(NamedTuple):
    """Rows to train on [n - pool_size] and to validate on [n_val], with repetition.

    pool [pool_size]: the rows that validation was drawn from, with their weights;
    auc: of the discriminator out of fold; effective_size: what the pool's weights are
    worth in rows; largest: the largest weight, where the mean is 1.
    """

    train: jax.Array
    validation: jax.Array
    pool: jax.Array
    weights: jax.Array
    auc: jax.Array
    effective_size: jax.Array
    largest: jax.Array


def resample_indices(
    key: jax.Array, weights: jax.Array, *, n: int, method: str = "multinomial"
) -> Resample:
    """n rows drawn in proportion to their weights, each as often as it comes.

    pi_i = w_i / sum w. "multinomial": independent draws, ``u = uniform(key, (n,))``;
    "systematic": (i + u) / n with one u = uniform(key), whose counts differ from n pi_i
    by less than 1. Row i is drawn by u in [sum_{j<i} pi_j, sum_{j<=i} pi_j).

    Shapes: weights [N] -> indices [n], counts [N], of int32.
    Article: kexue.fm/archives/7805.  Paper: none.
    Differs: the article allows no removal of duplicates, which competitions did: it
    draws the sample back toward the training set. Sums run in at least float32, which
    tells a million rows apart; take float64 beyond.
    Cost: O(N + n log N); no gradient.
    Raises: TypeError or ValueError for bad kinds or shapes, n below 1, an unknown
    method, and, where they are known, weights below 0 or all 0.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.evaluation import resample_indices
        >>> key, weights = jax.random.key(0), jnp.array([1.0, 0.0, 3.0])
        >>> found = resample_indices(key, weights, n=4, method="systematic")
        >>> print(found.indices, found.counts)
        [0 2 2 2] [1 0 3]
    """
    name = "resample_indices"
    checks.key(name, "key", key)
    check_weights(name, weights)
    checks.shapes(name, weights=(weights, "n"))
    checks.count(name, "n", n)
    checks.choice(name, "method", method, METHODS)
    values = checks.known(weights)
    if values is not None and not values.any():
        raise checks.fail(name, "weights", "zeros", "positive somewhere")
    return _drawn(key, jnp.asarray(weights), int(n), method)


def _drawn(key: jax.Array, weights: jax.Array, n: int, method: str) -> Resample:
    w = over_largest(weights.astype(accumulation_dtype(weights)))
    sums = jnp.cumsum(w)
    if method == "multinomial":
        u = jax.random.uniform(key, (n,), w.dtype)
    else:
        u = (jnp.arange(n, dtype=w.dtype) + jax.random.uniform(key, (), w.dtype)) / n
    found = jnp.searchsorted(sums, u * sums[-1], side="right")
    # Rounding may reach the end: the last row that has a weight.
    last = len(w) - 1 - jnp.argmax((w > 0)[::-1])
    indices = jnp.minimum(found, last).astype(jnp.int32)
    counts = jnp.zeros(len(w), jnp.int32).at[indices].add(1)
    return Resample(indices, counts)


def split_like_test(
    key: jax.Array,
    x_train: jax.Array,
    x_test: jax.Array,
    *,
    n_val: int,
    pool_size: int,
    fit_fn: Fit,
    apply_fn: Apply,
    k: int = 5,
    repeats: int = 1,
    quantile: float = 1.0,
    clip: float | None = None,
    temper: float = 1.0,
    method: str = "multinomial",
) -> SplitLikeTest:
    """A split whose validation rows are distributed as the test inputs are.

    A pool of random rows is set aside before any training; logits by
    ``cross_fit_logits``; weights of the pool by ``density_ratio``; n_val rows of it by
    ``resample_indices``. No row is both trained on and validated on.

    Shapes: x_train [n, *d], x_test [m, *d] -> rows as SplitLikeTest says.
    Article: kexue.fm/archives/7805.  Paper: none.
    Differs: the article draws from all rows and leaves open whether they stay in
    training. ``split(key, 3)``: for the folds, the pool (the last pool_size of a
    permutation) and the draw.
    Cost: k repeats fits; no gradient.
    Raises: TypeError or ValueError as those functions do, and unless pool_size is
    between 1 and n - 1.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.evaluation import split_like_test
        >>> x, fit, f = jnp.arange(6.0), lambda key, p, q: 0.0, lambda _, x: 1.0 * x
        >>> options = dict(n_val=4, pool_size=2, fit_fn=fit, apply_fn=f, k=2)
        >>> split = split_like_test(jax.random.key(0), x, x, **options)
        >>> print(split.train.shape, split.validation.shape, f"{split.auc:.1f}")
        (4,) (4,) 0.5
    """
    name = "split_like_test"
    checks.key(name, "key", key)
    for argument, value in (("x_train", x_train), ("x_test", x_test)):
        checks.array(name, argument, value)
    checks.shapes(name, x_train=(x_train, "n *d"), x_test=(x_test, "m *d"))
    checks.count(name, "n_val", n_val)
    checks.count(name, "pool_size", pool_size)
    checks.choice(name, "method", method, METHODS)
    if pool_size >= len(x_train):
        wanted = f"below the {len(x_train)} training rows"
        raise checks.fail(name, "pool_size", pool_size, wanted)
    folds, shuffle, draw = jax.random.split(key, 3)
    logits = cross_fit_logits(
        folds, x_train, x_test, fit_fn=fit_fn, apply_fn=apply_fn, k=k, repeats=repeats
    )
    order = jax.random.permutation(shuffle, len(x_train)).astype(jnp.int32)
    train, pool = order[:-pool_size], order[-pool_size:]
    weights = density_ratio(
        logits.train[pool], quantile=quantile, clip=clip, temper=temper
    )
    drawn = _drawn(draw, weights, int(n_val), method)
    return SplitLikeTest(
        train,
        pool[drawn.indices],
        pool,
        weights,
        adversarial_auc(logits.train, logits.test),
        effective_sample_size(weights),
        jnp.max(weights),
    )
