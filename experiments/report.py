"""Gather the committed results into RESULTS.md, or render one run again.

Without --workdir, reads every NAME/results.json in the folder --results and writes
RESULTS.md. With --workdir, writes that run's report.md and its curves anew.
"""

import dataclasses
from pathlib import Path

from experiments._harness.config import Settings, launch, setting
from experiments._harness.errors import UserError
from experiments._harness.figures import curves
from experiments._harness.files import write_text
from experiments._harness.metrics import read_metrics, series
from experiments._harness.report import results_page, write_report


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """What to render."""

    workdir: str = setting("", "folder of the one run to render; not given: gather all")
    results: str = setting("experiments/results", "folder of the committed results")
    output: str = setting("RESULTS.md", "file that the gathered results go to")


def main(config: Config) -> None:
    """Write RESULTS.md, or report.md and the curves of one run."""
    if config.workdir:
        print(f"wrote {render(Path(config.workdir))}")
        return
    folder = Path(config.results)
    if not folder.is_dir():
        raise UserError(f"--results={folder} is no folder: wanted one of results")
    page = Path(config.output)
    write_text(page, results_page(folder, page))
    print(f"wrote {config.output}")


def render(folder: Path) -> Path:
    """Write the curves of each metrics file of the run, and then report.md."""
    for path in sorted(folder.glob("metrics*.jsonl")):
        found = series(read_metrics(path))
        if found:
            curves(folder / f"{path.stem}.png", found)
    return write_report(folder)


if __name__ == "__main__":
    launch(main, Config, {}, __doc__)
