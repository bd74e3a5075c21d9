"""Two ways to start a chain off its course: a schedule at another T, a leading grid.

x_T is drawn from N(0, 1), while the chain's own x_T has the mean alpha_bar_T times that
of the data. Closed forms of what this does to the mean of the output, for one pixel and
for the brightness of an image: brightness is the coordinate of x along the constant
image, in which all of its pixels add up.
"""

import functools
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.results import Claim, Table, judge
from experiments._oracle import draws
from kexue_jax import diffusion

PIXELS = 32 * 32 * 3
LAWS = {  # (mean, variance); a mean brightness of 0.5 +- 0.25 a pixel
    "pixel": (0.5, 0.25),
    "brightness": (0.5 * PIXELS**0.5, 0.25**2 * PIXELS),
}
HARM = 0.05  # a relative error of the mean that counts as harm


class Ends(NamedTuple):
    """alpha_bar where a chain starts; relative errors of its output by law."""

    alpha_bar: float
    mean: dict[str, float]
    deviation: dict[str, float]


class Report(NamedTuple):
    """Ends by T and schedule, by S and grid, and sampled means of pixels at T=100."""

    schedules: dict[tuple[int, str], Ends]
    grids: dict[tuple[int, str], Ends]
    drawn: dict[str, list[float]]


def measure(T: int, count: int, seeds: list[int]) -> Report:
    """Closed forms of both pitfalls, and samples of the schedule at T = 100."""
    lengths = (50, 100, 200, 500, 1000, 2000) if T >= 1000 else (50, 100)
    schedules, grids = {}, {}
    with jax.enable_x64(True):
        for length in lengths:
            for kind in ("literal", "rescaled"):
                schedule = build(length, kind, jnp.float64)
                schedules[length, kind] = ends(schedule, np.arange(1, length + 1), 1.0)
        schedule = build(T, "rescaled", jnp.float64)
        for S in (5, 10, 20):
            for kind in ("trailing", "quadratic", "leading"):
                taus = diffusion.ddim_taus(T=T, S=S, kind=kind)
                grids[S, kind] = ends(schedule, taus, 0.0)
    return Report(schedules, grids, _drawn(count, seeds))


def build(T: int, kind: str, dtype: Any) -> diffusion.Schedule:
    """The blog's schedule, "literal" (0.02 t / T) or "rescaled" ((20 / T) t / T)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what is measured here
        return diffusion.kexue_schedule(T=T, rescale=kind == "rescaled", dtype=dtype)


@jax.jit
def _moments(schedule: Any, taus: Any, mean: Any, variance: Any, eta: Any) -> Any:
    def one(m: jax.Array, v: jax.Array) -> diffusion.Moments:
        return diffusion.gaussian_moments(schedule, taus, mean=m, variance=v, eta=eta)

    return jax.vmap(one)(mean, variance)


def ends(schedule: diffusion.Schedule, taus: np.ndarray, eta: float) -> Ends:
    """The errors of a chain over ``taus`` that begins at N(0, 1), in closed form."""
    mean, variance = (np.array(v) for v in zip(*LAWS.values(), strict=True))
    steps = jnp.asarray(taus, jnp.int32)
    found = _moments(schedule, steps, mean, variance, jnp.asarray(eta, jnp.float64))
    errors = (
        draws.rows(found.mean) / mean - 1,
        np.sqrt(draws.rows(found.variance) / variance) - 1,
    )
    by_law = (dict(zip(LAWS, map(float, e), strict=True)) for e in errors)
    return Ends(float(schedule.alpha_bar[int(taus[-1])]), *by_law)


def _drawn(count: int, seeds: list[int]) -> dict[str, list[float]]:
    """The means of sampled pixels at T = 100, one a seed."""

    def run(schedule: Any, key: jax.Array, x: jax.Array) -> jax.Array:
        def eps(x: jax.Array, t: jax.Array) -> jax.Array:
            level = schedule.alpha_bar[t], schedule.beta_bar[t]
            return diffusion.gaussian_eps(x, *level, *LAWS["pixel"])

        return diffusion.ddpm_sample(key, eps, schedule, x, sigma="posterior").x

    result = {}
    program = jax.jit(run)
    for kind in ("literal", "rescaled"):
        drawn = functools.partial(program, build(100, kind, jnp.float32))
        result[kind] = [
            float(draws.rows(drawn(jax.random.key(s), draws.start(s, count))).mean())
            for s in seeds
        ]
    return result


def claims(report: Report) -> list[Claim]:
    """Whether the schedule may be used at any T, and the grid as the code has it."""
    return [_any_length(report), _leading(report)]


def _any_length(report: Report) -> Claim:
    lengths = sorted({T for T, _ in report.schedules})
    shown: dict[str, Any] = {
        f"{law}, T={T}": abs(report.schedules[T, "literal"].mean[law])
        for law in LAWS
        for T in lengths
    }
    shown["mean of sampled pixels at T=100 (data: 0.5)"] = report.drawn["literal"]

    def harmless(m: Any, T: int) -> bool:
        return all(m[f"{law}, T={T}"] <= HARM for law in LAWS)

    return judge(
        "the default schedule alpha_t = sqrt(1 - 0.02 t / T) may be used at every T",
        shown,
        rule="relative error of the output's mean, posterior sigma, begun at N(0, 1), "
        f"closed form; confirmed if at most {HARM} for both laws at every T, qualified "
        "if from T = 100 on",
        confirmed=lambda m: all(harmless(m, T) for T in lengths),
        qualified=lambda m: all(harmless(m, T) for T in lengths if T >= 100),
    )


def _leading(report: Report) -> Claim:
    steps = sorted({S for S, _ in report.grids})
    shown = {
        f"{law}, S={S}, {kind}": abs(report.grids[S, kind].mean[law])
        for law in LAWS
        for S in steps
        for kind in ("leading", "trailing")
    }

    def harmed(m: Any, law: str) -> bool:
        pairs = [
            [m[f"{law}, S={S}, {k}"] for k in ("leading", "trailing")] for S in steps
        ]
        return all(low > HARM and low >= 1.5 * high for low, high in pairs)

    return judge(
        "the leading grid [::stride], which starts below T, harms when fed N(0, 1)",
        shown,
        rule="relative error of the output's mean, eta=0, closed form; confirmed if "
        f"above {HARM} and at least 1.5 times that of the trailing grid at every S for "
        "a pixel and for the brightness, qualified if for the brightness alone",
        confirmed=lambda m: all(harmed(m, law) for law in LAWS),
        qualified=lambda m: harmed(m, "brightness"),
    )


def tables(report: Report) -> list[Table]:
    """Both pitfalls in numbers."""
    columns = ["alpha_bar at the start"]
    for part in ("mean", "deviation"):
        columns += [f"error of the {part}, {law}" for law in LAWS]

    def rows(cells: dict[tuple[int, str], Ends]) -> list[list[Any]]:
        return [
            [*cell, e.alpha_bar, *e.mean.values(), *e.deviation.values()]
            for cell, e in cells.items()
        ]

    laws = ", ".join(f"{law} N({m:.4g}, {v:.4g})" for law, (m, v) in LAWS.items())
    return [
        Table(
            f"The schedule at other T (posterior sigma; {laws})",
            ["T", "schedule", *columns],
            rows(report.schedules),
        ),
        Table(
            "Grids of DDIM steps (eta=0, the same data)",
            ["S", "grid", *columns],
            rows(report.grids),
        ),
    ]
