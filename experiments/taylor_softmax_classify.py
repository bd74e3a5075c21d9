"""Taylor softmax in a classifier (kexue.fm/archives/7919).

Small networks are trained on real digits with softmax, with Taylor softmax of several
even orders, plain and monotone, and with margins (SM-softmax, SM-Taylor), on clean and
on partly wrong labels, all seeds and margins of a head in one program. Judged are
accuracy, likelihood and calibration on rows that neither trained nor chose anything.
Linear attention with Taylor features of order 2, beside softmax and elu1, is in
linear_attention_lm. About three minutes on one CPU core.

    python -m experiments.taylor_softmax_classify
    python -m experiments.taylor_softmax_classify --orders=2,4 --label_noise=0.5
"""

import dataclasses

from experiments._harness import lists
from experiments._harness.config import BaseConfig, UserError, launch, setting
from experiments._harness.data import DATASETS, load_images
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import open_run
from experiments._taylor import judgment, pictures
from experiments._taylor.claims import all_claims
from experiments._taylor.training import Cell, Head, Plan, split, train
from kexue_jax.numerics.exp_taylor import HIGHEST_ORDER


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    dataset: str = setting("digits", "labelled images", choices=DATASETS)
    data_dir: str = setting("none", "folder of the image files", shapes_run=False)
    orders: str = setting("2,4,6,8,10", "even orders, with commas between")
    margins: str = setting("0.5,1,2", "margins above 0, with commas between")
    label_noise: float = setting(
        0.3,
        "share of wrong training labels",
        minimum=0,
        maximum=0.9,
        open_minimum=True,
    )
    num_seeds: int = setting(4, "seeds, from --seed on", minimum=1, maximum=99)
    train_size: int = setting(900, "rows to train on", minimum=10)
    validation_size: int = setting(297, "rows that choose orders, margins", minimum=10)
    epochs: int = setting(60, "turns over the rows", minimum=1, maximum=10_000)
    batch_size: int = setting(60, "rows a step", minimum=1)
    learning_rate: float = setting(1e-3, "Adam's", minimum=0, open_minimum=True)
    output_scale: float = setting(
        0.4, "start of the last layer over that of the others", minimum=0
    )
    width: int = setting(128, "units of both hidden layers", minimum=1, maximum=8192)


PRESETS = {
    "smoke": {
        "orders": "2",
        "margins": "1",
        "num_seeds": 2,
        "train_size": 200,
        "epochs": 2,
        "width": 16,
    }
}


def main(config: Config) -> None:
    """Train, judge, draw, report."""
    orders = lists.positive("orders", config.orders, whole=True)
    margins = lists.positive("margins", config.margins)
    if any(n % 2 or not 2 <= n <= HIGHEST_ORDER for n in orders):
        raise UserError(
            f"flag --orders={config.orders}: wanted even integers from 2 to "
            f"{HIGHEST_ORDER}"
        )
    data = load_images(config.dataset, config.data_dir)
    parts = split(data, config.train_size, config.validation_size)
    run = open_run(config)
    seeds = lists.seeds(config)
    plan = Plan(
        config.width,
        config.output_scale,
        config.epochs,
        config.batch_size,
        config.learning_rate,
    )
    heads = [Head(n, m) for n in orders for m in (False, True)]
    heads.append(Head(min(orders), True, large=True))
    answers = {}
    for head in (Head(0, False), *heads):
        cells = [
            Cell(noise, margin, seed)
            for noise in (0.0, config.label_noise)
            for margin in ((0.0,) if head.monotone else (0.0, *margins))
            for seed in seeds
        ]
        answers[head] = train(head, cells, parts, plan)
        print(f"{head.name}: {len(cells)} models, {run.seconds():.0f} s", flush=True)
    scores = judgment.judged(answers, parts, seeds)
    pictures.draw(run, scores, orders, config.label_noise)
    tables = [judgment.table(scores, noise) for noise in (0.0, config.label_noise)]
    claims = all_claims(scores, orders, margins, config.label_noise)
    facts = {
        "data": data.source,
        "rows": f"{len(parts.train[0])} to train, {len(parts.validation[0])} to "
        f"choose, {len(parts.test[0])} to test, the same for every seed",
    }
    write_results(run, claims, tables, facts)
    print(f"report: {write_report(run.folder)}")


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
