"""Vanishing gradients of recurrent networks (kexue.fm/archives/7888).

How the derivative of a state by an earlier one decays, of tanh and relu networks, LSTM,
GRU, the article's GRU with one gate and its reset-last cell: before training, by the
bias of the gate that keeps, and after training on a long task (8x8 digits, pixel by
pixel, the label at the end) and on a local one (the next byte of Python's library).
Short trainings of small models, a start of learning and no more: about 6 minutes on one
CPU core, half of them to compile; --preset=paper has long ones, for accelerators.

    python -m experiments.rnn_gradients
    python -m experiments.rnn_gradients --cells=rnn,lstm --keep_bias=0,1,3
"""

import dataclasses
import math

import jax
import numpy as np

from experiments._harness import lists
from experiments._harness.config import BaseConfig, UserError, launch, setting
from experiments._harness.data import load_images
from experiments._harness.data_text import load_text
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import open_run
from experiments._recurrent.pixels import pixel_rows
from experiments._rnn import claims, pictures
from experiments._rnn.claims import Report
from experiments._rnn.judging import (
    Outcome,
    exact_at_start,
    judge_models,
    profiles_at_start,
)
from experiments._rnn.networks import CELLS, UNGATED, Model, Task, train


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    cells: str = setting(",".join(CELLS), "cells, commas between")
    keep_bias: str = setting("0,1,3", "biases of the gate that keeps, commas between")
    width: int = setting(32, "units of a trained model", minimum=1, maximum=8192)
    start_width: int = setting(128, "units before training", minimum=1, maximum=8192)
    start_length: int = setting(100, "steps before training", minimum=2, maximum=65536)
    length: int = setting(
        100, "bytes of a row of the local task", minimum=2, maximum=4096
    )
    num_steps: int = setting(200, "steps on the long task", minimum=1)
    local_steps: int = setting(60, "steps on the local task", minimum=1)
    batch_size: int = setting(16, "rows a step", minimum=1, maximum=65536)
    learning_rate: float = setting(3e-3, "Adam's", minimum=0, open_minimum=True)
    tested: int = setting(360, "test rows", minimum=8)
    num_seeds: int = setting(3, "seeds, from --seed on", minimum=1, maximum=99)


PRESETS = {
    "smoke": {
        "cells": "rnn,lstm",
        "keep_bias": "0,3",
        "width": 4,
        "start_width": 8,
        "start_length": 10,
        "length": 8,
        "num_steps": 2,
        "local_steps": 2,
        "batch_size": 4,
        "tested": 8,
        "num_seeds": 1,
    },
    "paper": {
        "width": 128,
        "num_steps": 5000,
        "local_steps": 5000,
        "batch_size": 128,
        "learning_rate": 1e-3,
    },
}
HELD = 5  # one of so many images of the long task is held out
LOCAL_BYTES, LOCAL_TESTED = 400_000, 64
SCALED = 1.5  # a larger start of U, for the cells that have no gate


def main(config: Config) -> None:
    """Measure, train, judge, draw, report."""
    cells, biases = chosen(config)
    images, text = load_images("digits"), load_text("stdlib")
    rows = pixel_rows(images, test=False).astype(np.int32)
    held = np.arange(len(rows)) % HELD == 0
    long = Task(
        "digits, pixel by pixel",
        "label",
        rows[~held],
        rows[held],
        pixel_rows(images, test=True).astype(np.int32)[: config.tested],
        images.levels,
        images.num_classes,
    )
    few = min(config.tested, LOCAL_TESTED)
    local = Task(
        "next byte",
        "next",
        *_parted(_streams(text.train[:LOCAL_BYTES], config.length), few),
        text.test_rows(config.length + 1, few).astype(np.int32),
        256,
        256,
    )
    run = open_run(config)
    report = Report({}, {}, {}, config.width)
    for cell in cells:
        of_cell = models(config, cell, biases)
        starts(config, report, of_cell)
        for task, steps, kept in (
            (long, config.num_steps, report.long),
            (local, config.local_steps, report.local),
        ):
            kept[cell] = of_cell, outcome(config, task, of_cell, steps)
        score = report.long[cell][1].score.mean()
        print(f"{cell}: accuracy {score:.3f}, {run.seconds():.0f} s", flush=True)
    pictures.draw(run, report)
    sources = {"long task": images.source, "local task": text.source}
    facts = sources | trainings(config, (long, local))
    write_results(run, claims.all_claims(report), claims.tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def trainings(config: Config, tasks: tuple[Task, Task]) -> dict[str, str]:
    """How long the trainings were and what they saw, as facts of the report."""
    steps = config.num_steps, config.local_steps
    return {
        f"training, {name}": f"{count} steps of {config.batch_size} rows, width "
        f"{config.width}; {len(task.train)} rows to train on, {len(task.held)} held "
        f"out, {len(task.test)} to test"
        for name, count, task in zip(
            ("long task", "local task"), steps, tasks, strict=True
        )
    }


def outcome(config: Config, task: Task, of_cell: list[Model], steps: int) -> Outcome:
    """The trainings of a cell on a task, judged."""
    sizes = config.width, steps, config.batch_size, config.learning_rate
    params, losses = train(task, of_cell, *sizes)
    return judge_models(task, of_cell[0].cell, params, losses, config.width)


def models(config: Config, cell: str, biases: list[float]) -> list[Model]:
    """Every bias and seed; cells without gates have no bias."""
    kept = [0.0] if cell in UNGATED else biases
    seeds = range(config.seed, config.seed + config.num_seeds)
    return [Model(cell, bias, seed) for bias in kept for seed in seeds]


def starts(config: Config, report: Report, of_cell: list[Model]) -> None:
    """Profiles before training, put in the report."""
    cell = of_cell[0].cell
    for scale in (1.0, SCALED) if cell in UNGATED else (1.0,):
        sizes = config.start_width, config.start_length, scale
        found = profiles_at_start(of_cell, *sizes)
        if scale == 1.0:
            exact = exact_at_start(of_cell, config.width, config.start_length)
            found = found._replace(exact=exact)
        for bias in sorted({m.bias for m in of_cell}):
            rows = [k for k, m in enumerate(of_cell) if m.bias == bias]
            of_bias = jax.tree.map(lambda part, rows=rows: part[rows], found)
            report.starts[cell, bias, scale] = of_bias


def _streams(text: np.ndarray, length: int) -> np.ndarray:
    """Rows of length + 1 that overlap by one byte, so that a state can be handed on."""
    count = (len(text) - 1) // length
    places = np.arange(count)[:, None] * length + np.arange(length + 1)[None]
    return text[places].astype(np.int32)


def _parted(rows: np.ndarray, held: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on, and the last ones, held out."""
    return rows[:-held], rows[-held:]


def chosen(config: Config) -> tuple[list[str], list[float]]:
    """The cells and biases of the flags; UserError if there are none such."""
    cells = list(dict.fromkeys(config.cells.split(",")))
    if not set(cells) <= set(CELLS):
        wanted = ", ".join(CELLS)
        raise UserError(f"flag --cells={config.cells}: wanted some of {wanted}")
    return cells, lists.numbers("keep_bias", config.keep_bias, "numbers", math.isfinite)


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
