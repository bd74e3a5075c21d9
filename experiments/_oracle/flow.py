"""The probability-flow ODE on Gaussian data, and what kind of Euler method DDIM is."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.results import Claim, Table, judge
from experiments._oracle import draws
from kexue_jax import diffusion

VARIANCE = 0.25  # of the data
SOLVERS: dict[str, dict[str, Any]] = {
    "Euler": {"method": "euler"},
    "Heun": {"method": "heun"},
    "RK4": {"method": "rk4"},
    "DDIM (exponential)": {"method": "exponential"},
    "Euler, time s^2": {"method": "euler", "time": "s^2"},
    "Heun, time s^2": {"method": "heun", "time": "s^2"},
}
CALLS = {"Euler": 1, "Heun": 2, "RK4": 4}  # of the network, a step
SAMPLED = 2  # of the numbers of steps, the first: samples beside the closed form
MODES = ((-1.5, 0.2), (0.2, 0.3), (1.0, 0.5))  # (mean, weight) of the bent example


class Report(NamedTuple):
    """Relative errors of the output's standard deviation, by solver and n."""

    numbers: tuple[int, ...]
    errors: dict[str, list[float]]
    sampled: dict[str, list[float]]
    ddim: dict[str, float]


def numbers_of(T: int) -> tuple[int, ...]:
    """The numbers of steps that are compared."""
    return (10, 20, 50, 100, 200, 500) if T >= 500 else (10, 20, 40)


def measure(T: int, count: int, seed: int) -> Report:
    """The exact errors in float64, those of ``count`` samples in float32, and DDIM."""
    numbers = numbers_of(T)
    x_T = draws.start(seed, count)
    errors: dict[str, list[float]] = {name: [] for name in SOLVERS}
    sampled: dict[str, list[float]] = {name: [] for name in SOLVERS}
    for index, n in enumerate(numbers):
        for name, error in exact_errors(T, n).items():
            errors[name].append(error)
        drawn = _program(T, n)(x_T) if index < SAMPLED else {}
        for name, x in drawn.items():
            grown = draws.rows(x).std() / draws.rows(x_T).std()
            sampled[name].append(float(grown / _ratio() - 1))
    return Report(numbers, errors, sampled, ddim_as_euler(T))


def exact_errors(T: int, n: int) -> dict[str, float]:
    """Relative errors of the output's standard deviation, in float64."""
    with jax.enable_x64(True):
        found = _program(T, n)(jnp.ones((1, 1), jnp.float64))
    return {name: float(x[0, 0]) / _ratio() - 1 for name, x in found.items()}


def _ratio() -> float:
    """The exact standard deviation at s = 0 over that at s = 1."""
    return float(np.sqrt(VARIANCE / (np.exp(-10) * VARIANCE - np.expm1(-10))))


def _program(T: int, n: int) -> Any:
    def run(x: jax.Array) -> dict[str, jax.Array]:
        def eps(x: jax.Array, t: jax.Array) -> jax.Array:
            alpha_bar, beta_bar = levels(t / T)
            return diffusion.gaussian_eps(x, alpha_bar, beta_bar, 0.0, VARIANCE)

        return {
            name: diffusion.ode_sample(eps, x, T=T, n=n, **options)
            for name, options in SOLVERS.items()
        }

    return jax.jit(run)


def levels(s: jax.Array) -> tuple[jax.Array, jax.Array]:
    """alpha_bar and beta_bar of the surrogate at time s."""
    return jnp.exp(-5 * s**2), jnp.sqrt(-jnp.expm1(-10 * s**2))


def ddim_as_euler(T: int, S: int = 20) -> dict[str, float]:
    """How far DDIM is from Euler steps in two coordinates, on data with three modes.

    Root mean squares over 201 starts, relative to that of DDIM's output. The grid is
    the same for all three, s = 1, 1 - 1/S, ..., 0.
    """
    with jax.enable_x64(True):
        schedule = diffusion.surrogate_schedule(T=T, dtype=jnp.float64)
        taus = diffusion.ddim_taus(T=T, S=S)
        x_T = jnp.linspace(-3, 3, 201, dtype=jnp.float64)[:, None]
        parts = [jnp.asarray(v, jnp.float64) for v in zip(*MODES, strict=True)]
        means, weights = parts[0][:, None], parts[1]

        def at(x: jax.Array, alpha_bar: jax.Array, beta_bar: jax.Array) -> jax.Array:
            spread = jnp.full(len(MODES), 0.2**2, jnp.float64)
            return diffusion.mixture_eps(x, alpha_bar, beta_bar, means, spread, weights)

        def by_step(x: jax.Array, t: jax.Array) -> jax.Array:
            return at(x, schedule.alpha_bar[t], schedule.beta_bar[t])

        def rescaled(y: jax.Array, ends: Any) -> tuple[jax.Array, None]:
            t, s = ends
            clock = schedule.beta_bar / schedule.alpha_bar
            eps = by_step(schedule.alpha_bar[t] * y, jnp.full(y.shape[:1], t))
            return y + (clock[s] - clock[t]) * eps, None

        @jax.jit
        def run(x: jax.Array) -> tuple[jax.Array, ...]:
            ddim = diffusion.ddim_sample(None, by_step, schedule, x, taus).x
            ends = jnp.asarray(taus), jnp.asarray([0, *taus[:-1]], taus.dtype)
            y, _ = jax.lax.scan(rescaled, x / schedule.alpha_bar[T], ends, reverse=True)
            plain = diffusion.ode_sample(
                lambda x, t: at(x, *levels(t / T)), x, T=T, n=S, method="euler"
            )
            return ddim, y, plain

        ddim, y, plain = (draws.rows(x) for x in run(x_T))
    size = np.sqrt(np.mean(ddim**2))
    return {
        "Euler in (x / alpha_bar, beta_bar / alpha_bar)": float(
            np.sqrt(np.mean((y - ddim) ** 2)) / size
        ),
        "Euler in (x, s)": float(np.sqrt(np.mean((plain - ddim) ** 2)) / size),
    }


def claims(report: Report) -> list[Claim]:
    """DDIM as Euler's method, and what solvers of higher order bring."""
    return [_euler(report), _higher_order(report), _agreement(report)]


def _euler(report: Report) -> Claim:
    changed, plain = report.ddim
    return judge(
        "DDIM is the Euler method of its ODE",
        {f"distance of DDIM from {name}": gap for name, gap in report.ddim.items()},
        rule="root mean square over starts, relative, 20 steps on three modes, "
        "float64; confirmed if at most 1e-10 in both coordinates, qualified if only in "
        "(x / alpha_bar, beta_bar / alpha_bar)",
        confirmed=lambda m: max(m.values()) <= 1e-10,
        qualified=lambda m: (
            m[f"distance of DDIM from {changed}"]
            <= 1e-10
            < m[f"distance of DDIM from {plain}"]
        ),
        reported="the Euler method",
        source="kexue.fm/archives/9181",
    )


def _higher_order(report: Report) -> Claim:
    budget = report.numbers[-1] if report.numbers[-1] < 100 else 200
    measured = {}
    for name, calls in CALLS.items():
        n = budget // calls
        index = report.numbers.index(n)
        measured[f"{name}, n={n}"] = abs(report.errors[name][index])
    return judge(
        f"at {budget} calls of the network a solver of higher order is more exact",
        {f"error of the standard deviation, {k}": v for k, v in measured.items()},
        rule="relative, data of variance 0.25, closed form; confirmed if it falls from "
        "Euler to Heun to RK4",
        confirmed=lambda m: bool((np.diff(list(m.values())) < 0).all()),
    )


def _agreement(report: Report) -> Claim:
    gaps = [
        abs(exact - drawn)
        for name, line in report.sampled.items()
        for exact, drawn in zip(report.errors[name], line, strict=False)
    ]
    return judge(
        "float32 solvers on many samples err as the closed form says",
        {"largest difference of two relative errors": max(gaps)},
        rule=f"every solver, n = {', '.join(map(str, report.numbers[:SAMPLED]))}; "
        "confirmed if at most 1e-4",
        confirmed=lambda m: next(iter(m.values())) <= 1e-4,
    )


def table(report: Report) -> Table:
    """The error of the standard deviation by solver and number of steps."""
    rows = [
        [name, *[f"{100 * e:+.3g} %" for e in report.errors[name]]] for name in SOLVERS
    ]
    title = "Error of the standard deviation by steps of the flow ODE (variance 0.25)"
    return Table(title, ["solver", *[f"n={n}" for n in report.numbers]], rows)
