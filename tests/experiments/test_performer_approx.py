"""performer_approx: its errors against the definition, its verdicts."""

import jax
import numpy as np
import pytest

from experiments import performer_approx as experiment
from experiments._performer.errors import (
    FORMS,
    kernel_means,
    projection,
    relative_errors,
    sample,
    uniform_error,
)
from experiments._performer.transfer import Transfer
from experiments.performer_approx import Report
from kexue_jax import attention

MANY = [16, 32, 64]


def exact(q, k, v):
    scores = np.asarray(q, float) @ np.asarray(k, float).T / q.shape[-1] ** 0.5
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ np.asarray(v, float)


@pytest.mark.parametrize("name", ["positive, iid", "trig, orthogonal"])
def test_errors_are_those_of_the_definition(name):
    kind, rows = FORMS[name]
    q, k, v = sample(0, n=20, d=8, spread=0.5)
    found = relative_errors(q, k, v, kind=kind, rows=rows, m=16, draws=3)
    key = jax.random.split(jax.random.key(16), 3)[1]
    w = projection(key, rows, m=16, d=8)
    phi_q, phi_k = (
        np.asarray(attention.softmax_features(x, w, kind=kind), float) for x in (q, k)
    )
    weights = phi_q @ phi_k.T
    estimate = weights / weights.sum(-1, keepdims=True) @ np.asarray(v, float)
    wanted = exact(q, k, v)
    error = np.linalg.norm(estimate - wanted) / np.linalg.norm(wanted)
    assert found.shape == (3,) and len(set(found)) == 3
    np.testing.assert_allclose(found[1], error, rtol=1e-3)
    mean = np.asarray(v, float).mean(0)
    away = np.linalg.norm(mean - wanted) / np.linalg.norm(wanted)
    np.testing.assert_allclose(uniform_error(q, k, v), away, rtol=1e-4)


def test_the_bias_of_raw_signs_is_seen():
    found = kernel_means(16, 1500)
    (raw, raw_error, truth), (fixed, error, _) = found.values()
    assert truth == pytest.approx(1.2840, abs=1e-4)
    assert abs(fixed - truth) < 4.5 * error
    # The card: 1.098 where 1.284 is right.
    assert raw == pytest.approx(1.098, abs=6 * raw_error)
    assert abs(raw - truth) > 10 * raw_error


@pytest.mark.parametrize("power", [-0.5, -1.0])
def test_the_slope_is_the_exponent(power):
    errors = {m: np.array([2.0, 2.0]) * m**power for m in MANY}
    assert experiment.slope(errors) == pytest.approx(power)


def made_up(**changes):
    """A report in which all is as the article says, but for ``changes``."""
    size = {name: 2.0 if "iid" in name or "trig" in name else 1.0 for name in FORMS}
    rooted = {m: np.array([1.0, 1.2]) / m**0.5 for m in MANY}
    losses = {
        "softmax": [1.5, 1.6],
        "Performer, not tuned": [2.0, 2.1],
        "softmax, trained on": [1.4, 1.5],
        "Performer, tuned, fixed rows": [1.41, 1.51],
        "Performer, tuned, redrawn rows": [1.5, 1.6],
    }
    values = {
        "errors": {n: {m: np.array([s, s]) for m in MANY} for n, s in size.items()},
        "slopes": rooted,
        "trained": rooted,
        "uniform": {"trained model": 0.5, "entries N(0, 1), d = 64": 0.8},
        "unit": np.array([2.0, 2.2]),
        "bias": {
            16: {"raw": (1.1, 0.005, 1.284), "right": (1.283, 0.005, 1.284)},
            64: {"raw": (1.2, 0.003, 1.284), "right": (1.285, 0.003, 1.284)},
        },
        "moved": Transfer(losses, None),
    }
    return Report(**{**values, **changes})


def verdicts(report):
    found = experiment.claims(experiment.Config(workdir="none"), report)
    return [claim.verdict for claim in found]


def test_verdicts_follow_the_numbers():
    assert set(verdicts(made_up())) == {"confirmed"}
    flat = {m: np.array([1.0, 1.0]) for m in MANY}
    assert verdicts(made_up(slopes=flat))[2] == "refuted"
    assert verdicts(made_up(unit=np.array([0.1, 0.2])))[3] == "refuted"
    same = {16: {"raw": (1.284, 0.005, 1.284), "right": (1.284, 0.005, 1.284)}}
    assert verdicts(made_up(bias=same))[4] == "refuted"
    losses = dict(made_up().moved.losses)
    losses["Performer, not tuned"] = [1.5, 1.6]
    losses["Performer, tuned, fixed rows"] = [1.5, 1.6]
    moved = verdicts(made_up(moved=Transfer(losses, None)))
    assert moved[-2:] == ["refuted", "qualified"]
    errors = {**made_up().errors, "positive, iid": {m: np.array([0.5]) for m in MANY}}
    assert verdicts(made_up(errors=errors))[0] == "refuted"
    assert len(experiment.tables(made_up())[0].rows) == len(FORMS) + 2
