"""The gate: forms that do not compute the same thing are not compared."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_WORK_TOLERANCE = 0.01


class Red(Exception):
    """Two forms of a case disagree; the message says which, where and by how much."""


def check_values(what: str, got: Any, wanted: Any, tolerance: float) -> float:
    """The largest disagreement of two trees, leaf by leaf, over the largest entry.

    Raises Red above ``tolerance``, for NaN or inf, and for trees that do not match.
    """
    ours, theirs = jax.tree.leaves(got), jax.tree.leaves(wanted)
    if len(ours) != len(theirs):
        raise Red(f"{what}: {len(ours)} arrays beside {len(theirs)}")
    worst = 0.0
    for place, pair in enumerate(zip(ours, theirs, strict=True)):
        dtype = complex if any(map(np.iscomplexobj, pair)) else np.float64
        a, b = (np.asarray(leaf, dtype) for leaf in pair)
        if a.shape != b.shape:
            raise Red(f"{what}: array {place} has shape {a.shape} beside {b.shape}")
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise Red(f"{what}: array {place} is not finite")
        if a.size:
            scale = max(float(np.abs(b).max()), 1e-30)
            worst = max(worst, float(np.abs(a - b).max()) / scale)
    if worst > tolerance:
        raise Red(f"{what}: differ by {worst:.2g}, tolerance {tolerance:.2g}")
    return worst


def check_work(
    what: str, got: Mapping[str, float], wanted: Mapping[str, float]
) -> None:
    """Raise Red unless both count the same work, to one in a hundred."""
    missing = got.keys() ^ wanted.keys()
    if missing:
        raise Red(f"{what}: {', '.join(sorted(missing))} counted on one side only")
    for name, value in got.items():
        if not math.isclose(value, wanted[name], rel_tol=_WORK_TOLERANCE):
            raise Red(f"{what}: {name} {value:.6g} beside {wanted[name]:.6g}")


def gradients(
    function: Callable[..., Any], inputs: tuple[Any, ...], positions: tuple[int, ...]
) -> Any:
    """The gradient of a fixed random projection of the result, by position."""

    def projected(*chosen: Any) -> jax.Array:
        full = list(inputs)
        for position, value in zip(positions, chosen, strict=True):
            full[position] = value
        draw = np.random.default_rng(0)
        total = jnp.zeros((), jnp.float32)
        for leaf in map(jnp.asarray, jax.tree.leaves(function(*full))):
            if jnp.issubdtype(leaf.dtype, jnp.floating):
                weights = jnp.asarray(draw.standard_normal(leaf.shape), leaf.dtype)
                total = total + (weights * leaf).sum().astype(total.dtype)
        return total

    argnums = tuple(range(len(positions)))
    chosen = [inputs[position] for position in positions]
    return jax.jit(jax.grad(projected, argnums))(*chosen)
