"""What HiPPO's coefficients keep of a real series (kexue.fm/archives/10114, 10137).

Four channels of an electroencephalogram (or a share price) pass through LegS, LegT,
LagT, a Fourier window and S4's fixed clock; then the past is read back off n numbers.
Tables the errors by n, by step (forward and backward Euler, the article's bilinear and
its repair, held input, exact) and by age; judges what the articles say of each. No
training: one to two minutes on two CPU cores.

    python -m experiments.hippo_memory
    python -m experiments.hippo_memory --series=stock --sizes=32,64,128,256
"""

import dataclasses

from experiments._harness import lists
from experiments._harness.config import BaseConfig, launch, setting
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import open_run
from experiments._memory import claims, pictures
from experiments._memory.measurement import measure
from experiments._memory.series import SERIES, load_series


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    series: str = setting("eeg", "the real series", choices=SERIES)
    sizes: str = setting("16,32,64,128", "even numbers of coefficients, commas between")
    window: float = setting(
        0.25,
        "window of LegT, LagT, Fourier, as a share of the series",
        minimum=0.05,
        maximum=1,
    )


PRESETS = {"smoke": {"sizes": "8"}}


def main(config: Config) -> None:
    """Measure, judge, draw, report."""
    sizes = numbers(config.sizes)
    found = load_series(config.series)
    run = open_run(config)
    length = found.signals.shape[-1]
    window = round(config.window * length)
    report = measure(found.signals, sizes, window)
    pictures.draw(run, report, found.signals)
    facts = {
        "series": found.source,
        "window": f"{window} of {length} samples",
        "seeds": "none: series and methods are fixed, spreads are over channels",
    }
    write_results(run, claims.all_claims(report), claims.tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def numbers(text: str) -> list[int]:
    """The even integers in a comma list, in rising order; UserError if not."""
    wanted = "even integers from 2 to 512"

    def fits(n: int) -> bool:
        return n % 2 == 0 and 2 <= n <= 512

    return lists.numbers("sizes", text, wanted, fits, of=int)


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
