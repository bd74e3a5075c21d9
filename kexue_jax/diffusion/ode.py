"""Samplers in continuous time, of the surrogate alpha_bar(s) = exp(-5 s^2), s = t/T."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks, numerics
from kexue_jax.diffusion._leading import leading
from kexue_jax.diffusion._network import EpsFn, predict
from kexue_jax.diffusion.chain import check_start, step_noise

METHODS = ("euler", "heun", "rk4", "exponential")
TIMES = ("s", "s^2")


def flow_ode_drift(x: jax.Array, eps: jax.Array, s: float | jax.Array) -> jax.Array:
    """dx/ds of the probability flow, given eps = eps_fn(x, s T).

    10 s (eps / sqrt(1 - exp(-10 s^2)) - x).

    Shapes: x, eps [..., *d]; s a number or [...], in [0, 1] -> [..., *d].
    Article: kexue.fm/archives/9228.  Paper: arXiv 2011.13456, eq. 13.
    Differs: no; at s = 0 the factor s / sqrt(...) takes its limit 1 / sqrt(10).
    Cost: O(size of x).
    Raises: TypeError or ValueError for arguments that do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import flow_ode_drift
        >>> print(f"{flow_ode_drift(jnp.ones(2), jnp.ones(2), 0.0)[0]:.4f}")
        3.1623
    """
    return _drift("flow_ode_drift", x, eps, s, 0.0)


def sde_drift(
    x: jax.Array,
    eps: jax.Array,
    s: float | jax.Array,
    *,
    noise_scale: float | jax.Array = 1.0,
) -> jax.Array:
    """dx/ds of the reverse SDE whose noise is sigma = noise_scale g.

    f x - (g^2 + sigma^2) / 2 score = 10 s ((1 + noise_scale^2) eps / sqrt(1 - exp(-10
    s^2)) - x), with f = -10 s, g^2 = 20 s and score = -eps / beta_bar.

    Shapes: x, eps [..., *d]; s a number or [...], in [0, 1]; noise_scale a number or
    scalar -> [..., *d].
    Article: kexue.fm/archives/9209.  Paper: arXiv 2011.13456, eq. 6.
    Differs: the article's family in one function: noise_scale 1 is the SDE of Song,
    0 the probability flow. At s = 0 the quotient takes its limit.
    Cost: O(size of x).
    Raises: TypeError or ValueError for arguments that do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import sde_drift
        >>> print(f"{sde_drift(jnp.ones(2), jnp.ones(2), 1.0)[0]:.4f}")
        10.0005
    """
    name = "sde_drift"
    checks.number(name, "noise_scale", noise_scale, minimum=0, traced=True)
    return _drift(name, x, eps, s, noise_scale)


def ode_sample(
    eps_fn: EpsFn,
    x: jax.Array,
    *,
    T: int = 1000,
    n: int,
    method: str = "heun",
    time: str = "s",
    encode: bool = False,
) -> jax.Array:
    """The end of the probability flow from x, in n steps: data from x_T, or back.

    dx/ds = 10 s (eps_fn(x, s T) / sqrt(1 - exp(-10 s^2)) - x), from s = 1 to 0, or from
    0 to 1 with ``encode``. time="s" takes equal steps of s; time="s^2" integrates
    dx/du = 5 (eps_fn(x, sqrt(u) T) / sqrt(1 - exp(-10 u)) - x) in equal steps of u.

    Shapes: x [B, *d]; eps_fn([B, *d], floating [B] in [0, T]) -> [B, *d] -> [B, *d].
    Article: kexue.fm/archives/9228.  Paper: arXiv 2011.13456, section 4.3.
    Differs: "exponential" integrates the linear part exactly, and is DDIM on the
    surrogate; the article calls DDIM the Euler method of this equation, which holds
    only in the coordinates (x / alpha_bar, beta_bar / alpha_bar). The s^2 form is
    singular at 0 like 1 / sqrt(u): its right side is taken at u >= 1 / T^2, which is
    finite, and it is far less exact than the s form.
    Cost: n calls of eps_fn (heun 2 n, rk4 4 n) in one scan; memory of one x.
    Raises: TypeError or ValueError for bad arguments or an eps_fn that changes the
    shape.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import ode_sample
        >>> eps_fn = lambda x, t: jnp.zeros_like(x)
        >>> x = jnp.full((2, 3), jnp.exp(-5.0))
        >>> print(f"{ode_sample(eps_fn, x, n=200, method='rk4')[0, 0]:.4f}")
        1.0000
    """
    name = "ode_sample"
    checks.function(name, "eps_fn", eps_fn)
    check_start(name, "x", x)
    checks.count(name, "T", T)
    checks.count(name, "n", n)
    checks.choice(name, "method", method, METHODS)
    checks.choice(name, "time", time, TIMES)
    checks.flag(name, "encode", encode)
    dtype = numerics.accumulation_dtype(x)
    result = jnp.result_type(x)

    def eps_at(x: jax.Array, s: jax.Array) -> jax.Array:
        return predict(name, eps_fn, x.astype(result), s * T).astype(dtype)

    def drift(x: jax.Array, r: jax.Array) -> jax.Array:
        if time == "s":
            return flow_ode_drift(x, eps_at(x, r), r)
        s = jnp.sqrt(jnp.maximum(r, 1 / T**2))
        return flow_ode_drift(x, eps_at(x, s), s) / (2 * s)

    def body(x: jax.Array, ends: jax.Array) -> tuple[jax.Array, None]:
        start, end = ends
        if method == "exponential":
            s, s_end = (start, end) if time == "s" else (start**0.5, end**0.5)
            return _exponential(eps_at, x, s, s_end), None
        return _RUNGE_KUTTA[method](drift, x, start, end - start), None

    grid = np.linspace(0, 1, n + 1) if encode else np.linspace(1, 0, n + 1)
    ends = jnp.asarray(np.stack([grid[:-1], grid[1:]], -1), dtype)
    end, _ = jax.lax.scan(body, jnp.asarray(x, dtype), ends)
    return end.astype(result)


def sde_sample(
    key: jax.Array,
    eps_fn: EpsFn,
    x_T: jax.Array,
    *,
    T: int = 1000,
    n: int,
    noise_scale: float | jax.Array = 1.0,
    last_noise: bool = False,
) -> jax.Array:
    """A sample of the reverse SDE by n Euler-Maruyama steps from s = 1 to 0.

    x <- x - h sde_drift(x, eps_fn(x, s T), s) + noise_scale sqrt(20 s h) z_i at s = i /
    n, for i = n..1, h = 1 / n; z_i is normal of ``fold_in(key, i)``.

    Shapes: x_T [B, *d]; eps_fn([B, *d], floating [B] in (0, T]) -> [B, *d]; noise_scale
    a number or scalar -> [B, *d].
    Article: kexue.fm/archives/9209.  Paper: arXiv 2011.13456, algorithm in appendix D.
    Differs: noise in the last step only with ``last_noise``, as in the paper's code.
    Cost: n calls of eps_fn in one scan; memory of one x. Needs many more steps than
    ``ddpm_sample``: 10 h < 1 at the very least.
    Raises: TypeError or ValueError for bad arguments or an eps_fn that changes the
    shape.
    Example:
        >>> import jax
        >>> from kexue_jax.diffusion import sde_sample
        >>> eps_fn = lambda x, t: 0.5 * x
        >>> sde_sample(jax.random.key(0), eps_fn, jax.numpy.ones((2, 3)), n=50).shape
        (2, 3)
    """
    name = "sde_sample"
    checks.key(name, "key", key)
    checks.function(name, "eps_fn", eps_fn)
    check_start(name, "x_T", x_T)
    checks.count(name, "T", T)
    checks.count(name, "n", n)
    checks.number(name, "noise_scale", noise_scale, minimum=0, traced=True)
    checks.flag(name, "last_noise", last_noise)
    dtype = numerics.accumulation_dtype(x_T)
    result = jnp.result_type(x_T)
    scale = jnp.asarray(noise_scale, dtype)

    def body(x: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
        s = i.astype(dtype) / n
        eps = predict(name, eps_fn, x.astype(result), s * T).astype(dtype)
        rate = scale * jnp.sqrt(20 * s / n)
        if not last_noise:
            rate = jnp.where(i == 1, 0, rate)
        noise = step_noise(key, i, x)
        drift = sde_drift(x, eps, s, noise_scale=scale)
        return x - drift / n + rate * noise, None

    steps = jnp.arange(n, 0, -1, dtype=jnp.int32)
    x, _ = jax.lax.scan(body, jnp.asarray(x_T, dtype), steps)
    return x.astype(result)


def _drift(name: str, x: Any, eps: Any, s: Any, noise_scale: Any) -> jax.Array:
    checks.array(name, "x", x)
    checks.array(name, "eps", eps)
    s = leading(name, "s", s, x, minimum=0, maximum=1)
    checks.shapes(name, x=(x, "*d"), eps=(eps, "*d"))
    dtype = numerics.accumulation_dtype(x)
    squared = -jnp.expm1(-10 * s**2)
    kept = squared > 0
    quotient = jnp.where(kept, s / jnp.sqrt(jnp.where(kept, squared, 1)), 0.1**0.5)
    eps_rate = 10 * quotient * (1 + jnp.asarray(noise_scale, dtype) ** 2)
    drift = eps_rate * jnp.asarray(eps, dtype) - 10 * s * jnp.asarray(x, dtype)
    return drift.astype(x.dtype)


def _exponential(
    eps_at: Callable[..., jax.Array], x: jax.Array, s: jax.Array, end: jax.Array
) -> jax.Array:
    """x at ``end`` with eps frozen at s: DDIM on the surrogate."""
    a = jnp.exp(5 * (s**2 - end**2))  # alpha_bar(end) / alpha_bar(s)
    here, there = (jnp.sqrt(-jnp.expm1(-10 * r**2)) for r in (s, end))
    return a * x + (there - a * here) * eps_at(x, s)


def _euler(drift: Any, x: jax.Array, r: jax.Array, h: jax.Array) -> jax.Array:
    return x + h * drift(x, r)


def _heun(drift: Any, x: jax.Array, r: jax.Array, h: jax.Array) -> jax.Array:
    first = drift(x, r)
    return x + h / 2 * (first + drift(x + h * first, r + h))


def _rk4(drift: Any, x: jax.Array, r: jax.Array, h: jax.Array) -> jax.Array:
    first = drift(x, r)
    second = drift(x + h / 2 * first, r + h / 2)
    third = drift(x + h / 2 * second, r + h / 2)
    fourth = drift(x + h * third, r + h)
    return x + h / 6 * (first + 2 * second + 2 * third + fourth)


_RUNGE_KUTTA = {"euler": _euler, "heun": _heun, "rk4": _rk4}
