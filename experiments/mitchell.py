"""Networks without multiplications (kexue.fm/archives/7991).

Mitchell's product of two floats is one integer addition, off by a ninth at most. A
small convolutional network on digits and a small model of bytes are trained with it,
forwards alone and backwards too, with the offsets of L-Mul and of the least errors, and
with its own slopes; networks trained exactly are run with it. With no flags: some ten
minutes on two CPU cores. It is a simulation: nothing here says how fast such hardware
would be.

    python -m experiments.mitchell
    python -m experiments.mitchell --images=mnist --images_dir=FOLDER
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness import lists
from experiments._harness.config import launch, setting
from experiments._harness.data import DATASETS, load_images
from experiments._harness.data_text import TextData
from experiments._harness.figures import bars, contours, curves
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import Run, open_run
from experiments._language import settings
from experiments._language.settings import LanguageConfig
from experiments._mitchell import images, language
from experiments._mitchell.arms import EXACT, OPTIMIZER, Arm, swapped, trained
from experiments._mitchell.claims import (
    ATTENTION,
    EVERYWHERE,
    Report,
    Sweep,
    Task,
    all_claims,
    tables,
)
from kexue_jax import numerics


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(LanguageConfig):
    """All settings of the experiment."""

    few: bool = setting(False, "train only an arm for each claim")
    images: str = setting("digits", "labelled images", choices=DATASETS)
    images_dir: str = setting("none", "folder of the image files", shapes_run=False)
    image_seeds: int = setting(6, "seeds of the image networks", minimum=1, maximum=99)
    image_steps: int = setting(1500, "steps of an image network", minimum=1)
    image_rate: float = setting(
        3e-3, "peak rate there", minimum=0, maximum=1, open_minimum=True
    )
    image_width: int = setting(8, "channels of its first layer", minimum=1, maximum=512)
    offsets: int = setting(
        15, "offsets of the sweep, from 0 to 0.14", minimum=3, maximum=99
    )
    length: int = setting(32, "bytes a model is trained on", minimum=2, maximum=65536)
    width: int = setting(32, "width of the model", minimum=1, maximum=8192)
    heads: int = setting(2, "heads, a divisor of --width", minimum=1, maximum=256)
    layers: int = setting(2, "layers", minimum=1, maximum=256)
    num_steps: int = setting(600, "training steps", minimum=1)
    batch_size: int = setting(16, "texts (and images) a step", minimum=1, maximum=65536)
    tested: int = setting(512, "held-out texts", minimum=1, maximum=65536)


PRESETS = {
    "smoke": {
        "few": True,
        "image_seeds": 1,
        "image_steps": 2,
        "image_width": 1,
        "offsets": 3,
        "length": 4,
        "width": 8,
        "layers": 1,
        "num_steps": 2,
        "batch_size": 4,
        "tested": 4,
        "num_seeds": 1,
    },
}
LAST_OFFSET = 0.14


def main(config: Config) -> None:
    """Train, exchange, read the layers, sweep, judge, draw, report."""
    text = settings.load(config)
    rows = images.rows_of(load_images(config.images, config.images_dir))
    language.build(config, EXACT)
    run = open_run(config)
    image_task, sweep = of_images(config, run, *rows)
    text_task, losses = of_text(config, run, text)
    report = Report(image_task, text_task, losses, sweep)
    draw(run, report)
    facts = {"text": text.source, "images": config.images}
    write_results(run, all_claims(report), tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def of_images(
    config: Config, run: Run, data: images.Rows, tested: images.Rows
) -> tuple[Task, Sweep]:
    """The convolutional network with every arm, and the sweep of offsets."""
    seeds = [config.seed + i for i in range(config.image_seeds)]
    plan = images.Plan(
        config.image_width, config.image_steps, config.batch_size, config.image_rate
    )
    found, exact = {}, []
    for arm in trained(config.few):
        params = images.train(arm, data, plan, seeds)
        exact = params if arm == EXACT else exact
        found[arm.name] = images.accuracies(params, tested, arm)
        progress(run, "images", arm, found[arm.name])
    exchanged = {
        arm.name: images.accuracies(exact, tested, arm) for arm in swapped(config.few)
    }
    few = tested.images[: images.AT_ONCE]
    shrink = {
        arm.name: images.shrink(exact[0], few, arm) for arm in swapped(config.few)
    }
    task = Task(images.LAYERS, found, {EVERYWHERE: exchanged}, shrink)
    return task, sweep_of(config, exact, few)


def progress(run: Run, task: str, arm: Arm, found: np.ndarray) -> None:
    """A line behind each training."""
    print(f"{task}, {arm.name}: {found.mean():.3f}, {run.seconds():.0f} s", flush=True)


def sweep_of(config: Config, several: list[Any], few: np.ndarray) -> Sweep:
    """Errors of mantissas and of logits by offset."""
    offsets = np.linspace(0, LAST_OFFSET, config.offsets)
    wanted = [np.asarray(images.apply(p, few, EXACT)) for p in several]
    x = jnp.asarray((np.arange(200) + 0.5) / 200, jnp.float32)
    mantissas, logits = [], []
    for offset in offsets:
        arm = Arm("sweep", float(offset))
        run = jax.jit(lambda p, arm=arm: images.apply(p, few, arm))
        errors = [
            np.sqrt(np.mean((run(p) - w) ** 2) / np.mean(w**2))
            for p, w in zip(several, wanted, strict=True)
        ]
        off = numerics.mitchell_relative_error(
            x[:, None], x[None], offset=float(offset)
        )
        mantissas.append(float(np.sqrt(np.mean(np.square(off)))))
        logits.append(float(np.mean(errors)))
    return Sweep(offsets, np.array(mantissas), np.array(logits))


def of_text(
    config: Config, run: Run, text: TextData
) -> tuple[Task, dict[str, np.ndarray]]:
    """The model of bytes with every arm (Adam is exact), and held-out losses."""
    seeds = lists.seeds(config)
    found, losses, exact = {}, {}, []
    for arm in trained(config.few):
        if arm == OPTIMIZER:
            continue
        params = language.train(config, run, text, arm, seeds)
        exact = params if arm == EXACT else exact
        scores = language.scores(config, language.build(config, arm), params, text)
        found[arm.name] = np.array([s.accuracy() for s in scores])
        losses[arm.name] = np.array([s.mean_loss() for s in scores])
        progress(run, "text", arm, found[arm.name])
    exchanged: dict[str, dict[str, np.ndarray]] = {ATTENTION: {}, EVERYWHERE: {}}
    for arm in swapped(config.few):
        for where, base in ((ATTENTION, EXACT), (EVERYWHERE, arm)):
            model = language.build(config, base, attention=arm)
            scores = language.scores(config, model, exact, text)
            exchanged[where][arm.name] = np.array([s.accuracy() for s in scores])
    tokens = text.test_rows(config.length, min(config.tested, 64)).astype(np.int32)
    shrink = {
        a.name: language.shrink(config, exact[0], tokens, a)
        for a in swapped(config.few)
    }
    return Task(language.product_names(config), found, exchanged, shrink), losses


def draw(run: Run, report: Report) -> None:
    """The error by mantissas, accuracies, exchanges, shrink by layer, offsets."""
    x = jnp.asarray(np.linspace(0, 1, 201)[:-1], jnp.float32)
    error = np.asarray(numerics.mitchell_relative_error(x[:, None], x[None]))
    contours(
        run.path("error.png"), x, x, 100 * error, xlabel="x1", ylabel="x2", label="%"
    )
    for name, task in report.tasks.items():
        path = run.path(f"accuracy_{name.replace(' ', '_')}.png")
        rows = {"trained": {arm: list(v) for arm, v in task.trained.items()}}
        for where, exchanged in task.swapped.items():
            rows[f"exchanged {where}"] = {a: list(v) for a, v in exchanged.items()}
        bars(path, rows, ylabel=f"test accuracy, {name}", zero=False)
        path = run.path(f"shrink_{name.replace(' ', '_')}.png")
        places = list(range(1, len(task.layers) + 1))
        lines = {arm: (places, list(v[:, 0])) for arm, v in task.shrink.items()}
        label = f"slope of a layer's sums, {name}"
        curves(path, lines, xlabel="layer", ylabel=label, markers=True)
    sweep = report.sweep
    lines: dict[str, Any] = {
        "product of mantissas at random": (sweep.offsets, sweep.mantissas),
        "logits of trained networks": (sweep.offsets, sweep.logits),
    }
    label = "relative rms error"
    curves(run.path("offsets.png"), lines, xlabel="offset", ylabel=label, markers=True)


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
