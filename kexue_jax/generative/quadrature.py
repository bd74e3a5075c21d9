"""Log-densities by quadrature over a latent space of one or two dimensions."""

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.generative._weights import LogLik, density
from kexue_jax.generative.bounds import iwae_bound


def gauss_hermite_log_prob(
    x: jax.Array,
    log_joint: LogLik,
    mean: jax.Array,
    scale: jax.Array,
    *,
    nodes: int = 32,
) -> jax.Array:
    """The log-density by quadrature over a latent space of one or two dimensions.

    log sum_n w_n exp(t_n^2) prod_j (sqrt(2) scale_j) exp(log_joint(x, z_n)), z_n = mean
    + sqrt(2) scale t_n, with nodes t and weights w of Gauss and Hermite, ``nodes`` a
    dimension. Exact where log_joint is quadratic with the posterior's scale; elsewhere
    as good as mean and scale fit the posterior.

    Shapes: x [..., *d], mean and scale [..., k], k at most 2, log_joint(x, z) of z
    [..., k] -> [...]; the result [...] in at least float32.
    Article: kexue.fm/archives/8791.  Paper: none (a reference for small k).
    Differs: no.
    Cost: nodes^k calls of log_joint, in one.
    Raises: TypeError or ValueError for an array or number that does not fit, k above 2,
    nodes above 128, a log_joint that gives another shape.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import gauss_hermite_log_prob, gaussian_log_prob
        >>> normal = lambda a, b: gaussian_log_prob(a, b, jnp.zeros_like(b))
        >>> joint = lambda x, z: normal(x, z) + normal(z, jnp.zeros_like(z))
        >>> x, unit = jnp.ones(1), jnp.ones(1)
        >>> print(f"{gauss_hermite_log_prob(x, joint, x / 2, unit):.4f}")
        -1.5155
    """
    name = "gauss_hermite_log_prob"
    checks.array(name, "x", x)
    checks.function(name, "log_joint", log_joint)
    checks.array(name, "mean", mean)
    checks.array(name, "scale", scale)
    if mean.ndim < 1 or mean.shape[-1] not in (1, 2):
        wanted = "of shape [..., k] with k = 1 or 2"
        raise checks.fail(name, "mean", f"shape {mean.shape}", wanted)
    checks.shapes(name, mean=(mean, "... k"), scale=(scale, "... k"))
    checks.count(name, "nodes", nodes)
    if nodes > 128:
        raise checks.fail(name, "nodes", nodes, "an integer of at most 128")
    dtype = accumulation_dtype(x, mean, scale)
    mean, scale = jnp.asarray(mean, dtype), jnp.asarray(scale, dtype)
    k, lead = mean.shape[-1], mean.shape[:-1]
    points, logs = _rule(nodes, k)
    t = jnp.asarray(points, dtype).reshape(-1, *(1,) * len(lead), k)
    z = mean[None] + 2**0.5 * scale[None] * t
    values = jax.vmap(lambda z: density(name, "log_joint", log_joint(x, z), lead))(z)
    values = values + jnp.asarray(logs, dtype).reshape(-1, *(1,) * len(lead))
    total = iwae_bound(values) + float(np.log(len(points)))
    return total + jnp.sum(jnp.log(scale), -1) + k * float(np.log(2)) / 2


def _rule(nodes: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Points [nodes^k, k] and log w + |t|^2, in float64."""
    t, w = np.polynomial.hermite.hermgauss(nodes)
    logs = np.log(w) + t**2
    grids = np.meshgrid(*[t] * k, indexing="ij")
    totals = np.meshgrid(*[logs] * k, indexing="ij")
    points = np.stack([g.ravel() for g in grids], -1)
    return points, np.sum([total.ravel() for total in totals], axis=0)
