"""gradient_penalty: its parts on known cases, and rules that catch what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._harness import lists
from experiments._harness.errors import UserError
from experiments._harness.ranks import spearman
from experiments._penalty import claims, flow, networks
from experiments._penalty.flow import KINDS
from experiments._penalty.networks import NORMS, Measured, Rows
from experiments._penalty.training import Trained, Way, batches, crossing, train

SEEDS = 3
RATES = (0.2, 0.1)


def flat(value):
    return np.full(SEEDS, float(value))


def trained(by_input, by_parameters, of_mean=1.0):
    names = dict.fromkeys(Measured._fields, flat(0.5))
    names |= {
        "by_input": by_input + 1e-3 * np.arange(SEEDS),
        "by_parameters": by_parameters + 1e-3 * np.arange(SEEDS),
        "of_mean": flat(of_mean),
    }
    return Trained(Measured(**names), flat(100), 0.5)


def report():
    """What the articles say, in numbers."""
    sizes = {"frobenius": 0.01, "spectral": 0.1, "jacobian": 0.3}
    ratios = {("random", "tanh", 2, n): flat(sizes[n]) for n in NORMS}
    ways = {
        Way(0.1, 0): trained(4.0, 40.0),
        Way(0.2, 0): trained(3.0, 30.0),
        Way(0.1, 32): trained(2.0, 20.0),
        Way(0.1, 8): trained(1.0, 10.0),
    }
    first, second = KINDS
    distances = [{first: np.array(RATES), second: np.array(RATES) ** 2}] * SEEDS
    return claims.Report(ratios, ways, distances, RATES)


def verdicts(found):
    return [claim.verdict for claim in claims.all_claims(found)]


def test_every_claim_is_confirmed_where_all_is_as_the_articles_say() -> None:
    assert set(verdicts(report())) == {"confirmed"}


def replaced(place):
    """The report with one thing false, by the claim that it makes so."""
    found = report()
    first, second = KINDS
    ways = dict(found.trained)
    if place in (0, 1):
        key = ("random", "tanh", 2, "jacobian" if place == 0 else "frobenius")
        return found._replace(
            ratios={**found.ratios, key: flat(1.1 if not place else 0.2)}
        )
    if place == 2:
        ways = {w: trained(4.0, 40.0, of_mean=1e-3) for w in ways}
    if place == 3:
        ways[Way(0.2, 0)] = trained(5.0, 50.0)
    if place == 4:
        ways[Way(0.1, 8)] = trained(5.0, 50.0)
    if place == 5:
        ways = {w: trained(float(k), -float(k)) for k, w in enumerate(ways, 1)}
    if place == 6:
        wrong = {first: np.array(RATES), second: np.array(RATES)}
        return found._replace(distances=[wrong] * SEEDS)
    return found._replace(trained=ways)


@pytest.mark.parametrize("place", range(7))
def test_each_claim_is_refuted_where_it_is_false(place) -> None:
    assert verdicts(replaced(place))[place] == "refuted"


@pytest.mark.parametrize("way", [Way(0.2, 0), Way(0.1, 8)])
def test_a_comparison_at_different_losses_confirms_nothing(way) -> None:
    found = report()
    short = found.trained[way]
    loss = short.measured.loss * np.array([1, 1, 1.002])
    ways = {
        **found.trained,
        way: short._replace(measured=short.measured._replace(loss=loss)),
    }
    found = found._replace(trained=ways)
    assert verdicts(found)[3 if not way.batch_size else 4] == "refuted"


def test_a_fall_within_the_spread_of_seeds_qualifies_nothing() -> None:
    found = report()
    base = found.trained[Way(0.1, 0)].measured.by_input
    for change, verdict in (
        ([0.3, -0.1, -0.1], "refuted"),
        ([-0.1, -0.1, -0.11], "qualified"),
    ):
        moved = found.trained[Way(0.2, 0)]
        values = base + np.array(change)
        moved = moved._replace(measured=moved.measured._replace(by_input=values))
        ways = {**found.trained, Way(0.2, 0): moved}
        assert verdicts(found._replace(trained=ways))[3] == verdict


def test_only_nothing_over_nothing_is_left_out() -> None:
    left, right = np.array([1.0, 0, 0, 2, np.nan]), np.array([2.0, 0, 1, 0, 0])
    np.testing.assert_array_equal(
        networks.quotients(left, right), [0.5, 0, np.inf, np.nan]
    )
    found = report()
    key = ("random", "tanh", 2, "jacobian")
    infinite = {**found.ratios, key: networks.quotients(left, right)[:3]}
    assert verdicts(found._replace(ratios=infinite))[0] == "refuted"


def test_the_last_step_is_cut_short_where_the_loss_is_the_goal() -> None:
    loss = lambda p: jnp.square(p["w"] - 1)  # noqa: E731
    ends = {"w": jnp.array(-1.0)}, {"w": jnp.array(0.9)}
    found, share = crossing(*ends, loss, jnp.float32(0.25))
    assert found["w"] == pytest.approx(0.5, abs=1e-6)
    assert share == pytest.approx(1.5 / 1.9, abs=1e-6)
    assert crossing(*ends, loss, jnp.float32(1e-3))[1] == 1  # not yet there


@pytest.mark.parametrize("way", [Way(0.05, 0), Way(0.9, 0), Way(0.9, 8)])
def test_every_training_ends_at_the_same_loss(way) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int32)
    found = train(Rows(x, y, x, y, 2), way, (0, 1), (4, 5, 2), "tanh", 0.4, 2000)
    np.testing.assert_allclose(found.measured.loss, 0.4, rtol=1e-4)
    assert found.reached.all() and (found.steps % 1 != 0).all()
    short = train(Rows(x, y, x, y, 2), way, (0, 1), (4, 5, 2), "tanh", 1e-4, 1)
    assert not short.reached.any() and (short.steps == 1).all()


def test_both_sides_are_of_the_same_rows() -> None:
    """Of many copies of one row the mean is that row: left is at most right."""
    x, y = np.ones((300, 4), np.float32), np.zeros(300, np.int32)
    x[290:] *= -3  # beyond the first 256
    params = networks.init(jax.random.key(0), (4, 5, 3))
    found = networks.measured(params, (x, y, x, y), "tanh")
    each = networks.bound(params, x[::290], y[::290], "tanh", "jacobian").lhs
    wanted = (290 * each[0] + 10 * each[1]) / 300
    np.testing.assert_allclose(found.lower, wanted, rtol=1e-5)


def test_runge_kutta_solves_a_linear_flow_to_fourth_order() -> None:
    curve = 1.7

    def error(steps):
        p = jnp.array(1.0)
        for _ in range(steps):
            p = flow.runge_kutta(lambda p: curve * p, p, 1 / steps)
        return abs(float(p) - np.exp(-curve))

    assert 3.7 < np.log2(error(4) / error(8)) < 4.5


def test_descent_is_nearer_to_the_modified_flow() -> None:
    rng = np.random.default_rng(0)
    data = Rows(
        rng.normal(size=(20, 4)).astype(np.float32), np.arange(20) % 3, None, None, 3
    )
    found = flow.distances(data, 0, (0.2, 0.1), 1.0)
    first, second = (found[kind] for kind in KINDS)
    assert (second < first / 3).all()
    assert abs(flow.slope((0.2, 0.1), first) - 1) < 0.2
    assert abs(flow.slope((0.2, 0.1), second) - 2) < 0.3


def test_network_and_loss_are_those_of_the_bound() -> None:
    x, y = jnp.ones((2, 4)) * jnp.array([[1.0], [-0.5]]), jnp.array([0, 2])

    def one(params, x, y):
        return networks.loss(networks.logits(params, x, "gelu"), y)

    @jax.jit
    def both(key):
        params = networks.init(key, (4, 5, 3))
        grads = jax.vmap(jax.grad(one), (None, 0, 0))(params, x, y)
        norms = sum((g.reshape(2, -1) ** 2).sum(-1) for g in jax.tree.leaves(grads))
        return networks.bound(params, x, y, "gelu", "frobenius").rhs, norms

    mine, theirs = both(jax.random.key(0))
    np.testing.assert_allclose(mine, theirs, rtol=1e-4)


def test_batches_turn_through_all_rows() -> None:
    data = Rows(np.zeros((10, 1)), None, None, None, 2)
    found = batches(data, Way(0.1, 5), 0, 4)
    assert found.shape == (4, 5)
    assert sorted(found[:2].ravel()) == sorted(found[2:].ravel()) == list(range(10))


def test_rank_correlation_of_known_orders() -> None:
    a = np.array([1.0, 2.0, 3.0])
    assert spearman(a, 10**a) == pytest.approx(1)
    assert spearman(a, -a) == pytest.approx(-1)


@pytest.mark.parametrize("wrong", ["", "0", "-1", "a", "1;2", "nan"])
def test_rates_that_are_none_are_refused_in_one_line(wrong) -> None:
    with pytest.raises(UserError, match=r"flag --rates=.*wanted positive numbers"):
        lists.positive("rates", wrong, below=1e9)
