"""The model with a latent variable whose density and posterior are known."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.elimination import solved
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax._base.varying import all_varying
from kexue_jax.generative.likelihoods import LOG_2PI, gaussian_log_prob


class GaussianPosterior(NamedTuple):
    """The posterior of a linear model: mean [..., k], covariance [k, k].

    Article: kexue.fm/archives/8791.
    """

    mean: jax.Array
    covariance: jax.Array


class LinearGaussian(NamedTuple):
    """z ~ N(0, I), x | z ~ N(w z + b, s2 I), made by ``linear_gaussian``.

    ``log_lik(x, z)`` fits ``log_weights``; ``log_prob(x)`` is log N(x; b, w w^T +
    s2 I); ``posterior(x)`` is N(S w^T (x - b) / s2, S), S = (I + w^T w / s2)^-1.

    Article: kexue.fm/archives/8791.
    """

    w: jax.Array
    b: jax.Array
    s2: jax.Array

    def log_lik(self, x: jax.Array, z: jax.Array) -> jax.Array:
        """log q(x | z), [...], of x [..., d] and z [..., k]."""
        self._check("log_lik", "x", x, self.w.shape[0])
        self._check("log_lik", "z", z, self.w.shape[1])
        mean = _product(z.astype(self.w.dtype), self.w.T)
        mean = mean + _along(self.b, mean)
        return gaussian_log_prob(x, mean, jnp.log(self.s2) / 2)

    def log_prob(self, x: jax.Array) -> jax.Array:
        """log q(x), [...], in O(d k) an example, of x [..., d]."""
        self._check("log_prob", "x", x, self.w.shape[0])
        d = self.w.shape[0]
        gap = self._gap(x)
        logs, square = _eliminated(self._precision(), _product(gap, self.w) / self.s2)
        near = jnp.sum(jnp.square(gap), -1) / self.s2 - square
        return -(near + logs + d * (jnp.log(self.s2) + LOG_2PI)) / 2

    def posterior(self, x: jax.Array) -> GaussianPosterior:
        """Mean [..., k] and covariance [k, k] of z given x [..., d]."""
        self._check("posterior", "x", x, self.w.shape[0])
        covariance = solved(
            self._precision(), jnp.eye(self.w.shape[1], dtype=self.w.dtype)
        )
        covariance = (covariance + covariance.T) / 2
        mean = _product(_product(self._gap(x), self.w) / self.s2, covariance)
        return GaussianPosterior(mean, covariance)

    def _precision(self) -> jax.Array:
        unit = jnp.eye(self.w.shape[1], dtype=self.w.dtype)
        return unit + _product(self.w.T, self.w) / self.s2

    def _gap(self, x: jax.Array) -> jax.Array:
        x = jnp.asarray(x, self.w.dtype)
        return x - _along(self.b, x)

    def _check(self, name: str, argument: str, value: jax.Array, width: int) -> None:
        checks.array(name, argument, value)
        checks.shapes(name, **{argument: (value, f"... {width}")})


def linear_gaussian(w: jax.Array, b: jax.Array, s2: jax.Array) -> LinearGaussian:
    """The linear model with normal noise, whose density is known in closed form.

    z ~ N(0, I), x | z ~ N(w z + b, s2 I): log q(x) = log N(x; b, w w^T + s2 I), and the
    posterior of z is N(S w^T (x - b) / s2, S) with S = (I + w^T w / s2)^-1.

    Shapes: w [d, k], b [d], s2 [] or a number, above 0 -> a LinearGaussian with
    log_lik, log_prob and posterior, in at least float32.
    Article: kexue.fm/archives/8791.  Paper: none (probabilistic PCA, by Tipping and
    Bishop 1999).
    Differs: no.
    Cost: log_prob and posterior O(d k^2 + k^3), and O(d k) an example.
    Raises: TypeError or ValueError unless w and b are floating arrays that fit and s2
    is a positive number or a floating array [].
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import linear_gaussian
        >>> model = linear_gaussian(jnp.ones((1, 1)), jnp.zeros(1), 1.0)
        >>> x = jnp.ones(1)
        >>> print(f"{model.log_prob(x):.4f} {model.posterior(x).mean[0]:.1f}")
        -1.5155 0.5
    """
    name = "linear_gaussian"
    checks.array(name, "w", w)
    checks.array(name, "b", b)
    checks.shapes(name, w=(w, "d k"), b=(b, "d"))
    if checks.is_array(s2):
        checks.array(name, "s2", s2)
        checks.shapes(name, s2=(s2, ""))
    else:
        checks.number(name, "s2", s2, minimum=0, open_minimum=True)
    dtype = accumulation_dtype(w, b)
    return LinearGaussian(*(jnp.asarray(part, dtype) for part in (w, b, s2)))


def _along(values: jax.Array, like: jax.Array) -> jax.Array:
    return values.reshape((1,) * (like.ndim - 1) + values.shape)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _eliminated(a: jax.Array, c: jax.Array) -> tuple[jax.Array, jax.Array]:
    """log det a and c^T a^-1 c of a positive definite a [k, k] and rows c [..., k]."""
    a, c = all_varying(a, c)
    zero = jnp.sum(c, -1) * 0

    def step(carry: tuple, j: jax.Array) -> tuple:
        a, c, logs, square = carry
        row = lax.dynamic_index_in_dim(a, j, 0, keepdims=False)
        pivot = lax.dynamic_index_in_dim(row, j, 0, keepdims=False)
        entry = lax.dynamic_index_in_dim(c, j, c.ndim - 1, keepdims=False)
        a = a - row[:, None] * (row / pivot)[None]
        c = c - entry[..., None] * _along(row / pivot, c)
        square = square + jnp.square(entry) / pivot
        return (a, c, logs + jnp.log(pivot), square), None

    start = (a, c, zero, zero)
    (_, _, logs, square), _ = lax.scan(step, start, jnp.arange(a.shape[0]))
    return logs, square
