"""Longer questions than learned (kexue.fm/archives/9444, 9603, 9708, 9431, 8823).

Small encoders and causal models learn tasks of the Chomsky hierarchy (arXiv 2207.02098)
with questions of up to N letters and are tested with N, 2 N, 4 N and 8 N: with rotary
positions, the log n factor, ReRoPE and a window at the test, positions drawn at random
in training (a sorted choice, or equal-mean), and windows under one full layer (HWFA).
With no flags: N = 16, two tasks that so small a model learns, three seeds; about a
quarter of an hour on two CPU cores. --tasks chooses among all fifteen; what a training
did not learn at N is called not learned, and not judged.

    python -m experiments.length_generalization
    python -m experiments.length_generalization --tasks=reverse,odds_first --width=128
"""

import dataclasses
from typing import Any

import numpy as np

from experiments._generalization.claims import Report, claims, tables
from experiments._generalization.examples import Task, blind, rows, stream
from experiments._generalization.methods import (
    CAUSAL,
    EQUAL,
    GROWN,
    HWFA,
    RANDOM,
    REROPE,
    ROPE,
    WINDOW,
    Training,
    trainings,
)
from experiments._generalization.rules import network, positions_at_test
from experiments._generalization.tasks import TASKS
from experiments._generalization.training import Judge, answer_loss
from experiments._harness import lists, processes
from experiments._harness.config import launch, setting
from experiments._harness.errors import UserError
from experiments._harness.figures import curves
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import Run, open_run
from experiments._language.settings import SequenceConfig, check_pairs
from experiments._language.training import Trainer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(SequenceConfig):
    """All settings of the experiment."""

    tasks: str = setting(
        "even_pairs,bucket_sort",
        f"some of {', '.join(TASKS)}, commas between",
    )
    length: int = setting(
        16, "N, letters of the longest question", minimum=4, maximum=65536
    )
    lengths: str = setting("32,64,128", "letters of longer tests, commas between")
    positions: int = setting(
        512, "random positions are below it", minimum=2, maximum=2**20
    )
    width: int = setting(64, "width of the model", minimum=1, maximum=8192)
    hidden: int = setting(128, "units of its feed-forward layers", minimum=1)
    heads: int = setting(2, "heads, a divisor of half --width", minimum=1, maximum=256)
    layers: int = setting(2, "layers", minimum=2, maximum=256)
    examples: int = setting(
        40_000, "training examples of a task", minimum=1, maximum=2**24
    )
    num_steps: int = setting(1600, "training steps", minimum=1)
    batch_size: int = setting(32, "examples a step", minimum=1, maximum=65536)
    learning_rate: float = setting(
        1e-3, "peak", minimum=0, maximum=1, open_minimum=True
    )
    tested: int = setting(256, "examples of a length", minimum=1, maximum=65536)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_pairs(self)


PRESETS = {
    "smoke": {
        "tasks": "stack_manipulation",
        "length": 4,
        "lengths": "8",
        "positions": 64,
        "width": 8,
        "hidden": 8,
        "examples": 64,
        "num_steps": 3,
        "batch_size": 8,
        "tested": 8,
        "num_seeds": 1,
    },
    "paper": {
        "tasks": ",".join(TASKS),
        "length": 40,
        "lengths": "80,160,320,500",
        "positions": 2048,
        "hidden": 256,
        "heads": 8,
        "layers": 5,
        "examples": 500_000,
        "num_steps": 200_000,
        "batch_size": 128,
        "learning_rate": 3e-4,
        "tested": 512,
    },
}


def main(config: Config) -> None:
    """Train, test at every length, judge, draw, report."""
    lengths = tested_lengths(config)
    chosen = chosen_tasks(config, lengths[-1])
    run = open_run(config)
    accuracy: dict[str, Any] = {}
    chance: dict[str, dict[int, float]] = {}
    trained: dict[str, str] = {}
    for name, task in chosen.items():
        bench = Bench(config, run, name, task, lengths)
        accuracy[name] = {}
        for kind, training in bench.trainings.items():
            trained |= dict.fromkeys(training.tests, kind)
            accuracy[name] |= bench.tested(kind, training)
            shown = accuracy[name][kind]
            ends = (np.mean(shown[n]) for n in (lengths[0], lengths[-1]))
            print(
                f"{name}, {kind}: {' to '.join(f'{e:.3f}' for e in ends)}", flush=True
            )
        chance[name] = bench.chance()
    if not processes.leader():
        return
    report = Report(lengths, trained, accuracy, chance)
    draw(run, report)
    found, left = claims(report)
    facts = {"data": "drawn by experiments/_generalization/tasks.py"}
    write_results(run, found, tables(report, left), facts)
    print(f"report: {write_report(run.folder)}")


def tested_lengths(config: Config) -> list[int]:
    """N and the longer lengths."""
    longer = lists.positive("lengths", config.lengths, below=1e6, whole=True)
    if longer[0] <= config.length:
        raise UserError(
            f"flag --lengths={config.lengths}: wanted lengths above "
            f"--length={config.length}"
        )
    return [config.length, *longer]


def chosen_tasks(config: Config, longest: int) -> dict[str, Task]:
    """The tasks that the flag names, in the order of the table."""
    names = [name.strip() for name in config.tasks.split(",")]
    unknown = sorted(set(names) - set(TASKS))
    if unknown:
        raise UserError(
            f"flag --tasks={config.tasks}: wanted some of {', '.join(TASKS)}, "
            f"got {unknown[0]!r}"
        )
    chosen = {name: task for name, task in TASKS.items() if name in names}
    for name, task in chosen.items():
        if task.size(longest) > config.positions:
            raise UserError(
                f"flag --positions={config.positions}: wanted at least "
                f"{task.size(longest)}, the tokens of {name} at {longest} letters"
            )
    return chosen


BLIND = 10**6  # from here on the streams of blind guesses


class Bench:
    """One task: its examples, one program of training, one of tests a length."""

    def __init__(
        self, config: Config, run: Run, name: str, task: Task, lengths: list[int]
    ) -> None:
        self.config, self.name, self.lengths = config, name, lengths
        self.task = task
        sizes = {
            "width": config.width,
            "heads": config.heads,
            "layers": config.layers,
            "hidden": config.hidden,
        }
        learned = task.lengths(config.length)
        self.width = task.size(learned[-1])
        self.trainings = trainings(sizes, self.width)
        self.model = network(task, sizes, self.width, bent=False)
        drawn = stream(config.seed, 0)
        made = rows(task, drawn, learned, config.examples, self.width)
        loss = answer_loss(task, self.model, config.positions)
        self.trainer = Trainer(config, run, made, loss)
        self.judge = Judge(network(task, sizes, self.width, bent=True))
        self.questions = {}
        for n in lengths:
            size, drawn = task.lengths(n)[-1], stream(config.seed, n)
            made = rows(task, drawn, [size], config.tested, task.size(size))
            self.questions[n] = made

    def chance(self) -> dict[int, float]:
        """What a blind guess has at each length."""
        return {
            n: blind(self.task, stream(self.config.seed, BLIND + n), size)
            for n in self.lengths
            for size in self.task.lengths(n)[-1:]
        }

    def tested(
        self, kind: str, training: Training
    ) -> dict[str, dict[int, list[float]]]:
        """The accuracies of every test of a training by length, one a seed."""
        found: dict[str, dict[int, list[float]]] = {
            test: {n: [] for n in self.lengths} for test in training.tests
        }
        for seed in lists.seeds(self.config):
            first = seed == self.config.seed
            part = f"{self.name}_{kind.replace(' ', '_')}" if first else None
            given = training.rule
            params = self.trainer(self.model.init, seed, given=given, part=part)
            for name, test in training.tests.items():
                for n, asked in self.questions.items():
                    turns = positions_at_test(
                        test.turns,
                        asked.shape[-1] // 2,
                        self.width,
                        self.config.positions,
                    )
                    found[name][n].append(self.judge(params, test.rule, turns, asked))
        return found


SHOWN = (
    ROPE,
    WINDOW,
    REROPE,
    GROWN,
    RANDOM,
    EQUAL,
    HWFA,
    CAUSAL + ROPE,
    CAUSAL + RANDOM,
    CAUSAL + HWFA,
)


def draw(run: Run, report: Report) -> None:
    """Accuracy by length, a figure for each task."""
    for task, found in report.accuracy.items():
        shown: dict[str, Any] = {
            test: (report.lengths, [np.mean(found[test][n]) for n in report.lengths])
            for test in SHOWN
        }
        guessed = [report.blind[task][n] for n in report.lengths]
        shown["blind guess"] = (report.lengths, guessed)
        curves(
            run.path(f"{task}.png"),
            shown,
            xlabel=f"letters of the question, {task}",
            ylabel="accuracy",
            log_x=True,
            markers=True,
        )


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
