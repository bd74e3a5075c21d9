"""Learning rates as functions of the step, as optax takes them."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks

Schedule = Callable[[jax.typing.ArrayLike], jax.Array]


def piecewise_linear(
    multipliers: Mapping[int, float], *, base: float | jax.Array = 1.0
) -> Schedule:
    """An optax schedule of straight lines between given multiples of one rate.

    rate(step) = base * interpolate(step, multipliers): linear between neighboring
    steps of ``multipliers``, constant before the first and after the last.

    Shapes: {step: multiplier} -> a function step [...] -> rate [...].
    Article: kexue.fm/archives/9152.  Paper: none (the author's training recipe:
    ``{0: 0, 4000: 1, 20000: 0.5, 40000: 0.1}`` and ``base=1e-3``).
    Differs: the author's code adds ``0: 0`` by itself; here it is written out.
    Cost: O(number of steps given) for each rate.
    Raises: TypeError or ValueError unless ``multipliers`` is a mapping, not empty, from
    integers of at least 0 to finite numbers of at least 0, and ``base`` is a finite
    number of at least 0 or a scalar array; TypeError for a step that is no number.
    Example:
        >>> from kexue_jax.optim import piecewise_linear
        >>> rate = piecewise_linear({0: 0, 4000: 1, 20000: 0.5}, base=1e-3)
        >>> [f"{rate(step):.6f}" for step in (0, 2000, 4000, 12000, 10**6)]
        ['0.000000', '0.000500', '0.001000', '0.000750', '0.000500']
    """
    name = "piecewise_linear"
    if not isinstance(multipliers, Mapping):
        got = f"a {type(multipliers).__name__}"
        raise checks.fail_type(name, "multipliers", got, "a mapping {step: multiplier}")
    if not multipliers:
        raise checks.fail(name, "multipliers", "an empty mapping", "not empty")
    for step, multiplier in multipliers.items():
        checks.count(name, "multipliers", step, minimum=0)
        checks.number(name, "multipliers", multiplier, minimum=0)
    checks.number(name, "base", base, minimum=0, traced=True)
    steps = np.array(sorted(multipliers), np.float64)
    values = np.array([multipliers[int(step)] for step in steps], np.float64)

    def rate(step: jax.typing.ArrayLike) -> jax.Array:
        _check_step(name, step)
        return base * jnp.interp(step, steps, values)

    return rate


def _check_step(name: str, step: Any) -> None:
    """Raise unless ``step`` is a number or an array of real numbers."""
    if not checks.is_array(step):
        checks.number(name, "step", step)
        return
    checks.array(name, "step", step, "number")
    if jnp.iscomplexobj(step):
        raise checks.fail_type(name, "step", f"dtype {step.dtype}", "real")
