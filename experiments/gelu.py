"""GELU's two elementary approximations (kexue.fm/archives/7309).

The constants 0.044715 and 1.702 are found anew by least largest errors, beside those of
other criteria, with the errors of every form. Then networks on digits with the exact
form, both approximations, a better scale and SiLU: does it matter? With no flags: a
minute or two on two CPU cores.

    python -m experiments.gelu
    python -m experiments.gelu --dataset=mnist --data_dir=FOLDER
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments._gelu import constants
from experiments._gelu.claims import Report, all_claims, tables
from experiments._gelu.training import ACTIVATIONS, Cell, train
from experiments._harness import lists
from experiments._harness.config import BaseConfig, launch, setting
from experiments._harness.data import DATASETS, load_images
from experiments._harness.figures import bars, curves
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import Run, open_run
from experiments._taylor.training import split
from kexue_jax import numerics
from kexue_jax.numerics.activation_fit import normal_erf, tanh_cubic


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    dataset: str = setting("digits", "labelled images", choices=DATASETS)
    data_dir: str = setting("none", "folder of the image files", shapes_run=False)
    rates: str = setting("1e-3,3e-3,1e-2", "rates")
    num_seeds: int = setting(10, "seeds, from --seed on", minimum=1, maximum=99)
    num_steps: int = setting(800, "steps of a training", minimum=2)
    train_size: int = setting(900, "rows to train on", minimum=10)
    validation_size: int = setting(297, "rows that choose", minimum=10)
    batch_size: int = setting(32, "rows a step", minimum=1)
    width: int = setting(48, "units of a hidden layer", minimum=1, maximum=8192)


PRESETS = {
    "smoke": {
        "rates": "1e-2",
        "num_seeds": 2,
        "num_steps": 2,
        "train_size": 100,
        "batch_size": 10,
        "width": 8,
    }
}


def main(config: Config) -> None:
    """Fit, train, judge, draw, report."""
    rates = lists.positive("rates", config.rates)
    data = load_images(config.dataset, config.data_dir)
    parts = split(data, config.train_size, config.validation_size)
    run = open_run(config)
    seeds = lists.seeds(config)
    found = numerics.gelu_constants()
    errors = {form.name: constants.errors(form) for form in constants.FORMS}
    fits = constants.fits()
    print(f"fits: {run.seconds():.0f} s", flush=True)
    cells = [Cell(rate, seed) for rate in rates for seed in seeds]
    sizes = config.width, config.num_steps, config.batch_size
    answers = {}
    for name in ACTIVATIONS:
        answers[name] = train(name, parts, cells, *sizes)
        print(f"{name}: {run.seconds():.0f} s", flush=True)
    report = Report(found, errors, fits, answers, rates, seeds)
    draw(run, report)
    facts: dict[str, Any] = {"data": data.source, **found}
    write_results(run, all_claims(report), tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def draw(run: Run, report: Report) -> None:
    """Errors of erf by fit, with the equal extremes; of GELU by form; accuracies."""
    x = np.linspace(0, 4, 801)
    lines: dict[str, Any] = {}
    for name, fit in report.fits.items():
        lines[name] = x, normal_erf(x) - tanh_cubic(x, fit.theta)
    peaks = report.fits["largest error"].extrema
    peaks = peaks[np.abs(peaks[:, 1]) > 0.99 * np.abs(peaks[:, 1]).max()]
    lines["equal extremes"] = peaks[:, 0], peaks[:, 1]
    label = "erf(x / sqrt(2)) - tanh(a x + b x^3)"
    path = run.path("fits.png")
    curves(path, lines, xlabel="x", ylabel=label, points=("equal extremes",))
    x = np.linspace(1e-3, constants.END, 1200)
    lines = {}
    for form in constants.FORMS:
        found = form.function(jnp.asarray(x, jnp.float32))
        values = np.asarray(found, np.float64)
        lines[form.name] = x, np.maximum(np.abs(values - constants.exact(x)), 1e-8)
    label = "|error of GELU|"
    curves(run.path("errors.png"), lines, xlabel="x", ylabel=label, log_y=True)
    scores = {name: list(report.test(name)) for name in ACTIVATIONS}
    label = "test accuracy"
    bars(run.path("accuracy.png"), {"trained": scores}, ylabel=label, zero=False)


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
