"""Training and judging small models of bytes."""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._harness.workdir import Run
from experiments._language.judgment import Judge, Scores, hidden_places
from experiments._language.losses import (
    MASK,
    MASKED_VOCABULARY,
    cross_entropy,
    masked,
    masked_bytes,
    next_byte,
)
from experiments._language.settings import LanguageConfig
from experiments._language.training import Trainer
from kexue_jax.models import transformer
from tests.contract.rows_language import softmax_attention

CONFIG = LanguageConfig(
    length=8, width=16, heads=2, layers=1, num_steps=60, batch_size=8, num_seeds=1
)


def everywhere(q, k, v, layer):
    scores = jnp.einsum("...id,...jd->...ij", q, k) / q.shape[-1] ** 0.5
    return jax.nn.softmax(scores, -1) @ v


def run():
    return Run(Path("unused"), False, time.monotonic())


def alphabet(length=9):
    """Texts that go on in the order of the alphabet from a random letter."""
    start = np.arange(97, 97 + 200) % 26
    return (97 + (start[:, None] + np.arange(length)) % 26).astype(np.uint8)


def model_of(causal):
    return transformer(
        vocabulary=MASKED_VOCABULARY,
        attend=softmax_attention if causal else everywhere,
        length=16,
        width=16,
        heads=2,
        layers=1,
    )


def test_the_next_byte_is_learned_and_the_same_every_time():
    model, rows = model_of(True), alphabet()
    trainer = Trainer(CONFIG, run(), rows, next_byte(model), learning_rate=2e-2)
    one, again = (trainer(model.init, 0) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, one, again)
    other = trainer(model.init, 1)
    assert not np.array_equal(one["word"], other["word"])
    scores = Judge(model)(one, rows[:20])
    assert scores.mean_loss() < 1.0 < np.log(26)
    assert scores.accuracy() > 0.8
    start = Judge(model)(jax.jit(model.init)(jax.random.key(0)), rows[:20])
    assert start.mean_loss() > 4


def test_training_goes_on_from_parameters_and_leaves_them_alone():
    model, rows = model_of(True), alphabet()
    params = jax.jit(model.init)(jax.random.key(0))
    kept = jax.tree.map(np.array, params)
    seen = []
    trainer = Trainer(CONFIG, run(), rows, next_byte(model), num_steps=4)
    found = trainer(
        params,
        0,
        observe=lambda p, n: seen.append((n, p["word"].shape)) or {},
        observe_every=2,
    )
    jax.tree.map(np.testing.assert_array_equal, params, kept)
    assert seen == [(2, (257, 16)), (4, (257, 16))]
    assert not np.array_equal(found["word"], kept["word"])


def test_a_causal_judge_scores_by_the_definition():
    model, rows = model_of(True), alphabet()[:5]
    params = jax.jit(model.init)(jax.random.key(0))
    found = Judge(model, at_once=2)(params, rows)
    logits = model.apply(params, rows[:, :-1].astype(np.int32))[..., :256]
    wanted = cross_entropy(logits, rows[:, 1:].astype(np.int32))
    np.testing.assert_allclose(found.loss, wanted, rtol=2e-5)
    np.testing.assert_array_equal(found.right, logits.argmax(-1) == rows[:, 1:])
    last = found.mean_loss(slice(-3, None))
    np.testing.assert_allclose(last, np.asarray(wanted)[:, -3:].mean(), rtol=2e-5)


def test_a_masked_judge_asks_for_hidden_bytes_only():
    model, rows = model_of(False), alphabet()[:4]
    params = jax.jit(model.init)(jax.random.key(0))
    places = hidden_places(rows.shape, 0.3)
    found = Judge(model, causal=False)(params, rows, places)
    seen = np.where(places, MASK, rows.astype(np.int32))
    logits = model.apply(params, seen)[..., :256]
    wanted = np.asarray(cross_entropy(logits, rows.astype(np.int32)))
    np.testing.assert_allclose(found.mean_loss(), wanted[places].mean(), rtol=2e-5)
    right = (logits.argmax(-1) == rows)[places].mean()
    np.testing.assert_allclose(found.accuracy(), right)


def test_masks_hide_replace_and_leave_in_the_shares_of_bert():
    tokens = jnp.zeros((400, 500), jnp.int32)
    seen, chosen = masked(jax.random.key(0), tokens, share=0.15)
    np.testing.assert_array_equal(seen[~chosen], 0)
    asked, count = np.asarray(seen[chosen]), chosen.sum()
    # Five standard deviations of each share.
    for share, found in (
        (0.15, chosen.mean()),
        (0.8, (asked == MASK).mean()),
        (0.1 / 256 + 0.1, (asked == 0).mean()),
    ):
        among = tokens.size if share == 0.15 else count
        assert abs(found - share) < 5 * np.sqrt(share * (1 - share) / among), share


def test_a_masked_model_is_learned():
    model, rows = model_of(False), alphabet()
    trainer = Trainer(
        CONFIG, run(), rows, masked_bytes(model), num_steps=500, learning_rate=1e-2
    )
    params = trainer(model.init, 0)
    scores = Judge(model, causal=False)(params, rows[:30])
    assert scores.mean_loss() < 1.5


@pytest.mark.parametrize("shape", [(50, 3), (20, 100)])
def test_hidden_places_are_fixed_and_in_every_row(shape):
    places = hidden_places(shape)
    np.testing.assert_array_equal(places, hidden_places(shape))
    assert places.any(-1).all()
    assert places.mean() < 0.5


def test_scores_weigh_only_what_was_asked():
    loss = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    asked = np.array([[True, False, True], [False, False, True]])
    scores = Scores(loss, loss > 2, asked)
    assert scores.mean_loss() == pytest.approx((1 + 3 + 6) / 3)
    assert scores.accuracy(slice(0, 2)) == 0.0
