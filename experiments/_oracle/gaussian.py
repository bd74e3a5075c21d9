"""Every sampler on Gaussian data: its exact output variance, and samples beside it.

With the perfect predictor of N(mean, variance) each step is linear, so that the two
moments of the output follow a recursion (``diffusion.gaussian_moments``, here in
float64). The same samplers are then run in float32 on many chains.
"""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.results import Claim, Table, judge
from experiments._oracle import draws
from kexue_jax import diffusion

DATA = ((0.0, 1.0), (0.5, 0.25))  # (mean, variance) of each coordinate
MEANS = np.array([mean for mean, _ in DATA])
VARIANCES = np.array([variance for _, variance in DATA])
ETAS = (0.0, 0.25, 0.5, 0.75, 1.0)
STEPS = (5, 10, 20, 50, 100, 1000)
SHORT = ("eta=0", "eta=1", "sigma_hat")
FULL = ("beta", "posterior", "zero")

Moments = tuple[np.ndarray, np.ndarray]


class Report(NamedTuple):
    """Exact moments [data] by (S, kind), and sampled ones [seeds, data]."""

    T: int
    steps: tuple[int, ...]
    exact: dict[tuple[int, str], Moments]
    optimal: dict[str, np.ndarray]
    sampled: dict[tuple[int, str], Moments]
    worst: dict[str, list[float]]
    tests: int

    def variance(self, S: int, kind: str) -> np.ndarray:
        """The exact output variance over that of the data, by data."""
        return self.exact[S, kind][1] / VARIANCES


def steps_up_to(T: int) -> tuple[int, ...]:
    """The lengths of chains that are compared; the last is T itself."""
    return (*[S for S in STEPS if S < T], T)


def measure(T: int, count: int, seeds: list[int]) -> Report:
    """Closed forms for every length and kind of chain, and ``count`` samples a seed."""
    steps = steps_up_to(T)
    exact: dict[tuple[int, str], Moments] = {}
    optimal: dict[str, list[float]] = {}
    for S in steps:
        found = closed_forms(T, S)
        exact |= {(S, kind): found[kind] for kind in found if kind not in _EXACTNESS}
        for kind in _EXACTNESS:
            optimal.setdefault(kind, []).append(float(np.max(found[kind])))
    sampled: dict[tuple[int, str], list[Any]] = {}
    worst: dict[str, list[float]] = {"mean": [], "variance": []}
    programs = {S: jax.jit(_Chains(T, S)) for S in steps}
    tests = 0
    for seed in seeds:
        z: dict[str, list[np.ndarray]] = {"mean": [], "variance": []}
        for index, S in enumerate(steps):
            x_T = draws.start(1000 * seed + index, count, len(DATA))
            found = programs[S](jax.random.key(1000 * seed + index), x_T)
            for kind, drawn in found.items():
                x, (mean, variance) = draws.rows(drawn), exact[S, kind]
                sampled.setdefault((S, kind), []).append((x.mean(0), x.var(0, ddof=1)))
                z["mean"].append(draws.mean_z(x, mean, variance))
                z["variance"].append(draws.variance_z(x, variance))
        tests += sum(v.size for v in (*z["mean"], *z["variance"]))
        for name, values in z.items():
            worst[name].append(float(np.abs(values).max()))
    both = {
        cell: (np.stack([m for m, _ in v]), np.stack([s for _, s in v]))
        for cell, v in sampled.items()
    }
    found = {kind: np.array(values) for kind, values in optimal.items()}
    return Report(T, steps, exact, found, both, worst, tests)


_EXACTNESS = ("beta on N(0, 1)", "posterior on a point", "analytic")


def closed_forms(T: int, S: int) -> dict[str, Any]:
    """(mean, variance) [data] of every kind of chain, and the errors of the optima."""
    with jax.enable_x64(True):
        schedule = diffusion.kexue_schedule(T=T, dtype=jnp.float64)
        taus = diffusion.ddim_taus(T=T, S=S)

        def moments(m: Any, v: Any, **options: Any) -> diffusion.Moments:
            return diffusion.gaussian_moments(
                schedule, taus, mean=m, variance=v, **options
            )

        @jax.jit
        def run(m: jax.Array, v: jax.Array, eta: jax.Array) -> dict[str, Any]:
            def of(**options: Any) -> diffusion.Moments:
                return jax.vmap(lambda m, v: moments(m, v, **options))(m, v)

            true: Any = {"last_noise": True, "start": "marginal"}
            return {
                "eta": jax.vmap(lambda e: of(eta=e))(eta),
                "sigma_hat": of(sigma="beta"),
                "zero": of(sigma="zero"),
                "analytic": jax.vmap(lambda e: of(sigma="analytic", eta=e, **true))(
                    eta
                ),
                "unit": moments(0.0, 1.0, sigma="beta", last_noise=True),
                "point": moments(0.7, 0.0, sigma="posterior", start="marginal"),
            }

        arrays = [jnp.asarray(a, jnp.float64) for a in (MEANS, VARIANCES, ETAS)]
        found = jax.tree.map(draws.rows, run(*arrays))
    result: dict[str, Any] = {
        f"eta={e:g}": tuple(part[i] for part in found["eta"])
        for i, e in enumerate(ETAS)
    }
    for kind in ("sigma_hat", "zero"):
        result[kind] = tuple(found[kind])
    result["beta"], result["posterior"] = result["sigma_hat"], result["eta=1"]
    point = found["point"]
    result["beta on N(0, 1)"] = abs(found["unit"].variance - 1)
    result["posterior on a point"] = abs(point.mean - 0.7) + point.variance**0.5
    result["analytic"] = np.abs(found["analytic"].variance / VARIANCES - 1).max()
    return result


class _Chains:
    """All sampled kinds of chains of S steps, as one program of (key, x_T)."""

    def __init__(self, T: int, S: int) -> None:
        self.schedule = diffusion.kexue_schedule(T=T, dtype=jnp.float32)
        self.taus = diffusion.ddim_taus(T=T, S=S)
        self.kinds = (*SHORT, *(FULL if S == T else ()))

    def __call__(self, key: jax.Array, x_T: jax.Array) -> dict[str, jax.Array]:
        schedule, taus = self.schedule, self.taus
        mean, variance = (jnp.asarray(a, jnp.float32) for a in (MEANS, VARIANCES))

        def eps(x: jax.Array, t: jax.Array) -> jax.Array:
            level = schedule.alpha_bar[t], schedule.beta_bar[t]
            return diffusion.gaussian_eps(x, *level, mean, variance)

        found = {}
        for index, kind in enumerate(self.kinds):
            own = jax.random.fold_in(key, index)
            if kind in FULL:
                found[kind] = diffusion.ddpm_sample(own, eps, schedule, x_T, sigma=kind)
                continue
            options: dict[str, Any] = {"eta": float(kind == "eta=1")}
            options["sigma_hat"] = kind == "sigma_hat"
            found[kind] = diffusion.ddim_sample(
                own, eps, schedule, x_T, taus, **options
            )
        return {kind: sample.x for kind, sample in found.items()}


def claims(report: Report) -> list[Claim]:
    """What the article and its companions say of sigma and of the number of steps."""
    return [
        _smaller_sigma(report),
        _sigma_alone(report),
        _fewer_steps(report),
        _sigma_for_few_steps(report),
        *_optimal(report),
        _agreement(report),
    ]


def _smaller_sigma(report: Report) -> Claim:
    drops = [
        report.variance(S, f"eta={low:g}") - report.variance(S, f"eta={high:g}")
        for S in report.steps
        for low, high in itertools.pairwise(ETAS)
    ]
    shown = {
        f"S={S}, {kind}": float(report.variance(S, kind)[0])
        for S in (report.steps[1], report.T)
        for kind in ("eta=0", "eta=1")
    }
    return judge(
        "smaller sigma gives more output variance (noisier, more diverse images)",
        {**shown, "smallest gain of a smaller eta": float(np.min(drops))},
        rule="output variance over that of the data, in closed form (shown: data of "
        "variance 1); confirmed if each smaller eta of 1, 0.75, 0.5, 0.25, 0 has more, "
        "for every S and both variances of the data",
        confirmed=lambda m: m["smallest gain of a smaller eta"] > 0,
        reported="noisier and more diverse, by eye",
        source="kexue.fm/archives/9181",
    )


def _sigma_alone(report: Report) -> Claim:
    shown = {
        f"{kind}, data variance {v:g}": float(report.variance(report.T, kind)[i])
        for i, (_, v) in enumerate(DATA)
        for kind in ("zero", "posterior", "beta")
    }
    return judge(
        "the same where sigma alone changes and the mean of the step does not "
        f"(ancestral chain, S=T={report.T})",
        shown,
        rule="output variance over that of the data, in closed form; confirmed if it "
        "falls from sigma = 0 to posterior to beta for both variances of the data: "
        "this bounds the remark above, which is about eta",
        confirmed=lambda m: all(a > b > c for a, b, c in _triples(m)),
    )


def _triples(measured: dict[str, float]) -> list[list[float]]:
    values = list(measured.values())
    return [values[i : i + 3] for i in range(0, len(values), 3)]


def _fewer_steps(report: Report) -> Claim:
    rises = [
        report.variance(more, f"eta={eta:g}") - report.variance(few, f"eta={eta:g}")
        for eta in ETAS
        for few, more in itertools.pairwise(report.steps)
    ]
    shown = {f"S={S}": float(report.variance(S, "eta=0")[0]) for S in report.steps}
    return judge(
        "fewer steps give less output variance (smoother, less diverse images)",
        {**shown, "smallest gain of more steps": float(np.min(rises))},
        rule="output variance over that of the data, in closed form (shown: eta=0, "
        "data of variance 1); confirmed if it rises with S for every eta and both "
        "variances of the data",
        confirmed=lambda m: m["smallest gain of more steps"] > 0,
        reported="smoother and less diverse, by eye",
        source="kexue.fm/archives/9181",
    )


def _sigma_for_few_steps(report: Report) -> Claim:
    pairs = [(few, 2 * few) for few in report.steps if 2 * few in report.steps]
    gains = {
        f"S={few} against {more}, data variance {v:g}": float(
            (report.variance(few, "eta=0") - report.variance(more, "eta=1"))[i]
        )
        for i, (_, v) in enumerate(DATA)
        for few, more in pairs
    }
    return judge(
        "a lower sigma makes up for fewer steps",
        gains,
        rule="output variance over the data's at eta=0 and S steps, less that at eta=1 "
        "and 2 S steps, closed form; confirmed if not negative for every pair and both "
        "variances of the data, qualified if for some",
        confirmed=lambda m: min(m.values()) >= 0,
        qualified=lambda m: max(m.values()) >= 0,
        reported="fewer steps want a lower sigma, by eye",
        source="kexue.fm/archives/9181",
    )


def _optimal(report: Report) -> list[Claim]:
    texts = {
        "beta on N(0, 1)": (
            "sigma = beta is exactly optimal for data from N(0, I)",
            "|output variance - 1|, noise in the last step too",
            "arXiv 2006.11239, section 3.2",
        ),
        "posterior on a point": (
            "the posterior's sigma is exactly optimal for a single data point",
            "|output mean - point| + output standard deviation, started from the law "
            "of x_T",
            "arXiv 2006.11239, section 3.2",
        ),
        "analytic": (
            "the analytic variance makes the output variance exactly that of the data",
            "|output variance over the data's - 1| for both variances of the data and "
            "eta from 0 to 1, started from the law of x_T, noise in the last step too",
            "kexue.fm/archives/9245",
        ),
    }
    return [
        judge(
            text,
            {f"largest error over S = {_list(report)}": float(errors.max())},
            rule=f"{what}, float64 closed form; confirmed if at most 1e-10 for every S",
            confirmed=lambda m: next(iter(m.values())) <= 1e-10,
            reported="optimal",
            source=source,
        )
        for (text, what, source), errors in (
            (texts[kind], report.optimal[kind]) for kind in _EXACTNESS
        )
    ]


def _list(report: Report) -> str:
    return ", ".join(map(str, report.steps))


def _agreement(report: Report) -> Claim:
    limit = draws.allowed(report.tests)
    return judge(
        "our samplers draw from the closed forms",
        {f"largest |z| of a {name}": z for name, z in report.worst.items()},
        rule=f"{report.tests} means and variances of samples against the closed forms "
        f"(tables below); confirmed if no |z| exceeds {limit:.2f}, which right "
        f"samplers do with probability {draws.FALSE_ALARM:g}",
        confirmed=lambda m: bool(max(np.max(z) for z in m.values()) <= limit),
    )


def table(report: Report) -> Table:
    """Closed form and samples side by side."""
    rows = []
    for index, (mean, variance) in enumerate(DATA):
        for (S, kind), (sampled_mean, sampled_variance) in report.sampled.items():
            exact_mean, exact_variance = report.exact[S, kind]
            rows.append(
                [
                    f"N({mean:g}, {variance:g})",
                    S,
                    kind if kind not in FULL else f"ancestral, sigma {kind}",
                    float(exact_variance[index]),
                    float(sampled_variance[:, index].mean()),
                    float(exact_mean[index]),
                    float(sampled_mean[:, index].mean()),
                ]
            )
    columns = ["data", "S", "chain", "variance", "sampled", "mean", "sampled mean"]
    return Table("Output of the samplers on Gaussian data", columns, rows)
