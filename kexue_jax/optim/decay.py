"""Rates that fall by the theory of convergence."""

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax.optim.schedules import Schedule, _check_step


def sqrt_decay(*, alpha: float | jax.Array) -> Schedule:
    """An optax schedule that falls with the square root of the step.

    rate(step) = alpha / sqrt(step + 1).

    Shapes: -> a function step [...] -> rate [...].
    Article: kexue.fm/archives/9902.  Paper: Zinkevich 2003.
    Differs: the article counts steps from 1, optax from 0. The bound on the average
    regret is smallest for alpha = D / (sqrt(2) G), sqrt(2) D G / sqrt(T) at every T.
    Cost: none worth the name.
    Raises: TypeError or ValueError for an ``alpha`` that is no finite number of at
    least 0 and no floating scalar; TypeError for a step that is no number.
    Example:
        >>> from kexue_jax.optim import sqrt_decay
        >>> rate = sqrt_decay(alpha=0.5)
        >>> print(rate(0), rate(3), rate(99))
        0.5 0.25 0.05
    """
    name = "sqrt_decay"
    checks.number(name, "alpha", alpha, minimum=0, traced=True)

    def rate(step: jax.typing.ArrayLike) -> jax.Array:
        _check_step(name, step)
        return alpha / jnp.sqrt(jnp.asarray(step) + 1.0)

    return rate
