"""Samplers on data with modes: two points, and three clusters of unequal weight."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.results import Claim, Table, judge
from experiments._oracle import draws
from kexue_jax import diffusion

NEAR = 0.05  # from a mode
POINTS = ((-1.0, 0.5, 0.0), (1.0, 0.5, 0.0))  # (mean, weight, standard deviation)
CLUSTERS = ((-1.5, 0.2, 0.1), (0.2, 0.3, 0.1), (1.0, 0.5, 0.1))
UNUSED = (0.0, 0.0, 1.0)  # a mode of weight 0: both mixtures have one shape
KINDS: dict[str, dict[str, Any]] = {
    "eta=0": {"eta": 0.0},
    "eta=1": {"eta": 1.0},
    "sigma_hat": {"sigma_hat": True},
}
TRAJECTORIES = 16


class Cell(NamedTuple):
    """What one kind of chain leaves, one entry a seed."""

    near: np.ndarray
    shares: np.ndarray
    spread: np.ndarray


class Report(NamedTuple):
    """Cells by (data, S, kind), and the paths of a few chains to the two points."""

    T: int
    count: int
    cells: dict[tuple[str, int, str], Cell]
    paths: dict[str, tuple[Any, Any]]


def measure(T: int, count: int, seeds: list[int]) -> Report:
    """Samples of both mixtures by every kind and length of chain."""
    schedule = diffusion.kexue_schedule(T=T, dtype=jnp.float32)
    steps = [S for S in (5, 10, 20, 50, 200) if S < T]
    cells = {}
    programs = {S: jax.jit(functools.partial(chains, schedule, S)) for S in steps}
    for name, modes in (("two points", POINTS), ("three clusters", CLUSTERS)):
        mixture = np.array([*modes, UNUSED][:3], np.float32).T
        for S in steps:
            found: dict[str, list[Any]] = {kind: [] for kind in KINDS}
            for seed in seeds:
                x_T = draws.start(7000 + seed, count)
                drawn = programs[S](mixture, jax.random.key(7000 + seed), x_T)
                for kind, x in drawn.items():
                    found[kind].append(counted(modes, draws.rows(x)[:, 0]))
            for kind, parts in found.items():
                near, shares, spread = zip(*parts, strict=True)
                cells[name, S, kind] = Cell(
                    np.array(near), np.array(shares), np.array(spread)
                )
    return Report(T, count, cells, _paths(schedule, seeds[0]))


def predictor(schedule: diffusion.Schedule, mixture: Any) -> Any:
    """The perfect eps(x, t) of a mixture on the line: means, weights, deviations."""
    means, weights, deviations = (jnp.asarray(v, jnp.float32) for v in mixture)

    def eps(x: jax.Array, t: jax.Array) -> jax.Array:
        level = schedule.alpha_bar[t], schedule.beta_bar[t]
        return diffusion.mixture_eps(x, *level, means[:, None], deviations**2, weights)

    return eps


def chains(
    schedule: diffusion.Schedule, S: int, mixture: Any, key: jax.Array, x_T: jax.Array
) -> dict[str, jax.Array]:
    """Samples of each kind of chain of S steps."""
    eps, taus = predictor(schedule, mixture), diffusion.ddim_taus(T=schedule.T, S=S)
    result = {}
    for index, (kind, options) in enumerate(KINDS.items()):
        own = jax.random.fold_in(key, index)
        sample = diffusion.ddim_sample(own, eps, schedule, x_T, taus, **options)
        result[kind] = sample.x
    return result


def counted(modes: Any, x: np.ndarray) -> tuple[float, list[float], float]:
    """Share within NEAR of a mode, share of each mode, spread around the nearest."""
    means = np.array([mean for mean, _, _ in modes])
    distance = np.abs(x[:, None] - means)
    nearest = distance.argmin(1)
    shares = [float(np.mean(nearest == k)) for k in range(len(means))]
    spread = float(np.sqrt(np.mean(distance.min(1) ** 2)))
    return float(np.mean(distance.min(1) <= NEAR)), shares, spread


def _paths(schedule: diffusion.Schedule, seed: int) -> dict[str, tuple[Any, Any]]:
    """(t, x) of a few chains of at most 50 steps, one line after the other."""
    S = min(50, schedule.T // 2)
    eps = predictor(schedule, zip(*POINTS, strict=True))
    taus = diffusion.ddim_taus(T=schedule.T, S=S)
    x_T = jnp.linspace(-2.2, 2.2, TRAJECTORIES, dtype=jnp.float32)[:, None]
    result = {}
    for eta in (0.0, 1.0):
        sample = diffusion.ddim_sample(
            jax.random.key(seed), eps, schedule, x_T, taus, eta=eta, frames=S
        )
        x = np.concatenate([x_T[None], sample.frames])[..., 0].T
        times = np.concatenate([taus[::-1], [0]]).astype(float)
        ends = np.full((TRAJECTORIES, 1), np.nan)
        lines = np.concatenate([x, ends], 1).ravel()
        clock = np.concatenate([times, [np.nan]])
        result[f"eta={eta:g}, S={S}"] = np.tile(clock, TRAJECTORIES), lines
    return result


def claims(report: Report) -> list[Claim]:
    """Whether the modes are found, and found in the right proportion."""
    S = max(S for _, S, _ in report.cells if S <= 50)
    return [_found(report, S), _proportions(report)]


def _found(report: Report, S: int) -> Claim:
    shares: dict[str, Any] = {
        f"share within {NEAR}, {kind}": report.cells["two points", S, kind].near
        for kind in ("eta=0", "eta=1")
    }
    return judge(
        f"at {S} steps every sample lies on one of the two data points",
        shares,
        rule="confirmed if all samples of every seed do",
        confirmed=lambda m: bool(all((share == 1).all() for share in m.values())),
    )


def _proportions(report: Report) -> Claim:
    steps = sorted({S for _, S, _ in report.cells})
    weights = np.array([weight for _, weight, _ in CLUSTERS])
    z: dict[tuple[int, str], float] = {}
    distance: dict[tuple[int, str], Any] = {}
    for kind in ("eta=0", "eta=1"):
        for S in steps:
            shares = report.cells["three clusters", S, kind].shares
            z[S, kind] = np.abs(draws.share_z(shares, weights, report.count)).max()
            distance[S, kind] = np.abs(shares - weights).sum(1) / 2
    tests = len(z) * weights.size * len(next(iter(distance.values())))
    limit = draws.allowed(tests)
    few, most = steps[0], steps[-1]
    return judge(
        "short chains keep the weights of three clusters (0.2, 0.3, 0.5)",
        {
            f"total variation distance, S={S}, {kind}": distance[S, kind]
            for kind in ("eta=0", "eta=1")
            for S in (few, most)
        }
        | {
            f"largest |z|, S {name}": max(z[c] for c in z if (c[0] == most) == last)
            for name, last in ((f"< {most}", False), (f"= {most}", True))
        },
        rule=f"confirmed if no |z| of a share exceeds {limit:.2f} (false alarm "
        f"{draws.FALSE_ALARM:g}) for any S, qualified if none does at S={most}",
        confirmed=lambda m: max(list(m.values())[-2:]) <= limit,
        qualified=lambda m: list(m.values())[-1] <= limit,
    )


def table(report: Report) -> Table:
    """Modes found, weights and spread by chain."""
    rows = [
        [
            *cell,
            float(found.near.mean()),
            ", ".join(f"{share:.3f}" for share in found.shares.mean(0)),
            float(found.spread.mean()),
        ]
        for cell, found in report.cells.items()
    ]
    columns = ["data", "S", "chain", f"within {NEAR}", "shares", "spread at the mode"]
    return Table("Modes (clusters: weights 0.2, 0.3, 0.5, spread 0.1)", columns, rows)
