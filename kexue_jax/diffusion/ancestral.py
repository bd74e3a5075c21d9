"""Ancestral sampling of a DDPM, with every kind of variance."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks
from kexue_jax.diffusion._network import EpsFn
from kexue_jax.diffusion.chain import (
    Sample,
    check_frames,
    check_start,
    run_chain,
    step_noise,
)
from kexue_jax.diffusion.moves import (
    adjacent_move,
    apply_move,
    ddpm_coefficients,
    variance_at,
)
from kexue_jax.diffusion.schedules import Schedule, check_schedule
from kexue_jax.diffusion.steps import check_sigma


def ddpm_sample(
    key: jax.Array | None,
    eps_fn: EpsFn,
    schedule: Schedule,
    x_T: jax.Array | None = None,
    *,
    shape: Sequence[int] | None = None,
    dtype: Any = jnp.float32,
    start: int | None = None,
    sigma: str = "beta",
    variance: jax.Array | None = None,
    last_noise: bool = False,
    clip_x0: bool = False,
    clip_final: bool = False,
    frames: int = 0,
    frames_of: str = "x",
) -> Sample:
    """A sample of the chain that runs t = start..1, from x_T or from N(0, I).

    x_{t-1} = (x_t - beta_t^2 / beta_bar_t eps_fn(x_t, t)) / alpha_t + sigma_t z_t, with
    sigma_t as in ``ddpm_step``; z_t is normal of ``fold_in(key, t)``, and x_T, where it
    is drawn, of ``fold_in(key, 0)``.

    Shapes: x_T [B, *d] or shape = (B, *d); eps_fn([B, *d], int32 [B]) -> [B, *d];
    variance [T + 1] -> Sample(x [B, *d], frames [frames, B, *d]).
    Article: kexue.fm/archives/9119 and 9164 (9245).  Paper: arXiv 2006.11239,
    algorithm 2.
    Differs: noise at t = 1 only with ``last_noise`` (the author's code adds it, the
    paper not). ``start`` (default T) runs a partial chain: x_T is then x at that level.
    ``clip_final`` cuts the result to [-1, 1], as the author does. The key may be None
    with sigma="zero" and a given x_T. x is carried in at least float32.
    Cost: ``start`` calls of eps_fn in one scan; memory of one x and of the frames,
    which are spread evenly and show x_t or, with frames_of="x0", the estimate of x_0.
    Raises: TypeError or ValueError for bad arguments, both or neither of x_T and shape,
    a start without x_T, or an eps_fn that changes the shape.
    Example:
        >>> import jax
        >>> from kexue_jax.diffusion import ddpm_sample, kexue_schedule
        >>> eps_fn = lambda x, t: 0.5 * x
        >>> key, schedule = jax.random.key(0), kexue_schedule(T=100)
        >>> ddpm_sample(key, eps_fn, schedule, shape=(2, 3)).x.shape
        (2, 3)
    """
    name = "ddpm_sample"
    checks.function(name, "eps_fn", eps_fn)
    check_schedule(name, schedule)
    check_sigma(name, sigma, variance, schedule)
    checks.flag(name, "last_noise", last_noise)
    checks.flag(name, "clip_x0", clip_x0)
    checks.flag(name, "clip_final", clip_final)
    first = _check_level(name, start, schedule, x_T)
    if key is not None or sigma != "zero":
        checks.key(name, "key", key)
    check_frames(name, frames, frames_of, first)
    x = _start(name, key, x_T, shape, dtype)
    noise_key = None if sigma == "zero" else key

    def move(x: jax.Array, eps: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        step = adjacent_move(schedule, t, x)
        known = variance_at(variance, t, x)
        rates = ddpm_coefficients(step, sigma, known, last_noise)
        noise = None if noise_key is None else step_noise(noise_key, t, x)
        return apply_move(step, rates, x, eps, noise, clip_x0)

    levels = (np.arange(first, 0, -1),)
    sample = run_chain(
        name, eps_fn, x, levels, move, frames=frames, frames_of=frames_of
    )
    return sample._replace(x=jnp.clip(sample.x, -1, 1)) if clip_final else sample


def _check_level(
    name: str, start: int | None, schedule: Schedule, x_T: jax.Array | None
) -> int:
    """The first level of the chain."""
    if start is None:
        return schedule.T
    checks.count(name, "start", start)
    if start > schedule.T:
        raise checks.fail(name, "start", start, f"at most T = {schedule.T}")
    if x_T is None:
        wanted = "None unless x at that level is given as `x_T`"
        raise checks.fail(name, "start", start, wanted)
    return start


def _start(
    name: str,
    key: jax.Array | None,
    x_T: jax.Array | None,
    shape: Sequence[int] | None,
    dtype: Any,
) -> jax.Array:
    """x_T as given, or drawn from ``fold_in(key, 0)``."""
    if (x_T is None) == (shape is None):
        got = "neither" if shape is None else "both"
        raise checks.fail(name, "shape", got, "given, or `x_T`, and not both")
    if x_T is not None:
        check_start(name, "x_T", x_T)
        return jnp.asarray(x_T)
    if not isinstance(shape, (tuple, list)):
        got = f"a {type(shape).__name__}"
        raise checks.fail_type(name, "shape", got, "a tuple of integers")
    for size in shape:
        checks.count(name, "shape", size, minimum=0)
    if not shape:
        raise checks.fail(name, "shape", "()", "(B, *d), with a batch axis in front")
    if key is None:
        raise checks.fail_type(name, "key", "None", "a key where x_T is drawn")
    return step_noise(key, 0, jnp.empty(tuple(shape), checked_dtype(name, dtype)))


def checked_dtype(name: str, dtype: Any) -> jnp.dtype:
    """``dtype`` as a floating jax dtype."""
    try:
        result = jnp.dtype(dtype)
    except TypeError:
        result = None
    if dtype is None or result is None or not jnp.issubdtype(result, jnp.floating):
        raise checks.fail_type(name, "dtype", repr(dtype), "a floating-point dtype")
    return result
