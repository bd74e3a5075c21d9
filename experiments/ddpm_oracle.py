"""Samplers against closed forms (kexue.fm/archives/9119, 9181, 9228, 9245, 9257).

Where the data is Gaussian or a mixture, the perfect predictor is known and so is what a
sampler returns. This tables the exact output variance by number of steps, eta and kind
of sigma beside what the samplers draw; the errors of ODE solvers; modes found and kept;
schedules and grids that start off their course; and both guidances. No training: under
a minute on two CPU cores.

    python -m experiments.ddpm_oracle
    python -m experiments.ddpm_oracle --num_samples=1000000 --num_seeds=1
"""

import dataclasses
from typing import Any

import numpy as np

from experiments._harness import lists
from experiments._harness.config import BaseConfig, launch, setting
from experiments._harness.figures import curves
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import Run, open_run
from experiments._oracle import analytic, flow, gaussian, guidance, modes, pitfalls


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    T: int = setting(1000, "diffusion steps", minimum=40, maximum=100_000)
    num_samples: int = setting(
        8192, "chains a seed and sampler", minimum=100, maximum=10**8
    )
    num_seeds: int = setting(3, "seeds, from --seed on", minimum=1, maximum=99)


PRESETS = {"smoke": {"T": 40, "num_samples": 200, "num_seeds": 1}}


def main(config: Config) -> None:
    """Measure, judge, draw, report."""
    run = open_run(config)
    seeds = lists.seeds(config)
    sized = config.T, config.num_samples, seeds
    lines = gaussian.measure(*sized)
    restored = analytic.measure(*sized)
    ode = flow.measure(config.T, config.num_samples, config.seed)
    found = modes.measure(*sized)
    traps = pitfalls.measure(*sized)
    guided = guidance.measure(*sized)
    draw_figures(run, lines, ode, found, guided)
    claims = [
        *gaussian.claims(lines),
        analytic.claim(restored),
        *flow.claims(ode),
        *modes.claims(found),
        *pitfalls.claims(traps),
        *guidance.claims(guided),
    ]
    tables = [
        gaussian.table(lines),
        flow.table(ode),
        modes.table(found),
        *pitfalls.tables(traps),
        guidance.table(guided),
    ]
    write_results(run, claims, tables)
    print(f"report: {write_report(run.folder)}")


def draw_figures(
    run: Run,
    lines: gaussian.Report,
    ode: flow.Report,
    found: modes.Report,
    guided: guidance.Report,
) -> None:
    """Output variance by S, ODE error by n, paths to two points, guided densities."""
    for index, (_, variance) in enumerate(gaussian.DATA):
        kinds = ("eta=0", "eta=0.5", "eta=1", "sigma_hat", "zero")
        curves(
            run.path(f"variance_{variance:g}.png"),
            {
                kind: (
                    lines.steps,
                    [float(lines.variance(S, kind)[index]) for S in lines.steps],
                )
                for kind in kinds
            },
            xlabel=f"steps S (data of variance {variance:g})",
            ylabel="output variance / that of the data",
            log_x=True,
            markers=True,
        )
    errors = {k: (ode.numbers, list(map(abs, v))) for k, v in ode.errors.items()}
    curves(
        run.path("ode_error.png"),
        errors,
        xlabel="steps n (flow ODE, data of variance 0.25)",
        ylabel="|relative error| of the deviation",
        log_x=True,
        log_y=True,
        markers=True,
    )
    for name, path in found.paths.items():
        label = f"x on the way to two points, {name}"
        curves(run.path(f"{_slug(name)}.png"), {name: path}, xlabel="t", ylabel=label)
    edges = np.linspace(-1.5, 3, 46)
    middles = (edges[:-1] + edges[1:]) / 2
    densities: dict[str, Any] = {
        f"w={w:g}": (middles, np.histogram(x, edges, density=True)[0])
        for w, x in guided.samples.items()
    }
    curves(run.path("guidance.png"), densities, xlabel="x", ylabel="density")


def _slug(name: str) -> str:
    return "paths_" + name.split(",")[0].replace("=", "_")


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
