"""Denominators of transfer functions that are stable, by reflection coefficients."""

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax._base.varying import all_varying
from kexue_jax.ssm.rational import check_coefficients


def rtf_from_reflection(theta: jax.Array, *, limit: float = 1.0) -> jax.Array:
    """Coefficients of a stable denominator 1 + a_1 z + ... + a_d z^d, for any theta.

    With k = limit tanh(theta), from a = [1] on: a <- [a, 0] + k_i reverse([a, 0]). The
    poles, roots of s^d + a_1 s^(d-1) + ... + a_d, are all inside of the unit circle if
    and only if all |k_i| < 1 (Schur and Cohn), and every such denominator is reached.

    Shapes: theta [..., d] -> [..., d], the leading 1 left out.
    Article: kexue.fm/archives/10180.  Paper: arXiv 2405.06147.
    Differs: the article has the sufficient sum |a_j| < 1 and takes the necessary and
    sufficient condition to be unknown; it is Schur's and Cohn's test of about 1920.
    tanh rounds to 1 beyond 9 in float32: a ``limit`` below 1 keeps off the circle.
    Cost: O(d^2) in d steps.
    Raises: TypeError or ValueError for bad arguments, a limit outside of (0, 1].
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import rtf_from_reflection
        >>> print(rtf_from_reflection(jnp.arctanh(jnp.array([-0.5, 0.25]))))
        [-0.625  0.25 ]
    """
    name = "rtf_from_reflection"
    check_coefficients(name, theta=theta)
    checks.number(name, "limit", limit, minimum=0, maximum=1, open_minimum=True)
    k = limit * jnp.tanh(theta.astype(accumulation_dtype(theta)))
    d = k.shape[-1]
    start = jnp.zeros((*k.shape[:-1], d + 1), k.dtype).at[..., 0].set(1)
    start, k = all_varying(start, k)

    def grow(a: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        i, k = step
        # The last d - i entries are zeros, which the roll brings to the front.
        return a + k[..., None] * jnp.roll(a[..., ::-1], i - d, -1), None

    steps = jnp.arange(1, d + 1), jnp.moveaxis(k, -1, 0)
    return lax.scan(grow, start, steps)[0][..., 1:].astype(theta.dtype)


def rtf_reflection(a: jax.Array) -> jax.Array:
    """The reflection coefficients of a denominator, all inside (-1, 1) iff stable.

    From the last to the first: k_i = a_i, a <- (a - k_i reverse(a)) / (1 - k_i^2), of
    one coefficient less each time; the inverse of ``rtf_from_reflection``.

    Shapes: a [..., d], without the leading 1 -> k [..., d].
    Article: kexue.fm/archives/10180.  Paper: arXiv 2405.06147.
    Differs: neither has it. After a |k_i| of exactly 1 the coefficients below are 0
    in place of a division by 0; the answer "not stable" stands.
    Cost: O(d^2) in d steps.
    Raises: TypeError or ValueError for bad arguments.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import rtf_reflection
        >>> print(rtf_reflection(jnp.array([-0.625, 0.25])))
        [-0.5   0.25]
    """
    name = "rtf_reflection"
    check_coefficients(name, a=a)
    dtype, d = accumulation_dtype(a), a.shape[-1]
    one = jnp.ones((*a.shape[:-1], 1), dtype)
    whole = jnp.concatenate([one, a.astype(dtype)], -1)

    def shrink(a: jax.Array, i: jax.Array) -> tuple[jax.Array, jax.Array]:
        k = lax.dynamic_index_in_dim(a, i, a.ndim - 1, keepdims=False)
        rest = 1 - k * k
        safe = jnp.where(rest == 0, 1, rest)
        less = a - k[..., None] * jnp.roll(a[..., ::-1], i - d, -1)
        scaled = jnp.where(rest[..., None] == 0, 0, less / safe[..., None])
        return scaled.at[..., 0].set(1), k

    _, k = lax.scan(shrink, whole, jnp.arange(d, 0, -1))
    return jnp.moveaxis(k[::-1], 0, -1).astype(a.dtype)
