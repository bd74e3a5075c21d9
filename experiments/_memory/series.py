"""Real one-dimensional series that are always there: sample files of matplotlib."""

from typing import Any, NamedTuple

import numpy as np

from experiments._harness.extras import need

SERIES = ("eeg", "stock")


class Series(NamedTuple):
    """Signals [channels, length], each of mean 0 and variance 1, and their source."""

    signals: np.ndarray
    source: str


def load_series(name: str) -> Series:
    """The series ``name``, one of SERIES."""
    cbook: Any = need("matplotlib.cbook", "experiments")
    if name == "eeg":
        path = cbook.get_sample_data("eeg.dat", asfileobj=False)
        signals = np.fromfile(path, "<f8").reshape(-1, 4).T
        source = (
            "4 channels of an electroencephalogram, 800 samples of 1/80 s each "
            "(eeg.dat, a sample file of matplotlib)"
        )
    else:
        prices = cbook.get_sample_data("goog.npz")["price_data"]["adj_close"]
        signals = np.log(np.asarray(prices, float))[None]
        source = (
            "logarithm of Google's adjusted closing price on 1,047 days from August "
            "2004 on (goog.npz, a sample file of matplotlib)"
        )
    signals = signals - signals.mean(-1, keepdims=True)
    return Series(signals / signals.std(-1, keepdims=True), source)
