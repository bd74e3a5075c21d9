"""Is L2 spent on shifting scales, and does WEISSI help? (kexue.fm/archives/7681)

First the squared norms of a bias-free ReLU network along full-batch descent: the loss
and the log term keep their differences, L2 shrinks them. Then deep networks on digits
with wrong labels, with no penalty, L2, the log term and WEISSI, each at its best
coefficient, clean and attacked. With no flags: about 7 minutes on one CPU core.

    python -m experiments.weissi
    python -m experiments.weissi --depths=4,8,16 --noises=0.2
"""

import dataclasses
from typing import Any

import numpy as np

from experiments._harness import lists
from experiments._harness.config import BaseConfig, launch, setting
from experiments._harness.data import DATASETS, load_images
from experiments._harness.figures import bars, curves
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import Run, open_run
from experiments._taylor.training import split
from experiments._weissi import balance
from experiments._weissi.claims import Report, all_claims, clean, named, tables
from experiments._weissi.training import (
    DIRECTIONS,
    OPTIMIZERS,
    PENALTIES,
    Budget,
    Cell,
    Setting,
    train,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    dataset: str = setting("digits", "labelled images", choices=DATASETS)
    data_dir: str = setting("none", "folder of the image files", shapes_run=False)
    depths: str = setting("4,8", "layers of the networks")
    noises: str = setting("0.1,0.4", "shares of wrong training labels")
    coefficients: str = setting(
        "3e-4,1e-3,3e-3,1e-2,3e-2", "of SGD's L2; others pull alike"
    )
    num_seeds: int = setting(5, "seeds, from --seed on", minimum=1, maximum=99)
    num_steps: int = setting(600, "steps of a training", minimum=2)
    interval: int = setting(50, "steps of descent between two points", minimum=1)
    train_size: int = setting(900, "rows to train on", minimum=10)
    validation_size: int = setting(297, "rows that choose", minimum=10)
    batch_size: int = setting(60, "rows a step", minimum=1)
    width: int = setting(48, "units of a hidden layer", minimum=1, maximum=8192)


PRESETS = {
    "smoke": {
        "depths": "3",
        "noises": "0.2",
        "coefficients": "1e-3",
        "num_seeds": 2,
        "num_steps": 2,
        "interval": 1,
        "train_size": 100,
        "batch_size": 10,
        "width": 8,
    }
}


def main(config: Config) -> None:
    """Train, judge, draw, report."""
    depths = lists.positive("depths", config.depths, below=1000, whole=True)
    noises = lists.positive("noises", config.noises, below=1)
    coefficients = lists.positive("coefficients", config.coefficients, below=10)
    data = load_images(config.dataset, config.data_dir)
    parts = split(data, config.train_size, config.validation_size)
    run = open_run(config)
    seeds = lists.seeds(config)
    options = config.width, config.interval, seeds
    flows, plain = balance.flows(parts, depths[0], *options)
    print(f"descent: {run.seconds():.0f} s", flush=True)
    budget = Budget(config.width, config.num_steps, config.batch_size)
    networks = [(d, n, b) for d in depths for n in noises for b in (True, False)]
    answers = {}
    for network in networks:
        for optimizer in OPTIMIZERS:
            cells = {p: tried(p, coefficients, seeds) for p in PENALTIES}
            found = train(Setting(*network, optimizer), parts, cells, budget)
            for penalty, each in found.items():
                answers[Setting(*network, optimizer, penalty)] = each
        print(f"{named((*network, ''))} {run.seconds():.0f} s", flush=True)
    report = Report(flows, plain, answers, seeds)
    draw(run, report, config.interval)
    facts = {"data": data.source, "seeds of the descent": len(flows)}
    write_results(run, all_claims(report, config.interval), tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def tried(penalty: str, coefficients: list[float], seeds: list[int]) -> list[Cell]:
    """One training for each coefficient, direction and seed."""
    several = [0.0] if penalty == "none" else coefficients
    directions = DIRECTIONS if penalty == "WEISSI" else (0.0,)
    return [Cell(c, seed, d) for c in several for d in directions for seed in seeds]


def draw(run: Run, report: Report, interval: int) -> None:
    """Squared norms by layer; log products and excesses; accuracies."""
    flow = report.flows[0]
    steps = interval * np.arange(len(flow["L2"].losses))
    for penalty, found in flow.items():
        lines: dict[str, Any] = {
            f"layer {i}": (steps, row) for i, row in enumerate(found.squares.T)
        }
        label = f"squared norm, {penalty}"
        curves(run.path(f"norms_{penalty}.png"), lines, ylabel=label)
    for part, label in (
        ("log_norms", "sum of log norms"),
        ("excess", "removable share of the sum of squares"),
        ("losses", "training loss"),
        ("slopes", "mean norm of the input gradient"),
    ):
        lines = {p: (steps, getattr(found, part)) for p, found in flow.items()}
        curves(run.path(f"{part}.png"), lines, ylabel=label)
    for biased, name in ((True, "accuracy"), (False, "accuracy_without_biases")):
        groups: dict[str, Any] = {
            penalty: {
                named(group): list(report.of(clean, Setting(*group, penalty)))
                for group in report.groups
                if Setting(*group).biased == biased
            }
            for penalty in PENALTIES
        }
        bars(run.path(f"{name}.png"), groups, ylabel="accuracy", zero=False)


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
