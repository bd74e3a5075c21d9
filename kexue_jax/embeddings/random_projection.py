"""Random matrices that keep norms and inner products on average."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax._base.orthogonal import orthonormal_blocks

KINDS = ("gaussian", "rademacher", "sparse", "orthonormal")
_SPARSITY = 3.0


def projection_matrix(
    key: jax.Array,
    *,
    n: int,
    m: int,
    kind: str = "gaussian",
    sparsity: float | None = None,
    dtype: Any = jnp.float32,
) -> jax.Array:
    """A random matrix A from m to n dimensions with E A^T A = I, by ``kind``.

    - "gaussian": normal(key, [n, m]) / sqrt(n), of variance 1/n;
    - "rademacher": +-1 / sqrt(n), minus where uniform(key, [n, m]) < 1/2;
    - "sparse": sqrt(s/n) times +1 where uniform(key, [n, m]) < 1/(2s), -1 from there to
      1/s, 0 beyond, with s = sparsity >= 1 (3 if None; sqrt(m) is very sparse);
    - "orthonormal": sqrt(m/n) times normal(key, [n, m]) with rows made orthonormal, the
      first n rows of a rotation of Haar's law; n <= m.

    Shapes: key -> [n, m].
    Article: kexue.fm/archives/8679, 8706.  Paper: Achlioptas 2003 (signs, s = 3); Li,
    Hastie & Church 2006 (sqrt(m)).
    Differs: no. Only "gaussian" has a law that is the same for all data: one-hot points
    scatter by sqrt((s-1)/n) under "sparse", not at all under "rademacher". Draw A
    independently of the points.
    Cost: n m random numbers; "orthonormal" 8 n^2 m flops.
    Raises: TypeError or ValueError for a bad key, count, kind, sparsity or dtype, a
    sparsity beside another kind, n > m for "orthonormal".
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.embeddings import projection_matrix
        >>> a = projection_matrix(jax.random.key(0), n=4, m=9, kind="rademacher")
        >>> print(jnp.unique(a))
        [-0.5  0.5]
    """
    name = "projection_matrix"
    checks.key(name, "key", key)
    checks.count(name, "n", n)
    checks.count(name, "m", m)
    checks.choice(name, "kind", kind, KINDS)
    checks.float_dtype(name, "dtype", dtype)
    if sparsity is not None:
        checks.number(name, "sparsity", sparsity, minimum=1)
        if kind != "sparse":
            raise checks.fail(name, "sparsity", sparsity, f"None for the kind {kind!r}")
    if kind == "orthonormal" and n > m:
        raise checks.fail(name, "n", n, f"at most m = {m} for orthonormal rows")
    wide = jnp.promote_types(dtype, jnp.float32)
    if kind == "gaussian":
        found = jax.random.normal(key, (n, m), wide) / math.sqrt(n)
    elif kind == "orthonormal":
        rows = orthonormal_blocks(jax.random.normal(key, (n, m), wide))
        found = math.sqrt(m / n) * rows
    else:
        s = 1.0 if kind == "rademacher" else float(sparsity or _SPARSITY)
        drawn = jax.random.uniform(key, (n, m), wide)
        plus, minus = (-1, 1) if kind == "rademacher" else (1, -1)
        signs = jnp.where(drawn < 0.5 / s, plus, jnp.where(drawn < 1 / s, minus, 0))
        found = math.sqrt(s / n) * signs.astype(wide)
    return found.astype(dtype)


def project(a: jax.Array, v: jax.Array) -> jax.Array:
    """The vectors v in the n dimensions of a projection matrix.

    (A v)_i = sum_j A_ij v_j.

    Shapes: a [n, m], v [..., m] -> [..., n].
    Article: kexue.fm/archives/8679.  Paper: Johnson & Lindenstrauss 1984.
    Differs: no. Sums in at least float32, at full precision on accelerators too.
    Cost: 2 n m flops a vector; ``srht_apply`` does it in O(m log m).
    Raises: TypeError or ValueError unless both are floating arrays of one dtype whose
    m agree.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.embeddings import project
        >>> print(project(jnp.array([[1.0, 2.0, 3.0]]), jnp.array([1.0, 1.0, -1.0])))
        [0.]
    """
    name = "project"
    checks.array(name, "a", a)
    checks.array(name, "v", v)
    checks.same_dtype(name, a=a, v=v)
    checks.shapes(name, a=(a, "n m"), v=(v, "... m"))
    return projected(a, v).astype(v.dtype)


def projected(a: jax.Array, v: jax.Array) -> jax.Array:
    """``project`` in the dtype of its sums, without checks."""
    return jnp.einsum(
        "...m,nm->...n",
        v,
        a,
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=accumulation_dtype(v),
    )
