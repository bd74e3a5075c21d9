"""Dropout on gradients, on updates, and Fisher masks (kexue.fm/archives/8764).

First what dropout does to the mean and the variance of updates, under SGD, momentum and
Adam, beside the formulas. Then fine-tuning on a few images of a network that knows
eight of the ten digits: plain, with gradient dropout (F), with update dropout, with a
Fisher mask (D), and plain at a rate sqrt(p) times as large, the control that decides.
With no flags: about 5 minutes on one core.

    python -m experiments.child_tuning
    python -m experiments.child_tuning --examples=100 --shares=0.1,0.5
"""

import dataclasses
from typing import Any

from experiments._child import statistics, tuning
from experiments._child.claims import ADAM, Report, all_claims, tables
from experiments._harness import lists
from experiments._harness.config import BaseConfig, launch, setting
from experiments._harness.data import DATASETS, load_images
from experiments._harness.figures import bars, curves
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import Run, open_run
from experiments._taylor.training import split


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    dataset: str = setting("digits", "labelled images", choices=DATASETS)
    data_dir: str = setting("none", "folder of the image files", shapes_run=False)
    shares: str = setting("0.2,0.3,0.5", "shares kept, between 0 and 1")
    rates: str = setting("1e-3,3e-3,1e-2,3e-2", "rates of fine-tuning")
    examples: str = setting("50,100,500", "counts of images to fine-tune on")
    num_seeds: int = setting(10, "seeds, from --seed on", minimum=1, maximum=99)
    num_steps: int = setting(300, "steps of fine-tuning", minimum=1)
    pretrain_steps: int = setting(600, "steps of the pretraining", minimum=1)
    long: int = setting(4000, "updates averaged, after as many", minimum=2)
    width: int = setting(64, "units of both hidden layers", minimum=1, maximum=8192)


PRESETS = {
    "smoke": {
        "shares": "0.3",
        "rates": "1e-3",
        "examples": "10",
        "num_seeds": 2,
        "num_steps": 2,
        "pretrain_steps": 2,
        "long": 20,
        "width": 8,
    }
}
FEWER = 3  # seeds of the statistics, whose components are many


def main(config: Config) -> None:
    """Measure, fine-tune, judge, draw, report."""
    shares = [*lists.positive("shares", config.shares, below=1), 1.0]
    rates = lists.positive("rates", config.rates)
    sizes = lists.positive("examples", config.examples, below=10**6, whole=True)
    data = load_images(config.dataset, config.data_dir)
    run = open_run(config)
    seeds = lists.seeds(config)
    few = seeds[:FEWER]
    moments: dict[tuple[str, str], Any] = {}
    for name in statistics.OPTIMIZERS:
        for place in statistics.PLACES:
            found = statistics.synthetic(name, place, shares, few, config.long)
            moments[name, place] = found
        print(f"{name}: {run.seconds():.0f} s", flush=True)
    parts = split(data, len(data.train_images) // 2, len(data.train_images) // 4)
    regression = {
        (name, place): statistics.regression(
            parts, name, place, shares, few, config.long
        )
        for name in statistics.OPTIMIZERS
        for place in statistics.PLACES
    }
    print(f"regression: {run.seconds():.0f} s", flush=True)
    methods = tuning.methods(shares[:-1])
    cells = [tuning.Cell(m, r, s) for m in methods for r in rates for s in seeds]
    divided = {size: tuning.divide(data, size, seeds) for size in sizes}
    answers = {}
    for size, rows in divided.items():
        start = tuning.pretrained(rows, config.width, seeds, config.pretrain_steps)
        answers[size] = tuning.tune(
            rows, start, cells, seeds, config.num_steps, data.num_classes
        )
        print(f"{size} examples: {run.seconds():.0f} s", flush=True)
    report = Report(moments, regression, answers, rates, seeds)
    draw(run, report, methods)
    rows = divided[sizes[-1]]
    facts = {
        "data": data.source,
        "rows": f"{len(rows.pretrain[0])} of {tuning.KNOWN} classes to pretrain, "
        f"{config.examples} to fine-tune on, {len(rows.validation[0])} to choose, "
        f"{len(rows.test[0])} to test",
        "seeds of the statistics": len(few),
    }
    claims = all_claims(report, shares, methods)
    write_results(run, claims, tables(report, methods), facts)
    print(f"report: {write_report(run.folder)}")


def draw(run: Run, report: Report, methods: list[tuning.Method]) -> None:
    """Means and variances by share; accuracies; drift."""
    lines: dict[str, Any] = {}
    for place in statistics.PLACES:
        found = report.moments[ADAM, place]
        shares = sorted({p for _, p in found})
        ratio = statistics.RATIOS[-1]
        for part in ("mean", "variance"):
            values = [getattr(found[ratio, p], part).mean() for p in shares]
            lines[f"{part}, dropout on {place}"] = (shares, values)
    options: Any = {"log_y": True, "markers": True}
    label = "of Adam's update"
    curves(run.path("updates.png"), lines, xlabel="p", ylabel=label, **options)
    for size in report.answers:
        for part, label in (("test", "accuracy"), ("drift", "distance from the start")):
            found = {m.name: list(report.at_best(size, part, m)) for m in methods}
            path = run.path(f"{part}_{size}.png")
            label = f"{label}, {size} examples"
            bars(path, {part: found}, ylabel=label, zero=part != "test")
        by_rate = {
            m.name: (
                report.rates,
                [report.of(size, "test", m, r).mean() for r in report.rates],
            )
            for m in methods
        }
        options = {"log_x": True, "markers": True}
        label = f"accuracy, {size} examples"
        path = run.path(f"rates_{size}.png")
        curves(path, by_rate, xlabel="rate", ylabel=label, **options)


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
