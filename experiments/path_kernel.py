"""Gradient descent as a kernel machine (kexue.fm/archives/8009): what samples add.

Small perceptrons learn real 8x8 digits, and it is written down what each training image
has added to each prediction: how far the sum is from the prediction by rate, in the
article's form and the exact one, full batches and mini-batches; which images support
and oppose a prediction, beside its neighbors in pixels; by width how far the tangent
kernel moves and how near two kernel machines come to the network: the path kernel with
refitted coefficients, and flow with the first kernel. About 4 minutes on one core.

    python -m experiments.path_kernel
    python -m experiments.path_kernel --steps=500 --lr=0.05
"""

import dataclasses

from experiments._harness import lists
from experiments._harness.config import BaseConfig, UserError, launch, setting
from experiments._harness.data import DATASETS, load_images
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import open_run
from experiments._path import claims, measurement, pictures
from experiments._path.measurement import BATCH_SIZE, NODES, TOP, Report
from experiments._path.widths import POINTS, measure_widths


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    dataset: str = setting("digits", "labelled images", choices=DATASETS)
    data_dir: str = setting("none", "folder of the image files", shapes_run=False)
    rates: str = setting(
        "0.005,0.0025,0.00125", "rates of full batches, commas between"
    )
    nodes: str = setting("0,1,2,4", "nodes of the integrals there, 0 for Riemann sums")
    duration: float = setting(1.0, "rate times steps", minimum=0.01, maximum=1e4)
    full_rows: int = setting(16, "images of full batches", minimum=4)
    batch_duration: float = setting(
        20.0, "rate times steps of mini-batches by rate", minimum=0.01, maximum=1e4
    )
    steps: int = setting(2000, "steps of mini-batches", minimum=1)
    lr: float = setting(0.5, "their rate", minimum=0, open_minimum=True)
    batch_size: int = setting(32, "images of a step", minimum=1)
    width: int = setting(32, "hidden units of that network", minimum=1, maximum=4096)
    rows: int = setting(1000, "images to train on", minimum=16)
    tested: int = setting(100, "test images", minimum=1)
    widths: str = setting("16,64,256,1024", "widths for the kernel, commas between")
    width_rows: int = setting(40, "images there", minimum=4)
    width_steps: int = setting(200, "steps there", minimum=20)
    num_seeds: int = setting(3, "seeds, from --seed on", minimum=1, maximum=99)


PRESETS = {
    "smoke": {
        "rates": "0.02,0.01",
        "nodes": "0,4",
        "duration": 0.1,
        "full_rows": 4,
        "steps": 3,
        "batch_size": 4,
        "width": 4,
        "rows": 16,
        "tested": 3,
        "batch_duration": 0.4,
        "widths": "2,4",
        "width_rows": 4,
        "width_steps": 20,
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
    report = Report(rates, forms(config.nodes))
    sized = config.duration, config.full_rows
    measurement.measure_completeness(report, data, seeds, *sized)
    measurement.measure_batches(report, data, seeds, config.batch_duration)
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
    measure_widths(
        report,
        data,
        seeds,
        widths=widths,
        steps=config.width_steps,
        rows=config.width_rows,
        tested=config.tested,
    )
    pictures.draw(run, report, data, max(1, config.width_steps // POINTS))
    facts = {
        "data": data.source,
        "batches": f"two digits in full batches of {config.full_rows} images alone, "
        f"ten in full batches of {BATCH_SIZE} images and in mini-batches",
        "attributions": f"{config.steps} steps of {config.batch_size} images at a rate "
        f"of {config.lr:g}, mini-batches alone",
        "test accuracy of the network of the attributions": sum(report.accuracy)
        / len(report.accuracy),
        "full batches are stable at the start below a rate of": min(report.limit),
    }
    write_results(run, claims.all_claims(report), claims.tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def forms(text: str) -> list[str]:
    """The names of the integrals with so many nodes; UserError without 0 and 4."""
    found = text.split(",")
    known = {str(number): name for name, number in NODES.items()}
    if not {"0", "4"} <= set(found) <= set(known):
        wanted = "0 and 4, and of 1 and 2 what is wanted, commas between"
        raise UserError(f"flag --nodes={text}: wanted {wanted}")
    return [name for number, name in known.items() if number in found]


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
