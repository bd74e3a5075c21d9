"""Learned positions beyond their table (kexue.fm/archives/7947).

A small model of bytes with N learned positions is trained at length N, extended to 3 N
positions by the article's hierarchical rows and by four rivals that the article did not
try, and trained on for 8 % of the steps at the length 3 N. Held-out accuracy and
loss, over all positions and by block of N, before and while it adapts. With no flags:
N = 64, three seeds, next-byte prediction, about 20 minutes on one CPU core; a masked
model of bytes (the article's own kind) needs some thousand steps to learn more than the
frequencies of the bytes: --preset=masked, an hour and a half on one core.

    python -m experiments.hierarchical_position_mlm
    python -m experiments.hierarchical_position_mlm --preset=masked
"""

import dataclasses
from typing import Any

import numpy as np

from experiments._harness import lists, processes
from experiments._harness.config import launch, setting
from experiments._harness.data_text import TextData
from experiments._harness.errors import UserError
from experiments._harness.figures import curves
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import Run, open_run
from experiments._hierarchical.claims import (
    CHOSEN,
    Course,
    Report,
    claims,
    mean_course,
    tables,
)
from experiments._hierarchical.methods import (
    ALPHAS,
    METHODS,
    TIMES,
    Method,
    extended,
    hierarchical,
    network,
)
from experiments._language import settings
from experiments._language.judgment import Judge, Scores, hidden_places
from experiments._language.losses import masked_bytes, next_byte
from experiments._language.settings import LanguageConfig
from experiments._language.training import Trainer
from kexue_jax import models


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(LanguageConfig):
    """All settings of the experiment."""

    objective: str = setting(
        "causal", "predict the next byte or masked ones", choices=("causal", "masked")
    )
    length: int = setting(64, "N, learned positions", minimum=2, maximum=65536)
    width: int = setting(64, "width of the model", minimum=1, maximum=8192)
    heads: int = setting(2, "heads, a divisor of --width", minimum=1, maximum=256)
    layers: int = setting(2, "layers", minimum=1, maximum=256)
    num_steps: int = setting(1000, "steps of the pretraining", minimum=1)
    adapt_steps: int = setting(80, "steps at the extended length", minimum=1)
    adapt_rate: float = setting(
        3e-4, "peak rate there", minimum=0, maximum=1, open_minimum=True
    )
    batch_size: int = setting(
        36, "texts a step, a third of them when extended", minimum=1, maximum=65536
    )
    tested: int = setting(48, "held-out texts", minimum=1, maximum=65536)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise UserError(
                f"flag --heads={self.heads}: wanted a divisor of --width={self.width}"
            )

    @property
    def causal(self) -> bool:
        """Whether the next byte is predicted."""
        return self.objective == "causal"


PRESETS = {
    "smoke": {
        "length": 8,
        "width": 16,
        "heads": 2,
        "layers": 1,
        "num_steps": 4,
        "adapt_steps": 2,
        "batch_size": 6,
        "tested": 4,
        "num_seeds": 1,
    },
    "masked": {"objective": "masked", "num_steps": 8000, "adapt_steps": 800},
    "paper": {
        "objective": "masked",
        "length": 512,
        "width": 768,
        "heads": 12,
        "layers": 12,
        "num_steps": 100_000,
        "adapt_steps": 3000,
        "batch_size": 96,
        "learning_rate": 3e-4,
        "adapt_rate": 3e-5,
        "tested": 256,
    },
}


def main(config: Config) -> None:
    """Pretrain, extend in every way, adapt, judge, draw, report."""
    text = settings.load(config)
    run = open_run(config)
    tested = text.test_rows(TIMES * config.length + config.causal, config.tested)
    sizes = settings.sizes(config)
    short = network(sizes, config.length, config.causal)
    adapters = build_adapters(config, run, text)
    pretrain = build_trainer(config, run, text, short, config.length)
    judge_short = Judge(short, causal=config.causal)
    courses: dict[str, list[Course]] = {name: [] for name in METHODS}
    reference, change = [], []
    for seed in lists.seeds(config):
        part = "pretraining" if seed == config.seed else None
        params = pretrain(short.init, seed, part=part)
        parts = [judge_short(params, *block) for block in blocks(tested, config)]
        reference.append(mean_of([part.accuracy() for part in parts], parts))
        for name, method in METHODS.items():
            adapter = adapters[method.alpha if method.live else None]
            begun = extended(params, method, TIMES * config.length, seed)
            courses[name].append(adapter.course(begun, seed, tested))
            if method == Method("hierarchical"):
                first = next(blocks(tested, config))
                found = adapter.score(begun, *first)
                difference = np.abs(found.loss - parts[0].loss)[found.asked]
                change.append(float(difference.max()))
        print(f"seed {seed}: {len(METHODS)} methods trained and tested", flush=True)
    if not processes.leader():
        return
    report = Report(courses, reference, change, config.num_steps)
    draw(run, report)
    facts = {"data": text.source}
    write_results(run, claims(report), tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def blocks(tested: np.ndarray, config: Config) -> Any:
    """The same bytes as texts of N, and the places to ask for in each."""
    n = config.length
    places = hidden_places(tested.shape)
    for block in range(TIMES):
        part = slice(block * n, (block + 1) * n + config.causal)
        asked = None if config.causal else places[:, block * n : (block + 1) * n]
        yield tested[:, part], asked


def mean_of(values: list[float], parts: list[Scores]) -> float:
    """The mean over blocks, each counted by the bytes it is asked for."""
    return float(np.average(values, weights=[part.asked.sum() for part in parts]))


class Adapter:
    """One longer model: its training, compiled once, and its scores."""

    def __init__(self, config: Config, model: models.Model, trainer: Trainer) -> None:
        self.config, self.trainer = config, trainer
        self.score = Judge(model, causal=config.causal, at_once=16)

    def course(self, params: Any, seed: int, tested: np.ndarray) -> Course:
        """Train from ``params`` and look in from time to time."""
        every = max(1, self.config.adapt_steps // 10)
        seen: list[tuple[int, Scores]] = [(0, self.score(params, tested))]

        def observe(params: Any, step: int) -> dict[str, float]:
            seen.append((step, self.score(params, tested)))
            return {"accuracy": seen[-1][1].accuracy()}

        self.trainer(params, seed, observe=observe, observe_every=every)
        return Course(
            [step for step, _ in seen],
            [scores.accuracy() for _, scores in seen],
            [scores.mean_loss() for _, scores in seen],
            self.by_block(seen[0][1]),
            self.by_block(seen[-1][1]),
        )

    def by_block(self, scores: Scores) -> list[float]:
        """The accuracy in each block of N positions."""
        n = self.config.length
        return [scores.accuracy(slice(b * n, (b + 1) * n)) for b in range(TIMES)]


def build_adapters(
    config: Config, run: Run, text: TextData
) -> dict[float | None, Adapter]:
    """The longer models by the alpha of their live rows, None for a longer table."""
    sizes, n = settings.sizes(config), config.length
    found: dict[float | None, Adapter] = {}
    for method in METHODS.values():
        alpha = method.alpha if method.live else None
        if alpha in found:
            continue
        rows = n if method.live else TIMES * n
        model = network(sizes, rows, config.causal, alpha)
        trainer = build_trainer(config, run, text, model, TIMES * n)
        found[alpha] = Adapter(config, model, trainer)
    return found


def build_trainer(
    config: Config, run: Run, text: TextData, model: models.Model, length: int
) -> Trainer:
    """The training at a length; the longer one has as many bytes a step."""
    loss = next_byte(model) if config.causal else masked_bytes(model)
    rows = text.rows(length + config.causal)
    if length == config.length:
        return Trainer(config, run, rows, loss)
    return Trainer(
        dataclasses.replace(config, batch_size=max(1, config.batch_size // TIMES)),
        run,
        rows,
        loss,
        num_steps=config.adapt_steps,
        learning_rate=config.adapt_rate,
    )


TABLES = tuple(map(hierarchical, ALPHAS))
FIGURES = {
    "accuracy_alpha.png": TABLES,
    "accuracy_rivals.png": (CHOSEN, *(name for name in METHODS if name not in TABLES)),
}


def draw(run: Run, report: Report) -> None:
    """Accuracy while the models adapt, and that of the short model, by figure."""
    options: dict[str, Any] = {"xlabel": "step at 3 N", "ylabel": "accuracy"}
    level = float(np.mean(report.reference))
    for file, names in FIGURES.items():
        shown: dict[str, Any] = {n: mean_course(report.courses[n]) for n in names}
        steps = next(iter(shown.values()))[0]
        shown["short model"] = ([steps[0], steps[-1]], [level, level])
        curves(run.path(file), shown, **options)


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
