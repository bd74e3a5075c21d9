"""Bounds and estimates of a log-density from the logarithms of importance weights."""

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax._base.weights import effective_size, exp_over_largest


def iwae_bound(log_w: jax.Array, *, axis: int = 0) -> jax.Array:
    """The importance-weighted bound, the logarithm of the mean weight.

    log((1 / M) sum_i w_i), w = exp(log_w). Its expectation L_M is a lower bound of
    log q(x) that rises with M; one axis of length M is taken, ``axis``.

    Shapes: log_w [M, ...] -> [...].
    Article: kexue.fm/archives/8791, 5383.  Paper: arXiv 1509.00519, eq. 8.
    Differs: the article calls it the likelihood itself; the mean weight is unbiased
    for q(x), its logarithm is below log q(x) on average. Weights of 0 alone
    (log_w = -inf) give -inf, not NaN.
    Cost: O(M) time and memory.
    Raises: TypeError or ValueError unless log_w is a floating array with at least one
    weight along ``axis``.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import iwae_bound
        >>> print(f"{iwae_bound(jnp.log(jnp.array([1.0, 3.0]))):.4f}")
        0.6931
    """
    rows = _moved("iwae_bound", log_w, axis)
    return _log_mean(rows).astype(log_w.dtype)


def elbo(log_w: jax.Array, *, axis: int = 0) -> jax.Array:
    """The evidence lower bound, the mean of the logarithms of the weights.

    (1 / M) sum_i log_w_i: the bound L_1 by M samples, the loss of a VAE with the
    sampled KL.

    Shapes: log_w [M, ...] -> [...].
    Article: kexue.fm/archives/8791, 5383.  Paper: arXiv 1312.6114.
    Differs: no.
    Cost: O(M) time and memory.
    Raises: as ``iwae_bound``.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import elbo
        >>> print(f"{elbo(jnp.log(jnp.array([1.0, 3.0]))):.4f}")
        0.5493
    """
    return jnp.mean(_moved("elbo", log_w, axis), 0).astype(log_w.dtype)


def miwae(log_w: jax.Array, *, groups: int, axis: int = 0) -> jax.Array:
    """The mean of importance-weighted bounds of so many groups of neighbors.

    (1 / G) sum_g log((1 / K) sum_k w_gk), M = G K weights: ``elbo`` at groups = M,
    ``iwae_bound`` at groups = 1, between them elsewhere.

    Shapes: log_w [M, ...] -> [...].
    Article: kexue.fm/archives/8791.  Paper: arXiv 1802.04537, section 4.
    Differs: no.
    Cost: O(M) time and memory.
    Raises: as ``iwae_bound``, and unless ``groups`` divides the number of weights.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import miwae
        >>> log_w = jnp.log(jnp.array([1.0, 3.0, 2.0, 2.0]))
        >>> print(f"{miwae(log_w, groups=2):.4f}")
        0.6931
    """
    rows = _moved("miwae", log_w, axis)
    grouped = _grouped("miwae", rows, groups)
    return jnp.mean(_log_mean(grouped, 1), 0).astype(log_w.dtype)


def ciwae(log_w: jax.Array, *, beta: float | jax.Array, axis: int = 0) -> jax.Array:
    """The evidence lower bound and the importance-weighted one, combined.

    beta elbo(log_w) + (1 - beta) iwae_bound(log_w).

    Shapes: log_w [M, ...] -> [...].
    Article: kexue.fm/archives/8791.  Paper: arXiv 1802.04537, section 4.
    Differs: no.
    Cost: O(M) time and memory.
    Raises: as ``iwae_bound``, and unless beta is a number in [0, 1].
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import ciwae
        >>> print(f"{ciwae(jnp.log(jnp.array([1.0, 3.0])), beta=0.5):.4f}")
        0.6212
    """
    rows = _moved("ciwae", log_w, axis)
    checks.number("ciwae", "beta", beta, minimum=0, maximum=1, traced=True)
    # A weight of 0 has no share where beta is 0.
    mean = jnp.where(jnp.equal(beta, 0), 0, jnp.mean(rows, 0))
    mixed = beta * mean + (1 - beta) * _log_mean(rows)
    return mixed.astype(log_w.dtype)


def jackknife_bound(log_w: jax.Array, *, order: int = 1, axis: int = 0) -> jax.Array:
    """The importance-weighted estimate with its bias removed to some order, no bound.

    sum_j (-1)^j (M - j)^order / ((order - j)! j!) L_bar_(M - j), j = 0..order, where
    L_bar_(M - j) is the mean of iwae_bound over all ways of leaving j weights out;
    order 1 is M L_M - (M - 1) mean_j L_(M - 1) without weight j. The bias falls from
    O(1 / M) to O(1 / M^(order + 1)). It may overshoot: report it as an estimate.

    Shapes: log_w [M, ...] -> [...].
    Article: kexue.fm/archives/8791.  Paper: arXiv 1802.07209, section 3.
    Differs: sums without a weight are put together from running sums on its two sides,
    not by subtraction, which loses all digits where that weight is nearly all.
    Cost: O(M) time and memory, O(M^2) of both at order 2.
    Raises: as ``iwae_bound``, and unless order is 0, 1 or 2 and below the number of
    weights.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import jackknife_bound
        >>> print(f"{jackknife_bound(jnp.log(jnp.array([1.0, 3.0]))):.4f}")
        0.8370
    """
    name = "jackknife_bound"
    checks.count(name, "order", order, minimum=0)
    if order > 2:
        raise checks.fail(name, "order", order, "0, 1 or 2")
    rows = _moved(name, log_w, axis, minimum=order + 1)
    if order == 0:
        return _log_mean(rows).astype(log_w.dtype)
    m, (rows, whole, none) = rows.shape[0], _stood_in(rows)
    one = _log_sum_of_others(rows) - jnp.log(m - 1.0).astype(rows.dtype)
    less = jnp.mean(one - whole[None], 0)
    if order == 1:
        return _or_none(whole - (m - 1) * less, none).astype(log_w.dtype)
    left = jnp.eye(m, dtype=bool).reshape(m, m, *(1,) * (rows.ndim - 1))
    tiny = jnp.finfo(rows.dtype).min / 4
    pairs = jax.vmap(lambda out: _log_sum_of_others(jnp.where(out, tiny, rows)))(left)
    two = pairs - jnp.log(m - 2.0).astype(rows.dtype) - whole[None, None]
    fewer = jnp.sum(jnp.where(left, 0, two), (0, 1)) / (m * (m - 1))
    # The coefficients sum to one: differences to the whole lose no digits.
    change = -((m - 1) ** 2) * less + (m - 2) ** 2 / 2 * fewer
    return _or_none(whole + change, none).astype(log_w.dtype)


def delta_corrected(log_w: jax.Array, *, axis: int = 0) -> jax.Array:
    """The importance-weighted estimate plus its leading bias, no bound.

    iwae_bound(log_w) + V / (2 M), V the sample variance (over M - 1) of w / mean(w). It
    holds once M is large beside the largest w / mean(w). For the standard prior and a
    likelihood bounded from below (bits of bounded logits) the variance is infinite
    behind a proposal with any scale below sqrt(1 / 2): V then grows with M.

    Shapes: log_w [M, ...] -> [...].
    Article: kexue.fm/archives/8791.  Paper: arXiv 1802.07209, section 2.
    Differs: no.
    Cost: O(M) time and memory.
    Raises: as ``iwae_bound``, and for one weight alone.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import delta_corrected
        >>> print(f"{delta_corrected(jnp.log(jnp.array([1.0, 3.0]))):.4f}")
        0.8181
    """
    rows = _moved("delta_corrected", log_w, axis, minimum=2)
    m, (rows, whole, none) = rows.shape[0], _stood_in(rows)
    excess = jnp.expm1(rows - whole[None])
    variance = jnp.sum(jnp.square(excess), 0) / (m - 1)
    return _or_none(whole + variance / (2 * m), none).astype(log_w.dtype)


def effective_sample_size(log_w: jax.Array, *, axis: int = 0) -> jax.Array:
    """How many weights of equal size would be as good, between 1 and M.

    (sum_i w_i)^2 / sum_i w_i^2, 0 where all w_i are 0. Below about 10 an estimate by
    the weights is noise. (``evaluation.effective_sample_size`` takes w itself.)

    Shapes: log_w [M, ...] -> [...].
    Article: kexue.fm/archives/8791.  Paper: arXiv 1509.00519.
    Differs: no.
    Cost: O(M) time and memory.
    Raises: TypeError or ValueError unless log_w is a floating array with at least one
    weight along ``axis``.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import effective_sample_size
        >>> print(f"{effective_sample_size(jnp.log(jnp.array([1.0, 3.0]))):.4f}")
        1.6000
    """
    rows = _moved("effective_sample_size", log_w, axis)
    return effective_size(exp_over_largest(rows, 0), 0).astype(log_w.dtype)


def _moved(name: str, log_w: jax.Array, axis: int, *, minimum: int = 1) -> jax.Array:
    """The checked log-weights in at least float32, those of an example along axis 0."""
    checks.array(name, "log_w", log_w)
    if isinstance(axis, bool) or not isinstance(axis, int):
        got = f"a {type(axis).__name__}"
        raise checks.fail_type(name, "axis", got, "a Python integer")
    if not -log_w.ndim <= axis < log_w.ndim:
        raise checks.fail(name, "axis", axis, f"an axis of shape {log_w.shape}")
    if log_w.shape[axis] < minimum:
        wanted = f"of at least {minimum} along axis {axis}"
        raise checks.fail(name, "log_w", f"shape {log_w.shape}", wanted)
    return jnp.moveaxis(jnp.asarray(log_w, accumulation_dtype(log_w)), axis, 0)


def _grouped(name: str, rows: jax.Array, groups: int) -> jax.Array:
    """``[M, ...]`` as ``[groups, M / groups, ...]``."""
    checks.count(name, "groups", groups)
    if rows.shape[0] % groups:
        raise checks.fail(name, "groups", groups, f"a divisor of {rows.shape[0]}")
    return rows.reshape(groups, -1, *rows.shape[1:])


def _stood_in(rows: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Rows, their ``_log_mean``, both 0 where every weight is 0, and where that is."""
    whole = _log_mean(rows)
    none = jnp.isneginf(whole)
    return jnp.where(none, 0, rows), jnp.where(none, 0, whole), none


def _or_none(estimate: jax.Array, none: jax.Array) -> jax.Array:
    """The estimate, and -inf where every weight is 0."""
    return jnp.where(none, -jnp.inf, estimate)


def _log_mean(rows: jax.Array, axis: int = 0) -> jax.Array:
    """The logarithm of the mean of exp along an axis."""
    top = lax.stop_gradient(jnp.max(rows, axis, keepdims=True))
    # Where every weight is 0, or one has no bound, there is nothing to divide by.
    top = jnp.where(jnp.isfinite(top), top, 0)
    mean = jnp.mean(jnp.exp(rows - top), axis)
    return jnp.log(mean) + jnp.squeeze(top, axis)


def _log_sum_of_others(rows: jax.Array) -> jax.Array:
    """For each row the logarithm of the sum of exp of all others."""
    ahead = lax.cumlogsumexp(rows, 0)
    behind = lax.cumlogsumexp(rows, 0, reverse=True)
    inner = jnp.logaddexp(ahead[:-2], behind[2:])
    return jnp.concatenate([behind[1:2], inner, ahead[-2:-1]])
