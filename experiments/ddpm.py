"""DDPM and DDIM on real images (kexue.fm/archives/9119, 9152, 9164, 9181, 9257).

Trains a U-Net on images, samples it with the ancestral chain and with DDIM, and judges
what comes out beside real images and noise: a picture of samples, a denoising strip,
interpolations, nearest training images, the loss, results.json and report.md. With no
flags: the 8x8 digits that scikit-learn carries, about two minutes on two CPU cores.

    python -m experiments.ddpm
    python -m experiments.ddpm --dataset=mnist --data_dir=FOLDER --preset=mnist
    python -m experiments.ddpm --conditional=true --guidance=2 --workdir=runs/guided
    python -m experiments.ddpm --mode=sample --workdir=runs/ddpm --num_samples=64
"""

import dataclasses
import time
from pathlib import Path

import jax
import numpy as np

from experiments._diffusion import claims, judgment, pictures, settings, training
from experiments._diffusion.sampling import Method, Sampler, noise
from experiments._diffusion.settings import DiffusionConfig
from experiments._harness import processes
from experiments._harness.config import UserError, launch, setting
from experiments._harness.data import ImageData
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import Run, open_run, saved_config


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(DiffusionConfig):
    """All settings of the experiment."""

    mode: str = setting(
        "train",
        "train: train (or go on), judge, report; sample: sample from a saved run",
        choices=("train", "sample"),
        shapes_run=False,
    )
    num_seeds: int = setting(
        1, "models to train, from --seed on", minimum=1, maximum=99
    )
    num_samples: int = setting(
        256, "samples that are judged (or, in mode sample, drawn)", minimum=20
    )
    classifier_steps: int = setting(
        500, "training steps of each of the two classifiers that judge", minimum=1
    )
    draws: int = setting(3, "sets of samples a model and method", minimum=1, maximum=99)
    guidance: float = setting(
        0.0,
        "w of classifier-free guidance; needs --conditional",
        minimum=0,
        maximum=100,
    )
    sampler: str = setting(
        "ddim", "mode sample: which", choices=("ddim", "ddpm"), shapes_run=False
    )
    sample_steps: int = setting(
        50, "mode sample: steps of DDIM", minimum=1, shapes_run=False
    )
    eta: float = setting(
        0.0, "mode sample: eta of DDIM", minimum=0, maximum=1, shapes_run=False
    )
    label: int = setting(
        -1,
        "mode sample: the class to draw; -1: all in turn",
        minimum=-1,
        shapes_run=False,
    )
    sample_seed: int = setting(0, "mode sample: its seed", minimum=0, shapes_run=False)


PRESETS = {
    "smoke": {
        "width": 8,
        "num_steps": 30,
        "batch_size": 16,
        "T": 40,
        "num_samples": 40,
        "classifier_steps": 60,
        "draws": 1,
    },
    "mnist": {
        "dataset": "mnist",
        "width": 32,
        "multipliers": "1,2,2",
        "num_steps": 3000,
        "num_samples": 200,
        "classifier_steps": 600,
        "draws": 1,
    },
    "paper": {
        "dataset": "cifar10",
        "width": 128,
        "multipliers": "1,2,2,2",
        "blocks": 2,
        "attention": True,
        "dropout": 0.1,
        "schedule": "linear",
        "learning_rate": 2e-4,
        "batch_size": 128,
        "num_steps": 800_000,
        "ema": 0.9999,
        "num_samples": 10_000,
    },
}


def main(config: Config) -> None:
    """Train and judge, or sample from a run that is there."""
    if config.guidance and not config.conditional and config.mode == "train":
        raise UserError(f"flag --guidance={config.guidance}: needs --conditional=true")
    if config.mode == "sample":
        sample(config)
        return
    images = settings.load(config)
    settings.build_model(config, images)  # refuses bad shapes before there is a folder
    run = open_run(config)
    parts = [f"seed_{config.seed + i}" for i in range(config.num_seeds)]
    parts = [""] if config.num_seeds == 1 else parts
    models = [
        training.train(config, run, images, config.seed + i, part)
        for i, part in enumerate(parts)
    ]
    if not processes.leader():
        return
    jury = judgment.Jury(images, config.num_samples, config.classifier_steps)
    reports, facts = [], {"data": images.source, **jury.facts()}
    for i, trained in enumerate(models):
        sampler = Sampler(config, trained, images.num_classes)
        reports.append(judgment.assess(config, sampler, jury, config.seed + i))
        if i == 0:
            facts |= draw_figures(config, run, sampler, images, reports[0].samples)
    pictures.loss_curve(run, parts)
    judged, tables = claims.conclude(config, jury, reports)
    write_results(run, judged, tables, facts)
    print(f"samples: {run.path('samples.png')}; report: {write_report(run.folder)}")


def draw_figures(
    config: Config, run: Run, sampler: Sampler, images: ImageData, samples: np.ndarray
) -> dict[str, float]:
    """All figures of a model; the facts that they show."""
    pictures.samples_grid(run, samples)
    pictures.denoising_strip(run, sampler, images, config.seed)
    pictures.interpolations(run, sampler, images, config.seed)
    return pictures.neighbors_panel(run, images, samples)


def sample(config: Config) -> None:
    """Draw from the newest checkpoint of ``--workdir``, without training."""
    asked, config = config, saved_config(config)
    config = dataclasses.replace(
        config, num_samples=asked.num_samples, guidance=asked.guidance
    )
    run = Run(Path(config.workdir), True, time.monotonic())
    images = settings.load(config)
    if config.label >= images.num_classes or (
        config.label >= 0 and not config.conditional
    ):
        raise UserError(
            f"flag --label={config.label}: wanted a class of a --conditional run"
        )
    part = "" if config.num_seeds == 1 else f"seed_{config.seed}"
    trained = training.restore(config, run, images, part)
    if trained is None:
        raise UserError(f"--workdir={config.workdir} holds no checkpoint yet")
    labels = None
    if config.conditional:
        labels = np.arange(config.num_samples, dtype=np.int32) % images.num_classes
        labels = labels if config.label < 0 else np.full_like(labels, config.label)
    steps = 0 if config.sampler == "ddpm" else min(config.sample_steps, config.T)
    drawn = Sampler(config, trained, images.num_classes)(
        jax.random.key(config.sample_seed),
        noise(config.sample_seed, config.num_samples, images.shape),
        Method(config.sampler, steps=steps, eta=config.eta),
        labels=labels,
        guidance=config.guidance,
    )
    name = f"drawn_{config.sampler}_{steps or config.T}_seed{config.sample_seed}.png"
    pictures.samples_grid(run, np.asarray(drawn.x), name)
    print(f"samples: {run.path(name)}")


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
