"""Variational autoencoders as density estimators (kexue.fm/archives/8791, 5383).

One small autoencoder of real 8x8 digits, whose pixels are drawn as bits anew for every
batch, is trained on the bound of M samples by each estimator of its gradient. Then, on
test images: L_1, L_M, the density by all samples with what tells whether to trust it,
active units; how the bound rises with M for one network beside Var / (2 M); whether
annealing from both ends encloses it; how gradients drown; and whether the density
tells digits never seen, and moved ones, from known ones. MNIST and its like with
--dataset=mnist --data_dir=FOLDER. About ten minutes on two CPU cores.

    python -m experiments.vae_density
    python -m experiments.vae_density --dataset=mnist --data_dir=DATA --width=200
"""

import dataclasses

from experiments._harness import lists
from experiments._harness.config import BaseConfig, UserError, launch, setting
from experiments._harness.data import DATASETS, load_images
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import open_run
from experiments._vae import annealing, claims, measurement, networks, pictures
from experiments._vae.training import ESTIMATORS, Trained, Way, train


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    dataset: str = setting("digits", "labelled grey images", choices=DATASETS)
    data_dir: str = setting("none", "folder of the image files", shapes_run=False)
    samples: str = setting("1,5,50", "M of the trainings, commas between, 1 among them")
    latent: int = setting(16, "latent units", minimum=1, maximum=4096)
    width: int = setting(64, "units of a hidden layer", minimum=1, maximum=4096)
    num_steps: int = setting(2000, "steps of a training", minimum=1)
    batch_size: int = setting(50, "images of a step", minimum=1)
    learning_rate: float = setting(2e-3, "rate at the start", minimum=0)
    tested: int = setting(360, "test images", minimum=10)
    eval_samples: int = setting(5000, "samples a test image", minimum=20)
    score_samples: int = setting(500, "samples of the scores of strangers", minimum=2)
    annealed: int = setting(200, "images of its own that a network checks", minimum=2)
    temperatures: int = setting(200, "steps of the annealing", minimum=1)
    draws: int = setting(200, "gradients for signal over noise", minimum=2)
    num_seeds: int = setting(3, "seeds, from --seed on", minimum=1, maximum=99)


PRESETS = {
    "smoke": {
        "samples": "1,3",
        "latent": 2,
        "width": 4,
        "num_steps": 4,
        "batch_size": 8,
        "tested": 30,
        "eval_samples": 20,
        "score_samples": 4,
        "annealed": 5,
        "temperatures": 3,
        "draws": 3,
        "num_seeds": 2,
    },
    "paper": {
        "dataset": "mnist",
        "width": 200,
        "latent": 50,
        "num_steps": 300_000,
        "batch_size": 20,
        "learning_rate": 1e-3,
        "tested": 10_000,
        "num_seeds": 3,
    },
}


def main(config: Config) -> None:
    """Train, measure, judge, draw, report."""
    ms = lists.positive("samples", config.samples, below=1e6, whole=True, fewest=2)
    if ms[0] != 1:
        raise UserError(f"flag --samples={config.samples}: wanted 1 among them")
    found = load_images(config.dataset, config.data_dir)
    data = networks.bits(found, config.tested)
    seen = data.train[data.train_labels < 5]
    if config.batch_size > len(seen) or len(set(data.test_labels < 5)) < 2:
        raise UserError(f"--dataset={config.dataset}: too few images of each kind")
    run = open_run(config)
    seeds = lists.seeds(config)
    model = networks.network(data.train.shape[1], config.latent, config.width)
    settings = config.num_steps, config.batch_size, config.learning_rate
    # At M = 1 DReG is STL, sample by sample: tests/generative/test_estimators.py.
    ways = [Way(m, e) for m in ms for e in ESTIMATORS if (m, e) != (1, "stl")]
    trained: dict[Way, Trained] = {}
    measured = {}
    for way in ways:
        trained[way] = train(model, way, data.train, seeds, *settings)
        measured[way] = measurement.measured(
            model, way, trained[way], data.test, config.eval_samples
        )
        line = measured[way].high.mean(), trained[way].seconds, run.seconds()
        print(
            f"{way.name}: {line[0]:.2f}, {line[1]:.0f} s of {line[2]:.0f}", flush=True
        )
    first, last = Way(1, "plain"), Way(ms[-1], "dreg")
    curves = {
        way: measurement.curve(model, trained[way], data.test, config.eval_samples)
        for way in (first, last)
    }
    noisy = [way for way in ways if way.estimator != "stl"]
    signals = measurement.signals(model, noisy, trained[first], data.test, config.draws)
    of_known = train(model, Way(ms[1], "dreg"), seen, seeds, *settings)
    scores = measurement.scores(model, of_known, data, config.score_samples)
    checks = {
        way: annealing.checked(
            model,
            trained[way],
            config.eval_samples,
            config.annealed,
            config.temperatures,
        )
        for way in (first, last)
    }
    parts = measured, curves, signals, scores, checks
    report = claims.Report(*parts, config.eval_samples)
    pictures.draw(run, report)
    shown = {way: trained[way] for way in (first, Way(ms[-1], "plain"), last)}
    pictures.samples(run, model, shown, data)
    facts = {
        "data": found.source,
        "bits": "training pixels drawn anew for every batch with their grey level as "
        "probability; test pixels drawn once, the same for every run",
        "test images": len(data.test),
    }
    write_results(run, claims.all_claims(report), claims.tables(report), facts)
    print(f"report: {write_report(run.folder)}")


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
