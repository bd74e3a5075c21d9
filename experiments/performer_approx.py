"""How well random features approximate softmax attention (kexue.fm/archives/7921).

The error of Performer's features by their number, kind and projection, on normal
queries and keys and on those of a small trained model of bytes; the bias of a QR
factorization whose signs are left alone; whether the weights of a softmax model can be
used in a Performer at once or after a little training; and the time of both by length.
With no flags: 15 draws a number, three seeds a training, about twenty minutes on one
CPU core.

    python -m experiments.performer_approx
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from experiments._harness import processes
from experiments._harness.config import launch, setting
from experiments._harness.errors import UserError
from experiments._harness.figures import bars, curves
from experiments._harness.grids import doubles
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import Run, open_run
from experiments._language import settings
from experiments._language.settings import LanguageConfig
from experiments._performer import times
from experiments._performer.claims import (
    USUAL,
    WIDE,
    Errors,
    Report,
    claims,
    medians,
    tables,
)
from experiments._performer.errors import (
    FORMS,
    kernel_errors,
    kernel_means,
    relative_errors,
    sample,
    uniform_error,
)
from experiments._performer.transfer import Transfer, transfer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(LanguageConfig):
    """All settings of the experiment."""

    points: int = setting(
        4096, "queries and keys of the approximation", minimum=16, maximum=65536
    )
    dim: int = setting(16, "their dimension", minimum=2, maximum=256)
    most: int = setting(1024, "the largest number of features", minimum=32)
    draws: int = setting(15, "draws of the features", minimum=2, maximum=10_000)
    repeats: int = setting(
        400, "draws for the error of kernel values", minimum=2, maximum=10**6
    )
    kernels: int = setting(
        4000, "draws for the bias of one kernel value", minimum=50, maximum=10**6
    )
    width: int = setting(64, "width of the model", minimum=1, maximum=8192)
    heads: int = setting(2, "heads, a divisor of --width", minimum=1, maximum=256)
    layers: int = setting(2, "layers", minimum=1, maximum=256)
    tuned: int = setting(200, "steps of training as a Performer", minimum=1)
    redraw: int = setting(50, "steps between new features", minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise UserError(
                f"flag --heads={self.heads}: wanted a divisor of --width={self.width}"
            )


PRESETS = {
    "smoke": {
        "points": 32,
        "most": 32,
        "draws": 2,
        "repeats": 2,
        "kernels": 50,
        "length": 16,
        "width": 16,
        "layers": 1,
        "num_steps": 4,
        "tuned": 2,
        "redraw": 1,
        "batch_size": 4,
        "tested": 4,
        "num_seeds": 1,
    },
    "paper": {
        "length": 512,
        "width": 512,
        "heads": 8,
        "layers": 6,
        "num_steps": 50_000,
        "tuned": 5_000,
        "redraw": 1000,
        "batch_size": 128,
        "learning_rate": 3e-4,
        "tested": 512,
    },
}
FEW = 16
SMALL, UNIT = 0.25, 1.0  # deviations of the entries of q and k
PAIRS = 64  # of a query and a key, for the error of kernel values


def main(config: Config) -> None:
    """Measure, train, judge, draw, report."""
    text = settings.load(config)
    run = open_run(config)
    moved = transfer(
        config,
        run,
        text,
        features=4 * config.width // config.heads,
        tuned=config.tuned,
        redraw=config.redraw,
    )
    if not processes.leader():
        return
    report = measured(config, moved)
    draw(run, report)
    facts = {"data": text.source}
    write_results(run, claims(report, config.tuned), tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def measured(config: Config, moved: Transfer) -> Report:
    """All errors, of normal entries and of the trained model's, and the times."""
    d = config.dim
    normal = sample(0, n=config.points, d=d, spread=UNIT)
    small = sample(1, n=config.points, d=d, spread=SMALL)
    wide = sample(2, n=min(256, config.points), d=64, spread=UNIT)
    usual: dict[str, Any] = {"kind": "positive", "rows": "chi", "draws": config.draws}
    return Report(
        output_errors(config, normal),
        pair_errors(config, [x[:PAIRS] for x in small[:2]]),
        {m: relative_errors(*small, m=m, **usual) for m in numbers(config)},
        output_errors(config, moved.heads),
        pair_errors(config, moved.heads[:2]),
        {
            "trained model": uniform_error(*moved.heads),
            WIDE: uniform_error(*wide),
        },
        relative_errors(*wide, m=256, **usual),
        {d: kernel_means(d, config.kernels) for d in (16, 64)},
        moved,
        times.by_length(max(times.SHORTEST, 2 * config.points)),
    )


def output_errors(config: Config, heads: Sequence[jax.Array]) -> Errors:
    """Of the attention of q, k, v, by form and number of features."""
    return by_form(config, partial(relative_errors, *heads, draws=config.draws))


def pair_errors(config: Config, pairs: Sequence[jax.Array]) -> Errors:
    """Of the kernel values of q_i and k_i, by form and number of features."""
    return by_form(config, partial(kernel_errors, *pairs, draws=config.repeats))


def by_form(config: Config, errors: Callable[..., np.ndarray]) -> Errors:
    """``errors`` of every form and number of features."""
    return {
        name: {m: errors(kind=kind, rows=rows, m=m) for m in numbers(config)}
        for name, (kind, rows) in FORMS.items()
    }


def numbers(config: Config) -> list[int]:
    """The numbers of features, each twice the last."""
    return doubles(FEW, config.most)


def draw(run: Run, report: Report) -> None:
    """Errors by number of features; losses of the trained models; times by length."""
    features = list(report.slopes)
    options: dict[str, Any] = {"log_x": True, "log_y": True, "markers": True}
    output, kernel = (f"relative error of {x}" for x in ("the output", "kernel values"))
    unit = {name: report.errors[name] for name in list(FORMS)[:6]}
    unit[f"{USUAL}, trained model"] = report.trained[USUAL]
    for file, ylabel, errors in (
        ("error.png", output, unit),
        ("kernel.png", kernel, report.kernels),
        ("trained_error.png", f"{output}, trained model", report.trained),
        ("trained_kernel.png", f"{kernel}, trained model", report.trained_kernels),
    ):
        shown = {name: (features, medians(found)) for name, found in errors.items()}
        path = run.path(file)
        curves(path, shown, xlabel="number of features", ylabel=ylabel, **options)
    timed = {
        name: (list(by_n), [1e3 * t for t in by_n.values()])
        for name, by_n in report.times.items()
    }
    curves(run.path("time.png"), timed, xlabel="length", ylabel="time, ms", **options)
    bars(
        run.path("transfer.png"), {"loss": report.moved.losses}, ylabel="held-out loss"
    )


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
