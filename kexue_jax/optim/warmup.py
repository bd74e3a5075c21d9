"""Rates, and weights of residual branches, that start small."""

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax.optim.schedules import Schedule, _check_step


def linear_warmup(
    after: Schedule | None = None, *, steps: int, base: float | jax.Array = 1.0
) -> Schedule:
    """An optax schedule that rises in a straight line and then follows another one.

    rate(step) = base * min(1, step / steps) * after(step), after = 1 if it is None.

    Shapes: after a function step -> rate -> a function step [...] -> rate [...].
    Article: kexue.fm/archives/8747, 7180.  Paper: arXiv 2002.04745.
    Differs: no. The weight alpha of residual branches that the author raises from 0 to
    1 in place of a warm-up is this with base 1: hand it to the loss, never to the
    optimizer, which would train it.
    Cost: none worth the name.
    Raises: TypeError or ValueError for an ``after`` that is no function, a count of
    steps below 1, a ``base`` that is no finite number of at least 0 and no floating
    scalar; TypeError for a step that is no number.
    Example:
        >>> from kexue_jax.optim import linear_warmup, sqrt_decay
        >>> rate = linear_warmup(sqrt_decay(alpha=1.0), steps=9, base=0.5)
        >>> [round(float(rate(step)), 4) for step in (0, 3, 8, 99)]
        [0.0, 0.0833, 0.1481, 0.05]
    """
    name = "linear_warmup"
    if after is not None:
        checks.function(name, "after", after)
    checks.count(name, "steps", steps)
    checks.number(name, "base", base, minimum=0, traced=True)

    def rate(step: jax.typing.ArrayLike) -> jax.Array:
        _check_step(name, step)
        risen = base * jnp.minimum(jnp.asarray(step) / steps, 1.0)
        return risen if after is None else risen * after(step)

    return rate


def noam(*, width: int, steps: int, base: float | jax.Array = 1.0) -> Schedule:
    """An optax schedule that rises for some steps and falls with the square root then.

    rate(step) = base * width^(-1/2) * min(t^(-1/2), t * steps^(-3/2)), t = step + 1.

    Shapes: -> a function step [...] -> rate [...].
    Article: kexue.fm/archives/8747.  Paper: arXiv 1706.03762, section 5.3.
    Differs: the paper counts steps from 1, optax from 0. Its peak is
    base / sqrt(width steps), at t = steps.
    Cost: none worth the name.
    Raises: TypeError or ValueError for a width or a count of steps below 1, a ``base``
    that is no finite number of at least 0 and no floating scalar; TypeError for a step
    that is no number.
    Example:
        >>> from kexue_jax.optim import noam
        >>> rate = noam(width=64, steps=100)
        >>> [round(float(rate(step)), 6) for step in (0, 99, 399)]
        [0.000125, 0.0125, 0.00625]
    """
    name = "noam"
    checks.count(name, "width", width)
    checks.count(name, "steps", steps)
    checks.number(name, "base", base, minimum=0, traced=True)

    def rate(step: jax.typing.ArrayLike) -> jax.Array:
        _check_step(name, step)
        t = jnp.asarray(step) + 1.0
        return base * width**-0.5 * jnp.minimum(1 / jnp.sqrt(t), t * steps**-1.5)

    return rate
