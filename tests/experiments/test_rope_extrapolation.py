"""rope_extrapolation: its rules as attention, its texts, its verdicts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import rope_extrapolation as experiment
from experiments._extrapolation.claims import CONTEXTS, Report, claims, tables
from experiments._extrapolation.rules import attention_by, network, rule
from experiments._harness.errors import UserError

CONFIG = experiment.Config(
    workdir="none", length=16, width=16, heads=2, layers=1, num_steps=4, batch_size=4
)


def scores_of(chosen, rho, n=40, d=8):
    """Attention by the rule, and by every pair's own rotation through rho(delta)."""
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(3, 2, 1, n, d))
    found = attention_by(chosen, 16, *(jnp.asarray(a, jnp.float32) for a in (q, k, v)))
    theta = np.asarray(chosen.freqs, np.float64)
    wanted = np.zeros_like(v)
    for i in range(n):
        logits = np.full((2, 1, i + 1), -np.inf)
        for j in range(i + 1):
            turn = rho(i - j)
            if turn is None:
                continue
            c, s = np.cos(turn * theta), np.sin(turn * theta)
            even, odd = k[:, :, j, ::2], k[:, :, j, 1::2]
            # The key rotated backwards by rho.
            pairs = np.stack([even * c + odd * s, odd * c - even * s], -1)
            turned = pairs.reshape(2, 1, d)
            logits[..., j] = (q[:, :, i] * turned).sum(-1) / d**0.5
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        wanted[:, :, i] = np.einsum("bhj,bhjd->bhd", weights, v[:, :, : i + 1])
    return np.asarray(found), wanted


@pytest.mark.parametrize(
    ("options", "rho"),
    [
        ({}, lambda delta: delta),
        ({"scaling": "linear", "scale": 8.0}, lambda delta: delta),
        ({"window": 8}, lambda delta: min(delta, 8)),
        (
            {"window": 4, "leak": 8.0},
            lambda delta: delta if delta < 4 else 4 + (delta - 4) / 8,
        ),
        (
            {"window": 4, "leak": 1 / 16},
            lambda delta: delta if delta < 4 else 4 + (delta - 4) * 16,
        ),
        ({"reach": 16}, lambda delta: delta if delta < 16 else None),
    ],
)
def test_rules_are_attention_by_their_relative_position(options, rho):
    found, wanted = scores_of(rule(8, **options), rho)
    np.testing.assert_allclose(found, wanted, atol=2e-4)


def test_the_log_n_factor_is_that_of_its_kind():
    rng = np.random.default_rng(1)
    q, k, v = (jnp.asarray(a, jnp.float32) for a in rng.normal(size=(3, 1, 1, 40, 8)))
    grown = jnp.log(jnp.arange(1, 41)) / np.log(16)
    for kind, factor in (("pre", grown), ("dagger", jnp.maximum(grown, 1))):
        found = attention_by(rule(8, log_n=kind), 16, q, k, v)
        wanted = attention_by(
            rule(8), 16, q * factor.astype(jnp.float32)[None, None, :, None], k, v
        )
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    found = attention_by(rule(8, factor=2.0), 16, q, k, v)
    np.testing.assert_allclose(found, attention_by(rule(8), 16, 2 * q, k, v), atol=1e-6)


def test_one_program_serves_all_rules():
    model = network(16, {"width": 16, "heads": 2, "layers": 1})
    params = jax.jit(model.init)(jax.random.key(0))
    traces = []

    @jax.jit
    def apply(given, tokens):
        traces.append(1)
        return model.apply(given, tokens)

    tokens = np.zeros((2, 20), np.int32)
    for named in experiment.rules(CONFIG).values():
        for chosen in named.values():
            assert apply({"params": params, "rule": chosen}, tokens).shape[:2] == (
                2,
                20,
            )
    assert len(traces) == 1


@pytest.mark.parametrize(("layers", "period"), [(1, 2), (2, 2), (3, 3), (12, 4)])
def test_repeated_texts_are_their_last_bytes_again_and_again(layers, period):
    config = dataclasses.replace(CONFIG, layers=layers)
    assert experiment.period(config) == period * 16
    hidden = "never" in experiment.repetition(config)
    assert hidden == (period * 16 > 15 * layers + 1)
    tested = np.arange(3 * 129).reshape(3, 129).astype(np.int32)
    rows = experiment.tiled(tested, config)
    assert rows.shape == (3, 8 * 16 + 1)
    last = period * 16
    np.testing.assert_array_equal(rows[:, -last:], tested[:, -last:])
    np.testing.assert_array_equal(rows[:, last:], rows[:, :-last])


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_byte_to_copy_is_out_of_the_windows_reach(layers):
    config = dataclasses.replace(CONFIG, layers=layers)
    model = network(16, {"width": 16, "heads": 2, "layers": layers})
    params = jax.jit(model.init)(jax.random.key(0))
    rows = experiment.tiled(np.arange(129)[None].astype(np.int32), config)[:, :-1]
    score = jax.jit(
        lambda chosen, x: model.apply({"params": params, "rule": chosen}, x)
    )
    for chosen, seen in ((rule(8, reach=16), False), (rule(8, window=8), True)):
        wanted = score(chosen, rows)
        for query in (-16, -1):
            there = rows.shape[1] + query + 1 - experiment.period(config)
            changed = rows.copy()
            changed[:, : there + 1] = 200
            found = score(chosen, changed)
            assert (np.abs(found - wanted)[:, query].max() > 1e-6) == seen
    # One byte nearer, the windows see it.
    changed = rows.copy()
    changed[:, -experiment.reach(config)] = 200
    chosen = rule(8, reach=16)
    moved = np.abs(score(chosen, changed) - score(chosen, rows))[:, -1].max()
    assert moved > 0


def made_up(**factors):
    """A report in which every rule has loss 1 at any context, but for ``factors``."""
    names = [n for named in experiment.rules(CONFIG).values() for n in named]
    losses = {n: {c: [1.0, 1.0] for c in CONTEXTS} for n in names}
    repeated = {n: [1.0, 1.0] for n in names}
    for name, value in factors.items():
        losses[name.replace("_", " ")][8] = [value, value]
    return Report(losses, repeated, "of a period")


def verdicts(report):
    return {claim.text: claim.verdict for claim in claims(report)}


def test_verdicts_follow_the_losses():
    flat = verdicts(made_up())
    assert flat["RoPE fails beyond the trained length"] == "refuted"
    said = "with ReRoPE (w = N/2) the loss does not grow with the context"
    assert flat[said] == "confirmed"
    exploded = verdicts(made_up(RoPE=2.0))
    assert exploded["RoPE fails beyond the trained length"] == "confirmed"
    grown = made_up()
    grown.losses["ReRoPE w = N/2"][8] = [1.08, 1.08]
    assert verdicts(grown)[said] == "qualified"
    # A mean that passes a bound but for the noise of the seeds shows nothing.
    grown.losses["ReRoPE w = N/2"][8] = [0.9, 1.12]
    assert verdicts(grown)[said] == "refuted"
    grown.losses["ReRoPE w = N/2"][8] = [1.3, 1.3]
    assert verdicts(grown)[said] == "refuted"
    ordered = made_up(PI=4.0, RoPE=3.0)
    ordered.losses["NTK-mixed"][8] = [2.0, 2.0]
    name = "without training PI is worse than RoPE, RoPE than NTK, NTK than ReRoPE"
    assert verdicts(ordered)[name] == "confirmed"
    ordered.losses["PI"][8] = [2.5, 2.5]
    assert verdicts(ordered)[name] == "qualified"
    (table,) = tables(ordered)
    assert len(table.rows) == len(ordered.losses)


def test_verdicts_on_the_rules_of_the_articles():
    good = "the good windows of ReRoPE are from N/4 to N/2"
    behind = "YaRN is slightly behind ReRoPE (w = N/2)"
    found = made_up(YaRN=1.05)
    for w, loss in (("N/8", 1.3), ("N/4", 0.9), ("3N/4", 1.1), ("N", 1.5)):
        found.losses[f"ReRoPE w = {w}"][8] = [loss, loss]
    assert verdicts(found)[good] == verdicts(found)[behind] == "confirmed"
    found.losses["ReRoPE w = N/4"][8] = [1.2, 1.2]
    assert verdicts(found)[good] == "qualified"
    found.losses["ReRoPE w = 3N/4"][8] = [0.8, 1.1]
    assert verdicts(found)[good] == "refuted"
    for loss, verdict in ((1.15, "qualified"), (1.5, "refuted"), (0.9, "refuted")):
        assert verdicts(made_up(YaRN=loss))[behind] == verdict


def test_the_repeated_texts_are_in_the_rules_of_their_claims():
    found = [claim for claim in claims(made_up()) if "of a period" in claim.rule]
    assert [claim.text for claim in found] == [
        "with ReRoPE repeated text is predicted much better",
        "ReRoPE sees more than a window of N does",
    ]


@pytest.mark.parametrize("values", [{"length": 20}, {"width": 10, "heads": 2}])
def test_sizes_that_do_not_fit_are_refused(values):
    with pytest.raises(UserError, match="wanted a multiple of"):
        experiment.Config(workdir="none", **values)
