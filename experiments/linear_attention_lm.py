"""Linear attention against softmax (kexue.fm/archives/7546, 8338, 8601).

Small models of bytes, alike but for the attention, learn to predict the next byte and
to fill in hidden bytes. Beside that memory and time of softmax attention and of the
forms of linear attention are fitted against the length of the text. With no flags: the
source text of Python's standard library, three seeds, minutes on two CPU cores. It
shows the order of the kernels at this size and budget, and no more.

    python -m experiments.linear_attention_lm
    python -m experiments.linear_attention_lm --dataset=folder --data_dir=FOLDER
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments._harness import lists, processes, spread
from experiments._harness.config import launch, setting
from experiments._harness.data_text import TextData
from experiments._harness.figures import bars, curves
from experiments._harness.report import write_report
from experiments._harness.results import Claim, Table, judge, write_results
from experiments._harness.workdir import Run, open_run
from experiments._language import settings
from experiments._language.attentions import KINDS, attend
from experiments._language.judgment import Judge
from experiments._language.lengths import (
    FORMS,
    LINEAR,
    REPEATS,
    ROOM,
    WIDE,
    Costs,
    by_length,
    slope,
)
from experiments._language.losses import MASKED_VOCABULARY, masked_bytes, next_byte
from experiments._language.settings import LanguageConfig
from experiments._language.training import Trainer
from kexue_jax import models


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(LanguageConfig):
    """All settings of the experiment."""

    width: int = setting(64, "width of the model", minimum=1, maximum=8192)
    heads: int = setting(2, "heads, a divisor of --width", minimum=1, maximum=256)
    layers: int = setting(2, "layers", minimum=1, maximum=256)
    num_steps: int = setting(600, "steps of a training", minimum=1)
    masked_steps: int = setting(900, "steps of a training with hidden bytes", minimum=1)
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
        "tested": 512,
    },
}
TASKS = ("next byte", "hidden bytes")


class Report(NamedTuple):
    """Held-out loss by task and kind, one a seed; memory and time by form."""

    losses: dict[str, dict[str, list[float]]]
    costs: dict[str, Costs]

    def loss(self, task: str, kind: str) -> np.ndarray:
        return np.array(self.losses[task][kind])

    def gap(self, task: str, kind: str) -> np.ndarray:
        """Loss over that of softmax, less 1, by seed."""
        return self.loss(task, kind) / self.loss(task, "softmax") - 1

    def place(self, task: str, kind: str) -> np.ndarray:
        """0: as good as softmax; 1: no better than the mean of the values."""
        low, high = self.loss(task, "softmax"), self.loss(task, "uniform")
        return (self.loss(task, kind) - low) / (high - low)


def main(config: Config) -> None:
    """Train, measure, judge, draw, report."""
    text = settings.load(config)
    build(config, "softmax", causal=True)
    run = open_run(config)
    losses: dict[str, dict[str, list[float]]] = {task: {} for task in TASKS}
    for task in TASKS:
        for kind in KINDS:
            losses[task][kind] = held_out(config, run, text, task, kind)
    costs = {name: by_length(form, config.longest) for name, form in FORMS.items()}
    if not processes.leader():
        return
    report = Report(losses, costs)
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
    causal = task == TASKS[0]
    model = build(config, kind, causal=causal)
    length = config.length + causal
    trainer = Trainer(
        config,
        run,
        text.rows(length),
        (next_byte if causal else masked_bytes)(model),
        num_steps=config.num_steps if causal else config.masked_steps,
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


def claims(report: Report) -> list[Claim]:
    """What the articles say of memory and of quality."""
    growth = [*_growth(report), _sums(report)]
    return [*growth, *_close(report), _order(report), *_others(report)]


def _growth(report: Report) -> list[Claim]:
    dense = "softmax, causal"
    found = []
    for what, said, field in (
        ("memory", "compiled temporary memory", "memory"),
        ("time", f"median time of {REPEATS} runs", "seconds"),
    ):
        sizes = {n: getattr(report.costs[n], field) for n in (*LINEAR, dense)}
        found.append(
            judge(
                f"the {what} of linear attention grows as n, that of softmax as n^2",
                {name: slope(by_n) for name, by_n in sizes.items()},
                rule=f"exponent of n in the {said} of value and gradient of one head, "
                "upper half of the lengths; confirmed if linear forms are below 1.2 "
                "and softmax above 1.7, qualified if all linear are below 1.5",
                confirmed=lambda m: (
                    max(m[name] for name in LINEAR) < 1.2 and m[dense] > 1.7
                ),
                qualified=lambda m: max(m[name] for name in LINEAR) < 1.5,
                reported="O(n) against O(n^2)",
                source="kexue.fm/archives/7546",
            )
        )
    return found


def _sums(report: Report) -> Claim:
    dense = report.costs["softmax, causal"].memory
    last = max(n for n in dense if n <= WIDE**2)
    sums = report.costs["linear by cumulative sums, causal"].memory[last]
    return judge(
        "by cumulative sums of outer products linear attention takes more memory "
        "than softmax attention as long as n is below m d_v",
        {
            f"bytes over those of softmax, n = {last}, m d_v = {WIDE**2}": sums
            / dense[last]
        },
        rule="compiled temporary memory of value and gradient; confirmed above 1",
        confirmed=lambda m: next(iter(m.values())) > 1,
    )


def _close(report: Report) -> list[Claim]:
    return [
        judge(
            f"causal linear attention with {kind} features is close to softmax",
            {"loss over that of softmax, less 1": report.gap(TASKS[0], kind)},
            rule="held-out loss of the next byte; confirmed up to 0.05, "
            "qualified up to 0.15, for the mean of the seeds and two standard errors",
            confirmed=lambda m: spread.exceeds(0.05 - next(iter(m.values()))),
            qualified=lambda m: spread.exceeds(0.15 - next(iter(m.values()))),
            reported="close to softmax in a causal model",
            source="kexue.fm/archives/8338",
        )
        for kind in ("exp", "elu1")
    ]


def _order(report: Report) -> Claim:
    losses = {kind: report.loss(TASKS[0], kind) for kind in ("exp", "elu1", "cosine")}

    def above(m: Any) -> list[np.ndarray]:
        return [m[kind] - m["exp"] for kind in ("elu1", "cosine")]

    return judge(
        "exp is the best of the pointwise kernels",
        losses,
        rule="held-out loss of the next byte; confirmed if elu1 and cosine each exceed "
        "exp by two standard errors over the seeds, qualified if one does and neither "
        "falls below by as much",
        confirmed=lambda m: spread.everywhere(above(m)),
        qualified=lambda m: spread.somewhere(above(m)),
        reported="exp",
        source="kexue.fm/archives/8338",
    )


def _others(report: Report) -> list[Claim]:
    kinds = ("exp", "elu1")
    gaps = {
        f"{task}: {kind}": report.gap(task, kind) for task in TASKS for kind in kinds
    }

    def by_task(m: Any, task: str) -> np.ndarray:
        return np.mean([m[f"{task}: {kind}"] for kind in kinds], 0)

    return [
        judge(
            "the cosine kernel is near to no attention at all",
            {
                "place between softmax (0) and mean (1)": report.place(
                    TASKS[0], "cosine"
                )
            },
            rule="held-out loss of the next byte; confirmed from 0.5 on, qualified "
            "from 0.25 on, for the mean of the seeds less two standard errors",
            confirmed=lambda m: spread.exceeds(next(iter(m.values())) - 0.5),
            qualified=lambda m: spread.exceeds(next(iter(m.values())) - 0.25),
            reported="it does not work well (a comment of 2024)",
            source="kexue.fm/archives/7546",
        ),
        judge(
            "linear attention loses much more to softmax where it is bidirectional",
            gaps,
            rule="held-out loss over that of softmax, less 1, mean of exp and elu1; "
            "confirmed if with hidden bytes it is more than twice that of the next "
            "byte by two standard errors over the seeds, qualified if larger so",
            confirmed=lambda m: spread.exceeds(
                by_task(m, TASKS[1]) - 2 * by_task(m, TASKS[0])
            ),
            qualified=lambda m: spread.exceeds(
                by_task(m, TASKS[1]) - by_task(m, TASKS[0])
            ),
            reported="clearly worse in a masked model",
            source="kexue.fm/archives/9529",
        ),
    ]


def tables(report: Report) -> list[Table]:
    """Losses of all trainings, and memory by length."""
    rows = []
    for task in TASKS:
        for kind in KINDS:
            found = report.loss(task, kind)
            gap, place = report.gap(task, kind), report.place(task, kind)
            rows.append(
                [
                    task,
                    kind,
                    found.mean(),
                    spread.deviation(found),
                    gap.mean(),
                    float(place.mean()),
                ]
            )
    columns = ["task", "attention", "held-out loss", "spread", "over softmax, less 1"]
    return [
        Table(
            "Held-out loss, nats a byte",
            [*columns, "0: softmax, 1: mean of values"],
            rows,
        ),
        _by_length(
            "Compiled temporary memory of value and gradient of a head, MiB",
            {name: c.memory for name, c in report.costs.items()},
            1 / 2**20,
        ),
        _by_length(
            "Time of value and gradient of a head, ms; none above "
            f"{ROOM >> 20} MiB of memory",
            {name: c.seconds for name, c in report.costs.items()},
            1e3,
        ),
    ]


def _by_length(title: str, sizes: Mapping[str, dict[int, Any]], unit: float) -> Table:
    """Sizes in a unit by form and length, and the exponent of the length."""
    lengths = list(dict.fromkeys(n for by_n in sizes.values() for n in by_n))
    rows = [
        [name, *[unit * by_n[n] if n in by_n else None for n in lengths], slope(by_n)]
        for name, by_n in sizes.items()
    ]
    return Table(title, ["form", *[f"n = {n}" for n in lengths], "exponent"], rows)


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
        task: {kind: report.gap(task, kind).tolist() for kind in KINDS}
        for task in TASKS
    }
    bars(run.path("loss.png"), gaps, ylabel="held-out loss over softmax's, less 1")


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
