"""length_generalization: rules as attention, drawn positions, training, settings."""

import dataclasses
import functools
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import length_generalization as experiment
from experiments._generalization.examples import rows, stream
from experiments._generalization.methods import trainings
from experiments._generalization.rules import (
    Read,
    Rule,
    attention_by,
    drawn_positions,
    hwfa,
    log_n_factor,
    network,
    positions_at_test,
    rule,
    seen,
)
from experiments._generalization.tasks import TASKS
from experiments._generalization.training import Judge, answer_loss
from experiments._harness.errors import UserError
from experiments._harness.workdir import Run
from experiments._language.settings import SequenceConfig
from experiments._language.training import Trainer
from kexue_jax import attention, positions

SIZES = {"width": 8, "heads": 2, "layers": 2, "hidden": 8}
TASK = TASKS["even_pairs"]
KEPT = jnp.asarray([[True] * 12, [True] * 9 + [False] * 3])


@pytest.mark.parametrize("causal", [False, True])
def test_what_a_query_sees(causal) -> None:
    chosen = rule(SIZES, reach=4, causal=causal)
    found = np.asarray(seen(chosen, KEPT, 0))
    for row, i, j in np.ndindex(*found.shape):
        wanted = abs(i - j) < 4 and bool(KEPT[row, j]) and (i >= j or not causal)
        assert found[row, i, j] == wanted


def test_the_log_n_factor_counts_keys() -> None:
    plain = log_n_factor(rule(SIZES), KEPT, 8, 0)
    np.testing.assert_array_equal(plain, jnp.ones_like(plain))
    grown = np.asarray(
        log_n_factor(rule(SIZES, log_n="pre"), jnp.ones((1, 40)) > 0, 8, 0)
    )
    np.testing.assert_allclose(grown, np.log(40) / np.log(8), rtol=1e-6)
    before = rule(SIZES, log_n="pre", causal=True)
    factor = np.asarray(log_n_factor(before, KEPT, 8, 0))[0]
    np.testing.assert_allclose(factor, np.log(np.arange(1, 13)) / np.log(8), rtol=1e-6)
    floor = np.asarray(log_n_factor(rule(SIZES, log_n="dagger"), KEPT, 100, 0))
    np.testing.assert_array_equal(floor, np.ones_like(floor))


def attended(chosen: Rule, train_length: int, layer: int, bent: bool, n: int = 24):
    """Random q, k, v and the attention of a rule; by one head of 8."""
    rng = np.random.default_rng(layer)
    qkv = [jnp.asarray(x, jnp.float32) for x in rng.normal(size=(3, 1, 1, n, 8))]
    read = Read(jnp.ones((1, n), bool), jnp.arange(float(n)), train_length, bent)
    return qkv, jax.jit(lambda *qkv: attention_by(chosen, read, layer, *qkv))(*qkv)


def test_hwfa_in_a_causal_model_is_the_librarys() -> None:
    layers = hwfa({**SIZES, "heads": 1}, 16, causal=True)
    for layer, window in enumerate(positions.hwfa_layer_windows(2, 16)):
        qkv, found = attended(layers, 16, layer, False)
        sizes = {"window": window, "train_length": 16, "interleaved": False}
        wanted = attention.hwfa_attention(*qkv, freqs=layers.freqs, **sizes)
        np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_rerope_is_the_librarys(causal) -> None:
    chosen = rule({**SIZES, "heads": 1}, window=5, causal=causal)
    qkv, found = attended(chosen, 16, 0, True)
    ways = {"window": 5, "causal": causal, "interleaved": False}
    wanted = attention.rerope_attention(*qkv, freqs=chosen.freqs, **ways)
    np.testing.assert_allclose(found, wanted, atol=2e-5)


@functools.cache
def program(bent: bool):
    model = network(TASK, SIZES, 12, bent=bent)
    return jax.jit(model.init)(jax.random.key(0)), jax.jit(model.apply)


def given(chosen: Rule, bent: bool, tokens, turns):
    params, apply = program(bent)
    return apply({"params": params, "rule": chosen}, tokens, turns)


def test_padding_changes_nothing_and_a_causal_model_sees_no_token_behind() -> None:
    made = rows(TASK, stream(0, 0), [8], 4, 9)[:, :9].astype(np.int32)
    padded = np.concatenate([made, np.full((4, 3), TASK.pad, np.int32)], 1)
    turns = jnp.arange(12.0)
    for test in (rule(SIZES), hwfa(SIZES, 12), rule(SIZES, log_n="pre")):
        short = given(test, False, jnp.asarray(made), turns[:9])
        long = given(test, False, jnp.asarray(padded), turns)
        np.testing.assert_allclose(long[:, :9], short, atol=1e-5)
    changed = made.copy()
    changed[:, 6] = 1 - changed[:, 6]
    for causal in (False, True):
        chosen = rule(SIZES, causal=causal)
        one, other = (
            given(chosen, False, jnp.asarray(x), turns[:9]) for x in (made, changed)
        )
        same = np.abs(np.asarray(one - other))[:, :6].max() < 1e-6
        assert same == causal


def drawn(kind, sizes, width=6, longest=40, seed=0):
    found = drawn_positions(
        rule(SIZES, drawn=kind),
        jax.random.key(seed),
        jnp.asarray(sizes),
        width,
        longest,
    )
    return np.asarray(found)


def test_random_positions_of_a_row_are_a_choice_of_all() -> None:
    """Each of 0 .. longest - 1 as often, for short rows as for long ones."""
    sizes = np.tile([3, 6], 4000)
    found = drawn("random", sizes, longest=12)
    for size in (3, 6):
        kept = found[sizes == size][:, :size].astype(int)
        assert (np.diff(kept, axis=1) > 0).all() and kept.min() >= 0 and kept.max() < 12
        share = np.bincount(kept.ravel(), minlength=12) / kept.size
        # Five standard errors of a share of 1 / 12.
        error = 5 * np.sqrt(1 / 12 * 11 / 12 / kept.size)
        assert np.abs(share - 1 / 12).max() < error


def test_equal_mean_positions_have_the_plain_ones_as_their_mean() -> None:
    found = drawn("equal mean", np.full(8000, 6))
    steps = np.diff(found, axis=1)
    np.testing.assert_allclose(steps, steps[:, :1].repeat(5, 1), rtol=1e-3)
    # The step is exponential: mean 1, deviation 1.
    assert abs(steps[:, 0].mean() - 1) < 5 / np.sqrt(8000)
    assert abs(steps[:, 0].std() - 1) < 0.1
    plain = drawn("plain", [6, 2])
    np.testing.assert_array_equal(plain, [np.arange(6)] * 2)


def test_positions_at_the_test() -> None:
    np.testing.assert_array_equal(positions_at_test("plain", 5, 3, 99), np.arange(5))
    assert positions_at_test("spaced", 5, 3, 9).tolist() == [0, 2, 4, 6, 8]
    assert positions_at_test("compressed", 5, 3, 9).tolist() == [0, 0.5, 1, 1.5, 2]
    short = positions_at_test("compressed", 3, 5, 9)
    np.testing.assert_array_equal(short, np.arange(3))


def test_one_program_serves_all_rules() -> None:
    params, _ = program(True)
    model = network(TASK, SIZES, 12, bent=True)
    traces = []

    @jax.jit
    def apply(rule, tokens):
        traces.append(1)
        return model.apply({"params": params, "rule": rule}, tokens, jnp.arange(9.0))

    tests = [t for way in trainings(SIZES, 12).values() for t in way.tests.values()]
    assert len(tests) == 13
    for test in tests:
        assert apply(test.rule, np.zeros((2, 9), np.int32)).shape == (2, 9, 2)
    assert len(traces) == 1


def test_the_first_test_of_a_training_is_its_own() -> None:
    for name, way in trainings(SIZES, 12).items():
        first, test = next(iter(way.tests.items()))
        assert first == name
        same = jax.tree.map(lambda a, b: bool((a == b).all()), way.rule, test.rule)
        assert all(same._replace(drawn=True))
        assert (test.turns == "spaced") == (int(way.rule.drawn) == 1)


def test_a_training_learns_the_first_letter_and_leaves_the_rule_alone() -> None:
    """Questions of one letter are always even: the loss goes to 0 at once."""
    config = SequenceConfig(
        width=8, heads=2, layers=2, num_steps=60, batch_size=8, learning_rate=1e-2
    )
    model = network(TASK, SIZES, 2, bent=False)
    made = rows(TASK, stream(0, 0), [1], 32, 2)
    loss = answer_loss(TASK, model, 40)
    trainer = Trainer(config, Run(Path("unused"), False, time.monotonic()), made, loss)
    chosen = rule(SIZES)
    params = trainer(model.init, 0, given=chosen)
    judge = Judge(network(TASK, SIZES, 2, bent=True))
    assert judge(params, chosen, jnp.arange(2.0), made) == 1
    # The same program with another rule, which is not trained either.
    trainer(model.init, 0, given=rule(SIZES, causal=True))
    assert trainer._compiled.compiled._cache_size() == 1
    assert int(chosen.causal) == 0


def test_the_loss_asks_for_the_answers_alone() -> None:
    params, apply = program(False)
    model = network(TASK, SIZES, 12, bent=False)
    made = rows(TASK, stream(0, 0), [3, 8], 4, 12).astype(np.int32)
    loss = answer_loss(TASK, model, 40)
    found = {"params": params, "rule": rule(SIZES)}
    key, step = jax.random.key(0), jnp.zeros((), jnp.int32)
    tokens, answers = made[:, :12], made[:, 12:]
    logits = apply(found, jnp.asarray(tokens), jnp.arange(12.0))
    logs = np.asarray(jax.nn.log_softmax(logits))
    row, place = np.nonzero(answers)
    wanted = -logs[row, place, answers[row, place] - 1].mean()
    np.testing.assert_allclose(
        jax.jit(loss)(found, jnp.asarray(made), key, step), wanted, rtol=1e-5
    )


CONFIG = experiment.Config(workdir="none")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tasks": "even_pairs,odd_pairs"}, "odd_pairs"),
        ({"lengths": "16,32"}, "--length=16"),
        ({"lengths": "x"}, "--lengths=x"),
        ({"positions": 100}, "--positions=100"),
        ({"width": 10}, "--width=10"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, said) -> None:
    with pytest.raises(UserError, match=said):
        config = dataclasses.replace(CONFIG, **change)
        experiment.chosen_tasks(config, experiment.tested_lengths(config)[-1])


def test_all_fifteen_can_be_chosen() -> None:
    config = experiment.Config(workdir="none", **experiment.PRESETS["paper"])
    lengths = experiment.tested_lengths(config)
    assert lengths == [40, 80, 160, 320, 500]
    assert list(experiment.chosen_tasks(config, 500)) == list(TASKS)
