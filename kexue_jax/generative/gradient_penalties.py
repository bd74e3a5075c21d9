"""Penalties on a critic's slopes: at points (GP, R1, WGAN-div) and between points."""

from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_divide
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.generative._critics import (
    Critic,
    along_examples,
    check_batch,
    check_critic,
    example_norm,
    value_and_slope,
)

PLACES = ("interp", "real", "fake")
Number = float | jax.Array


def gradient_penalty(
    key: jax.Array | None,
    critic: Critic,
    x_real: jax.Array | None,
    x_fake: jax.Array | None,
    *,
    target: Number = 1.0,
    one_sided: bool = False,
    power: float = 2,
    weight: Number = 10.0,
    where: str = "interp",
) -> jax.Array:
    """The penalty on a critic's gradients at real or fake points or between them.

    weight mean_b |n_b - target|^power, or of max(n_b - target, 0)^power if
    ``one_sided``, with n_b the norm of the gradient by example b at x_b = u_b real_b +
    (1 - u_b) fake_b, u = jax.random.uniform(key, [B]) for "interp", at real_b or at
    fake_b for "real" and "fake".

    The defaults are WGAN-GP's. R1 with gamma: where="real", target=0, weight=gamma / 2.
    WGAN-div: target=0, power=6, weight=2.

    Shapes: key [] or None (needed for "interp"), critic a function of [B, *d] to [B],
    x_real [B, *d], x_fake [B, *d]; the one that is not needed may be None -> [].
    Article: kexue.fm/archives/4439, 6051, 6139.
    Paper: arXiv 1704.00028, 1801.04406, 1712.01026.
    Differs: no. At a gradient of 0 the penalty's own gradient is 0, where a plain root
    gives NaN. Value b must depend on example b alone (no batch norm).
    Cost: a forward and a backward pass; its gradient differentiates through both.
    Raises: TypeError or ValueError for a bad key, critic or batch, batches of two
    shapes, a target or weight below 0, a power below 1, an unknown ``where``.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.generative import gradient_penalty
        >>> x = jnp.ones((4, 2))
        >>> f = lambda x: 3 * x[:, 0] + 4 * x[:, 1]
        >>> print(gradient_penalty(jax.random.key(0), f, x, -x))
        160.0
    """
    name = "gradient_penalty"
    checks.choice(name, "where", where, PLACES)
    _check_penalty(name, target, one_sided, power, weight)
    x = _points(name, key, x_real, x_fake, where)
    check_critic(name, "critic", critic, x)
    norm = example_norm(value_and_slope(critic, x)[1])
    penalty = _power(norm - target, one_sided, power)
    return (weight * jnp.mean(penalty)).astype(x.dtype)


def difference_quotient_penalty(
    critic: Critic,
    x_1: jax.Array,
    x_2: jax.Array,
    *,
    target: Number = 1.0,
    one_sided: bool = False,
    power: float = 2,
    weight: Number = 10.0,
) -> jax.Array:
    """The penalty on a critic's difference quotients between pairs of points.

    weight mean_b |q_b - target|^power with q_b = |critic(x_1)_b - critic(x_2)_b| /
    |x_1_b - x_2_b|, or of max(q_b - target, 0)^power if ``one_sided``.

    Shapes: critic a function of [B, *d] to [B], x_1 [B, *d], x_2 [B, *d] -> [].
    Article: kexue.fm/archives/4439, 6051.  Paper: arXiv 1709.08894.
    Differs: a pair of equal points says nothing and counts as 0.
    Cost: two forward passes, in one batch of 2 B; no second derivatives.
    Raises: TypeError or ValueError for a bad critic or batch, batches of two shapes, a
    target or weight below 0, a power below 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import difference_quotient_penalty
        >>> x = jnp.array([[3.0], [1.0]])
        >>> print(difference_quotient_penalty(lambda x: x[:, 0] ** 2, x, 0 * x))
        20.0
    """
    name = "difference_quotient_penalty"
    _check_penalty(name, target, one_sided, power, weight)
    check_batch(name, "x_1", x_1)
    check_batch(name, "x_2", x_2)
    checks.same_dtype(name, x_1=x_1, x_2=x_2)
    _same_shape(name, "x_2", x_2, "x_1", x_1)
    check_critic(name, "critic", critic, x_1)
    both = jnp.concatenate([jnp.asarray(x_1), jnp.asarray(x_2)])
    value = critic(both)
    value = value.astype(accumulation_dtype(value))
    first, second = jnp.split(value, 2)
    distance = example_norm(jnp.subtract(x_1, x_2)).astype(value.dtype)
    quotient = safe_divide(jnp.abs(first - second), distance)
    penalty = _power(quotient - target, one_sided, power)
    penalty = jnp.where(distance > 0, penalty, jnp.zeros_like(penalty))
    return (weight * jnp.mean(penalty)).astype(x_1.dtype)


def _points(name: str, key: Any, x_real: Any, x_fake: Any, where: str) -> jax.Array:
    """The points at which gradients are taken."""
    if where != "fake" or x_real is not None:
        check_batch(name, "x_real", x_real)
    if where != "real" or x_fake is not None:
        check_batch(name, "x_fake", x_fake)
    if where != "interp" and key is not None:
        checks.key(name, "key", key)
    if where != "interp":
        return jnp.asarray(x_real if where == "real" else x_fake)
    checks.key(name, "key", key)
    checks.same_dtype(name, x_real=x_real, x_fake=x_fake)
    real, fake = jnp.asarray(x_real), jnp.asarray(x_fake)
    _same_shape(name, "x_fake", fake, "x_real", real)
    dtype = accumulation_dtype(real)
    share = jax.random.uniform(key, real.shape[:1], dtype).astype(real.dtype)
    share = along_examples(share, real)
    return share * real + (1 - share) * fake


def _power(excess: jax.Array, one_sided: bool, power: float) -> jax.Array:
    """|excess|^power, or max(excess, 0)^power."""
    if one_sided:
        excess = jnp.maximum(excess, 0)
    if power == 2:
        return jnp.square(excess)
    return jnp.abs(excess) ** (int(power) if power == int(power) else power)


def _same_shape(
    name: str, argument: str, x: jax.Array, other: str, y: jax.Array
) -> None:
    if x.shape != y.shape:
        wanted = f"of shape {y.shape} as `{other}` is"
        raise checks.fail(name, argument, f"shape {x.shape}", wanted)


def _check_penalty(
    name: str, target: object, one_sided: object, power: object, weight: object
) -> None:
    checks.number(name, "target", target, minimum=0, traced=True)
    checks.flag(name, "one_sided", one_sided)
    checks.number(name, "power", power, minimum=1)
    checks.number(name, "weight", weight, minimum=0, traced=True)
