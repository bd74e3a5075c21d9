"""vae_density: its parts on known cases, and rules that catch what is wrong."""

import numpy as np
import pytest

from experiments._harness.data_types import ImageData
from experiments._harness.errors import UserError
from experiments._vae import claims, measurement, networks
from experiments._vae.annealing import Checked
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
    """Every seed has its own noise: its gap is V / (2 M) within a few percent."""
    wanted = np.array([1 / m for m in sizes(SAMPLES)]) + np.zeros((SEEDS, 1))
    gaps = wanted * (1 + 0.01 * np.arange(SEEDS)[:, None])
    return Curve(-20 - gaps, gaps, wanted, each(0.1))


def checks():
    near = each(-20) + 0.01 * np.roll(np.arange(SEEDS), 1)
    return Checked(each(-20), near - 0.1, near, each(0.9))


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
    tried = dict.fromkeys(curves, checks())
    return claims.Report(ways, curves, noise, scores, tried, SAMPLES)


def verdicts(found):
    return [claim.verdict for claim in claims.all_claims(found)]


def test_every_claim_is_confirmed_where_all_is_as_the_papers_say() -> None:
    assert set(verdicts(report())) == {"confirmed"}


def wrong(place):
    """The report with one thing false, by the claim that it makes so."""
    found = report()
    ways, curves = dict(found.measured), dict(found.curves)
    noise, scores = dict(found.signals), dict(found.scores)
    tried = dict(found.checks)
    if place == 0:
        bad = curve()
        bounds = bad.bounds.copy()
        bounds[:, 3] = bounds[:, 2] - 0.5
        curves[Way(1, PLAIN)] = bad._replace(bounds=bounds)
    if place in (1, 2):  # V / M in place of V / (2 M)
        way = list(curves)[place - 1]
        bad = curves[way]
        curves[way] = bad._replace(predicted=2 * bad.predicted)
    if place == 3:
        ways |= {Way(50, e): measured(-24, -21, 12) for e in (PLAIN, DREG)}
    if place in (4, 5):
        ways[Way(50, PLAIN if place == 4 else STL)] = measured(-24, -18, 12)
    if place == 6:
        ways |= {Way(50, e): measured(-21, -18, 12) for e in (PLAIN, DREG)}
    if place == 7:
        ways |= {Way(50, e): measured(-24, -18, 8) for e in (PLAIN, DREG)}
    if place == 8:
        noise[Way(50, PLAIN)] = {"encoder": each(0.7), "decoder": each(1.4)}
    if place == 9:
        noise[Way(50, DREG)] = {"encoder": each(2), "decoder": each(0.2)}
    if place == 10:
        ways[Way(1, PLAIN)] = measured(-22, -20, 9, poor=0.2)
    if place == 11:  # a bound from above that lies below
        tried[Way(1, PLAIN)] = checks()._replace(high=each(-21))
    if place in (12, 14):
        kind = list(scores)[(place - 12) // 2]
        scores[kind] = {**scores[kind], "L_500": each(0.4)}
    if place in (13, 15):
        kind = list(scores)[(place - 13) // 2]
        scores[kind] = {**scores[kind], "L_500": scores[kind]["L_1"] - each(0.01)}
    return claims.Report(ways, curves, noise, scores, tried, SAMPLES)


@pytest.mark.parametrize("place", range(16))
def test_each_claim_is_refuted_where_it_is_false(place) -> None:
    assert verdicts(wrong(place))[place] == "refuted"


def test_one_seed_confirms_no_difference() -> None:
    found = report()
    ways = {
        way: Measured(*(p[:1] if isinstance(p, np.ndarray) else p for p in f))
        for way, f in found.measured.items()
    }
    alone = verdicts(found._replace(measured=ways))
    assert set(alone[3:8]) == {"refuted"}


def test_tables_have_a_row_for_every_way() -> None:
    ways, curves, tried, noise, scores = claims.tables(report())
    assert len(ways.rows) == 5 and len(noise.rows) == 4 and len(scores.rows) == 2
    assert len(tried.rows) == 2
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


def lognormal(width, samples=2000, images=100):
    """Two sets of log w of mean weight 1, whose V is exp(width^2) - 1."""
    draw = np.random.default_rng(0)
    noise = draw.normal(size=(2, SEEDS, samples, images))
    return width * noise - width**2 / 2


def test_gaps_of_known_weights_are_what_their_variance_says() -> None:
    ms = sizes(2000)
    found = measurement.curve_of(*lognormal(0.6), ms)
    wanted = (np.exp(0.6**2) - 1) / 2 * (1 / np.array(ms) - 1 / 2000)
    np.testing.assert_allclose(found.predicted.mean(0), wanted, rtol=0.05)
    np.testing.assert_allclose(found.gaps[:, -1], wanted[-1], rtol=0.1)
    assert (found.top < 0.1).all()
    # Where V is far above M the law does not hold yet, and few weights are all of V.
    heavy = measurement.curve_of(*lognormal(3.0), ms)
    assert (heavy.gaps / heavy.predicted)[:, -1].mean() < 0.8
    assert (heavy.top > 0.5).all()


def test_gaps_by_samples_of_their_own_would_be_noise() -> None:
    """What the same samples cancel is more than the gap itself."""
    first, second = lognormal(0.8)
    found = measurement.curve_of(first, second, sizes(2000))
    other = measurement.log_mean(second, 1).mean(-1) - found.bounds[:, -1]
    wanted = found.predicted[:, -1]
    assert other.std() > 5 * found.gaps[:, -1].std()
    assert np.abs(other / wanted - 1).max() > 0.2


def test_the_curve_keeps_ten_groups() -> None:
    assert sizes(5000)[-1] == 500 and sizes(20) == [1, 2]
    assert measurement.FEW == 10
