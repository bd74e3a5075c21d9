"""Critics of bounded slope in GANs (kexue.fm/archives/8757, 6051, 6139 and 4439).

Nine ways to treat a critic (clipped weights, spectral normalization, gradient penalty,
R1, WGAN-div, gradient normalization GN and GraN, the article's inner product, nothing)
under three losses and several seeds, all games of a method in one program: on a ring of
Gaussians, and on real digits judged by features of classifiers. Which draws best, at
equal steps and equal time; are gradients bounded, and difference quotients; does GN's
first-order step of the generator change training?

In the default's 1,600 steps no method learns the ring: what it says of quality there is
of the beginning of training. ``--preset=ring`` has the steps and sizes of the method
card, and takes half an hour on two busy cores: gradient penalty and GN find all modes.
``--preset=mnist`` is for an accelerator; with --num_steps=1500 and five methods it took
an hour of such cores.

    python -m experiments.gan_gradient_norm
    python -m experiments.gan_gradient_norm --preset=ring
    python -m experiments.gan_gradient_norm --preset=mnist --data_dir=FOLDER
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments._gan import claims, measures, pictures
from experiments._gan.players import LOSSES, METHODS, Plan, Task
from experiments._gan.training import Cell, Outcome, apart, train
from experiments._harness import lists
from experiments._harness.config import BaseConfig, UserError, launch, setting
from experiments._harness.data import DATASETS, ImageData, load_images
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import open_run

TASKS = ("ring", "images")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    task: str = setting("ring,images", "what is drawn, commas between")
    dataset: str = setting("digits", "labelled images", choices=DATASETS)
    data_dir: str = setting("none", "folder of the image files", shapes_run=False)
    method: str = setting(",".join(METHODS), "ways to treat the critic")
    loss: str = setting(",".join(LOSSES), "losses")
    num_seeds: int = setting(4, "seeds, from --seed on", minimum=1, maximum=99)
    num_steps: int = setting(1600, "steps of the generator", minimum=8)
    critic_steps: int = setting(3, "steps of the critic to each", minimum=1)
    batch_size: int = setting(64, "real rows a step", minimum=2)
    width: int = setting(64, "units of a hidden layer", minimum=1, maximum=8192)
    noise: int = setting(16, "numbers that a generator starts from", minimum=1)
    learning_rate: float = setting(5e-4, "Adam's of the generator", minimum=0)
    critic_rate: float = setting(1e-3, "Adam's of the critic", minimum=0)
    clip: float = setting(0.1, "bound of clipped weights", minimum=1e-9)
    path_steps: int = setting(100, "steps to compare both generator steps", minimum=1)
    classifier_steps: int = setting(400, "steps of the two judges", minimum=2)


PRESETS = {
    "smoke": {
        "method": "gn",
        "loss": "wasserstein,ns",
        "num_seeds": 1,
        "num_steps": 8,
        "critic_steps": 1,
        "batch_size": 8,
        "width": 8,
        "noise": 4,
        "path_steps": 2,
        "classifier_steps": 2,
    },
    "ring": {
        "task": "ring",
        "method": "gp,gn,gran,inner,none",
        "loss": "wasserstein,ns",
        "num_steps": 5000,
        "critic_steps": 5,
        "width": 128,
    },
    "mnist": {
        "task": "images",
        "dataset": "mnist",
        "num_steps": 8000,
        "width": 256,
        "noise": 64,
        "batch_size": 128,
    },
}


def main(config: Config) -> None:
    """Play all games, judge, draw, report."""
    names = chosen("method", config.method, METHODS)
    losses = chosen("loss", config.loss, LOSSES)
    wanted = chosen("task", config.task, TASKS)
    data = load_images(config.dataset, config.data_dir)
    if "images" in wanted and data.train_labels is None:
        raise UserError(f"--dataset={config.dataset} has no labels")
    run = open_run(config)
    seeds = lists.seeds(config)
    cells = [Cell(loss, seed) for loss in losses for seed in seeds]
    jury = None
    if "images" in wanted:
        jury = measures.Jury(data, config.classifier_steps)
    outcomes: dict[tuple[str, str], Outcome] = {}
    scores = {}
    for task in (task_of(name, data) for name in wanted):
        for method in names:
            plan = plan_of(config, method)
            outcome = train(plan, task, cells, config.num_steps)
            judges = None if task.is_ring else jury
            outcomes[task.name, method] = outcome
            scores[task.name, method] = measures.scores(task, judges, outcome)
            print(f"{task.name}, {method}: {run.seconds():.0f} s", flush=True)
    gaps = paths(config, task_of(wanted[0], data), losses[0], seeds, names)
    report = claims.Report(outcomes, scores, losses, seeds, gaps)
    pictures.draw(run, report, data.shape, config.num_steps)
    facts: dict[str, Any] = {
        "images": data.source if jury else "none",
        "cells": len(cells),
    }
    if jury:
        accuracies = ", ".join(f"{c.accuracy:.4f}" for c in jury.classifiers)
        facts["accuracy of the classifiers on held-out images"] = accuracies
        for name, value in jury.floor().items():
            facts[f"{name} of real training images"] = value
    write_results(run, claims.all_claims(report), claims.tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def chosen(flag: str, text: str, known: Sequence[str]) -> list[str]:
    """The names in a comma list, in the order in which they are known."""
    given = text.split(",")
    if not set(given) <= set(known):
        raise UserError(f"flag --{flag}={text}: wanted some of {', '.join(known)}")
    return [name for name in known if name in given]


def task_of(name: str, data: ImageData) -> Task:
    """The ring, or the images as rows."""
    if name == "ring":
        return Task("ring", np.zeros((1, 2), np.float32), 2)
    rows = data.train_images.reshape(len(data.train_images), -1)
    return Task("images", rows, rows.shape[1])


def plan_of(config: Config, method: str) -> Plan:
    """How a method's games are played."""
    return Plan(
        method,
        config.noise,
        config.width,
        config.batch_size,
        config.critic_steps,
        (config.learning_rate, config.critic_rate),
        config.clip,
    )


def paths(
    config: Config, task: Task, loss: str, seeds: Sequence[int], names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Differences between both generator steps of GN, [seeds, steps] by precision."""
    if "gn" not in names:
        return {}
    plan = plan_of(config, "gn")
    return apart(plan, task, [Cell(loss, seed) for seed in seeds], config.path_steps)


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
