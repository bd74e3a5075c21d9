"""Linear recurrences against attention (kexue.fm/archives/9554).

Small networks of equal size, alike but for what mixes the steps of a sequence, learn to
predict the next byte at a short and at a longer length, and to tell digits from their
pixels one after the other. With no flags: the source text of Python's standard library
and scikit-learn's digits, nine mixers, three seeds: 81 trainings, some half an hour on
two CPU cores that do nothing else (--mixers takes fewer). It shows the order at this
size and budget, and no more.

    python -m experiments.linear_rnn
    python -m experiments.linear_rnn --images=mnist --images_dir=FOLDER
"""

import dataclasses
from typing import Any

import numpy as np

from experiments._harness import lists, processes, spread
from experiments._harness.config import launch, setting
from experiments._harness.data import DATASETS, ImageData, load_images
from experiments._harness.data_text import VOCABULARY, TextData
from experiments._harness.errors import UserError
from experiments._harness.figures import bars, curves
from experiments._harness.report import write_report
from experiments._harness.results import Table, write_results
from experiments._harness.workdir import Run, open_run
from experiments._language import settings
from experiments._language.judgment import Judge
from experiments._language.losses import next_byte
from experiments._language.settings import LanguageConfig
from experiments._language.training import Trainer
from experiments._recurrent.claims import COMPARED, Report, claims
from experiments._recurrent.networks import KINDS, network, parameters
from experiments._recurrent.pixels import accuracy, label_loss, pixel_rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(LanguageConfig):
    """All settings of the experiment."""

    images: str = setting("digits", "images whose pixels are read", choices=DATASETS)
    images_dir: str = setting("none", "folder of the images", shapes_run=False)
    length: int = setting(128, "bytes of the longer texts", minimum=8, maximum=65536)
    shorter: int = setting(4, "how many times shorter the short ones are", minimum=2)
    width: int = setting(64, "width of the network", minimum=2, maximum=8192)
    heads: int = setting(4, "heads of attention and retention", minimum=1, maximum=256)
    layers: int = setting(2, "layers", minimum=1, maximum=256)
    size: int = setting(16, "states a channel", minimum=2, maximum=4096)
    num_steps: int = setting(300, "steps of a training with bytes", minimum=1)
    pixel_steps: int = setting(400, "steps of a training with pixels", minimum=1)
    batch_size: int = setting(16, "long texts a step", minimum=1, maximum=65536)
    mixers: str = setting(",".join(KINDS), f"some of {', '.join(KINDS)}")


PRESETS = {
    "smoke": {
        "length": 16,
        "width": 8,
        "heads": 2,
        "layers": 1,
        "size": 4,
        "num_steps": 2,
        "pixel_steps": 2,
        "batch_size": 4,
        "tested": 4,
        "num_seeds": 1,
        "mixers": "attention,rwkv,lru,slru",
    },
    "paper": {
        "length": 512,
        "width": 512,
        "heads": 8,
        "layers": 6,
        "size": 64,
        "num_steps": 50_000,
        "pixel_steps": 50_000,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "tested": 512,
    },
}
POOL = 16  # neighboring positions whose losses are averaged in the figure


def main(config: Config) -> None:
    """Train, judge, draw, report."""
    text = settings.load(config)
    images = load_images(config.images, config.images_dir)
    kinds = chosen(config.mixers)
    counts = {kind: parameters(config, kind, VOCABULARY) for kind in kinds}
    run = open_run(config)
    report = Report(config.length, config.length // config.shorter)
    for kind in kinds:
        for length in (report.short, report.long):
            read_bytes(config, run, text, kind, length, report)
        read_pixels(config, run, images, kind, report)
    if not processes.leader():
        return
    draw(run, report)
    facts: dict[str, Any] = {"text": text.source, "images": images.source}
    facts |= {f"parameters, {kind}": count for kind, count in counts.items()}
    write_results(run, claims(report), tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def chosen(mixers: str) -> tuple[str, ...]:
    """The mixers that the flag names, with those that the claims compare."""
    names = tuple(name.strip() for name in mixers.split(","))
    unknown = sorted(set(names) - set(KINDS))
    if unknown:
        raise UserError(
            f"flag --mixers={mixers}: wanted some of {', '.join(KINDS)}, "
            f"got {unknown[0]!r}"
        )
    missing = [name for name in COMPARED if name not in names]
    if missing:
        raise UserError(
            f"flag --mixers={mixers}: the claims need {', '.join(COMPARED)}; "
            f"{missing[-1]!r} is missing"
        )
    return tuple(kind for kind in KINDS if kind in names)


def read_bytes(
    config: Config, run: Run, text: TextData, kind: str, length: int, report: Report
) -> None:
    """Train on texts of a length, the same number of bytes a step; judge each seed."""
    model = network(config, kind, vocabulary=VOCABULARY, outputs=VOCABULARY)
    batch = config.batch_size * (config.length // length)
    trainer = Trainer(
        dataclasses.replace(config, batch_size=batch),
        run,
        text.rows(length + 1),
        next_byte(model),
    )
    score, tested = Judge(model), text.test_rows(length + 1, config.tested)
    for seed in lists.seeds(config):
        part = f"bytes_{length}_{kind}" if seed == config.seed else None
        scores = score(trainer(model.init, seed, part=part), tested)
        report.add_bytes(kind, length, scores.mean_loss(), scores.loss.mean(0))
    print(f"{length} bytes, {kind}: {np.mean(report.losses[kind, length]):.3f}")


def read_pixels(
    config: Config, run: Run, images: ImageData, kind: str, report: Report
) -> None:
    """Train on images pixel by pixel, the label behind them; judge each seed."""
    model = network(config, kind, vocabulary=images.levels, outputs=images.num_classes)
    trainer = Trainer(
        config,
        run,
        pixel_rows(images, test=False),
        label_loss(model),
        num_steps=config.pixel_steps,
    )
    tested = pixel_rows(images, test=True)
    for seed in lists.seeds(config):
        part = f"pixels_{kind}" if seed == config.seed else None
        found = accuracy(model, trainer(model.init, seed, part=part), tested)
        report.accuracies.setdefault(kind, []).append(found)
    print(f"pixels, {kind}: {np.mean(report.accuracies[kind]):.3f}", flush=True)


def tables(report: Report) -> list[Table]:
    """Losses and accuracies of all trainings."""
    rows = []
    for kind in report.kinds():
        row: list[Any] = [kind]
        for found in (
            report.loss(kind, report.short),
            report.loss(kind, report.long),
            report.accuracy(kind),
        ):
            row += [found.mean(), spread.deviation(found)]
        rows.append(row)
    short, long = (f"loss, {n} bytes" for n in (report.short, report.long))
    columns = ["mixer", short, "spread", long, "spread", "accuracy, pixels", "spread"]
    title = "Held-out loss in nats a byte; share of test images told right"
    return [Table(title, columns, rows)]


def draw(run: Run, report: Report) -> None:
    """Loss by position of the longer texts; accuracies."""
    series: dict[str, Any] = {}
    for kind in report.kinds():
        losses = np.mean(report.by_position[kind], 0)
        count = max(1, len(losses) // POOL)
        parts = np.array_split(losses, count)
        middles = [
            part.mean() for part in np.array_split(np.arange(len(losses)), count)
        ]
        series[kind] = (middles, [part.mean() for part in parts])
    options: dict[str, Any] = {"xlabel": "bytes read before", "markers": True}
    curves(run.path("position.png"), series, ylabel="held-out loss", **options)
    names = {
        f"{n} bytes": {kind: report.loss(kind, n).tolist() for kind in report.kinds()}
        for n in (report.short, report.long)
    }
    bars(run.path("loss.png"), names, ylabel="held-out loss, nats a byte", zero=False)
    pixels = {
        "pixels": {kind: report.accuracy(kind).tolist() for kind in report.kinds()}
    }
    bars(run.path("pixels.png"), pixels, ylabel="share of test images told right")


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
