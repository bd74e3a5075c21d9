"""recompute: its rules catch what is wrong, its search finds the largest batch."""

import jax
import pytest

from experiments._harness.errors import UserError
from experiments._recompute import claims, measurement, network
from experiments._recompute.measurement import Report
from experiments._recompute.network import WAYS, Sizes
from experiments.recompute import Config, model, number

SIZES = Sizes(1, 16, 2, 8, 2, 16)
DEPTHS = (4, 16, 64)
MIB = 2**20


def report() -> Report:
    """What article and paper say, in numbers: a = 40 boundaries."""
    found, b = Report(SIZES), SIZES.boundary_bytes
    share = {"dots": 20, "dots, no batch axes": 10, "named outputs": 3}
    for n in DEPTHS:
        kept = {way: n * b * share.get(way, 40) for way in WAYS}
        kept["per layer"] = n * b + 40 * b
        kept["segments"] = int(41 * b * n**0.5)
        kept["segments, nested"] = int(2 * b * n**0.5) + 40 * b
        found.memory |= {(way, n): size for way, size in kept.items()}
        found.residuals |= {(way, n): b for way in WAYS}
    found.apart = {way: [1e-7] for way in WAYS}
    found.seconds = {way: [1.25 if way != "none" else 1.0] for way in WAYS}
    found.flops = dict.fromkeys(measurement.COUNTED, 1.0) | {"per layer": 1.2}
    found.unrolled = {"none": 100, "per layer": 102}
    for name, times in (("12x768", 3), ("24x1024", 4)):
        for way in measurement.BATCHED:
            found.batches[name, way] = 48 if way == "none" else 48 * times
    return found


def verdicts(found: Report) -> list[str]:
    return [claim.verdict for claim in claims.all_claims(found)]


def test_every_claim_is_confirmed_where_all_is_as_the_articles_say() -> None:
    assert set(verdicts(report())) == {"confirmed"}
    assert report().best_segment(64) == 1  # 40 boundaries a layer: none pays


@pytest.mark.parametrize(
    ("place", "field", "key", "value"),
    [
        (0, "apart", "dots", [0.1]),
        (1, "memory", ("whole model", 16), 5 * SIZES.boundary_bytes),
        (2, "memory", ("per layer", 64), 2000 * SIZES.boundary_bytes),
        (3, "memory", ("segments", 64), 10**9),
        (4, "memory", ("per layer", 64), 10**9),
        (5, "flops", "per layer", 1.5),
        (6, "seconds", "per layer", [2.0]),
        (7, "batches", ("12x768", "per layer"), 60),
        (8, "unrolled", "per layer", 20),
    ],
)
def test_each_claim_is_refuted_where_it_is_false(place, field, key, value) -> None:
    wrong = report()
    getattr(wrong, field)[key] = value
    assert verdicts(wrong)[place] == "refuted"


def test_largest_batch_is_the_largest(monkeypatch) -> None:
    class Found:
        def __init__(self, rows):
            self.temp_bytes = 100 + 7 * rows + rows % 2

    def report_of(run, args):
        return Found(args[1].shape[0])

    monkeypatch.setattr(measurement, "memory_report", report_of)
    for free in (107, 108, 240, 900):
        best = max(r for r in range(200) if 100 + 7 * r + r % 2 <= free)
        assert measurement.largest_batch(SIZES, "none", free) == best
    assert measurement.largest_batch(SIZES, "none", 50) == 0


def test_network_counts_its_parameters() -> None:
    shapes = network.shapes(Sizes(12, 768, 12, 128, 1, 21_128))
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert count == 12 * 12 * 768**2 + 21_128 * 768 + 128 * 768


@pytest.mark.parametrize("text", ["12", "12x", "x768", "0x8", "ax8"])
def test_models_that_are_none_are_refused_in_one_line(text) -> None:
    with pytest.raises(UserError, match=r"flag --models: wanted"):
        model(Config(), text)
    assert number("layers", "3") == 3
