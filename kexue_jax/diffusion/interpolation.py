"""Interpolation of latents on the sphere, and of images through a noised chain."""

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, numerics
from kexue_jax.diffusion._leading import leading
from kexue_jax.diffusion._network import EpsFn
from kexue_jax.diffusion.ancestral import ddpm_sample
from kexue_jax.diffusion.chain import step_noise
from kexue_jax.diffusion.schedules import Schedule, check_schedule


def slerp(z1: jax.Array, z2: jax.Array, lam: float | jax.Array) -> jax.Array:
    """The point at ``lam`` of the quarter circle from z1 to z2.

    z1 cos(lam pi / 2) + z2 sin(lam pi / 2): independent N(0, I) latents stay N(0, I),
    where the straight line shrinks their variance to lam^2 + (1 - lam)^2.

    Shapes: z1, z2 [..., *d]; lam a number or [...] -> [..., *d].
    Article: kexue.fm/archives/9181.  Paper: arXiv 2010.02502, section 5.3.
    Differs: the angle is pi / 2 whatever the latents, so that the variance is kept
    exactly; the paper measures the angle between z1 and z2 (near pi / 2 in many
    dimensions).
    Cost: O(size of z1).
    Raises: TypeError or ValueError for arguments that do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import slerp
        >>> print(f"{slerp(jnp.ones(2), jnp.zeros(2), 0.5)[0]:.4f}")
        0.7071
    """
    name = "slerp"
    _check_pair(name, z1=z1, z2=z2)
    angle = leading(name, "lam", lam, z1) * (jnp.pi / 2)
    dtype = numerics.accumulation_dtype(z1)
    first, second = jnp.asarray(z1, dtype), jnp.asarray(z2, dtype)
    return (first * jnp.cos(angle) + second * jnp.sin(angle)).astype(z1.dtype)


def interpolate_images(
    key: jax.Array,
    eps_fn: EpsFn,
    schedule: Schedule,
    x1: jax.Array,
    x2: jax.Array,
    lam: float | jax.Array,
    *,
    t0: int,
    kind: str = "author",
    sigma: str = "beta",
    clip_x0: bool = False,
) -> jax.Array:
    """Images between x1 and x2: noised to step t0 and brought back by the DDPM chain.

    author: x_t0 = alpha_bar_t0 ((1 - lam) x1 + lam x2) + beta_bar_t0 z; paper: x_t0 =
    (1 - lam) (alpha_bar_t0 x1 + beta_bar_t0 z1) + lam (alpha_bar_t0 x2 + beta_bar_t0
    z2). Then ``ddpm_sample(key, ..., x_t0, start=t0)``. z = z1 is normal of
    ``fold_in(key, 0)``, z2 of ``fold_in(key, T + 1)``.

    Shapes: x1, x2 [B, *d]; lam a number or [B]; eps_fn([B, *d], int32 [B]) -> [B, *d]
    -> [B, *d].
    Article: kexue.fm/archives/9152.  Paper: arXiv 2006.11239, section 4.4.
    Differs: the author's code noises to t0 and starts the chain at T - t0; here it
    starts at t0. The paper's mix has noise of variance (lam^2 + (1 - lam)^2)
    beta_bar^2, less than the chain expects: its images are smoother.
    Cost: t0 calls of eps_fn in one scan; memory of one x.
    Raises: TypeError or ValueError for bad arguments, t0 outside 1..T, or an unknown
    kind or sigma ("analytic" is not offered).
    Example:
        >>> import jax
        >>> from kexue_jax.diffusion import interpolate_images, kexue_schedule
        >>> key, x = jax.random.key(0), jax.numpy.ones((2, 3))
        >>> eps_fn, schedule = lambda x, t: 0 * x, kexue_schedule(T=100)
        >>> interpolate_images(key, eps_fn, schedule, x, -x, 0.5, t0=9).shape
        (2, 3)
    """
    name = "interpolate_images"
    checks.key(name, "key", key)
    checks.function(name, "eps_fn", eps_fn)
    check_schedule(name, schedule)
    _check_pair(name, x1=x1, x2=x2)
    checks.shapes(name, x1=(x1, "B *d"))
    mixing = leading(name, "lam", lam, x1)
    checks.count(name, "t0", t0)
    if t0 > schedule.T:
        raise checks.fail(name, "t0", t0, f"at most T = {schedule.T}")
    checks.choice(name, "kind", kind, ("author", "paper"))
    checks.choice(name, "sigma", sigma, ("beta", "posterior", "zero"))
    checks.flag(name, "clip_x0", clip_x0)
    dtype = numerics.accumulation_dtype(x1)
    first, second = jnp.asarray(x1, dtype), jnp.asarray(x2, dtype)
    noise = step_noise(key, 0, first)
    if kind == "paper":
        other = step_noise(key, schedule.T + 1, first)
        noise = (1 - mixing) * noise + mixing * other
    mixed = (1 - mixing) * first + mixing * second
    alpha_bar = jnp.asarray(schedule.alpha_bar, dtype)[t0]
    beta_bar = jnp.asarray(schedule.beta_bar, dtype)[t0]
    x = (alpha_bar * mixed + beta_bar * noise).astype(x1.dtype)
    return ddpm_sample(
        key, eps_fn, schedule, x, start=t0, sigma=sigma, clip_x0=clip_x0
    ).x


def _check_pair(name: str, **pair: jax.Array) -> None:
    for argument, value in pair.items():
        checks.array(name, argument, value)
    checks.shapes(name, **{a: (v, "*d") for a, v in pair.items()})
    checks.same_dtype(name, **pair)
