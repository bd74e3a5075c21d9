"""rnn_gradients: its rules catch what is wrong, its models are those of the library."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._harness.errors import UserError
from experiments._rnn import claims
from experiments._rnn.addends import addends, gates
from experiments._rnn.claims import Report
from experiments._rnn.judging import Outcome, Start, exact_at_start
from experiments._rnn.networks import CELLS, TWO_PARTS, UNGATED, Model, Task, _order
from experiments.rnn_gradients import Config, _streams, chosen
from kexue_jax.theory import CellState, init_rnn, one_step_derivative_terms

BIASES, SEEDS, STEPS = (0.0, 3.0), 2, 64


def line(slope: float) -> np.ndarray:
    return slope * np.arange(1, STEPS + 1.0)


def outcome(task: str, cell: str, bias: float) -> dict[str, Any]:
    """What the article says, in numbers."""
    slope = -0.5 if cell in UNGATED else -0.02 - 0.08 * (bias == 0)
    keep = 0.95 if task == "long" else 0.6
    return {
        "score": 0.4 if cell in UNGATED else 0.9 + bias / 100,
        "held": 0.4 if cell in UNGATED else 0.9 + bias / 100,
        "profile": line(slope),
        "keep": keep,
        "log_keep": slope,
        "product": line(slope),
        "alone": line(slope),
        "terms": np.array([0.9, 0.05, 0.03, 0.02]),
        "losses": np.zeros(3),
    }


def report() -> Report:
    found = Report({}, {}, {}, 32)
    for cell in CELLS:
        biases = (0.0,) if cell in UNGATED else BIASES
        models = [Model(cell, b, s) for b in biases for s in range(SEEDS)]
        for task, kept in (("long", found.long), ("local", found.local)):
            rows = [outcome(task, cell, m.bias) for m in models]
            fields = {f: np.stack([r[f] for r in rows]) for f in Outcome._fields}
            kept[cell] = models, Outcome(**fields)
        for bias in biases:
            slope = -0.45 if bias == 0 else -0.01 - 0.01 * (cell != "lstm")
            slope += 0.02 * (cell == "lstm" and bias == 0)
            found.starts[cell, bias, 1.0] = begun(slope)
    return found


def begun(slope: float) -> Start:
    lines = np.stack([line(slope)] * SEEDS)
    return Start(lines, lines, lines, np.tile([0.9, 0.05, 0.03, 0.02], (SEEDS, 1)))


def verdicts(found: Report) -> list[str]:
    return [claim.verdict for claim in claims.all_claims(found)]


def test_every_claim_is_confirmed_where_all_is_as_the_article_says() -> None:
    assert set(verdicts(report())) == {"confirmed"}


@pytest.mark.parametrize(
    ("place", "task", "cell", "field", "value"),
    [
        (2, "long", "lstm", "log_keep", 0.5),
        (3, "long", "rnn", "score", 1.0),
        (4, "long", "rnn", "profile", 0.0),
        (5, "local", "gru", "keep", 0.99),
        (6, "long", "gru", "terms", 0.2),
    ],
)
def test_each_claim_is_refuted_where_it_is_false(
    place, task, cell, field, value
) -> None:
    wrong = report()
    getattr(getattr(wrong, task)[cell][1], field)[:] = value
    if place == 2:
        wrong.long["lstm"][1].alone[:] = line(0.5)
    if place == 4:  # all decay alike but the worst, which does not at all
        for other in CELLS:
            scores = wrong.long[other][1].score
            scores[:] = 0.1 if other == "rnn" else 0.9
    assert verdicts(wrong)[place] == "refuted"


@pytest.mark.parametrize(
    ("place", "cell", "bias", "slope"),
    [(0, "lstm", 0.0, -0.01), (1, "gru", 3.0, -1.0), (7, "lstm", 0.0, -2.0)],
)
def test_claims_of_the_start_are_refuted_where_they_are_false(
    place, cell, bias, slope
) -> None:
    wrong = report()
    wrong.starts[cell, bias, 1.0] = begun(slope)
    if place == 7:
        wrong.starts[cell, 3.0, 1.0] = begun(slope)
    assert verdicts(wrong)[place] == "refuted"


def test_gates_own_products_qualify_a_slope_that_their_mean_logarithm_misses() -> None:
    wrong = report()
    wrong.long["lstm"][1].log_keep[:] = -1.0
    assert verdicts(wrong)[2] == "qualified"


def test_a_bias_is_chosen_by_rows_that_are_held_out() -> None:
    found = report()
    found.long["lstm"][1].score[:SEEDS] = 1.0
    assert found.best("lstm") == 3.0
    found.long["lstm"][1].held[:SEEDS] = 1.0
    assert found.best("lstm") == 0.0


def test_exact_norms_before_training_are_of_both_kinds() -> None:
    models = [Model("gru", bias, 0) for bias in BIASES]
    frobenius, spectral = exact_at_start(models, 4, 10)
    assert frobenius.shape == spectral.shape == (2, 10)
    gap = spectral - frobenius
    assert (gap >= 0).all() and (gap <= np.log(4) / 2 + 1e-5).all()


GATED = [cell for cell in CELLS if cell not in UNGATED]


def drawn(cell, d, rng):
    """Parameters, a state whose output gate is 0.7, an input, the state's maker."""
    sizes = {"inputs": 2, "hidden": d, "keep_bias": 0.5}
    params = init_rnn(jax.random.key(3), kind=CELLS[cell][0], **sizes)
    params = {n: rng.normal(size=v.shape) for n, v in params.items()}

    def state(c):
        if cell not in TWO_PARTS:
            return c
        return CellState(c, 0.7 * (jnp.tanh(c) if cell == "lstm" else c))

    return params, state, jnp.asarray(rng.normal(size=d)), jnp.asarray([0.3, -0.4])


@pytest.mark.parametrize("cell", GATED)
def test_addends_are_those_of_the_library_and_add_up_to_the_derivative(cell) -> None:
    rng = np.random.default_rng(0)
    kind, run = CELLS[cell]
    params, state, c, x = drawn(cell, 1, rng)
    one = one_step_derivative_terms(params, state(c), x, kind=kind)
    np.testing.assert_allclose(addends(cell, params, state(c), x)[:, :, 0], one)
    params, state, c, x = drawn(cell, 3, rng)

    def after(c):
        new = run(params, state(c), x)[0]
        return new.c if cell in TWO_PARTS else new

    @jax.jit
    def both(c):
        return addends(cell, params, state(c), x), jax.jacfwd(after)(c)

    found, wanted = both(c)
    np.testing.assert_allclose(found.sum(0), wanted, rtol=1e-10, atol=1e-12)
    # What the diagonals alone would say is not what the matrices are.
    diagonals = one_step_derivative_terms(params, state(c), x, kind=kind)
    whole = np.linalg.norm(found, axis=(1, 2))
    share = np.linalg.norm(diagonals, axis=1)[1:] / whole[1:]
    assert share.max() < 1 and share.min() < 0.7


def test_products_of_gates_are_of_their_means_and_of_each_unit() -> None:
    """A GRU without U: the gates are known from biases alone."""
    keep = np.array([0.9, 0.5])
    bias = np.concatenate([np.log(1 / keep - 1), np.zeros(4)])
    params = {"w": np.zeros((2, 6)), "u": np.zeros((2, 6)), "b": bias}
    params = {n: jnp.asarray(v, jnp.float32) for n, v in params.items()}
    found = gates("gru", params, jnp.zeros((3, 4, 2), jnp.float32))
    steps = np.arange(1, 5)
    rms = np.sqrt(((keep[None] ** steps[:, None]) ** 2).mean(1))
    np.testing.assert_allclose(found["product"], steps * np.log(0.7), rtol=1e-5)
    np.testing.assert_allclose(found["alone"], np.log(rms), rtol=1e-4)
    np.testing.assert_allclose(found["log_keep"], np.log(keep).mean(), rtol=1e-5)
    np.testing.assert_allclose(found["terms"][0], np.linalg.norm(keep), rtol=1e-5)


def test_streams_go_on_where_they_ended() -> None:
    rows = _streams(np.arange(100, dtype=np.uint8), 9)
    assert rows.shape == (11, 10)
    assert (rows[1:, 0] == rows[:-1, -1]).all()
    task = Task("", "next", rows, rows, rows, 256, 256)
    order = _order(task, 0, 5, 3)
    assert ((order[1:] - order[:-1]) % len(rows) == 1).all()


def test_settings_that_are_none_are_refused_in_one_line() -> None:
    assert chosen(Config())[1] == [0.0, 1.0, 3.0]
    for wrong in ({"cells": "rnn,mgu"}, {"keep_bias": "0,a"}, {"keep_bias": "nan"}):
        with pytest.raises(UserError, match=r"flag --.*: wanted"):
            chosen(Config(**wrong))
