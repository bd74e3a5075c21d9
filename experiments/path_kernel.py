"""Gradient descent as a kernel machine (kexue.fm/archives/8009): what samples add.

Small perceptrons learn real 8x8 digits, and it is written down what each training image
has added to each prediction: how far the sum is from the prediction by rate, in the
article's form and the exact one; which images support and oppose a prediction, beside
its neighbors in pixels; how far the tangent kernel moves, by width. Some minutes on two
CPU cores.

    python -m experiments.path_kernel
    python -m experiments.path_kernel --steps=2000 --lr=0.05
"""

import dataclasses

from experiments._harness import lists
from experiments._harness.config import BaseConfig, UserError, launch, setting
from experiments._harness.data import DATASETS, load_images
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import open_run
from experiments._path import claims, measurement, pictures
from experiments._path.measurement import TOP, Report


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    dataset: str = setting("digits", "labelled images", choices=DATASETS)
    data_dir: str = setting("none", "folder of the image files", shapes_run=False)
    rates: str = setting(
        "0.01,0.005,0.0025,0.00125", "rates of full batches, commas between"
    )
    duration: float = setting(2.0, "rate times steps", minimum=0.01, maximum=1e4)
    full_rows: int = setting(40, "images of full batches", minimum=4)
    steps: int = setting(1000, "steps of mini-batches", minimum=1)
    lr: float = setting(0.5, "their rate", minimum=0, open_minimum=True)
    batch_size: int = setting(32, "images of a step", minimum=1)
    width: int = setting(32, "hidden units of that network", minimum=1, maximum=4096)
    rows: int = setting(1000, "images to train on", minimum=16)
    tested: int = setting(100, "test images", minimum=1)
    widths: str = setting("16,64,256,1024", "widths for the kernel, commas between")
    width_steps: int = setting(200, "steps there", minimum=10)
    num_seeds: int = setting(3, "seeds, from --seed on", minimum=1, maximum=99)


PRESETS = {
    "smoke": {
        "rates": "0.02,0.01",
        "duration": 0.1,
        "full_rows": 4,
        "steps": 3,
        "batch_size": 4,
        "width": 4,
        "rows": 16,
        "tested": 3,
        "widths": "2,4",
        "width_steps": 10,
        "num_seeds": 1,
    }
}


def main(config: Config) -> None:
    """Measure, judge, draw, report."""
    rates = lists.positive("rates", config.rates, below=1e6, fewest=2)[::-1]
    widths = lists.positive("widths", config.widths, below=1e6, whole=True, fewest=2)
    data = load_images(config.dataset, config.data_dir)
    if data.train_labels is None or config.rows < TOP:
        raise UserError(f"--dataset={config.dataset} has no labels")
    run = open_run(config)
    seeds = lists.seeds(config)
    report = Report(rates)
    sized = config.duration, config.full_rows
    measurement.measure_completeness(report, data, seeds, *sized)
    print(f"completeness: {run.seconds():.0f} s", flush=True)
    measurement.measure_attributions(
        report,
        data,
        seeds,
        steps=config.steps,
        rate=config.lr,
        batch=config.batch_size,
        width=config.width,
        tested=config.tested,
        rows=config.rows,
    )
    print(f"attributions: {run.seconds():.0f} s", flush=True)
    measurement.measure_widths(
        report,
        data,
        seeds,
        widths=widths,
        steps=config.width_steps,
        rows=config.full_rows,
    )
    pictures.draw(run, report, data)
    facts = {
        "data": data.source,
        "test accuracy of the network of the attributions": sum(report.accuracy)
        / len(report.accuracy),
    }
    write_results(run, claims.all_claims(report), claims.tables(report), facts)
    print(f"report: {write_report(run.folder)}")


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
