"""Times of the fast forms beside their readable twins and other libraries.

Every case is measured in one interleaved run, after its forms were found to agree;
times are given as ratios. Peers (the extra "bench") are used where they are installed.
Costs that need no clock stand beside the times: flops, bytes and memory of the
compiled program.

    python -m experiments.benchmark --list
    python -m experiments.benchmark --cases='diffusion.*' --rounds=9
"""

import dataclasses
import os

from experiments._harness.config import BaseConfig, UserError, launch, setting
from experiments._harness.files import json_text, read_json, write_text
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import Run, open_run
from experiments.benchmark import registry, runner, tables
from experiments.benchmark.case import Case


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the benchmark."""

    cases: str = setting("*", "names or globs of cases, with commas between")
    rounds: int = setting(
        9, "turns of every form in the interleaved run", minimum=1, maximum=1000
    )
    seconds: float = setting(
        30.0, "time for a case, without compilation", minimum=0, maximum=86400
    )
    list: bool = setting(False, "name the cases and stop", shapes_run=False)
    compile_cache: str = setting(
        "off",
        "folder of compiled programs; auto: one in the user's cache folder; off: none, "
        "so that compilation is timed",
        shapes_run=False,
    )


PRESETS = {
    "smoke": {
        "cases": "diffusion.q_sample,diffusion.ddim_sample",
        "rounds": 2,
        "seconds": 0.2,
    },
}


def main(config: Config) -> None:
    """Measure the chosen cases, or list them."""
    cases = registry.chosen(config.cases)
    if config.list:
        for case in cases:
            print(f"{case.name}: {case.about}" if case.about else case.name)
        return
    run = open_run(config)
    load = os.getloadavg()
    results = [_result(case, config, run) for case in cases]
    facts = {
        "load average before": round(load[0], 2),
        "load average after": round(os.getloadavg()[0], 2),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", ""),
    }
    write_results(run, tables.claims(results), tables.tables(results), facts)
    print(write_report(run.folder).read_text(encoding="utf-8"))
    red = [r["case"] for r in results if r["status"] != "measured"]
    if red:
        raise UserError(f"the forms of {', '.join(red)} disagree: no times for them")


def _result(case: Case, config: Config, run: Run) -> runner.Result:
    """The result of a case: measured now, or by the interrupted run that goes on."""
    folder = run.path("cases")
    path = folder / f"{case.name}.json"
    if path.is_file():
        return read_json(path)
    result = runner.measure(
        case, seed=config.seed, rounds=config.rounds, seconds=config.seconds
    )
    folder.mkdir(exist_ok=True)
    write_text(path, json_text(result) + "\n")
    return result


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
