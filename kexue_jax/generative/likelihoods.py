"""Log-densities of the parts of a variational autoencoder, and units of data."""

import math

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype

LOG_2PI = math.log(2 * math.pi)


def gaussian_log_prob(x: jax.Array, mean: jax.Array, log_scale: jax.Array) -> jax.Array:
    """The log-density of a normal distribution with a diagonal covariance.

    sum_j -(x_j - mean_j)^2 / (2 exp(2 log_scale_j)) - log_scale_j - log(2 pi) / 2.

    Shapes: x [..., d], mean and log_scale broadcastable to it -> [...], at least
    float32.
    Article: kexue.fm/archives/8791.  Paper: arXiv 1312.6114.
    Differs: no. A learned log_scale must be kept from below where x takes discrete
    values: the density has no upper bound there (see ``dequantize``).
    Cost: O(d) time and memory.
    Raises: TypeError or ValueError unless all are floating arrays, x with a last axis
    and the others broadcastable to it.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import gaussian_log_prob
        >>> x = jnp.array([0.0, 1.0])
        >>> print(f"{gaussian_log_prob(x, jnp.zeros(2), jnp.zeros(2)):.4f}")
        -2.3379
    """
    name = "gaussian_log_prob"
    _vectors(name, "x", x)
    for argument, value in (("mean", mean), ("log_scale", log_scale)):
        checks.array(name, argument, value)
        checks.broadcastable(name, argument, value, x.shape)
    dtype = accumulation_dtype(x, mean, log_scale)
    x, mean, log_scale = (
        jnp.broadcast_to(jnp.asarray(a, dtype), x.shape) for a in (x, mean, log_scale)
    )
    return gaussian(jnp.exp(-log_scale) * (x - mean), log_scale)


def gaussian(unit: jax.Array, log_scale: jax.Array) -> jax.Array:
    """The log-density from the standardized value ``[..., d]``, summed over d."""
    return -jnp.sum(jnp.square(unit) / 2 + log_scale + LOG_2PI / 2, -1)


def bernoulli_log_prob(x: jax.Array, logits: jax.Array) -> jax.Array:
    """The log-likelihood of independent bits.

    sum_j x_j logits_j - log(1 + exp(logits_j)), the logarithm of a probability for x
    in {0, 1}.

    Shapes: x [..., d], logits [..., d] -> [...], at least float32.
    Article: kexue.fm/archives/8791.  Paper: arXiv 1312.6114, appendix C.
    Differs: no. For grey levels between 0 and 1 it is no density: draw bits first.
    Cost: O(d) time and memory.
    Raises: TypeError or ValueError unless both are floating arrays of one shape with a
    last axis.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import bernoulli_log_prob
        >>> print(f"{bernoulli_log_prob(jnp.array([1.0, 0.0]), jnp.zeros(2)):.4f}")
        -1.3863
    """
    name = "bernoulli_log_prob"
    _vectors(name, "x", x)
    checks.array(name, "logits", logits)
    checks.shapes(name, x=(x, "*d"), logits=(logits, "*d"))
    dtype = accumulation_dtype(x, logits)
    x, logits = x.astype(dtype), logits.astype(dtype)
    return jnp.sum(x * logits - jax.nn.softplus(logits), -1)


def gaussian_kl(mean: jax.Array, log_scale: jax.Array) -> jax.Array:
    """The divergence of a diagonal normal distribution from the standard one.

    KL(N(mean, exp(2 log_scale)) || N(0, I)) = (1 / 2) sum_j mean_j^2 + s_j^2 - 1 -
    log s_j^2, s = exp(log_scale). The usual loss of a VAE is log q(x|z) minus it; for
    more than one weight only the sampled form (``log_weights``) bounds anything.

    Shapes: mean [..., k], log_scale [..., k] -> [...], at least float32.
    Article: kexue.fm/archives/8791, 5383.  Paper: arXiv 1312.6114, appendix B.
    Differs: no.
    Cost: O(k) time and memory.
    Raises: TypeError or ValueError unless both are floating arrays of one shape with a
    last axis.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import gaussian_kl
        >>> print(gaussian_kl(jnp.array([1.0, 2.0]), jnp.zeros(2)))
        2.5
    """
    name = "gaussian_kl"
    _vectors(name, "mean", mean)
    checks.array(name, "log_scale", log_scale)
    checks.shapes(name, mean=(mean, "*k"), log_scale=(log_scale, "*k"))
    dtype = accumulation_dtype(mean, log_scale)
    mean, log_scale = mean.astype(dtype), log_scale.astype(dtype)
    excess = jnp.expm1(2 * log_scale) - 2 * log_scale
    return jnp.sum(jnp.square(mean) + excess, -1) / 2


def dequantize(
    key: jax.Array, x: jax.Array, *, levels: int = 256, dtype: jnp.dtype = jnp.float32
) -> jax.Array:
    """Integers as continuous data in [0, 1), uniform within their cells.

    (x + u) / levels, u uniform in [0, 1). The mean of log q over u bounds the
    log-probability of the integers from below, after log(levels) a dimension.

    Shapes: x integers in 0..levels - 1 of any shape -> the same shape in ``dtype``.
    Article: kexue.fm/archives/8791.  Paper: arXiv 1511.01844, section 3.1.
    Differs: values that round up to 1 become the number below it.
    Cost: O(size of x) time and memory.
    Raises: TypeError or ValueError unless x is an array of integers, levels an integer
    of at least 2 and dtype a floating one.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.generative import dequantize
        >>> y = dequantize(jax.random.key(0), jnp.array([0, 255]))
        >>> bool(y[0] < 1 / 256), bool(y[1] >= 255 / 256)
        (True, True)
    """
    name = "dequantize"
    checks.key(name, "key", key)
    checks.array(name, "x", x, "integer")
    checks.count(name, "levels", levels, minimum=2)
    checks.float_dtype(name, "dtype", dtype)
    wide = jnp.promote_types(dtype, jnp.float32)
    u = jax.random.uniform(key, x.shape, wide)
    y = ((x.astype(wide) + u) / levels).astype(dtype)
    return jnp.minimum(y, jnp.asarray(1 - float(jnp.finfo(dtype).epsneg), dtype))


def bits_per_dim(log_prob: jax.Array, *, dims: int, levels: int = 1) -> jax.Array:
    """Bits that an ideal code takes for a dimension.

    -log_prob / (dims log 2) + log2(levels): ``levels`` is the number of levels that
    were scaled to [0, 1] (256 for bytes), 1 where no unit was changed.

    Shapes: log_prob [...] in nats -> [...].
    Article: kexue.fm/archives/8791.  Paper: arXiv 1511.01844.
    Differs: no. A codec that sends z too (bits back) pays L_1, not L_M.
    Cost: O(size) time and memory.
    Raises: TypeError or ValueError unless log_prob is a floating array, dims and levels
    are integers of at least 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import bits_per_dim
        >>> print(f"{bits_per_dim(jnp.array(-2 * jnp.log(2.0)), dims=4):.4f}")
        0.5000
    """
    name = "bits_per_dim"
    checks.array(name, "log_prob", log_prob)
    checks.count(name, "dims", dims)
    checks.count(name, "levels", levels)
    wide = log_prob.astype(accumulation_dtype(log_prob))
    bits = -wide / (dims * math.log(2)) + math.log2(levels)
    return bits.astype(log_prob.dtype)


def active_units(means: jax.Array, *, tol: float = 0.01) -> jax.Array:
    """Which latent units follow the data.

    var_x(means_u) > tol, means_u = E[z_u | x] by the encoder; the variance over N.

    Shapes: means [N, k], the encoder's means of N examples -> booleans [k].
    Article: kexue.fm/archives/8791, 5383.  Paper: arXiv 1509.00519, section 4.
    Differs: no. The number of units is the sum of the booleans.
    Cost: O(N k) time and memory.
    Raises: TypeError or ValueError unless means is a floating array [N, k], N at least
    1, and tol a number of at least 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import active_units
        >>> print(active_units(jnp.array([[0.0, 1.0], [0.01, -1.0]])))
        [False  True]
    """
    name = "active_units"
    checks.array(name, "means", means)
    checks.shapes(name, means=(means, "N k"))
    if not means.shape[0]:
        got, wanted = f"shape {means.shape}", "of at least one example"
        raise checks.fail(name, "means", got, wanted)
    checks.number(name, "tol", tol, minimum=0)
    return jnp.var(means.astype(accumulation_dtype(means)), 0) > tol


def _vectors(name: str, argument: str, value: jax.Array) -> None:
    """Raise unless ``value`` is a floating array with a last axis."""
    checks.array(name, argument, value)
    if value.ndim < 1:
        raise checks.fail(name, argument, f"shape {value.shape}", "of shape [..., d]")
