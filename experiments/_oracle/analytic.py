"""The analytic variance as a user has it: estimated from data, then used to sample."""

from typing import Any

import jax
import jax.numpy as jnp

from experiments._harness.results import Claim, judge
from experiments._oracle import draws
from experiments._oracle.gaussian import DATA
from kexue_jax import diffusion

STEPS = 10
Report = dict[str, list[float]]


def measure(T: int, count: int, seeds: list[int]) -> Report:
    """Output variance over that of the data, one entry a seed, with it and without."""
    schedule = diffusion.kexue_schedule(T=T, dtype=jnp.float32)
    taus = diffusion.ddim_taus(T=T, S=STEPS)

    @jax.jit
    def run(key: jax.Array, x_T: jax.Array, noise: jax.Array, law: Any) -> Any:
        mean, variance = law

        def eps(x: jax.Array, t: jax.Array) -> jax.Array:
            level = schedule.alpha_bar[t], schedule.beta_bar[t]
            return diffusion.gaussian_eps(x, *level, mean, variance)

        keys = jax.random.split(key, 3)
        data = mean + jnp.sqrt(variance) * noise
        known = diffusion.analytic_variance(keys[0], eps, schedule, data)
        found = {}
        for eta, own in zip((0.0, 1.0), keys[1:], strict=True):
            restored: dict[str, Any] = {"variance": known, "last_noise": True}
            for name, options in (("DDIM", {}), ("analytic", restored)):
                found[f"{name}, eta={eta:g}"] = diffusion.ddim_sample(
                    own, eps, schedule, x_T, taus, eta=eta, **options
                ).x
        return found

    report: Report = {}
    for seed in seeds:
        parts = [draws.start(10 * seed + i, count) for i in (1, 2)]
        for law in DATA:
            numbers = tuple(jnp.asarray(v, jnp.float32) for v in law)
            for name, x in run(jax.random.key(seed), *parts, numbers).items():
                ratio = float(draws.rows(x).var(ddof=1) / law[1])
                report.setdefault(f"{name}, data variance {law[1]:g}", []).append(ratio)
    return report


def claim(report: Report) -> Claim:
    """Whether the estimate restores the variance that a short chain loses."""
    measured: dict[str, Any] = dict(report)
    return judge(
        f"an analytic variance estimated from data restores the output variance at "
        f"{STEPS} steps",
        measured,
        rule="sampled output variance over that of the data; confirmed if its mean "
        "over the seeds is within 0.05 of 1 for both etas and both data, qualified if "
        "it is nearer to 1 than DDIM's",
        confirmed=lambda m: all(
            abs(v.mean() - 1) <= 0.05 for n, v in m.items() if n.startswith("analytic")
        ),
        qualified=lambda m: all(
            abs(v.mean() - 1) < abs(m[n.replace("analytic", "DDIM")].mean() - 1)
            for n, v in m.items()
            if n.startswith("analytic")
        ),
        reported="optimal",
        source="kexue.fm/archives/9245",
    )
