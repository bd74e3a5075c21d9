"""Sum or mean over the pixels (kexue.fm/archives/9119, 9152, and the author's code).

The author's code says of its summed loss that mse must not replace it. Under Adam the
scale of a loss acts through the optimizer's epsilon and through low precision alone.
The same short trainings are run with the sum, with the mean over the pixels at hand,
and with the sum over 49,152 (3 x 128 x 128, the author's images: a bound, since summed
gradients grow with the image), for several epsilons and in float32, float16 and
bfloat16. With no flags: the 8x8 digits of scikit-learn, about two minutes on two CPU
cores.

    python -m experiments.ddpm_loss_scale
    python -m experiments.ddpm_loss_scale --dataset=mnist --data_dir=FOLDER
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._comparison import settings
from experiments._comparison.settings import ComparisonConfig
from experiments._comparison.training import HeldOut, Trainer, flat
from experiments._harness import lists, processes
from experiments._harness.config import launch, setting
from experiments._harness.data import ImageData
from experiments._harness.figures import curves
from experiments._harness.report import write_report
from experiments._harness.results import Claim, Table, judge, write_results
from experiments._harness.workdir import Run, open_run
from kexue_jax import diffusion


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(ComparisonConfig):
    """All settings of the experiment."""

    enlargements: int = setting(
        3,
        "image sizes of the gradient table, each twice the last",
        minimum=2,
        maximum=6,
    )


PRESETS = {
    "smoke": {
        "width": 8,
        "multipliers": "1",
        "T": 40,
        "num_steps": 10,
        "batch_size": 4,
        "num_seeds": 1,
        "enlargements": 2,
    }
}

AUTHOR = 3 * 128 * 128
EPSILONS = (1e-6, 1e-7, 1e-8, 1e-15)
HALVES = ("float16", "bfloat16")
WORSE = 1.05  # a held-out loss that is this much larger counts as harm


class Cell(NamedTuple):
    """What one training left."""

    held_out: float
    small: float  # share of parameters with sqrt(v) < 10 epsilon
    flushed: float  # share of gradients that are 0 here and not in float32
    error: float  # of the gradient, relative to that of float32


class Report(NamedTuple):
    """Cells by (dtype, epsilon, divisor), one a seed; gradients by number of values."""

    cells: dict[tuple[str, float, int], list[Cell]]
    sizes: dict[int, float]
    pixels: int

    def ratio(self, dtype: str, epsilon: float, divisor: int) -> np.ndarray:
        """Held-out loss over that of the sum, by seed."""
        sums = self.cells[dtype, epsilon, 1]
        cells = self.cells[dtype, epsilon, divisor]
        return np.array([c.held_out for c in cells]) / [c.held_out for c in sums]

    def mean_of(self, cell: tuple[str, float, int], name: str) -> float:
        return float(np.mean([getattr(c, name) for c in self.cells[cell]]))


def loss_in(dtype: str) -> Any:
    """The scaled loss of a Trainer whose network and gradients run in ``dtype``."""

    def loss(key: Any, predict: Any, schedule: Any, x0: Any, numbers: Any) -> jax.Array:
        found = diffusion.ddpm_loss(key, predict, schedule, x0.astype(dtype))
        return numbers["scale"] * found.loss

    return loss


def main(config: Config) -> None:
    """Train, measure, judge, draw, report."""
    images, model = settings.load(config)
    run = open_run(config)
    held = HeldOut(config, images, model)
    pixels = math.prod(images.shape)
    divisors = sorted({1, pixels, AUTHOR})
    cells: dict[tuple[str, float, int], list[Cell]] = {}
    trainers = {
        dtype: Trainer(config, run, images, model, loss_in(dtype))
        for dtype in ("float32", *HALVES)
    }
    params = None
    for dtype, trainer in trainers.items():
        for epsilon in EPSILONS if dtype == "float32" else (1e-8,):
            for divisor in divisors:
                for seed in lists.seeds(config):
                    numbers = {"adam_eps": epsilon, "scale": 1 / divisor}
                    shown = (dtype, epsilon, seed) == ("float32", 1e-8, config.seed)
                    part = f"sum_over_{divisor}" if shown else None
                    state = trainer(part, seed, **numbers)
                    params = state["params"] if params is None else params
                    cell = Cell(
                        held(state["params"]),
                        small_share(state, epsilon),
                        *lost(trainers["float32"], trainer, params, seed, divisor),
                    )
                    cells.setdefault((dtype, epsilon, divisor), []).append(cell)
    sizes = gradient_sizes(config, trainers["float32"], images)
    if not processes.leader():
        return
    report = Report(cells, sizes, pixels)
    draw_figures(run, report)
    facts = {"data": images.source, "values of an image": pixels}
    write_results(run, claims(config, report), tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def small_share(state: Any, epsilon: float) -> float:
    """The share of parameters whose update epsilon makes smaller by 9 % or more.

    Those without any gradient so far do not count.
    """
    adam = state["optimizer"][0]
    v = flat(adam.nu) / (1 - 0.999 ** int(adam.count))
    return float(np.mean(np.sqrt(v[v > 0]) < 10 * epsilon))


def lost(
    exact: Trainer, trainer: Trainer, params: Any, seed: int, divisor: int
) -> tuple[float, float]:
    """What is 0 of one gradient of ``trainer`` and not in float32; relative error."""
    wanted = exact.gradient(params, seed, scale=1 / divisor)
    found = trainer.gradient(params, seed, scale=1 / divisor)
    flushed = np.mean((found == 0) & (wanted != 0))
    error = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
    return float(flushed), float(error)


def gradient_sizes(
    config: Config, trainer: Trainer, images: ImageData
) -> dict[int, float]:
    """Root mean square of the gradient of the summed loss by values of an image.

    The images are enlarged by repeating pixels; the network is the same, and fresh: it
    knows no size better than another.
    """

    @jax.jit
    def gradient(params: Any, x0: jax.Array) -> Any:
        def loss(params: Any) -> jax.Array:
            found = diffusion.ddpm_loss(
                jax.random.key(config.seed),
                lambda x, t: trainer.model.apply(params, x, t),
                trainer.schedule,
                x0,
            )
            return found.loss

        return jax.grad(loss)(params)

    sizes = {}
    batch = images.train_images[: config.batch_size]
    fresh = trainer.init(config.seed, {})["params"]
    for power in range(config.enlargements):
        x0 = batch.repeat(2**power, axis=1).repeat(2**power, axis=2)
        found = flat(gradient(fresh, jnp.asarray(x0)))
        sizes[math.prod(x0.shape[1:])] = float(np.sqrt(np.mean(found**2)))
    return sizes


def claims(config: Config, report: Report) -> list[Claim]:
    """The advice under each optimizer and precision, and what it rests on."""
    cases = [("float32", e) for e in EPSILONS[:-1]] + [(d, 1e-8) for d in HALVES]
    return [
        *[_never_mse(config, report, dtype, epsilon) for dtype, epsilon in cases],
        _invariant(report),
        _shrinks(report),
    ]


def _divisors(report: Report) -> list[int]:
    return sorted({divisor for _, _, divisor in report.cells if divisor > 1})


def _never_mse(config: Config, report: Report, dtype: str, epsilon: float) -> Claim:
    measured: dict[str, Any] = {}
    for d in _divisors(report):
        cell = dtype, epsilon, d
        measured[f"held-out loss, mean over {d} / sum"] = report.ratio(*cell)
        small = report.mean_of(cell, "small")
        measured[f"share of sqrt(v) < 10 epsilon, over {d}"] = small
        if dtype != "float32":
            flushed = report.mean_of(cell, "flushed")
            measured[f"share of gradients flushed to 0, over {d}"] = flushed

    def harmed(m: Any, divisor: int) -> bool:
        return bool((m[f"held-out loss, mean over {divisor} / sum"] >= WORSE).all())

    return judge(
        f"the mean over pixels must not replace the sum ({dtype}, Adam epsilon "
        f"{epsilon:g})",
        measured,
        rule=f"held-out L_simple after {config.num_steps} equal steps; confirmed if at "
        f"least {WORSE} times that of the sum for every seed with the mean over the "
        f"{report.pixels} values of these images, qualified if only with the sum over "
        f"{AUTHOR}",
        confirmed=lambda m: harmed(m, report.pixels),
        qualified=lambda m: harmed(m, AUTHOR),
        reported="mse must not replace the L2 loss",
        source="bojone/Keras-DDPM, ddpm.py",
    )


def _invariant(report: Report) -> Claim:
    epsilon = EPSILONS[-1]
    measured: dict[str, Any] = {
        f"held-out loss, mean over {d} / sum": report.ratio("float32", epsilon, d)
        for d in _divisors(report)
    }
    return judge(
        f"with an Adam epsilon of {epsilon:g} the scale of the loss changes nothing",
        measured,
        rule=f"float32; confirmed if every ratio of every seed is between 1 / {WORSE} "
        f"and {WORSE}",
        confirmed=lambda m: all(
            bool(((v < WORSE) & (v > 1 / WORSE)).all()) for v in m.values()
        ),
    )


def exponent(sizes: dict[int, float]) -> float:
    """The slope of ln(root mean square) over ln(values of an image)."""
    d, rms = (np.log(np.array(list(v))) for v in (sizes, sizes.values()))
    return float(np.polyfit(d, rms, 1)[0])


def _shrinks(report: Report) -> Claim:
    slope = exponent(report.sizes)
    return judge(
        "averaging makes gradients smaller in proportion to the pixels (fresh network)",
        {
            "exponent of d, gradient of the sum": slope,
            "exponent of d, gradient of the mean": slope - 1,
        },
        rule="root mean square gradient over d, the values of an image, log-log fit, "
        "images enlarged by repetition; confirmed if the mean's exponent is at most "
        "-0.9, qualified if at most -0.25: it falls, but more slowly, since the sum's "
        "gradient grows",
        confirmed=lambda m: m["exponent of d, gradient of the mean"] <= -0.9,
        qualified=lambda m: m["exponent of d, gradient of the mean"] <= -0.25,
    )


def tables(report: Report) -> list[Table]:
    """All trainings, and gradients by image size."""
    rows = []
    for (dtype, epsilon, divisor), cells in report.cells.items():
        held = [c.held_out for c in cells]
        mean = float(np.mean(held))
        spread = float(np.std(held, ddof=1)) if len(held) > 1 else None
        ratio = float(report.ratio(dtype, epsilon, divisor).mean())
        shares = [
            report.mean_of((dtype, epsilon, divisor), n) for n in Cell._fields[1:]
        ]
        rows.append([dtype, f"{epsilon:g}", divisor, mean, spread, ratio, *shares])
    columns = ["dtype", "Adam epsilon", "sum over", "held-out L_simple", "spread"]
    columns += ["over that of the sum", "sqrt(v) < 10 epsilon", "flushed", "error"]
    sizes = [[d, rms, rms / d] for d, rms in report.sizes.items()]
    columns_of_sizes = ["values of an image", "sum", "mean"]
    return [
        Table("Trainings (the sum over pixels, divided by)", columns, rows),
        Table("Root mean square gradient, fresh network", columns_of_sizes, sizes),
    ]


def draw_figures(run: Run, report: Report) -> None:
    """Held-out loss, and parameters that epsilon slows, by Adam's epsilon."""
    divisors = [1, *_divisors(report)]
    for name, label in (
        ("held_out", "held-out L_simple a pixel"),
        ("small", "share of sqrt(v) < 10 epsilon"),
    ):
        lines: dict[str, Any] = {
            f"sum over {d}": (
                EPSILONS,
                [report.mean_of(("float32", e, d), name) for e in EPSILONS],
            )
            for d in divisors
        }
        path = run.path(f"{name}.png")
        options: Any = {"log_x": True, "markers": True}
        curves(path, lines, xlabel="Adam's epsilon (float32)", ylabel=label, **options)
    flushed: dict[str, Any] = {
        dtype: (
            divisors,
            [report.mean_of((dtype, 1e-8, d), "flushed") for d in divisors],
        )
        for dtype in HALVES
    }
    curves(
        run.path("flushed.png"),
        flushed,
        xlabel="sum over pixels, divided by",
        ylabel="share of gradients flushed to 0",
        log_x=True,
        markers=True,
    )


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
