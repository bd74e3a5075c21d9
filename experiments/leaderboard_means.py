"""Do geometric and harmonic means turn leaderboards around? (kexue.fm/archives/8783)

The public tables of GLUE and SuperGLUE under every power mean: on one set of tasks, and
on the unequal sets of tasks that a paper averaged; the rule behind published averages
found from the numbers; ranks with a task left out and over resampled tasks; and a table
in which the mean does move a rank. With no flags: under a minute on two CPU cores.

    python -m experiments.leaderboard_means
    python -m experiments.leaderboard_means --samples=100000
"""

import dataclasses

import jax

from experiments._harness.config import BaseConfig, launch, setting
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import open_run
from experiments._leaderboards import claims, pictures
from experiments._leaderboards.measures import rank_curves, stability
from kexue_jax.evaluation import score_table


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    points: int = setting(201, "orders between -5 and 5", minimum=3, maximum=10**5)
    samples: int = setting(10_000, "tables of resampled tasks", minimum=1)


PRESETS = {"smoke": {"points": 11, "samples": 50}}
TABLES = ("glue_2021", "glue_2019", "superglue_2022", "glue_models")


def main(config: Config) -> None:
    """Average, rank, judge, draw, report."""
    run = open_run(config)
    tables = {name: score_table(name=name) for name in TABLES}
    curves = {
        name: rank_curves(tables[name], config.points)
        for name in ("glue_2021", "superglue_2022")
    }
    key = jax.random.key(config.seed)
    moves = {
        name: stability(table.scores[:, : table.official], key, config.samples)
        for name, table in tables.items()
    }
    report = claims.Report(tables, curves, moves)
    pictures.draw(run, report)
    facts = {f"source: {source}": cells for source, cells in report.sources().items()}
    write_results(run, claims.all_claims(report), claims.all_tables(report), facts)
    print(f"report: {write_report(run.folder)}")


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
