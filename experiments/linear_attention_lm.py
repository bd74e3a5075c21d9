"""Linear attention against softmax (kexue.fm/archives/7546, 8338, 8601).

Small models of bytes, alike but for the attention, learn to predict the next byte and
to fill in hidden bytes. Beside that memory and time of softmax attention and of the
forms of linear attention are fitted against the length of the text. With no flags: the
source text of Python's standard library in rows of 32 bytes, three seeds, about 35
minutes on one CPU core. It shows the order of the kernels at this size and budget, and
no more.

    python -m experiments.linear_attention_lm
    python -m experiments.linear_attention_lm --dataset=folder --data_dir=FOLDER
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from experiments._harness import lists, processes
from experiments._harness.config import launch, setting
from experiments._harness.data_text import VOCABULARY, TextData
from experiments._harness.figures import bars, curves
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import Run, open_run
from experiments._language import settings
from experiments._language.attentions import attend
from experiments._language.judgment import Judge, hidden_places
from experiments._language.lengths import FORMS, by_length
from experiments._language.losses import MASKED_VOCABULARY, masked_bytes, next_byte
from experiments._language.settings import LanguageConfig
from experiments._language.training import Trainer
from experiments._linear.claims import NEXT, TASKS, Report, claims, tables
from kexue_jax import models


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(LanguageConfig):
    """All settings of the experiment."""

    length: int = setting(32, "bytes a model is trained on", minimum=2, maximum=65536)
    width: int = setting(64, "width of the model", minimum=1, maximum=8192)
    heads: int = setting(4, "heads, a divisor of --width", minimum=1, maximum=256)
    layers: int = setting(2, "layers", minimum=1, maximum=256)
    num_steps: int = setting(800, "steps of a training", minimum=1)
    masked_steps: int = setting(
        2500, "steps of a training with hidden bytes", minimum=1
    )
    masked_rate: float = setting(
        6e-3, "peak rate with hidden bytes", minimum=0, maximum=1, open_minimum=True
    )
    tested: int = setting(256, "held-out texts", minimum=1, maximum=65536)
    longest: int = setting(
        32768, "longest text of memory and time", minimum=512, maximum=2**20
    )


PRESETS = {
    "smoke": {
        "length": 16,
        "width": 16,
        "layers": 1,
        "num_steps": 4,
        "masked_steps": 4,
        "batch_size": 4,
        "tested": 4,
        "num_seeds": 1,
        "longest": 512,
    },
    "paper": {
        "length": 512,
        "width": 512,
        "heads": 8,
        "layers": 6,
        "num_steps": 50_000,
        "masked_steps": 100_000,
        "batch_size": 128,
        "learning_rate": 3e-4,
        "masked_rate": 3e-4,
        "tested": 512,
    },
}


def main(config: Config) -> None:
    """Train, measure, judge, draw, report."""
    text = settings.load(config)
    build(config, "softmax", causal=True)
    run = open_run(config)
    losses: dict[str, dict[str, list[float]]] = {task: {} for task in TASKS}
    for task, kinds in TASKS.items():
        for kind in kinds:
            losses[task][kind] = held_out(config, run, text, task, kind)
    costs = {name: by_length(form, config.longest) for name, form in FORMS.items()}
    if not processes.leader():
        return
    report = Report(losses, by_frequency(config, text), costs)
    draw(run, report)
    facts = {"data": text.source, "parameters": parameters(config)}
    write_results(run, claims(report), tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def build(config: Config, kind: str, *, causal: bool) -> models.Model:
    """The model with attention ``kind``; learned positions."""
    return models.transformer(
        vocabulary=MASKED_VOCABULARY,
        attend=attend(kind, causal=causal),
        length=config.length,
        **settings.sizes(config),
    )


def parameters(config: Config) -> int:
    """How many parameters each of the models has."""
    model = build(config, "softmax", causal=True)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def held_out(
    config: Config, run: Run, text: TextData, task: str, kind: str
) -> list[float]:
    """The held-out loss of each seed."""
    causal = task == NEXT
    model = build(config, kind, causal=causal)
    length = config.length + causal
    trainer = Trainer(
        config,
        run,
        text.rows(length),
        (next_byte if causal else masked_bytes)(model),
        num_steps=config.num_steps if causal else config.masked_steps,
        learning_rate=config.learning_rate if causal else config.masked_rate,
    )
    score = Judge(model, causal=causal)
    tested = text.test_rows(length, config.tested)
    found = []
    for seed in lists.seeds(config):
        first = seed == config.seed
        part = f"{task}_{kind}".replace(" ", "_") if first else None
        params = trainer(model.init, seed, part=part)
        found.append(score(params, tested).mean_loss())
    print(f"{task}, {kind}: {np.mean(found):.3f}", flush=True)
    return found


def by_frequency(config: Config, text: TextData) -> float:
    """The loss of the tested hidden bytes by their frequency in the training bytes."""
    counts = np.bincount(text.train, minlength=VOCABULARY) + 1
    rows = text.test_rows(config.length, config.tested)
    asked = rows[hidden_places(rows.shape)]
    return float(-np.log(counts[asked] / counts.sum()).mean())


def draw(run: Run, report: Report) -> None:
    """Memory and time by length; losses by kernel."""
    options: dict[str, Any] = {"log_x": True, "log_y": True, "markers": True}
    for field, file, unit, said in (
        ("memory", "memory.png", 1 / 2**20, "temporary memory, MiB"),
        ("seconds", "time.png", 1e3, "time of value and gradient, ms"),
    ):
        shown: dict[str, Any] = {}
        for name, costs in report.costs.items():
            sizes = getattr(costs, field)
            shown[name] = list(sizes), [unit * size for size in sizes.values()]
        curves(run.path(file), shown, xlabel="length", ylabel=said, **options)
    gaps = {
        task: {kind: report.gap(task, kind).tolist() for kind in kinds}
        for task, kinds in TASKS.items()
    }
    bars(run.path("loss.png"), gaps, ylabel="held-out loss over softmax's, less 1")


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
