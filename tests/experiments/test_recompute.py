"""recompute: its rules catch what is wrong, its search finds the largest batch."""

import jax
import numpy as np
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
    share = {"dots": 20, "dots without batch": 10, "named outputs": 3}
    for n in DEPTHS:
        kept = {way: n * b * share.get(way, 40) for way in WAYS}
        kept["per layer"] = n * b + 40 * b
        kept["segments"] = int(41 * b * n**0.5)
        kept["nested segments"] = int(2 * b * n**0.5) + 40 * b
        found.memory |= {(way, n): size for way, size in kept.items()}
        found.residuals |= {(way, n): b for way in WAYS}
    for n in DEPTHS[:2]:
        for way in WAYS:
            found.apart[way, n] = [1e-7]
            found.seconds[way, n] = [1.0, 1.0] if way == "none" else [1.24, 1.26]
            found.peaks[way, n] = None
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
        (0, "apart", ("dots", 16), [0.1]),
        (1, "memory", ("whole model", 16), 5 * SIZES.boundary_bytes),
        (2, "memory", ("per layer", 64), 2000 * SIZES.boundary_bytes),
        (3, "memory", ("segments", 64), 10**9),
        (4, "memory", ("per layer", 64), 10**9),
        (5, "flops", "per layer", 1.5),
        (6, "seconds", ("per layer", 16), [1.33, 1.43]),
        (7, "unrolled", "per layer", 20),
        (8, "batches", ("12x768", "per layer"), 60),
    ],
)
def test_each_claim_is_refuted_where_it_is_false(place, field, key, value) -> None:
    wrong = report()
    getattr(wrong, field)[key] = value
    assert verdicts(wrong)[place] == "refuted"


@pytest.mark.parametrize("times", [[0.9, 0.92], [1.1, 1.2], [1.22, 1.28]])
def test_steps_that_cost_less_than_is_said_are_no_quarter_longer(times) -> None:
    found = report()
    found.seconds["segments", 16] = times
    shown = times == [1.22, 1.28]  # 1.25 +- 0.06
    assert verdicts(found)[6] == ("confirmed" if shown else "qualified")


def test_gradients_apart_by_more_than_a_millionth_are_not_equal() -> None:
    found = report()
    found.apart["segments", 4] = [2e-6]
    assert verdicts(found)[0] == "qualified"


def test_claims_of_ways_that_were_not_asked_for_are_left_out() -> None:
    found, ways = report(), ("none", "per layer")
    for field in ("memory", "residuals", "seconds", "apart"):
        part = {k: v for k, v in getattr(found, field).items() if k[0] in ways}
        setattr(found, field, part)
    found.flops = {way: found.flops[way] for way in ways}
    assert found.ways == ways and verdicts(found) == ["confirmed"] * 6
    assert [len(t.rows) for t in claims.tables(found)] == [2, 2, 4, 2, 2]


def test_no_gain_is_told_where_keeping_all_fits_no_batch() -> None:
    found = report()
    found.batches["12x768", "none"] = 0
    assert claims.gain(found, "12x768", "per layer") is None
    assert len(verdicts(found)) == len(verdicts(report())) - 1
    batches = claims.tables(found)[-1].rows
    assert batches[0][:3] == ["none", 0, None]


def test_steps_are_run_timed_and_compared_with_the_peak_of_the_device(
    monkeypatch,
) -> None:
    class Device:
        held = 100

        def memory_stats(self):
            Device.held += 10
            return {"peak_bytes_in_use": Device.held}

    found = Report(SIZES)
    sizes = Sizes(2, 16, 2, 8, 2, 256)
    ways = ("none", "per layer")
    found.memory = {("none", 2): 50, ("per layer", 2): 5}
    text = np.arange(200, dtype=np.uint8)
    assert measurement.device_peak() is None  # on the CPU
    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    measurement.measure_steps(found, sizes, text, [0, 1], 3)
    # In the order of rising memory, as the most since the start is all that is told.
    assert found.peaks == {("per layer", 2): 110, ("none", 2): 120}
    for way in ways:
        assert len(found.seconds[way, 2]) == 2 and min(found.seconds[way, 2]) > 0
    assert found.apart["none", 2] == [0, 0]
    assert max(found.apart["per layer", 2]) < 1e-6


def test_largest_batch_is_the_largest(monkeypatch) -> None:
    class Found:
        def __init__(self, rows):
            self.temp_bytes = 100 + 7 * rows + rows % 2

    def report_of(run, args, **options):
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
