"""Sparse binary hashes after the fly's nose: many cells, and the most active win."""

from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype


def fly_projection(
    key: jax.Array, *, m: int, n: int, density: float = 0.1, dtype: Any = jnp.float32
) -> jax.Array:
    """A random binary matrix: which of m inputs each of n cells listens to.

    W_ij = [uniform(key, [m, n]) < density].

    Shapes: key -> [m, n] of 0 and 1.
    Article: kexue.fm/archives/8159.  Paper: Dasgupta, Stevens & Navlakha 2017.
    Differs: every entry on its own, where the fly has about as many inputs a cell.
    Cost: m n random numbers.
    Raises: TypeError or ValueError for a bad key, count, density or dtype.
    Example:
        >>> import jax
        >>> from kexue_jax.embeddings import fly_projection
        >>> fly_projection(jax.random.key(0), m=4, n=40).shape
        (4, 40)
    """
    name = "fly_projection"
    checks.key(name, "key", key)
    checks.count(name, "m", m)
    checks.count(name, "n", n)
    checks.number(name, "density", density, minimum=0, maximum=1, open_minimum=True)
    checks.float_dtype(name, "dtype", dtype)
    wide = jnp.promote_types(dtype, jnp.float32)
    return (jax.random.uniform(key, (m, n), wide) < density).astype(dtype)


def fly_hash(w: jax.Array, v: jax.Array, *, k: int) -> jax.Array:
    """The k most active of n cells.

    h_j = [(v W)_j is among the k largest]; among equal ones the lower j comes first.

    Shapes: w [m, n], v [..., m] -> bool [..., n] with k ones; n > m as a rule.
    Article: kexue.fm/archives/8159.  Paper: Dasgupta, Stevens & Navlakha 2017.
    Differs: no.
    Cost: 2 m n flops a vector and its k largest. No gradient.
    Raises: TypeError or ValueError unless both are floating arrays of one dtype whose
    m agree and k is from 1 to n.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.embeddings import fly_hash
        >>> print(fly_hash(jnp.eye(4), jnp.array([1.0, 5.0, 2.0, 0.0]), k=2))
        [False  True  True False]
    """
    name = "fly_hash"
    checks.array(name, "w", w)
    checks.array(name, "v", v)
    checks.same_dtype(name, w=w, v=v)
    n = checks.shapes(name, w=(w, "m n"), v=(v, "... m"))["n"]
    checks.count(name, "k", k)
    if k > w.shape[-1]:
        raise checks.fail(name, "k", k, f"at most {n}, the number of cells")
    active = jnp.matmul(
        v, w, precision="highest", preferred_element_type=accumulation_dtype(v)
    )
    winners = jax.lax.top_k(active, int(k))[1]
    silent = jnp.zeros(active.shape, bool)
    return jnp.put_along_axis(silent, winners, True, axis=-1, inplace=False)
