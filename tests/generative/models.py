"""Linear models with normal noise and proposals for them, in NumPy and in JAX."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.generative import LinearGaussian


class Instance(NamedTuple):
    """Models ``[n, ...]``, a point of each, its density and posterior by NumPy."""

    model: LinearGaussian
    x: np.ndarray
    log_prob: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray


def instances(n: int, d: int, k: int, seed: int = 0, *, diagonal: bool = False) -> Any:
    """Random models; with orthogonal columns of w the posterior is diagonal."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(n, d, k))
    if diagonal:
        w = np.linalg.qr(w)[0] * rng.uniform(0.3, 2, (n, 1, k))
    b, s2 = rng.normal(size=(n, d)), rng.uniform(0.2, 1.5, n)
    noise = rng.normal(size=(n, d)) * np.sqrt(s2)[:, None]
    x = np.einsum("nik,nk->ni", w, rng.normal(size=(n, k))) + b + noise
    unit = np.eye(d) * s2[:, None, None]
    cov = w @ w.transpose(0, 2, 1) + unit
    inverse = np.linalg.inv(cov)
    gap = x - b
    log_prob = (
        -(
            np.einsum("ni,nij,nj->n", gap, inverse, gap)
            + np.linalg.slogdet(cov)[1]
            + d * np.log(2 * np.pi)
        )
        / 2
    )
    gain = w.transpose(0, 2, 1) @ inverse
    mean = np.einsum("nki,ni->nk", gain, gap)
    model = LinearGaussian(*(jnp.asarray(a) for a in (w, b, s2)))
    return Instance(model, x, log_prob, mean, np.eye(k) - gain @ w)


def fixed(mean: Any, log_scale: Any) -> Any:
    """An encoder that has seen all there is."""
    pair = jnp.asarray(mean), jnp.asarray(log_scale)
    return lambda _: pair


def keys(n: int, seed: int = 0) -> jax.Array:
    """So many keys."""
    return jax.random.split(jax.random.key(seed), n)
