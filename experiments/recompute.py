"""Recomputing activations (kexue.fm/archives/7367): memory, time, gradients, batches.

A language model of bytes whose layers are one loop is compiled at several depths with
each way to recompute, and XLA's count of temporary memory is tabled; at one depth it is
run on the source text of Python's library for time and gradients. Then the largest
batch of models as BERT-base and BERT-large that fits a budget is found from compiled
programs alone. Some minutes on two CPU cores.

    python -m experiments.recompute
    python -m experiments.recompute --layers=8,16 --rows=2
"""

import dataclasses
from typing import Any

from experiments._harness import lists
from experiments._harness.config import BaseConfig, UserError, launch, setting
from experiments._harness.data_text import TEXTS, load_text
from experiments._harness.figures import bars, curves
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import Run, open_run
from experiments._recompute import claims, measurement
from experiments._recompute.measurement import BATCHED, Report
from experiments._recompute.network import WAYS, Sizes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    dataset: str = setting("stdlib", "text of the timed steps", choices=TEXTS)
    data_dir: str = setting("none", "folder of the text files", shapes_run=False)
    layers: str = setting("4,8,16,32,64", "depths, commas between")
    width: int = setting(256, "width of the model", minimum=8, maximum=8192)
    heads: int = setting(4, "heads, a divisor of --width", minimum=1, maximum=256)
    length: int = setting(128, "bytes of a row", minimum=2, maximum=65536)
    rows: int = setting(8, "rows of a batch", minimum=1, maximum=65536)
    timed_layers: int = setting(4, "depth of the timed model", minimum=1, maximum=256)
    repeats: int = setting(5, "times each step is timed", minimum=1, maximum=1000)
    num_seeds: int = setting(3, "seeds, from --seed on", minimum=1, maximum=99)
    budget_gib: float = setting(
        22.0, "memory that the largest batch must fit", minimum=0.01, maximum=1e4
    )
    models: str = setting("12x768,24x1024", "depth x width of the budget's models")
    model_length: int = setting(128, "tokens of a row there", minimum=2)
    vocabulary: int = setting(21_128, "tokens there", minimum=2)


PRESETS = {
    "smoke": {
        "layers": "2,3",
        "width": 16,
        "length": 16,
        "rows": 2,
        "timed_layers": 2,
        "repeats": 1,
        "num_seeds": 1,
        "budget_gib": 0.01,
        "models": "1x64,2x64",
        "model_length": 64,
        "vocabulary": 16,
    }
}


def main(config: Config) -> None:
    """Measure, judge, draw, report."""
    depths = sorted({number("layers", part) for part in config.layers.split(",")})
    models = {part: model(config, part) for part in config.models.split(",")}
    if config.width % config.heads or len(depths) < 2:
        raise UserError(
            f"flags --width={config.width} --heads={config.heads} --layers="
            f"{config.layers}: wanted heads that divide the width, two depths or more"
        )
    text = load_text(config.dataset, config.data_dir)
    run = open_run(config)
    report = Report(Sizes(1, config.width, config.heads, config.length, config.rows))
    seeds = lists.seeds(config)
    measurement.measure_memory(report, depths)
    print(f"memory: {run.seconds():.0f} s", flush=True)
    measurement.measure_operations(report, config.timed_layers)
    measurement.measure_steps(
        report, config.timed_layers, text.train, seeds, config.repeats
    )
    print(f"steps: {run.seconds():.0f} s", flush=True)
    measurement.measure_batches(report, models, config.budget_gib * 2**30)
    draw(run, report)
    facts = {
        "data": text.source,
        "bytes of the input of a layer": report.sizes.boundary_bytes,
        "bytes that a layer keeps": round(report.layer_bytes()),
        "best segment at the largest depth": report.best_segment(depths[-1]),
        "depth of the timed model": config.timed_layers,
    }
    write_results(run, claims.all_claims(report), claims.tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def number(flag: str, text: str) -> int:
    """A positive integer; UserError if it is none."""
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"flag --{flag}: wanted positive integers, got {text!r}")
    return int(text)


def model(config: Config, text: str) -> Sizes:
    """The model that "12x768" means, with heads of 64 as BERT has them."""
    layers, cross, width = text.partition("x")
    if not cross:
        raise UserError(f"flag --models: wanted depth x width, got {text!r}")
    size = number("models", width)
    return Sizes(
        number("models", layers),
        size,
        max(1, size // 64),
        config.model_length,
        1,
        config.vocabulary,
    )


def draw(run: Run, report: Report) -> None:
    """Memory by depth, times, batches."""
    series: dict[str, Any] = {
        way: (report.depths, [report.memory[way, n] / 2**20 for n in report.depths])
        for way in WAYS
    }
    curves(
        run.path("memory.png"),
        series,
        xlabel="layers",
        ylabel="temporary memory of value and gradient, MiB",
        log_x=True,
        log_y=True,
        markers=True,
    )
    ratios = {
        way: [
            t / b
            for t, b in zip(report.seconds[way], report.seconds["none"], strict=True)
        ]
        for way in WAYS
    }
    bars(
        run.path("time.png"),
        {"": ratios},
        ylabel="time of a gradient over that of none",
    )
    names = list(dict.fromkeys(name for name, _ in report.batches))
    gains = {
        name: {way: [claims.gain(report, name, way)] for way in BATCHED}
        for name in names
    }
    bars(run.path("batch.png"), gains, ylabel="largest batch over that of none")


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
