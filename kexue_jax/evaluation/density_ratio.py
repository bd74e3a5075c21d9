"""Weights that make training rows count as test rows, from a discriminator's logits."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_divide, safe_root
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax._base.weights import effective_size, over_largest


class ImportanceMean(NamedTuple):
    """mean: the weighted mean; stderr: its standard error, of the weights' own size."""

    mean: jax.Array
    stderr: jax.Array


def discriminator_loss(logits_train: jax.Array, logits_test: jax.Array) -> jax.Array:
    """The cross entropy of telling test rows (1) from training rows (0), balanced.

    -E_p log(1 - D) - E_q log D, D = sigmoid(logit), each mean over its own rows, so
    that both sides weigh the same whatever their numbers. Its least value, at
    D = q / (p + q), is 2 log 2 - 2 JSD(p, q).

    Shapes: logits_train [..., n], logits_test [..., m] -> [...].
    Article: kexue.fm/archives/7805.  Paper: arXiv 1406.2661, proposition 1.
    Differs: no.
    Cost: O(n + m).
    Raises: TypeError or ValueError unless both are floating, of one dtype and one
    leading shape, with at least one row.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import discriminator_loss
        >>> print(f"{discriminator_loss(jnp.zeros(3), jnp.zeros(2)):.4f}")
        1.3863
    """
    check_logits("discriminator_loss", logits_train, logits_test)
    dtype = accumulation_dtype(logits_train, logits_test)
    train = jax.nn.softplus(jnp.asarray(logits_train, dtype))
    test = jax.nn.softplus(-jnp.asarray(logits_test, dtype))
    return (jnp.mean(train, -1) + jnp.mean(test, -1)).astype(logits_train.dtype)


def check_logits(name: str, logits_train: Any, logits_test: Any) -> None:
    """Raise unless both are rows of logits, of one dtype and leading shape."""
    both = {"logits_train": logits_train, "logits_test": logits_test}
    for argument, value in both.items():
        checks.array(name, argument, value)
    checks.shapes(
        name, logits_train=(logits_train, "... n"), logits_test=(logits_test, "... m")
    )
    checks.same_dtype(name, **both)
    for argument, value in both.items():
        if value.shape[-1] == 0:
            wanted = "of at least one row"
            raise checks.fail(name, argument, f"shape {value.shape}", wanted)


def density_ratio(
    logits: jax.Array,
    *,
    n_train: int | None = None,
    n_test: int | None = None,
    quantile: float = 1.0,
    clip: float | None = None,
    temper: float = 1.0,
    normalize: bool = True,
) -> jax.Array:
    """The weights w = q / p of training rows from a discriminator's logits.

    w = D / (1 - D) = exp(logit) for balanced training; trained on n_train against
    n_test rows each counted once, w = (n_train / n_test) exp(logit). log w is cut at
    its ``quantile``, then w at ``clip``, raised to the power ``temper``, and
    (``normalize``) scaled to mean 1. E_p w = 1 and E_p[w f] = E_q f.

    Shapes: logits [..., n] -> [..., n].
    Article: kexue.fm/archives/7805.  Paper: Shimodaira 2000; Bickel 2007.
    Differs: D / (1 - D) is infinite in float32 from a logit of 17 on; this works on
    logits and, scaled, is finite for all of them. Scaling undoes a wrong balance; w
    itself (``normalize=False``) and thresholds on it need the right one.
    Cost: O(n), a sort more for a quantile below 1.
    Raises: TypeError or ValueError for a bad kind or shape, one of n_train and n_test
    alone, a quantile or temper outside [0, 1], a clip that is not positive.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import density_ratio
        >>> logits = jnp.log(jnp.array([1.0, 2.0, 5.0]))
        >>> print([f"{w:.3f}" for w in density_ratio(logits)])
        ['0.375', '0.750', '1.875']
        >>> print([f"{w:.3f}" for w in density_ratio(logits, clip=3.0)])
        ['0.500', '1.000', '1.500']
    """
    name = "density_ratio"
    _check_rows(name, "logits", logits)
    checks.number(name, "quantile", quantile, minimum=0, maximum=1)
    checks.number(name, "temper", temper, minimum=0, maximum=1)
    checks.flag(name, "normalize", normalize)
    if clip is not None:
        checks.number(name, "clip", clip, minimum=0, open_minimum=True)
    log_ratio = jnp.asarray(logits, accumulation_dtype(logits))
    if n_train is not None or n_test is not None:
        checks.count(name, "n_train", n_train)
        checks.count(name, "n_test", n_test)
        log_ratio = log_ratio + math.log(int(n_train or 1) / int(n_test or 1))
    if quantile < 1:
        top = jnp.quantile(log_ratio, quantile, axis=-1, keepdims=True)
        log_ratio = jnp.minimum(log_ratio, top)
    if clip is not None:
        log_ratio = jnp.minimum(log_ratio, math.log(clip))
    log_ratio = temper * log_ratio
    found = mean_one(log_ratio) if normalize else jnp.exp(log_ratio)
    return found.astype(logits.dtype)


def mean_one(logs: jax.Array) -> jax.Array:
    """exp(logs) scaled to mean 1 along the last axis."""
    return logs.shape[-1] * jax.nn.softmax(logs, -1)


def overlap_weights(logits: jax.Array, *, normalize: bool = True) -> jax.Array:
    """The weights D = q / (p + q) of training rows, which competitions used.

    D = sigmoid(logit). They turn p not into q but into the density p q / (p + q) of
    where both overlap, halfway: bounded, and biased. Scaled to mean 1 (``normalize``).

    Shapes: logits [..., n] -> [..., n].
    Article: kexue.fm/archives/7805 (which prefers ``density_ratio``).  Paper: none.
    Differs: no.
    Cost: O(n).
    Raises: TypeError or ValueError for a bad kind or shape.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import overlap_weights
        >>> weights = overlap_weights(jnp.log(jnp.array([1.0, 3.0])))
        >>> print([f"{w:.3f}" for w in weights])
        ['0.800', '1.200']
    """
    _check_rows("overlap_weights", "logits", logits)
    checks.flag("overlap_weights", "normalize", normalize)
    logs = jax.nn.log_sigmoid(jnp.asarray(logits, accumulation_dtype(logits)))
    found = mean_one(logs) if normalize else jnp.exp(logs)
    return found.astype(logits.dtype)


def effective_sample_size(weights: jax.Array) -> jax.Array:
    """The number of equally weighted rows that weighted ones are worth.

    (sum w)^2 / sum w^2, from 1 (one row has all the weight) to n; about n / E_p[w^2]
    for density ratios. 0 where all weights are 0. (``generative.effective_sample_size``
    takes log w.)

    Shapes: weights [..., n] -> [...].
    Article: kexue.fm/archives/7805.  Paper: Kong 1992.
    Differs: no.
    Cost: O(n).
    Raises: TypeError or ValueError for a bad kind or shape, and, where they are known,
    weights below 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import effective_sample_size
        >>> print(effective_sample_size(jnp.array([1.0, 1.0, 0.0, 0.0])))
        2.0
    """
    check_weights("effective_sample_size", weights)
    wide = jnp.asarray(weights, accumulation_dtype(weights))
    return effective_size(wide).astype(weights.dtype)


def importance_mean(
    values: jax.Array, weights: jax.Array, *, self_normalized: bool = True
) -> ImportanceMean:
    """The mean of values under the test distribution, with its standard error.

    Self-normalized: mean = sum w f / sum w with variance sum w~^2 (f - mean)^2,
    w~ = w / sum w; its bias is O(1 / n); 0 where all weights are 0. Otherwise
    mean = (1 / n) sum w f, unbiased, with the variance of a mean of n numbers; the
    weights are then q / p, unscaled.

    Shapes: values [..., n], weights [n] or as values -> two of [...].
    Article: kexue.fm/archives/7805.  Paper: Shimodaira 2000.
    Differs: the error is that of the weighted mean: n equal rows would err less. Both
    errors say nothing where E_p[w^2] is infinite: clip the weights.
    Cost: O(n).
    Raises: TypeError or ValueError for bad kinds, shapes or dtypes, fewer than two
    rows, and, where they are known, weights below 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import importance_mean
        >>> values, weights = jnp.array([1.0, 0.0]), jnp.array([3.0, 1.0])
        >>> print(*(f"{v:.3f}" for v in importance_mean(values, weights)))
        0.750 0.265
    """
    name = "importance_mean"
    checks.array(name, "values", values)
    checks.shapes(name, values=(values, "... n"))
    check_weights(name, weights)
    checks.same_dtype(name, values=values, weights=weights)
    checks.flag(name, "self_normalized", self_normalized)
    if weights.shape not in (values.shape, values.shape[-1:]):
        wanted = f"of shape {values.shape[-1:]} or {values.shape}"
        raise checks.fail(name, "weights", f"shape {weights.shape}", wanted)
    count = values.shape[-1]
    if count < 2:
        raise checks.fail(name, "values", f"shape {values.shape}", "of two rows")
    dtype = accumulation_dtype(values)
    f, w = jnp.asarray(values, dtype), jnp.asarray(weights, dtype)
    w = jnp.broadcast_to(w.reshape((1,) * (f.ndim - w.ndim) + w.shape), f.shape)
    if self_normalized:
        w = over_largest(w)
        total = jnp.sum(w, -1, keepdims=True)
        w = safe_divide(w, jnp.broadcast_to(total, w.shape))
        mean = jnp.sum(w * f, -1)
        variance = jnp.sum((w * (f - mean[..., None])) ** 2, -1)
    else:
        mean = jnp.mean(w * f, -1)
        variance = jnp.sum((w * f - mean[..., None]) ** 2, -1) / count / (count - 1)
    error = safe_root(variance)
    return ImportanceMean(mean.astype(values.dtype), error.astype(values.dtype))


def _check_rows(name: str, argument: str, value: Any) -> None:
    checks.array(name, argument, value)
    checks.shapes(name, **{argument: (value, "... n")})
    if value.shape[-1] == 0:
        got, wanted = f"shape {value.shape}", "of at least one row"
        raise checks.fail(name, argument, got, wanted)


def check_weights(name: str, weights: Any) -> None:
    """Raise unless ``weights`` are rows of floats, none below 0 where known."""
    _check_rows(name, "weights", weights)
    values = checks.known(weights)
    if values is not None and not (values >= 0).all():
        raise checks.fail(name, "weights", values.min(), "not negative, not NaN")
