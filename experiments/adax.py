"""Does a second moment that freezes help? (kexue.fm/archives/7387 and 7302)

SGD with momentum, AdamW, AdaX, AdaX-W, AdaFactor and the other schedules of the second
moment train a small network on real digits and one that predicts the next byte of
Python's standard library, at several rates, constant and falling, all seeds of a rule
in one program. The first seeds choose rate and plan, all train with them; judged on
rows that neither trained nor chose. With no flags: about 8 minutes on one core that
runs nothing else, several times that on a busy one.

    python -m experiments.adax
    python -m experiments.adax --num_steps=40000 --num_seeds=3
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments._adax import tasks
from experiments._adax.claims import Report, all_claims, table
from experiments._adax.training import LARGER, Budget, Rule, rules, search
from experiments._harness import lists
from experiments._harness.config import BaseConfig, launch, setting
from experiments._harness.data import DATASETS, load_images
from experiments._harness.data_text import load_text
from experiments._harness.figures import bars, curves
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import Run, open_run
from kexue_jax import optim


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    dataset: str = setting("digits", "labelled images", choices=DATASETS)
    data_dir: str = setting("none", "folder of the image files", shapes_run=False)
    tasks: str = setting("both", "what is learned", choices=("both", "digits", "text"))
    num_steps: int = setting(20000, "steps with digits", minimum=20, maximum=10**7)
    text_steps: int = setting(2000, "steps with text", minimum=20, maximum=10**7)
    num_seeds: int = setting(5, "seeds, from --seed on", minimum=1, maximum=99)
    search_seeds: int = setting(2, "of them, to choose the rate by", minimum=1)
    rates: str = setting(
        "3e-4,1e-3,3e-3,1e-2,3e-2", "rates (SGDM: times 30, AdaFactor: 10)"
    )
    b2: float = setting(
        1e-4, "of AdaX; one arm has ten times it", minimum=0, open_minimum=True
    )
    weight_decay: float = setting(5e-2, "decoupled decay; L2 is 0.01 of it", minimum=0)
    train_size: int = setting(900, "rows to train on", minimum=10)
    validation_size: int = setting(297, "rows that choose the rate", minimum=10)
    batch_size: int = setting(32, "rows a step", minimum=1)
    width: int = setting(32, "units of a hidden layer", minimum=1, maximum=8192)


PRESETS = {
    "smoke": {
        "tasks": "digits",
        "num_steps": 20,
        "text_steps": 20,
        "num_seeds": 1,
        "rates": "1e-2",
        "width": 8,
        "batch_size": 8,
    }
}
BLOCKS = 20
JUDGED = 2000  # windows of text to judge by, and as many to choose by


def main(config: Config) -> None:
    """Train, judge, draw, report."""
    images = load_images(config.dataset, config.data_dir)
    text = load_text("stdlib")
    several = lists.positive("rates", config.rates)
    run = open_run(config)
    sizes = config.train_size, config.validation_size
    both = {
        "digits": (tasks.digits(images, config.width, *sizes), config.num_steps),
        "text": (tasks.text(text, 2 * config.width, JUDGED), config.text_steps),
    }
    if config.tasks != "both":
        both = {config.tasks: both[config.tasks]}
    seeds = lists.seeds(config)
    several_rules = rules(config.b2)
    outcomes: dict[tuple[str, str], Any] = {}
    for name, (task, steps) in both.items():
        blocks = min(BLOCKS, steps)
        budget = Budget(steps, blocks, config.batch_size, config.weight_decay)
        for rule in several_rules:
            outcomes[name, rule.name] = search(
                rule, task, several, seeds, config.search_seeds, budget
            )
            print(f"{name}, {rule.name}: {run.seconds():.0f} s", flush=True)
    report = Report(outcomes, seeds)
    draw(run, report, list(both), several_rules)
    names = [rule.name for rule in several_rules]
    counts = {name: steps for name, (_, steps) in both.items()}
    claims = all_claims(report, counts, config.b2)
    facts = {
        "data": images.source,
        "text": text.source,
        "1 / b2": f"{1 / config.b2:,.0f} steps",
        "seeds that choose rate and plan": len(seeds[: config.search_seeds]),
        **{f"b2 t at the end, {n}": f"{config.b2 * c:g}" for n, c in counts.items()},
    }
    write_results(run, claims, [table(report, t, names) for t in both], facts)
    print(f"report: {write_report(run.folder)}")


def draw(run: Run, report: Report, names: list[str], several: Sequence[Rule]) -> None:
    """Weights of the newest square; change of v; losses and scores by time; scores."""
    t = np.unique(np.geomspace(1, 1e5, 60).round())
    lines: dict[str, Any] = {
        kind: (t, np.asarray(optim.second_moment_weight(jnp.asarray(t), kind=kind)))
        for kind in ("adam", "adafactor", "mean", "adax")
    }
    curves(
        run.path("weights.png"),
        lines,
        ylabel="weight of the newest square",
        log_x=True,
        log_y=True,
    )
    for task in names:
        adaptive = [rule.name for rule in several if rule.kind not in LARGER]
        changes = {rule: report.change(task, rule).mean(0) for rule in adaptive}
        # The first step divides by a v of 0.
        lines = {
            r: (np.arange(2, len(c) + 1), _smooth(c[1:])) for r, c in changes.items()
        }
        curves(
            run.path(f"change_{task}.png"),
            lines,
            ylabel="mean |v(t+1) / v(t) - 1|",
            log_x=True,
            log_y=True,
        )
        label = "accuracy" if task == "digits" else "minus the bits a byte"
        for part, title in (("losses", "training loss"), ("scores", f"test: {label}")):
            found = {r.name: report.of(part, task, r.name).mean(0) for r in several}
            lines = {r: (np.arange(1, len(v) + 1), v) for r, v in found.items()}
            curves(
                run.path(f"{'test' if part == 'scores' else part}_{task}.png"),
                lines,
                xlabel="twentieth of the training",
                ylabel=title,
                log_y=part == "losses",
            )
        scores = {r.name: list(report.of("test", task, r.name)) for r in several}
        bars(run.path(f"scores_{task}.png"), {"test": scores}, ylabel=label, zero=False)


def _smooth(values: np.ndarray) -> np.ndarray:
    """A mean over the last tenth of the steps so far."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.minimum((ends * 0.9).astype(int), ends - 1)
    return np.maximum((sums[ends] - sums[starts]) / (ends - starts), 1e-12)


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
