"""vae_density: its parts on known cases, and rules that catch what is wrong."""

import numpy as np
import pytest

from experiments._harness.data_types import ImageData
from experiments._harness.errors import UserError
from experiments._vae import claims, measurement, networks
from experiments._vae.measurement import Curve, Measured, auc, rolled, sizes
from experiments._vae.training import Way

SEEDS, SAMPLES = 4, 200
SPREAD = 1e-3 * np.arange(SEEDS)
PLAIN, DREG, STL = ("plain", "dreg", "stl")


def each(value):
    return value + SPREAD


def measured(low, high, units, poor=0.0):
    own, error, ess = each(high - 1), each(0.1), each(50)
    poor = np.full(SEEDS, poor)
    parts = each(low), own, each(high), error, ess, poor, each(0.01), each(units)
    return Measured(*parts, 1.0)


def curve():
    bounds = np.array([-20 - 4 / m for m in sizes(SAMPLES)])
    # Every seed has its own noise: its gap is V / (2 M) within a few percent.
    bounds = bounds[None] + 1e-4 * np.arange(SEEDS)[:, None]
    return Curve(bounds, np.full(SEEDS, -20.0), each(4.0))


def report():
    """What the papers say, in numbers."""
    ways = {
        Way(1, PLAIN): measured(-22, -20, 9),
        Way(1, DREG): measured(-22, -20, 9),
        Way(50, PLAIN): measured(-24, -19, 11),
        Way(50, STL): measured(-23, -18.6, 11),
        Way(50, DREG): measured(-23, -18.5, 12),
    }
    noise = {
        Way(1, PLAIN): {"encoder": each(0.5), "decoder": each(0.4)},
        Way(1, DREG): {"encoder": each(0.6), "decoder": each(0.4)},
        Way(50, PLAIN): {"encoder": each(0.1), "decoder": each(1.4)},
        Way(50, DREG): {"encoder": 2 * each(2), "decoder": each(1.4)},
    }
    scores = {
        kind: {"L_1": each(0.7), "L_500": 0.8 + 2 * SPREAD, "set bits alone": each(0.5)}
        for kind in ("digits", "moved")
    }
    curves = {Way(1, PLAIN): curve(), Way(50, DREG): curve()}
    # Differences over seeds must not all be the same number.
    ways = {
        way: found._replace(
            high=found.high + 1e-4 * np.roll(np.arange(SEEDS), way.m % 3),
            low=found.low + 1e-4 * np.roll(np.arange(SEEDS), way.m % 3),
        )
        for way, found in ways.items()
    }
    return claims.Report(ways, curves, noise, scores, SAMPLES)


def verdicts(found):
    return [claim.verdict for claim in claims.all_claims(found)]


def test_every_claim_is_confirmed_where_all_is_as_the_papers_say() -> None:
    assert set(verdicts(report())) == {"confirmed"}


def wrong(place):
    """The report with one thing false, by the claim that it makes so."""
    found = report()
    ways, curves = dict(found.measured), dict(found.curves)
    noise, scores = dict(found.signals), dict(found.scores)
    if place == 0:
        bad = curve()
        bounds = bad.bounds.copy()
        bounds[:, 3] = bounds[:, 2] - 0.5
        curves[Way(1, PLAIN)] = bad._replace(bounds=bounds)
    if place == 1:  # V / M in place of V / (2 M)
        curves = {
            w: c._replace(half_variance=2 * c.half_variance) for w, c in curves.items()
        }
    if place == 2:
        ways |= {Way(50, e): measured(-24, -21, 12) for e in (PLAIN, DREG)}
    if place in (3, 4):
        ways[Way(50, PLAIN if place == 3 else STL)] = measured(-24, -18, 12)
    if place == 5:
        ways |= {Way(50, e): measured(-21, -18, 12) for e in (PLAIN, DREG)}
    if place == 6:
        ways |= {Way(50, e): measured(-24, -18, 8) for e in (PLAIN, DREG)}
    if place == 7:
        noise[Way(50, PLAIN)] = {"encoder": each(0.7), "decoder": each(1.4)}
    if place == 8:
        noise[Way(50, DREG)] = {"encoder": each(2), "decoder": each(0.2)}
    if place == 9:
        ways[Way(1, PLAIN)] = measured(-22, -20, 9, poor=0.2)
    if place > 9:
        kind = list(scores)[place - 10]
        scores[kind] = {**scores[kind], "L_500": each(0.4)}
    return claims.Report(ways, curves, noise, scores, SAMPLES)


@pytest.mark.parametrize("place", range(12))
def test_each_claim_is_refuted_where_it_is_false(place) -> None:
    assert verdicts(wrong(place))[place] == "refuted"


def test_one_seed_confirms_no_difference() -> None:
    found = report()
    ways = {
        way: Measured(*(p[:1] if isinstance(p, np.ndarray) else p for p in f))
        for way, f in found.measured.items()
    }
    alone = verdicts(found._replace(measured=ways))
    assert set(alone[2:7]) == {"refuted"}


def test_tables_have_a_row_for_every_way() -> None:
    ways, curves, noise, scores = claims.tables(report())
    assert len(ways.rows) == 5 and len(noise.rows) == 4 and len(scores.rows) == 2
    assert len(curves.rows) == 2 * len(sizes(SAMPLES))


def test_area_under_the_curve_of_known_orders() -> None:
    low, high = np.array([0.0, 1.0]), np.array([2.0, 3.0])
    assert auc(high, low) == 1 and auc(low, high) == 0 and auc(low, low) == 0.5


def test_images_move_around_the_edges() -> None:
    x = np.arange(2 * 9.0).reshape(2, 9)
    moved = rolled(x, (3, 3, 1)).reshape(2, 3, 3)
    np.testing.assert_array_equal(moved[:, 2, 2], x.reshape(2, 3, 3)[:, 0, 0])
    assert sorted(moved[0].ravel()) == sorted(x[0])


def images(channels=1, labels=True):
    pixels = np.linspace(-1, 1, 40 * channels).reshape(10, 2, 2, channels)
    y = np.arange(10, dtype=np.int32) if labels else None
    return ImageData(pixels, y, pixels, y, 17, "toy", "toy")


def test_bits_of_test_images_are_the_same_every_time() -> None:
    first, second = (networks.bits(images(), 7) for _ in range(2))
    np.testing.assert_array_equal(first.test, second.test)
    assert set(first.test.ravel()) == {0, 1} and len(first.test) == 7
    assert first.train.min() == 0 and first.train.max() == 1


@pytest.mark.parametrize("wrong", [{"channels": 3}, {"labels": False}])
def test_images_that_do_not_fit_are_refused_in_one_line(wrong) -> None:
    with pytest.raises(UserError, match="toy"):
        networks.bits(images(**wrong), 7)


def test_the_curve_keeps_ten_groups() -> None:
    assert sizes(5000)[-1] == 500 and sizes(20) == [1, 2]
    assert measurement.FEW == 10
