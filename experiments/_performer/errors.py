"""Errors of random features: of attention by their number, and of one kernel value."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax import attention

NORMS = ("chi", "sqrt_d", "quantile", "midpoint")
# Name: (kind, projection); "iid" or the norms of orthogonal rows.
FORMS = {
    **{f"{kind}, iid": (kind, "iid") for kind in ("positive", "hyperbolic", "trig")},
    **{
        f"{kind}, orthogonal": (kind, "chi")
        for kind in ("positive", "hyperbolic", "trig")
    },
    **{f"positive, orthogonal, {norms}": ("positive", norms) for norms in NORMS[1:]},
}


def projection(key: jax.Array, rows: str, *, m: int, d: int) -> jax.Array:
    """``m`` rows by their name."""
    if rows == "iid":
        return attention.gaussian_projection(key, m=m, d=d)
    return attention.orthogonal_projection(key, m=m, d=d, norms=rows)


@functools.partial(jax.jit, static_argnames=("rows", "m", "d", "draws"))
def projections(rows: str, *, m: int, d: int, draws: int) -> jax.Array:
    """Draws [draws, m, d] of the rows, the same ones for every kind of features."""
    keys = jax.random.split(jax.random.key(m), draws)
    return jax.lax.map(lambda key: projection(key, rows, m=m, d=d), keys)


@functools.partial(jax.jit, static_argnames="kind")
def _outputs(ws: jax.Array, q: Any, k: Any, v: Any, kind: str) -> jax.Array:
    def one(w: jax.Array) -> jax.Array:
        return attention.performer_attention(q, k, v, w, kind=kind)

    return jax.lax.map(one, ws)


@functools.partial(jax.jit, static_argnames="kind")
def _products(ws: jax.Array, q: jax.Array, k: jax.Array, kind: str) -> jax.Array:
    def one(w: jax.Array) -> jax.Array:
        phi = [attention.softmax_features(x, w, kind=kind) for x in (q, k)]
        return (phi[0] * phi[1]).sum(-1)

    return jax.lax.map(one, ws)


def relative_errors(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    kind: str,
    rows: str,
    m: int,
    draws: int,
) -> np.ndarray:
    """|estimate - exact| / |exact| of the output (Frobenius), one a draw."""
    exact = attention.blockwise_attention(q, k, v)
    ws = projections(rows, m=m, d=q.shape[-1], draws=draws)
    found = _outputs(ws, q, k, v, kind)
    axes = tuple(range(1, found.ndim))
    squares = jnp.square(found - exact[None]).sum(axes) / jnp.square(exact).sum()
    return np.sqrt(np.asarray(squares, np.float64))


def kernel_errors(
    q: jax.Array, k: jax.Array, *, kind: str, rows: str, m: int, draws: int
) -> np.ndarray:
    """Of exp(q_i . k_i / sqrt d), estimate / exact - 1, root mean square over i.

    One a draw of the features.
    """
    d = q.shape[-1]
    q, k = (x.reshape(-1, d) for x in (q, k))
    exact = jnp.exp((q * k).sum(-1) / d**0.5)
    ws = projections(rows, m=m, d=d, draws=draws)
    apart = np.asarray(_products(ws, q, k, kind) / exact[None] - 1, np.float64)
    return np.sqrt(np.square(apart).mean(-1))


def uniform_error(q: jax.Array, k: jax.Array, v: jax.Array) -> float:
    """The same of the mean of all values: what no estimate should exceed."""
    exact = attention.blockwise_attention(q, k, v)
    apart = v.mean(-2, keepdims=True) - exact
    return float(jnp.sqrt(jnp.square(apart).sum() / jnp.square(exact).sum()))


def sample(seed: int, *, n: int, d: int, spread: float) -> tuple[jax.Array, ...]:
    """q and k with normal entries of deviation ``spread``, v of deviation 1."""
    rng = np.random.default_rng(seed)
    q, k, v = (jnp.asarray(rng.standard_normal((n, d)), jnp.float32) for _ in range(3))
    return spread * q, spread * k, v


def kernel_means(d: int, draws: int) -> dict[str, tuple[float, float, float]]:
    """Mean, its standard error and the exact value of exp(x . x), x = 1 / (2 sqrt d).

    With d features of the rows of Q of a QR factorization, as it comes from LAPACK and
    with the signs of the diagonal of R put right.
    """
    keys = jax.random.split(jax.random.key(0), draws)
    x = jnp.full((1, d), 0.5 / d**0.5, jnp.float32)

    @jax.jit
    def raw(key: jax.Array) -> jax.Array:
        drawn, lengths = jax.random.split(key)
        q, _ = jnp.linalg.qr(jax.random.normal(drawn, (d, d), jnp.float32))
        norms = jnp.linalg.norm(jax.random.normal(lengths, (d, d), jnp.float32), axis=1)
        return kernel(norms[:, None] * q.T)

    @jax.jit
    def fixed(key: jax.Array) -> jax.Array:
        return kernel(attention.orthogonal_projection(key, m=d, d=d))

    def kernel(w: jax.Array) -> jax.Array:
        phi = attention.softmax_features(x, w, scale=False)
        return jnp.square(phi).sum()

    found = {}
    for name, form in (("signs of LAPACK", raw), ("signs put right", fixed)):
        values = np.asarray(jax.jit(lambda k, f=form: jax.lax.map(f, k))(keys), float)
        error = values.std(ddof=1) / draws**0.5
        found[name] = (float(values.mean()), float(error), float(np.exp(0.25)))
    return found
