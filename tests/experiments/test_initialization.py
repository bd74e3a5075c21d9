"""initialization: its encoder in each wiring, and rules that catch what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._harness.data_text import TextData
from experiments._harness.errors import UserError
from experiments._initialization import claims, encoder, training
from experiments._initialization.encoder import Encoder
from experiments._initialization.signal import Signal, ends, slope
from experiments._initialization.training import Outcome, Plan, Way
from experiments.initialization import parts

SEEDS = 2


def gradients(first):
    """Norms from ``first`` to 1 over five streams."""
    return np.tile(np.geomspace(first, 1, 5), (SEEDS, 1))


def signal(whole, identity, predicted=None, queries=1e6):
    path = gradients(identity)
    shown = path if predicted is None else gradients(predicted)
    ones = np.ones((SEEDS, 5))
    given = gradients(whole), path, shown, gradients(queries), ones
    return Signal(ones, *given, np.ones(SEEDS))


def outcome(level, *last_scales):
    """Of these last scales by seed, one for all or 1."""
    scales = np.ones((SEEDS, 4))
    scales[:, -1] = last_scales or 1.0
    return Outcome(np.full((SEEDS, 20), level), scales)


def way(wiring="post", start="lecun", warmup="none", head=True):
    return Way(Encoder(8, 2, 2, wiring, start), warmup, head)


def headed(head, rate=1e-3):
    return way(start="0.02", warmup="rate", head=head)._replace(rate=rate)


def report():
    """What the articles say, in numbers."""
    signals = {
        Encoder(8, 2, 2, "post"): signal(0.05, 0.05),
        Encoder(8, 2, 2, "pre"): signal(2.0, 1.0),
        Encoder(8, 2, 2, "deepnorm"): signal(1.02, 0.9),
    }
    outcomes = {way(): outcome(3.0)}
    outcomes |= {
        rival: outcome(2.0)
        for rival in (way(start="0.02"), way(warmup="rate"), way(wiring="pre"))
    }
    outcomes[way(warmup="alpha")] = outcome(2.0)
    heads = {headed(True): outcome(2.0), headed(False): outcome(2.0, 1.5)}
    levels = np.array([2.9, 3.0]), np.array([2.4, 2.5])
    return claims.Report(signals, outcomes, heads, *levels, "2 layers")


def verdicts(found):
    return [claim.verdict for claim in claims.all_claims(found)]


def test_every_claim_is_confirmed_where_all_is_as_the_articles_say() -> None:
    assert set(verdicts(report())) == {"confirmed"}


CHANGES = {
    0: ("post", signal(0.05, 0.05, predicted=0.3)),
    1: ("post", signal(0.9, 0.05)),
    2: ("pre", signal(2.0, 0.5)),
    3: ("deepnorm", signal(3.0, 0.9)),
    4: ("post", signal(0.05, 0.05, queries=2.0)),
}
OTHERS = {6: way(start="0.02"), 7: way(warmup="rate"), 8: way(wiring="pre")}


def replaced(place):
    found = report()
    if place in CHANGES:
        wiring, wrong = CHANGES[place]
        return found._replace(
            signals={**found.signals, Encoder(8, 2, 2, wiring): wrong}
        )
    if place == 5:
        return found._replace(outcomes={**found.outcomes, way(): outcome(2.1)})
    if place == 10:
        return found._replace(
            heads={headed(True): outcome(2.0, 1.5), headed(False): outcome(2.0)}
        )
    rival = OTHERS.get(place, way(warmup="alpha"))
    return found._replace(outcomes={**found.outcomes, rival: outcome(3.5)})


@pytest.mark.parametrize("place", range(11))
def test_each_claim_is_refuted_where_it_is_false(place) -> None:
    assert verdicts(replaced(place))[place] == "refuted"


@pytest.mark.parametrize(
    ("scales", "verdict"),
    [
        ((1.04, 1.05), "qualified"),
        ((1.1, 1.2), "confirmed"),
        ((0.95, 1.35), "refuted"),  # larger in the mean, by less than two errors
    ],
)
def test_a_scale_that_grows_for_some_seeds_only_is_not_shown(scales, verdict) -> None:
    heads = {headed(True): outcome(2.0), headed(False): outcome(2.0, *scales)}
    assert verdicts(report()._replace(heads=heads))[10] == verdict


def test_a_scale_that_grows_at_one_rate_only_is_not_shown() -> None:
    heads = report().heads
    other = {headed(True, 1.0): outcome(2.0, 1.5), headed(False, 1.0): outcome(2.0)}
    assert verdicts(report()._replace(heads=heads | other))[10] == "qualified"


def test_heads_of_trainings_that_fail_show_nothing() -> None:
    # Below the level of the other trainings, not below that of their own.
    heads = {headed(True): outcome(2.2), headed(False): outcome(2.0)}
    assert verdicts(report()._replace(heads=heads))[10] == "qualified"
    heads = {headed(True): outcome(2.2), headed(False): outcome(2.0, 1.5)}
    assert verdicts(report()._replace(heads=heads))[10] == "qualified"


def test_a_diverged_training_counts_as_a_large_loss() -> None:
    assert (outcome(np.nan).last == 99).all()


@pytest.mark.parametrize(
    ("level", "wanted"),
    [(2.65, [0, 1]), (2.59, [1, 1]), (2.71, [0, 0]), (np.nan, [0, 0])],
)
def test_success_is_a_finite_loss_well_below_the_entropy_of_bytes(
    level, wanted
) -> None:
    found = report()
    found = found._replace(outcomes={**found.outcomes, way(): outcome(level)})
    assert found.succeeded(way()).tolist() == wanted


def test_entropy_of_hidden_bytes_is_that_of_their_shares() -> None:
    letters = np.array([65, 66], np.uint8)[np.arange(4000) % 2]
    text = TextData(letters, letters, "", "")
    found = training.unigram(text, Plan(50, 4, 10, 1e-3, 1), [0, 1])
    np.testing.assert_allclose(found, np.log(2), rtol=0.02)


def test_wirings_that_share_a_program_are_what_they_are_alone() -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)
    for wiring in encoder.WIRINGS:
        sizes = Encoder(8, 2, 2, wiring)
        params = encoder.init(jax.random.key(0), sizes)
        wanted = encoder.run(params, x, sizes)
        if wiring == "none":
            params = tuple({**p, "gain": jnp.ones(2)} for p in params)
        found = encoder.run(params, x, sizes.general, weight=sizes.weight)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wiring", ["post", "none", "rezero", "deepnorm"])
def test_encoder_keeps_shapes_and_tells_tokens_apart(wiring) -> None:
    sizes = Encoder(8, 2, 3, wiring)
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)

    @jax.jit
    def both(key, x):
        params = encoder.init(key, sizes)
        turned = encoder.run(params, x[:, ::-1], sizes)[:, ::-1]
        return encoder.run(params, x, sizes), turned, encoder.run(params, x, sizes, 0.0)

    out, turned, still = both(jax.random.key(0), x)
    assert out.shape == x.shape and bool(jnp.isfinite(out).all())
    np.testing.assert_allclose(turned, out, atol=1e-5)  # no positions inside
    if wiring in ("none", "rezero"):
        np.testing.assert_array_equal(still, x)
    if wiring == "rezero":
        np.testing.assert_array_equal(out, x)


def deviation(start):
    return lambda key: encoder.kernel(start, 64)(key, (8, 64, 64)).std()


def test_starts_have_their_standard_deviations() -> None:
    found = {
        start: float(jax.jit(deviation(start))(jax.random.key(0)))
        for start in encoder.STARTS
    }
    np.testing.assert_allclose(found["lecun"], 1 / 8, rtol=0.03)
    np.testing.assert_allclose(found["xavier"], 1 / 8, rtol=0.03)
    np.testing.assert_allclose(found["0.02"] / found["lecun"], 0.4875, rtol=0.03)


def test_only_hidden_bytes_count_and_are_not_seen() -> None:
    plan = Plan(2, 3, 6, 1e-3, 1)
    kind = way(wiring="none")
    tokens = np.arange(18).reshape(3, 6)
    hidden = np.zeros((3, 6), bool)
    hidden[:, 2] = True
    changed = tokens.copy()
    changed[:, 3] += 100

    @jax.jit
    def losses(key):
        params = training.init(key, kind, plan.length)
        spared = {**params, "layers": jax.tree.map(jnp.zeros_like, params["layers"])}
        given = [(params, tokens), (spared, tokens), (spared, changed)]
        return [training.loss(p, t, hidden, kind, None) for p, t in given]

    first, alone, other = map(float, losses(jax.random.key(0)))
    assert abs(first - np.log(257)) < 0.5
    # With layers of zeros no token sees another: those not hidden do not count.
    np.testing.assert_allclose(alone, other, rtol=1e-6)


def test_ends_and_slopes_of_known_norms() -> None:
    found = gradients(0.25)
    np.testing.assert_allclose(ends(found), 0.25)
    np.testing.assert_allclose(slope(found), np.log(0.25) / 4)


def test_lists_with_unknown_entries_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="flag --wiring=post,x: wanted some of"):
        parts("wiring", "post,x", encoder.WIRINGS)
    with pytest.raises(UserError, match="flag --depth=0: wanted some of"):
        parts("depth", "0", None)
