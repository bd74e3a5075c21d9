"""Relaxed smoothness and clipping (kexue.fm/archives/7469 and 10657).

First theta^4: how many steps each rule takes, and which of two bounds holds. Then a
recurrent network that reads the source text of Python's standard library: smoothness
beside the gradient's norm along its training, a line above all pairs, and SGD without
clipping, clipped hard, softly and by that line, each at several rates. With no flags:
about 4 minutes on one CPU core.

    python -m experiments.gradient_clipping
    python -m experiments.gradient_clipping --rates=0.3,1,3,10,30 --num_steps=1000
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments._clipping import networks, quartic
from experiments._clipping.claims import Report, all_claims, tables
from experiments._clipping.training import (
    LINES,
    METHODS,
    PROBE,
    Cell,
    Cloud,
    cloud,
    train,
)
from experiments._harness import lists
from experiments._harness.config import BaseConfig, launch, setting
from experiments._harness.data import DATASETS, load_images
from experiments._harness.data_text import load_text
from experiments._harness.figures import curves
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import Run, open_run
from kexue_jax import optim


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    dataset: str = setting("digits", "labelled images", choices=DATASETS)
    data_dir: str = setting("none", "folder of the image files", shapes_run=False)
    rates: str = setting("0.1,0.3,1,3,10,30", "rates of SGD, and multiples of the rule")
    num_seeds: int = setting(3, "seeds, from --seed on", minimum=1, maximum=99)
    num_steps: int = setting(400, "steps of a training", minimum=4)
    every: int = setting(4, "steps between two pairs of the cloud", minimum=2)
    batch_size: int = setting(16, "rows a step", minimum=1)
    width: int = setting(32, "width of the networks", minimum=2, maximum=8192)


PRESETS = {
    "smoke": {
        "rates": "0.3,3",
        "num_seeds": 2,
        "num_steps": 8,
        "every": 2,
        "batch_size": 4,
        "width": 8,
    }
}
JUDGED = 256  # rows of text to judge by


def main(config: Config) -> None:
    """Measure, train, judge, draw, report."""
    rates = lists.positive("rates", config.rates, below=1e6)
    images = load_images(config.dataset, config.data_dir)
    data = load_text("stdlib")
    run = open_run(config)
    seeds = lists.seeds(config)
    counts = quartic.counts()
    violations = {pair: quartic.violations(*pair) for pair in quartic.PAIRS}
    text = networks.text(data, config.width, JUDGED)
    problems = (text, networks.digits(images, config.width))
    budget = config.num_steps, config.batch_size
    clouds = {
        p.name: [cloud(p, PROBE, s, *budget, config.every) for s in seeds]
        for p in problems
    }
    print(f"clouds: {run.seconds():.0f} s", flush=True)
    lines = {p.name: fitted(clouds[p.name]) for p in problems}
    line = lines[text.name][0]
    cells = [Cell(rate, seed) for rate in rates for seed in seeds]
    losses = {}
    for method in METHODS:
        losses[method] = train(text, method, cells, *budget, line)
        print(f"{method}: {run.seconds():.0f} s", flush=True)
    report = Report(counts, violations, clouds, losses, lines, seeds)
    draw(run, report, rates)
    facts = {
        "text": data.source,
        "data": images.source,
        "rule of relaxed": f"l0 = {line[0]:.3g}, l1 = {line[1]:.3g}, the line above "
        "all pairs of the text with l0 of 1e-3 or more",
        "trainings of the clouds": f"SGD at a rate of {PROBE:g} of gradients clipped "
        "softly to a norm of 1, for both networks",
    }
    write_results(run, all_claims(report), tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def fitted(clouds: list[Cloud]) -> list[tuple[float, float]]:
    """The lowest line above the pairs of all seeds, and that of least squares."""
    pairs = (np.concatenate([getattr(c, n) for c in clouds]) for n in Cloud._fields)
    norms, heights = (jnp.asarray(p, jnp.float32) for p in pairs)
    found = [
        optim.fit_relaxed_smoothness(norms, heights, envelope=above, least_l0=1e-3)
        for above in (True, False)
    ]
    return [(float(line.l0), float(line.l1)) for line in found]


def draw(run: Run, report: Report, rates: list[float]) -> None:
    """The clouds with their lines; losses by rate."""
    for place, (name, clouds) in enumerate(report.clouds.items()):
        lines: dict[str, Any] = {}
        for number, found in enumerate(clouds):
            lines[f"seed {number}"] = found.norms, found.smoothness
        measured = tuple(lines)
        every = np.concatenate([c.norms for c in clouds])
        ends = np.geomspace(max(every.min(), 1e-6), every.max(), 50)
        for words, (l0, l1) in zip(LINES, report.lines[name], strict=True):
            lines[words] = ends, l0 + l1 * ends
        options: Any = {"log_x": True, "log_y": True, "points": measured}
        label = f"smoothness, {name}"
        path = run.path(f"cloud_{place}.png")
        curves(path, lines, xlabel="norm of the gradient", ylabel=label, **options)
    found = {m: (rates, [report.of(m, r).mean() for r in rates]) for m in METHODS}
    options = {"log_x": True, "log_y": True, "markers": True}
    label = "test loss of the GRU"
    curves(run.path("rates.png"), found, xlabel="rate", ylabel=label, **options)


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
