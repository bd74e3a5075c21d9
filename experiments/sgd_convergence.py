"""Average-loss convergence of descent (kexue.fm/archives/9902, 11469, 11480, 11494).

Softmax regression on real digits, one row a step, in a ball, from several schedules
of the rate and over several horizons: the average regret against the best point in
hindsight, the bound that the run itself gives, and the theorem's from the schedule
alone. Beside them the gaps of averaged and last iterates, and a network with a hidden
layer, outside the assumptions. About four minutes on one CPU core.

    python -m experiments.sgd_convergence
    python -m experiments.sgd_convergence --schedules=const,sqrt,linear --T=1000000
"""

import dataclasses

from experiments._convergence import claims, pictures
from experiments._convergence.runs import SCHEDULES, network, problem, run
from experiments._harness import lists
from experiments._harness.config import BaseConfig, UserError, launch, setting
from experiments._harness.data import DATASETS, load_images
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import open_run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    dataset: str = setting("digits", "labelled images", choices=DATASETS)
    data_dir: str = setting("none", "folder of the image files", shapes_run=False)
    schedules: str = setting(
        "const,sqrt,inv_sqrt,linear,warmup", "schedules, const, sqrt and linear among"
    )
    T: int = setting(100_000, "longest horizon", minimum=100, maximum=10**8)
    horizons: int = setting(4, "horizons, each a tenth of the next", minimum=2)
    radius: float = setting(20.0, "of the ball", minimum=0, open_minimum=True)
    num_seeds: int = setting(3, "seeds, from --seed on", minimum=1, maximum=99)


PRESETS = {"smoke": {"T": 400, "horizons": 2, "num_seeds": 2}}


def main(config: Config) -> None:
    """Run, judge, draw, report."""
    names = config.schedules.split(",")
    wanted = {"const", "sqrt", "linear"}
    if not wanted <= set(names) <= set(SCHEDULES):
        known = ", ".join(SCHEDULES)
        raise UserError(
            f"flag --schedules={config.schedules}: wanted const, sqrt, linear and any "
            f"of {known}"
        )
    horizons = [config.T // 10**k for k in reversed(range(config.horizons))]
    if horizons[0] < 10:
        raise UserError(f"flag --horizons={config.horizons}: the first is below 10")
    found = load_images(config.dataset, config.data_dir)
    task = problem(found, config.radius)
    folder = open_run(config)
    seeds = lists.seeds(config)
    runs: dict[str, dict[int, claims.Ran]] = {name: {} for name in names}
    for horizon in horizons:
        for name, ran in run(task, names, horizon, seeds).items():
            runs[name][horizon] = ran
        print(f"T = {horizon}: {folder.seconds():.0f} s", flush=True)
    beyond = {
        name: network(task, name, max(horizons), config.seed)
        for name in ("const", "sqrt")
    }
    report = claims.Report(runs, beyond)
    pictures.draw(folder, report)
    facts = {
        "data": found.source,
        "D": task.diameter,
        "G": task.steepness,
    }
    write_results(folder, claims.all_claims(report), claims.tables(report), facts)
    print(f"report: {write_report(folder.folder)}")


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
