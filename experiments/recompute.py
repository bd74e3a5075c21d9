"""Recomputing activations (kexue.fm/archives/7367): memory, time, gradients, batches.

A language model of bytes whose layers are one loop is compiled at several depths with
each way to recompute, and XLA's count of temporary memory is tabled; at the depths that
are affordable it is run on the source text of Python's library for time, gradients and
the device's own peak of memory. Then the largest batch of models as BERT-base and
BERT-large that fits a budget is found from compiled programs alone. About ten minutes
on one CPU core.

    python -m experiments.recompute
    python -m experiments.recompute --layers=8,16 --policy='none,per layer,segments'
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
    policy: str = setting("all", "ways to recompute, none among them; or all")
    width: int = setting(256, "width of the model", minimum=8, maximum=8192)
    heads: int = setting(4, "heads, a divisor of --width", minimum=1, maximum=256)
    length: int = setting(128, "bytes of a row", minimum=2, maximum=65536)
    rows: int = setting(8, "rows of a batch", minimum=1, maximum=65536)
    timed_layers: str = setting("4,8", "depths whose steps are run, commas between")
    timed_rows: int = setting(1, "rows of a batch there", minimum=1, maximum=65536)
    unrolled_layers: int = setting(4, "depth without a loop", minimum=1, maximum=256)
    repeats: int = setting(20, "times each step is timed", minimum=1, maximum=1000)
    num_seeds: int = setting(3, "seeds, from --seed on", minimum=1, maximum=99)
    budget_gib: float = setting(
        22.0, "memory that the largest batch must fit", minimum=1e-3, maximum=1e4
    )
    models: str = setting("12x768,24x1024", "depth x width of the budget's models")
    model_length: int = setting(128, "tokens of a row there", minimum=2)
    vocabulary: int = setting(21_128, "tokens there", minimum=2)


PRESETS = {
    "smoke": {
        "layers": "2,3",
        "policy": "none,per layer",
        "width": 16,
        "length": 16,
        "rows": 2,
        "timed_layers": "2",
        "unrolled_layers": 1,
        "repeats": 1,
        "num_seeds": 1,
        "budget_gib": 0.0033,
        "models": "2x64",
        "model_length": 64,
        "vocabulary": 16,
    }
}


def main(config: Config) -> None:
    """Measure, judge, draw, report."""
    depths, timed = (
        sorted({number(flag, part) for part in getattr(config, flag).split(",")})
        for flag in ("layers", "timed_layers")
    )
    models = {part: model(config, part) for part in config.models.split(",")}
    if config.width % config.heads or len(depths) < 2:
        raise UserError(
            f"flags --width={config.width} --heads={config.heads} --layers="
            f"{config.layers}: wanted heads that divide the width, two depths or more"
        )
    ways = WAYS if config.policy == "all" else tuple(config.policy.split(","))
    if not {"none", "per layer"} <= set(ways) <= set(WAYS):
        raise UserError(
            f"flag --policy={config.policy}: wanted all, or none, per layer and any of "
            + ", ".join(WAYS[2:])
        )
    text = load_text(config.dataset, config.data_dir)
    run = open_run(config)
    report = Report(Sizes(1, config.width, config.heads, config.length, config.rows))
    seeds = lists.seeds(config)
    measurement.measure_memory(report, depths, ways)
    print(f"memory: {run.seconds():.0f} s", flush=True)
    measurement.measure_operations(report, config.unrolled_layers)
    for layers in timed:
        sizes = dataclasses.replace(report.sizes, layers=layers, rows=config.timed_rows)
        measurement.measure_steps(report, sizes, text.train, seeds, config.repeats)
    print(f"steps: {run.seconds():.0f} s", flush=True)
    measurement.measure_batches(report, models, config.budget_gib * 2**30)
    draw(run, report)
    facts = {
        "data": text.source,
        "bytes of the input of a layer": report.sizes.boundary_bytes,
        "bytes that a layer keeps": round(report.layer_bytes()),
        "best segment at the largest depth": report.best_segment(depths[-1]),
        "rows of the timed steps": config.timed_rows,
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
        for way in report.ways
    }
    curves(
        run.path("memory.png"),
        series,
        xlabel="layers",
        ylabel="temporary memory, MiB",
        log_x=True,
        log_y=True,
        markers=True,
    )
    ratios: dict[str, Any] = {
        f"{n} layers": {way: claims.over_none(report, way, n) for way in report.ways}
        for n in report.timed
    }
    bars(run.path("time.png"), ratios, ylabel="time of a gradient over that of none")
    gains: dict[str, Any] = {}
    for name in claims.models(report):
        batched = measurement.kept(report, BATCHED)
        found = {way: claims.gain(report, name, way) for way in batched}
        if None not in found.values():
            gains[name] = {way: [value] for way, value in found.items()}
    if gains:
        bars(run.path("batch.png"), gains, ylabel="largest batch over that of none")


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
