"""The network as a function, and the one check of what it returns."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks

EpsFn = Callable[[jax.Array, jax.Array], jax.Array]


def predict(name: str, eps_fn: EpsFn, x: jax.Array, t: Any) -> jax.Array:
    """``eps_fn(x, t)``, a scalar t given to every example.

    Raises ValueError unless the result is an array of the shape of x.
    """
    out = eps_fn(x, t if jnp.ndim(t) else jnp.full(x.shape[:1], t))
    if not checks.is_array(out) or out.shape != x.shape:
        kind = f"type {type(out).__name__}"
        got = f"a result of {f'shape {out.shape}' if checks.is_array(out) else kind}"
        wanted = f"a function that keeps the shape {x.shape} of x"
        raise checks.fail(name, "eps_fn", got, wanted)
    return out
