"""Which validation score is nearest to the test? (kexue.fm/archives/7805)

Real rows under shifts that are made, so that the density ratio is known: many networks
and checkpoints are judged by a random split, by weights D and D / (1 - D) of a
discriminator out of fold, calibrated too, by resampled rows with and without
duplicates, by a discriminator that scores its own rows and by the known ratio; and
networks are trained with the weights. With no flags: a few minutes on two CPU cores.

    python -m experiments.adversarial_validation
    python -m experiments.adversarial_validation --preset=reviews --data_dir=FOLDER
"""

import dataclasses
from typing import Any

from experiments._harness import lists
from experiments._harness.config import BaseConfig, launch, setting
from experiments._harness.figures import bars, curves
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import Run, open_run
from experiments._validation import claims
from experiments._validation.data import DATASETS, Sizes, load
from experiments._validation.study import (
    KNOWN,
    OVERLAP,
    RANDOM,
    RATIO,
    RESAMPLED,
    SCORES,
    SINGLE,
    Plan,
    study,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    dataset: str = setting("digits", "labelled rows", choices=DATASETS)
    data_dir: str = setting("none", "folder of the files", shapes_run=False)
    rows: int = setting(5000, "rows of the data at most", minimum=100)
    strength: float = setting(1.5, "a of the known log ratio a z", minimum=0, maximum=9)
    share: float = setting(
        0.13, "of the rows: training, validation, and 1.2 of it test", maximum=0.2
    )
    num_seeds: int = setting(20, "seeds, from --seed on", minimum=1, maximum=999)
    num_steps: int = setting(240, "steps of a training", minimum=16, maximum=10**5)


PRESETS = {
    "smoke": {"num_seeds": 2, "num_steps": 16, "rows": 600, "share": 0.1},
    "mnist": {"dataset": "mnist"},
    "reviews": {
        "dataset": "reviews",
        "rows": 6000,
        "share": 0.085,
        "num_seeds": 8,
        "num_steps": 128,
    },
}


def main(config: Config) -> None:
    """Shift, train, validate, judge, draw, report."""
    data = load(config.dataset, config.data_dir, config.rows)
    run = open_run(config)
    part = int(config.share * len(data.y))
    sizes = Sizes(part, part, int(1.2 * part))
    checkpoints = tuple(config.num_steps // 2**k for k in reversed(range(5)))
    plan = Plan(checkpoints=checkpoints)
    outcomes = {}
    for trait in data.traits:
        outcomes[trait] = study(
            data, trait, config.strength, lists.seeds(config), sizes, plan
        )
        print(f"{trait}: {run.seconds():.0f} s", flush=True)
    report = claims.Report(outcomes)
    draw(run, report)
    facts = {
        "data": data.source,
        "training, validation, test rows": f"{sizes.train}, {sizes.validation}, "
        f"{sizes.test}",
        "candidates": int(outcomes[claims.NONE].truth.shape[1]),
    }
    write_results(run, claims.all_claims(report), claims.all_tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def draw(run: Run, report: claims.Report) -> None:
    """Gap, bias, ranking and regret by score; scores against the truth."""
    for name, quality, label in (
        ("gap", claims.gap, "mean distance from the test accuracy"),
        ("bias", claims.bias, "mean score less test accuracy"),
        ("ranking", claims.ranking, "Spearman's correlation with the test"),
        ("regret", claims.regret, "test accuracy lost by choosing"),
    ):
        groups: dict[str, Any] = {
            score: {s: quality(o, score) for s, o in report.outcomes.items()}
            for score in SCORES
        }
        path = run.path(f"{name}.png")
        bars(path, groups, ylabel=label, zero=False, beside=True)
    for shift in report.shifts:
        outcome = report.outcomes[shift]
        points = {
            score: (outcome.truth[0], outcome.scores[0, SCORES.index(score)])
            for score in (RANDOM, OVERLAP, RATIO, RESAMPLED, SINGLE, KNOWN)
        }
        ends = [outcome.truth[0].min(), outcome.truth[0].max()]
        curves(
            run.path(f"scores_{shift}.png"),
            {**points, "equal": (ends, ends)},
            xlabel="test accuracy, first seed",
            ylabel="validation score",
            points=tuple(points),
        )


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
