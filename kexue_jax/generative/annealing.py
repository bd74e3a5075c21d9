"""Annealed importance sampling: ratios of normalizers through a path of densities."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax._base.varying import varying_alike
from kexue_jax.generative._weights import density

LogDensity = Callable[[jax.Array], jax.Array]


class Annealed(NamedTuple):
    """What the chains of ``annealed_log_weights`` leave, each [...] but z [..., k].

    ``log_w`` are the logarithms of the weights, ``z`` the last states, ``accepted`` the
    share of moves that were taken.

    Article: kexue.fm/archives/8791.
    """

    log_w: jax.Array
    z: jax.Array
    accepted: jax.Array


def annealed_log_weights(
    key: jax.Array,
    z: jax.Array,
    log_start: LogDensity,
    log_end: LogDensity,
    *,
    betas: Sequence[float] | np.ndarray | jax.Array,
    step_size: float | jax.Array,
    leapfrog_steps: int = 10,
) -> Annealed:
    """The weights of annealed importance sampling from one density to another.

    log f_t = (1 - beta_t) log_start + beta_t log_end; log w = sum_t (beta_t -
    beta_(t-1)) (log_end - log_start)(z_(t-1)), t = 1..T, where z_t comes from z_(t-1)
    by one Hamiltonian move that keeps f_t: momentum of ``normal(fold_in(key, 2 t),
    z.shape)``, leapfrog steps of ``step_size``, taken if log of the uniform numbers of
    ``fold_in(key, 2 t + 1)`` is below the change of log f_t - |momentum|^2 / 2.

    For z drawn from the start the mean of w is unbiased for the ratio of the end's
    normalizer to the start's: with log_start a normalized proposal and log_end the
    joint density of x and z, ``iwae_bound(log_w)`` is a bound of log q(x) from below.
    From the end, for z drawn from the exact posterior and both functions exchanged,
    minus it is one from above (bidirectional Monte Carlo).

    Shapes: z [..., k], log_start and log_end of z [..., k] -> [...], betas [T + 1]
    rising from 0 to 1 -> Annealed of [...], z [..., k], in at least float32.
    Article: kexue.fm/archives/8791.  Paper: arXiv 1611.04273, 1511.02543.
    Differs: no.
    Cost: T leapfrog_steps gradients of both functions; the memory of one.
    Raises: TypeError or ValueError for a wrong key, array or number, betas that are not
    [T + 1] numbers, known at trace time, that rise from 0 to 1, and for functions
    that give other shapes.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.generative import annealed_log_weights, iwae_bound
        >>> start, end = lambda z: -(z**2).sum(-1), lambda z: -2 * (z**2).sum(-1)
        >>> z = jax.random.normal(jax.random.key(0), (500, 1)) / 2**0.5
        >>> found = annealed_log_weights(jax.random.key(1), z, start, end,
        ...                              betas=jnp.linspace(0, 1, 21), step_size=0.1)
        >>> print(f"{jnp.exp(iwae_bound(found.log_w)):.1f}")  # sqrt(1 / 2)
        0.7
    """
    name = "annealed_log_weights"
    checks.key(name, "key", key)
    checks.array(name, "z", z)
    if z.ndim < 1:
        raise checks.fail(name, "z", f"shape {z.shape}", "of shape [..., k]")
    checks.function(name, "log_start", log_start)
    checks.function(name, "log_end", log_end)
    checks.number(
        name, "step_size", step_size, minimum=0, open_minimum=True, traced=True
    )
    checks.count(name, "leapfrog_steps", leapfrog_steps)
    z = jnp.asarray(z, accumulation_dtype(z))
    beta = jnp.asarray(_checked_betas(name, betas), z.dtype)
    step = jnp.asarray(step_size, z.dtype)
    lead = z.shape[:-1]

    def ends(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        first = density(name, "log_start", log_start(z), lead)
        return first, density(name, "log_end", log_end(z), lead)

    def turn(carry: Any, now: Any) -> Any:
        z, log_w, accepted = carry
        t, before, after = now
        first, last = ends(z)
        log_w = log_w + ((after - before) * (last - first)).astype(z.dtype)

        def path(z: jax.Array) -> jax.Array:
            first, last = ends(z)
            return ((1 - after) * first + after * last).astype(z.dtype)

        z, taken = _move(key, t, z, path, step, leapfrog_steps)
        return (z, log_w, accepted + taken), None

    none = jnp.zeros_like(z, shape=lead)
    start = varying_alike(z, none, none)
    count = beta.shape[0] - 1
    times = (jnp.arange(1, count + 1), beta[:-1], beta[1:])
    (z, log_w, accepted), _ = lax.scan(turn, tuple(start), times)
    return Annealed(log_w, z, accepted / count)


def _checked_betas(name: str, betas: Any) -> np.ndarray:
    known = checks.concrete(name, "betas", betas, "number").astype(float)
    wanted = "[T + 1] numbers that rise from 0 to 1"
    if known.ndim != 1 or known.shape[0] < 2:
        raise checks.fail(name, "betas", f"shape {known.shape}", wanted)
    if not (known[0] == 0 and known[-1] == 1 and (known[1:] >= known[:-1]).all()):
        raise checks.fail(name, "betas", "others", wanted)
    return known


def _move(
    key: jax.Array,
    t: jax.Array,
    z: jax.Array,
    path: LogDensity,
    step: jax.Array,
    leapfrog_steps: int,
) -> tuple[jax.Array, jax.Array]:
    """One Hamiltonian move of every chain, and 1 where it was taken."""
    momentum = jax.random.normal(jax.random.fold_in(key, 2 * t), z.shape, z.dtype)
    uniform = jax.random.uniform(
        jax.random.fold_in(key, 2 * t + 1), z.shape[:-1], z.dtype
    )
    slope = jax.grad(lambda z: jnp.sum(path(z)))

    def leap(state: Any, _: None) -> Any:
        z, p = state
        z = z + step * p
        return (z, p + step * slope(z)), None

    p = momentum + step / 2 * slope(z)
    (new, p), _ = lax.scan(leap, (z, p), length=leapfrog_steps)
    # The last step was a whole one for the momentum: half of it goes back.
    p = p - step / 2 * slope(new)
    energy = jnp.sum(jnp.square(momentum) - jnp.square(p), -1) / 2
    change = path(new) - path(z) + energy
    # Where the move has left all numbers it is not taken.
    taken = jnp.log(uniform) < jnp.where(jnp.isnan(change), -jnp.inf, change)
    kept = jnp.where(taken[..., None], new, z)
    return kept, taken.astype(z.dtype)
