"""LegS: scan, wavefront, steps and dense matrices agree; a signal may be continued."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from experiments.benchmark.cost import compiled_facts, contraction_flops
from kexue_jax.ssm import (
    LegsState,
    legs_matvec,
    legs_project,
    legs_scan,
    legs_solve,
    legs_step,
)
from kexue_jax.ssm.legs import LEGS_METHODS, legs_scan_plain, step_weights
from kexue_jax.ssm.legs_algebra import first_order
from kexue_jax.ssm.legs_wavefront import _in_turn, _together
from tests.oracles import legs as oracle

N = 7


def signals(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def apart(one, two) -> float:
    mine, theirs = (list(map(np.asarray, jax.tree.leaves(x))) for x in (one, two))
    pairs = list(zip(mine, theirs, strict=True))
    scale = max(float(np.abs(leaf).max()) for leaf in theirs)
    return max(float(np.abs(a - b).max()) for a, b in pairs) / scale


def with_gradients(scan, method):
    """Coefficients, last state, and the gradients of a sum of both."""

    def total(u, x):
        state = LegsState(x, np.int32(5))
        out = scan(u, n=N, method=method, state=state)
        return jnp.sin(out.coef).sum() + jnp.cos(out.state.x).sum(), out

    return jax.jit(jax.grad(total, (0, 1), has_aux=True))(
        signals(2, 3, 19), signals(2, 3, N, seed=1)
    )


@pytest.mark.parametrize("method", ["trapezoid", "forward", "exact"])
def test_scan_equals_its_plain_twin_in_value_and_gradient(method) -> None:
    gradient, out = with_gradients(legs_scan, method)
    wanted_gradient, wanted = with_gradients(legs_scan_plain, method)
    assert apart((out.coef, out.state.x), (wanted.coef, wanted.state.x)) < 1e-12
    assert int(out.state.k) == int(wanted.state.k) == 24
    assert apart(gradient, wanted_gradient) < 1e-12


@pytest.mark.parametrize("method", LEGS_METHODS)
def test_scan_equals_dense_matrices(method) -> None:
    u = signals(30)
    got = jax.jit(functools.partial(legs_scan, n=N, method=method, norm="lmu"))(u)
    wanted = oracle.history(u, n=N, method=method, norm="lmu")
    assert np.abs(got.coef - wanted).max() < 1e-12 * np.abs(wanted).max()


@pytest.mark.parametrize("form", [_together, _in_turn])
@pytest.mark.parametrize(("length", "n"), [(1, 5), (6, 1), (9, 4)])
def test_forms_for_every_platform_agree(form, length, n) -> None:
    u, x = signals(length, 2), signals(n, 2, seed=1)
    weights = step_weights("trapezoid", np.arange(length) + 3.0, 1.0)

    def total(u, x):
        last, found = form(u, x, weights)
        return jnp.sin(found).sum() + jnp.cos(last).sum(), (last, found)

    def plain(u, x):
        state = LegsState(x.T, np.int32(3))
        out = legs_scan_plain(u.T, n=n, state=state)
        last, found = out.state.x.T, out.coef.transpose(1, 2, 0)
        return jnp.sin(found).sum() + jnp.cos(last).sum(), (last, found)

    runs = [jax.jit(jax.grad(f, (0, 1), has_aux=True))(u, x) for f in (total, plain)]
    assert apart(*runs) < 1e-12


@pytest.mark.parametrize("method", ["trapezoid", "exact"])
def test_a_signal_in_parts_gives_what_the_whole_does(method) -> None:
    u = signals(2, 40)
    options = {"n": N, "method": method, "norm": "orthonormal", "power": 0.5}
    run = jax.jit(functools.partial(legs_scan, **options))
    step = jax.jit(functools.partial(legs_step, **options))
    whole = run(u)
    first = run(u[:, :13])
    second = run(u[:, 13:39], state=first.state)
    third = step(second.state, u[:, 39])
    parts = [first.coef, second.coef, np.asarray(third.coef)[:, None]]
    assert apart(np.concatenate(parts, 1), whole.coef) < 1e-13
    assert apart(third.state.x, whole.state.x) < 1e-13
    assert int(third.state.k) == 40
    empty = LegsState(np.full((2, N), np.nan), np.int32(0))  # counts for nothing
    assert apart(run(u, state=empty), whole) < 1e-13
    assert apart(step(empty, u[:, 0]).coef, step(None, u[:, 0]).coef) == 0


def test_state_is_float32_and_result_of_the_dtype_of_u_in_bfloat16() -> None:
    u = signals(12).astype(jnp.bfloat16)
    scan = jax.jit(functools.partial(legs_scan, n=4))
    out = scan(u)
    assert out.coef.dtype == jnp.bfloat16 and out.state.x.dtype == jnp.float32
    more = scan(u, state=out.state)
    assert more.state.x.dtype == jnp.float32 and int(more.state.k) == 24
    twice = scan(np.concatenate([u, u]).astype(np.float32))
    assert apart(more.state.x, twice.state.x) < 1e-6


def test_algebra_equals_dense_matrices_on_a_thousand_systems() -> None:
    rng = np.random.default_rng(2)
    for n, norm in ((1, "hippo"), (9, "lmu"), (64, "orthonormal")):
        v = rng.normal(size=(400, n))
        lam = 10 ** rng.uniform(-6, 6, 400)
        got = jax.jit(functools.partial(legs_solve, norm=norm))(v, lam)
        wanted = oracle.solve(v, lam, norm)
        error = np.abs(got - wanted).max(-1) / np.abs(wanted).max(-1)
        assert error.max() < 1e-10 and np.median(error) < 1e-14
        got = jax.jit(functools.partial(legs_matvec, norm=norm))(v)
        wanted = oracle.matvec(v, norm)
        assert np.abs(got - wanted).max() < 1e-13 * np.abs(wanted).max()


def test_solve_undoes_the_product() -> None:
    v = signals(3, 20)
    back = jax.jit(lambda v: legs_solve(v - 0.3 * legs_matvec(v), 0.3))(v)
    assert apart(back, v) < 1e-12


def test_the_difference_of_sums_would_cancel_in_float32() -> None:
    # z_i = (S_i - S_{i-1}) / r_i is the same in exact arithmetic.
    n, lam = 256, 1e-6
    v = np.random.default_rng(3).normal(size=n)
    v[0] = 1e4
    wanted = oracle.solve(v, lam, "hippo")
    low = v.astype(np.float32)
    sums, total = [], np.float32(0)
    r = np.sqrt(2 * np.arange(n) + 1).astype(np.float32)
    for i in range(n):
        total = (np.float32(1 - lam * i) * total + r[i] * low[i]) / np.float32(
            1 + lam * (i + 1)
        )
        sums.append(total)
    cancelled = np.diff(np.array([0, *sums], np.float32)) / r
    got = jax.jit(legs_solve)(low, np.float32(lam))
    error = np.abs(np.asarray(got) - wanted) / np.abs(wanted)
    worse = np.abs(cancelled - wanted) / np.abs(wanted)
    assert np.median(worse) > 5 * np.median(error)


def test_first_order_recurrence_by_turns_and_at_once() -> None:
    a, b = signals(9, 2), signals(9, 2, seed=4)
    h, wanted = np.zeros(2), []
    for t in range(9):
        h = a[t] * h + b[t]
        wanted.append(h)
    assert np.abs(jax.jit(first_order)(a, b) - np.stack(wanted)).max() < 1e-13


def test_gradients_of_the_algebra() -> None:
    v, lam = signals(2, 6), np.asarray([0.3, 2.0])
    check_grads(
        jax.jit(legs_solve), (v, lam), order=1, modes="fwd", atol=1e-6, rtol=1e-6
    )


def test_cost_is_linear_in_n_and_quadratic_for_exact_steps() -> None:
    def scan(method, n):
        return functools.partial(legs_scan, n=n, method=method)

    u = signals(2048)
    facts = [
        compiled_facts(jax.jit(scan("trapezoid", n)).lower(u).compile())
        for n in (64, 128, 256)
    ]
    for cost in ("flops", "bytes"):  # differences, without what every length costs
        one, two, three = (fact[cost] for fact in facts)
        assert 1.5 < (three - two) / (two - one) < 2.5
    flops = [contraction_flops(scan("exact", n), u) for n in (64, 128)]
    assert flops[1] / flops[0] == 4
    assert contraction_flops(scan("trapezoid", 64), u) == 0


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_projection_equals_the_oracle_and_holds_in_float32(power) -> None:
    u = signals(3, 300)
    wanted = oracle.project(u, n=64, power=power)
    project = jax.jit(functools.partial(legs_project, n=64, power=power))
    assert np.abs(project(u) - wanted).max() < 2e-14
    low = project(u.astype(np.float32))
    assert np.abs(low - wanted).max() < 5e-6 * np.abs(wanted).max()
