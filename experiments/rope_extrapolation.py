"""Beyond the trained length (kexue.fm/archives/9708, 9728, 9675, 9706, 8823, 9948).

Small causal models of bytes are trained at length N and tested with contexts of N, 2 N,
4 N and 8 N, and on texts of 8 N bytes that repeat after more bytes than windows of N
reach through the layers, always on the same last N bytes: with RoPE and its scalings, a
plain window, ReRoPE, Leaky ReRoPE, InvLeaky ReRoPE and the log n factor. With no flags:
N = 64, a repetition after 2 N, the source text of Python's standard library, three
seeds, about 22 minutes on one CPU core. A model of this size learns
nothing from far away: the run can show which rules break, not what a large model gains
from a long context.

    python -m experiments.rope_extrapolation
    python -m experiments.rope_extrapolation --preset=paper
"""

import dataclasses
from typing import Any

import numpy as np

from experiments._extrapolation.claims import CONTEXTS, Report, claims, tables
from experiments._extrapolation.rules import Rule, network, rule
from experiments._harness import lists, processes
from experiments._harness.config import launch, setting
from experiments._harness.data_text import TextData
from experiments._harness.errors import UserError
from experiments._harness.figures import curves
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import Run, open_run
from experiments._language import settings
from experiments._language.judgment import Judge
from experiments._language.losses import next_byte
from experiments._language.settings import LanguageConfig, check_pairs
from experiments._language.training import Trainer
from kexue_jax import models, positions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(LanguageConfig):
    """All settings of the experiment."""

    length: int = setting(
        64, "N, bytes a model is trained on, divisible by 8", minimum=16, maximum=65536
    )
    width: int = setting(64, "width of the model", minimum=1, maximum=8192)
    heads: int = setting(2, "heads, a divisor of --width", minimum=1, maximum=256)
    layers: int = setting(2, "layers", minimum=1, maximum=256)
    num_steps: int = setting(1000, "training steps", minimum=1)
    tau: float = setting(
        8.0, "turns in training from which YaRN leaves a pair alone", minimum=1.01
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length % 8:
            raise UserError(f"flag --length={self.length}: wanted a multiple of 8")
        check_pairs(self)


PRESETS = {
    "smoke": {
        "length": 16,
        "width": 16,
        "layers": 1,
        "num_steps": 4,
        "batch_size": 4,
        "tested": 4,
        "num_seeds": 1,
    },
    "paper": {
        "length": 512,
        "width": 768,
        "heads": 12,
        "layers": 12,
        "num_steps": 100_000,
        "batch_size": 128,
        "learning_rate": 3e-4,
        "tested": 512,
        "tau": 32.0,
    },
}
ROPE = "RoPE training"


def main(config: Config) -> None:
    """Train, test every rule at every context, judge, draw, report."""
    text = settings.load(config)
    longest = max(CONTEXTS) * config.length
    tested = text.test_rows(longest + 1, config.tested)
    model = network(config.length, settings.sizes(config))
    run = open_run(config)
    score = Judge(model, at_once=16)
    losses: dict[str, dict[int, list[float]]] = {}
    repeated: dict[str, list[float]] = {}
    trainer = build_trainer(config, run, text, model)
    for training, trained in trainings(config).items():
        for seed in lists.seeds(config):
            part = training.split()[0].lower() if seed == config.seed else None
            params = trainer(model.init, seed, given=trained, part=part)
            for name, tested_rule in rules(config)[training].items():
                given = {"params": params, "rule": tested_rule}
                at = losses.setdefault(name, {c: [] for c in CONTEXTS})
                for context in CONTEXTS:
                    rows = tested[:, -context * config.length - 1 :]
                    at[context].append(last_loss(score, given, rows, config.length))
                found = last_loss(score, given, tiled(tested, config), config.length)
                repeated.setdefault(name, []).append(found)
        print(f"{training}: {config.num_seeds} seeds trained and tested", flush=True)
    if not processes.leader():
        return
    report = Report(losses, repeated, repetition(config))
    draw(run, report, config)
    facts = {"data": text.source, "repeated texts": report.repetition}
    write_results(run, claims(report), tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def build_trainer(
    config: Config, run: Run, text: TextData, model: models.Model
) -> Trainer:
    """The training, one program for the rules of all of them."""
    return Trainer(config, run, text.rows(config.length + 1), next_byte(model))


def last_loss(score: Judge, given: Any, rows: np.ndarray, length: int) -> float:
    """The loss over the last ``length`` bytes."""
    return score(given, rows).mean_loss(slice(-length, None))


def reach(config: Config) -> int:
    """Bytes that windows of N see through all layers, that of the query included."""
    return (config.length - 1) * config.layers + 1


def period(config: Config) -> int:
    """The bytes after which a repeated text begins again.

    The fewest N beyond the reach of windows of N, so that they never see the byte to
    copy; at most 4 N, as 8 N must hold the text twice.
    """
    n = config.length
    return min(n * (reach(config) // n + 1), max(CONTEXTS) // 2 * n)


def repetition(config: Config) -> str:
    """The repeated texts in words."""
    n, bytes_back = config.length, reach(config)
    seen = "never" if period(config) > bytes_back else "only from layer to layer"
    return (
        f"{max(CONTEXTS)} N bytes of period {period(config) // n} N; windows of N, "
        f"with a reach of {bytes_back} bytes through the layers, see the byte to copy "
        f"{seen}"
    )


def tiled(tested: np.ndarray, config: Config) -> np.ndarray:
    """The last ``period`` bytes of each text, repeated up to 8 N + 1 bytes."""
    size, repeated = max(CONTEXTS) * config.length + 1, period(config)
    rows = np.tile(tested[:, -repeated:], (1, -(-size // repeated)))
    return rows[:, -size:]


def trainings(config: Config) -> dict[str, Rule]:
    """The rule of each training."""
    n, dim = config.length, config.width // config.heads
    return {
        ROPE: rule(dim),
        "log n training": rule(dim, log_n="pre"),
        "InvLeaky training": rule(dim, window=n // 4, leak=1 / (2 * max(CONTEXTS))),
        "ReRoPE training": rule(dim, window=n // 2),
    }


def rules(config: Config) -> dict[str, dict[str, Rule]]:
    """The rules that each trained model is tested with, by name."""
    n, dim = config.length, config.width // config.heads
    times = float(max(CONTEXTS))
    stretched: dict[str, Any] = {"scale": times}
    yarn = float(positions.yarn_logit_scale(times))
    scalings: dict[str, dict[str, Any]] = {
        "PI": {"scaling": "linear", **stretched},
        "NTK-old": {"scaling": "ntk_old", **stretched},
        "NTK-aware": {"scaling": "ntk", **stretched},
        "NTK-fixed": {"scaling": "ntk_fixed", **stretched},
        "NTK-mixed": {"scaling": "ntk_mixed", **stretched},
        "YaRN": {
            "scaling": "yarn",
            **stretched,
            "train_length": n,
            "tau": config.tau,
            "factor": yarn,
        },
    }
    windows = {"N/8": n // 8, "N/4": n // 4, "N/2": n // 2, "3N/4": 3 * n // 4, "N": n}
    half = n // 2
    return {
        ROPE: {
            "RoPE": rule(dim),
            **{name: rule(dim, **values) for name, values in scalings.items()},
            "window N": rule(dim, reach=n),
            **{
                f"ReRoPE w = {name}": rule(dim, window=w) for name, w in windows.items()
            },
            "ReRoPE w = N/2, log n at test": rule(dim, window=half, log_n="dagger"),
            **{
                f"Leaky w = N/4, k = {k}": rule(dim, window=n // 4, leak=float(k))
                for k in (8, 16, 32)
            },
        },
        "log n training": {
            "log n training, RoPE": rule(dim, log_n="pre"),
            "log n training, ReRoPE w = N/2": rule(dim, window=half, log_n="pre"),
        },
        "InvLeaky training": {"InvLeaky training, RoPE": rule(dim)},
        "ReRoPE training": {
            "ReRoPE training, ReRoPE": rule(dim, window=half),
            "ReRoPE training, RoPE": rule(dim),
        },
    }


SHOWN = (
    "RoPE",
    "PI",
    "NTK-mixed",
    "YaRN",
    "window N",
    "ReRoPE w = N/2",
    "ReRoPE w = N",
    "Leaky w = N/4, k = 16",
    "InvLeaky training, RoPE",
)


def draw(run: Run, report: Report, config: Config) -> None:
    """Loss by context."""
    shown: dict[str, Any] = {
        name: (
            [c * config.length for c in CONTEXTS],
            [report.loss(name, c).mean() for c in CONTEXTS],
        )
        for name in SHOWN
    }
    path = run.path("context.png")
    options: dict[str, Any] = {"log_x": True, "markers": True}
    curves(path, shown, xlabel="context", ylabel="loss of the last N", **options)


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
