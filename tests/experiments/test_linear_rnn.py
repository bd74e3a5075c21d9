"""linear_rnn: networks of one size, pixels as they are, its verdicts."""

import numpy as np
import pytest

from experiments import linear_rnn as experiment
from experiments._harness.data import load_images
from experiments._harness.errors import UserError
from experiments._recurrent.claims import Report, claims
from experiments._recurrent.networks import KINDS, parameters
from experiments._recurrent.pixels import pixel_rows

CONFIG = experiment.Config(workdir="none")


def test_all_networks_have_the_same_size_within_one_in_a_hundred():
    counts = {kind: parameters(CONFIG, kind, 256) for kind in KINDS}
    assert max(counts.values()) <= 1.01 * min(counts.values()), counts


def test_rows_are_the_gray_levels_and_the_label():
    images = load_images("digits")
    rows = pixel_rows(images, test=False)
    assert rows.shape == (len(images.train_images), 65) and rows.dtype == np.uint8
    levels = (images.train_images.reshape(len(rows), -1) + 1) * 8
    np.testing.assert_allclose(rows[:, :-1], levels, atol=1e-5)
    assert (rows[:, -1] == images.train_labels).all() and rows[:, :-1].max() == 16


def made_up(**longer):
    """A report where all losses are 2 but for those of the longer texts."""
    report = Report(long=128, short=32)
    for kind in KINDS:
        for seed in range(3):
            report.add_bytes(kind, 32, 2.0, np.zeros(32))
            loss = longer.get(kind, (2.0, 2.0, 2.0))[seed]
            report.add_bytes(kind, 128, loss, np.full(128, loss))
        report.accuracies[kind] = [0.5, 0.5, 0.5]
    return report


def verdicts(report):
    return [claim.verdict for claim in claims(report)]


def test_verdicts_follow_the_losses_of_every_seed():
    order = {"attention": 1.0, "rwkv": 1.2, "lru": 1.4, "slru": 1.6}
    clear = made_up(**{kind: (loss,) * 3 for kind, loss in order.items()})
    assert verdicts(clear) == ["confirmed"] * 4 + ["refuted"]
    clear.accuracies["s4d"] = [0.6, 0.7, 0.8]
    assert verdicts(clear)[-1] == "confirmed"
    clear.accuracies["s4d"] = [0.4, 0.7, 0.8]
    assert verdicts(clear)[-1] == "qualified"
    mixed = made_up(lru=(1.0, 1.0, 1.9), slru=(1.5, 1.5, 1.5))
    assert verdicts(mixed)[0] == "qualified"
    mixed = made_up(lru=(1.6, 1.6, 1.6), slru=(1.5, 1.5, 1.5))
    assert verdicts(mixed)[:4] == ["refuted"] * 4


@pytest.mark.parametrize(("mixers", "named"), [("lru,foo", "'foo'"), ("lru", "rwkv")])
def test_mixers_that_are_unknown_or_too_few_are_refused(mixers, named):
    with pytest.raises(UserError, match=named):
        experiment.chosen(mixers)
