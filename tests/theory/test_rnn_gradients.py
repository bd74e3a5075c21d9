"""One-step derivatives in closed form, bounds of their terms, profiles over time."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.theory import (
    CellState,
    init_rnn,
    jacobian_profile,
    lstm_cell,
    one_step_derivative_terms,
    scan_rnn,
    simple_rnn_cell,
)
from tests.oracles import rnn as oracle
from tests.theory.test_rnn_cells import CELLS, TWO_PARTS, drawn, start

MOST = 0.4477432047  # max of c (1 - tanh(c)^2), at c = 0.7717023077
COUNT = 2000


def test_largest_value_of_c_sech2_c() -> None:
    c = np.linspace(0, 5, 2_000_001)
    values = c * (1 - np.tanh(c) ** 2)
    assert abs(values.max() - MOST) < 1e-10
    assert abs(c[values.argmax()] - 0.7717023077) < 3e-6
    assert values.max() < 0.45  # as the article says


@pytest.mark.parametrize("kind", CELLS)
def test_closed_forms_are_the_derivative_2000_times(kind) -> None:
    """The output gate of the step before is held: h' moves with c' alone."""
    params = drawn(kind, 2, 1, (COUNT,), seed=1)
    rng = np.random.default_rng(2)
    c, gate = rng.normal(size=(COUNT, 1)), rng.uniform(0, 1, (COUNT, 1))
    x = rng.normal(size=(COUNT, 2))

    def both(params, c, gate, x):
        def after(c):
            shown = gate * (jnp.tanh(c) if kind == "lstm" else c)
            state = CellState(c, shown) if kind in TWO_PARTS else c
            state = CELLS[kind](params, state, x).state
            return state.c if kind in TWO_PARTS else state

        shown = gate * (jnp.tanh(c) if kind == "lstm" else c)
        state = CellState(c, shown) if kind in TWO_PARTS else c
        given = (gate,) if kind in TWO_PARTS else ()
        terms = [
            one_step_derivative_terms(params, state, x, *more, kind=kind)
            for more in ((), given)
        ]
        return jax.jacfwd(after)(c)[0, 0], *terms

    exact, found, given = jax.jit(jax.vmap(both))(params, c, gate, x)
    for terms in (found, given):
        assert np.abs(terms.sum((1, 2)) - exact).max() <= 2e-14 * np.abs(exact).max()
    # A term left out is seen: the check can fail.
    assert np.abs(found[:, 1:].sum((1, 2)) - exact).max() > 0.01


def test_terms_of_an_lstm_are_bounded_1000_times() -> None:
    params = drawn("lstm", 1, 1, (COUNT,), seed=3, scale=3.0)
    rng = np.random.default_rng(4)
    c, gate = 2 * rng.normal(size=(COUNT, 1)), rng.uniform(0, 1, (COUNT, 1))
    x = rng.normal(size=(COUNT, 1))
    run = jax.jit(jax.vmap(partial(one_step_derivative_terms, kind="lstm")))
    terms = np.abs(run(params, CellState(c, gate * np.tanh(c)), x, gate)[..., 0])
    u_f, u_i, _, u_c = np.abs(np.moveaxis(params["u"][:, 0], -1, 0))
    assert (terms[:, 1] <= MOST / 4 * u_f * (1 + 1e-9)).all()
    assert (terms[:, 2] <= u_i / 4).all()
    assert (terms[:, 3] <= u_c).all()
    # Equality, and with it that the last term has no quarter.
    equal = {n: np.zeros((1, 4)) for n in "wu"}
    equal["u"][:] = 2.0
    one = jnp.ones(1)

    def at(c, biases):
        h = jnp.tanh(c)
        params = {**equal, "b": np.asarray(biases) - 2.0 * h}
        return one_step_derivative_terms(params, CellState(c, h), one, one, kind="lstm")

    second = at(0.7717023077 * one, [0.0, 0, 0, 0])[1, 0]
    assert abs(second - MOST / 4 * 2) < 1e-9
    third = at(0 * one, [0.0, 0, 0, 40.0])[2, 0]
    assert third == 2 / 4
    fourth = at(0 * one, [0.0, 800.0, 0, 0])[3, 0]
    assert fourth == 2 > 2 / 4


def test_derivative_of_a_scalar_rnn_is_bounded_in_u() -> None:
    rng = np.random.default_rng(5)
    h = rng.uniform(0.05, 1, (1000, 1)) * rng.choice([-1, 1], (1000, 1))
    a, u = rng.normal(size=(1000, 1)), 50 * rng.normal(size=(1000, 1))

    def terms(u, h, a, kind):
        params = {"w": jnp.zeros((1, 1)), "u": u[:, None], "b": a}
        return one_step_derivative_terms(params, h, jnp.zeros(1), kind=kind)[0, 0]

    run = jax.jit(jax.vmap(partial(terms, kind="simple")))
    bound = (MOST + np.abs(a[:, 0])) / np.abs(h[:, 0])
    assert (np.abs(run(u, h, a)) <= bound * (1 + 1e-9)).all()
    best = 0.7717023077 / h  # where a = 0 the bound is reached
    reached = run(best, h, 0 * a)
    np.testing.assert_allclose(np.abs(reached), MOST / np.abs(h[:, 0]), rtol=1e-9)
    relu = jax.jit(jax.vmap(partial(terms, kind="relu")))
    assert np.abs(relu(1e6 * u, h, a)).max() > 1e6


def test_derivative_of_an_rnn_of_two_units_is_not_bounded() -> None:
    """The article's bound is for one unit: rows of U orthogonal to h' escape it."""
    h = jnp.asarray([0.5, 0.5])
    u = 1e6 * jnp.asarray([[1.0, -1.0], [-1.0, 1.0]])
    params = {"w": jnp.zeros((1, 2)), "u": u, "b": jnp.zeros(2)}
    xs = jnp.zeros((1, 1))
    found = jacobian_profile(simple_rnn_cell, params, h, xs).spectral[0]
    assert abs(found - np.log(2e6)) < 1e-12
    assert np.exp(found) > MOST / 0.5


def test_slope_of_a_saturated_unit_is_not_lost() -> None:
    one = jnp.ones(1, jnp.float32)
    params = {"w": 0 * one[None], "u": one[None], "b": 12 * one}
    found = one_step_derivative_terms(params, 0 * one, one, kind="simple")[0, 0]
    assert 1 - np.tanh(np.float32(12)) ** 2 == 0
    np.testing.assert_allclose(found, 4 * np.exp(-24.0), rtol=1e-5)


def test_product_of_partial_derivatives_is_not_the_derivative() -> None:
    params = drawn("lstm", 1, 1, seed=6)
    xs = jnp.asarray(np.random.default_rng(7).normal(size=(2, 1)))
    c, gate = jnp.asarray([0.4]), jnp.asarray([0.8])

    def run(c):
        state, gates = CellState(c, gate * jnp.tanh(c)), []
        for x in xs:
            gates.append(one_step_derivative_terms(params, state, x, kind="lstm").sum())
            state = lstm_cell(params, state, x).state
        return state.c[0], gates[0] * gates[1]

    true = jax.grad(lambda c: run(c)[0])(c)[0]
    assert 1e-3 < abs(true - run(c)[1]) / abs(true) < 0.9


def test_exact_profile_is_that_of_the_oracle_and_probes_estimate_it() -> None:
    for kind in ("simple", "lstm", "gru", "gru_after", "merged_gate_gru", "reset_last"):
        cell = CELLS[kind]
        params, state = drawn(kind, 2, 3, scale=0.5), start(kind, (3,))
        xs = np.random.default_rng(8).normal(size=(6, 2))
        mask = np.array([True, False, True, True, False, True])
        args = jax.tree.map(jnp.asarray, (params, state, xs, mask))

        def both(*args, cell=cell):
            probe = {"method": "probe", "num_probes": 400, "key": jax.random.key(0)}
            return jacobian_profile(cell, *args), jacobian_profile(cell, *args, **probe)

        exact, probed = jax.jit(both)(*args)
        pair = (state.c, state.h) if kind in TWO_PARTS else (None, state)
        frobenius, spectral = oracle.profile(kind, params, pair, xs, mask)
        np.testing.assert_allclose(exact.frobenius, frobenius, atol=1e-12)
        np.testing.assert_allclose(exact.spectral, spectral, atol=1e-12)
        # A masked step is the identity: the profile stands still.
        assert frobenius[1] == frobenius[0]
        # 400 probes: a relative deviation of at most sqrt(2 / 400) in the square.
        assert np.abs(probed.frobenius - frobenius).max() < 6 * 0.5 * (2 / 400) ** 0.5
        assert (probed.spectral <= spectral + 1e-12).all()


def test_open_memory_has_a_profile_of_zero_and_closed_one_of_minus_infinity() -> None:
    params = drawn("gru", 2, 3)
    xs, h = jnp.ones((4, 2)), jnp.full(3, 0.1)
    kept = {**params, "b": np.repeat([-800.0, 0, 0], 3)}
    found = jacobian_profile(CELLS["gru"], kept, h, xs)
    assert np.abs(found.frobenius).max() < 1e-15 > np.abs(found.spectral).max()
    lost = {**params, "b": np.repeat([800.0, -800.0, 0], 3)}
    assert (jacobian_profile(CELLS["gru"], lost, h, xs).frobenius == -np.inf).all()


def test_open_forget_gate_and_closed_input_gate_keep_a_memory_for_60_steps() -> None:
    """f = 1 and i = 0: the derivative of c by the first c is 1, at biases of 30 too."""
    params = drawn("lstm", 2, 3)
    xs = jnp.asarray(np.random.default_rng(9).normal(size=(60, 2)))
    c, h = jnp.asarray([0.4, -2.0, 1.0]), jnp.asarray([0.1, 0.2, -0.3])

    @jax.jit
    def derivative(b):
        def last(c):
            cell = {**params, "b": b}
            first = CellState(c, h)
            after = jax.lax.scan(lambda s, x: tuple(lstm_cell(cell, s, x)), first, xs)[
                0
            ]
            return after.c

        return jax.jacfwd(last)(c)

    exact = derivative(jnp.repeat(jnp.asarray([800.0, -800.0, 0.0, 0.0]), 3))
    np.testing.assert_array_equal(exact, np.eye(3))
    near = derivative(jnp.repeat(jnp.asarray([30.0, -30.0, 0.0, 0.0]), 3))
    np.testing.assert_allclose(near, np.eye(3), atol=1e-9)
    half = derivative(jnp.repeat(jnp.asarray([0.0, -800.0, 0.0, 0.0]), 3))
    assert np.abs(half).max() < 1e-3


# Geometric mean of |M_k| / sqrt(n) at k = 1, 10, 50, 100 over 160 draws (two-part
# states: 48) of a NumPy program in float64 that knows none of this code, and standard
# deviations of its logarithm: d = 128, unit normal inputs. Then the card's one draw.
MEASURED = {
    ("simple", 1.0, 0): (
        (0.631, 1.01e-2, 9.65e-11, 1.00e-20),
        (0.05, 0.15, 0.37, 0.52),
        (0.64, 7.9e-3, 6.6e-11, 5.9e-21),
    ),
    ("simple", 1.5, 0): (
        (0.866, 0.242, 7.35e-4, 6.06e-7),
        (0.05, 0.17, 0.43, 0.68),
        (0.89, 0.16, 5.4e-4, 4.6e-7),
    ),
    ("relu", 1.0, 0): (
        (0.706, 3.17e-2, 3.18e-8, 9.57e-16),
        (0.05, 0.22, 0.91, 1.83),
        (0.72, 0.042, 2.7e-7, 2.8e-14),
    ),
    ("relu", 1.5, 0): (
        (1.06, 1.83, 50.4, 3460.0),
        (0.04, 0.37, 2.3, 4.81),
        (1.1, 3.0, 1e3, 3.3e6),
    ),
    ("lstm", 1.0, 0): (
        (0.528, 7.15e-3, 1.33e-10, 3.12e-20),
        (0.03, 0.16, 0.42, 0.61),
        (0.54, 6.3e-3, 5.8e-11, 2.2e-20),
    ),
    ("lstm", 1.0, 1): (
        (0.641, 7.58e-2, 2.91e-5, 1.93e-9),
        (0.02, 0.08, 0.23, 0.35),
        (0.65, 0.071, 1.6e-5, 1.7e-9),
    ),
    ("lstm", 1.0, 3): (
        (0.758, 0.538, 0.458, 0.894),
        (0.01, 0.04, 0.16, 0.25),
        (0.77, 0.56, 0.37, 0.64),
    ),
    ("gru", 1.0, 0): (
        (0.603, 1.27e-2, 9.97e-10, 1.34e-18),
        (0.03, 0.13, 0.30, 0.50),
        (0.60, 0.012, 6.6e-10, 1.3e-18),
    ),
    ("gru", 1.0, 1): (
        (0.743, 7.39e-2, 6.80e-6, 6.94e-11),
        (0.02, 0.08, 0.20, 0.32),
        (0.74, 0.072, 5.9e-6, 7.6e-11),
    ),
    ("gru", 1.0, 3): (
        (0.934, 0.522, 0.0545, 4.05e-3),
        (0.01, 0.02, 0.05, 0.08),
        (0.93, 0.52, 0.055, 4.7e-3),
    ),
    ("reset_last", 1.0, 0): (
        (0.545, 8.59e-3, 3.71e-10, 2.59e-19),
        (0.02, 0.11, 0.26, 0.43),
        (0.55, 0.0082, 2.3e-10, 1.8e-19),
    ),
    ("reset_last", 1.0, 3): (
        (0.753, 0.415, 0.0402, 2.96e-3),
        (0.01, 0.03, 0.04, 0.07),
        (0.76, 0.42, 0.041, 3.4e-3),
    ),
}
KS = np.array([1, 10, 50, 100])


def measured(kind, keys, scale, bias):
    """Logarithms of the profile, and without gates of what slopes alone make it."""
    d, n = 128, 100
    first, second, third = keys
    init = jax.nn.initializers.orthogonal(1.0)
    params = init_rnn(
        first, kind=kind, inputs=d, hidden=d, keep_bias=bias, recurrent_init=init
    )
    params["u"] = scale * params["u"]
    xs = jax.random.normal(second, (n, d), jnp.float32)
    zero = jnp.zeros(d, jnp.float32)
    state = CellState(zero, zero) if kind in TWO_PARTS else zero
    probe = {"method": "probe", "num_probes": PROBES, "key": third}
    found = jacobian_profile(CELLS[kind], params, state, xs, **probe).frobenius
    if kind not in ("simple", "relu"):
        return (found[KS - 1],)
    out = scan_rnn(CELLS[kind], params, state, xs).out
    slopes = jnp.where(out > 0, 1, 0) if kind == "relu" else 1 - out**2
    alone = jnp.cumsum(jnp.log(scale * jnp.sqrt(jnp.mean(slopes**2, -1)))[::-1])
    return found[KS - 1], alone[KS - 1]


DRAWS, PROBES = 16, 8
NOISE = np.array([0.02, 0.03, 0.07, 0.09])  # of the mean of so many, and a bias


@functools.cache
def many(kind, scales, biases):
    """[draws, settings, 4] of each part of ``measured``."""
    keys = jax.random.split(jax.random.key(0), (DRAWS, 3))
    settings = jnp.asarray(scales, jnp.float32), jnp.asarray(biases, jnp.float32)
    run = jax.jit(jax.vmap(partial(measured, kind), (None, 0, 0)))
    runs = [run(key, *settings) for key in keys]
    return tuple(np.stack(part) for part in zip(*runs, strict=True))


def rows(kind):
    """Scales and biases of a kind; means, deviations and the card's, in logarithms."""
    keys = [key for key in MEASURED if key[0] == kind]
    parts = [np.array(part) for part in zip(*(MEASURED[k] for k in keys), strict=True)]
    _, scales, biases = zip(*keys, strict=True)
    return scales, biases, np.log(parts[0]), parts[1], np.log(parts[2])


@pytest.mark.parametrize("kind", ["simple", "relu", "lstm", "gru", "reset_last"])
def test_profile_at_the_start_of_training(kind) -> None:
    """Means of draws against those of NumPy, to four standard errors of both.

    The card's numbers are those of one draw, all its rows of the same: within three of
    their deviations, ReLU's and tanh's at more than two.
    """
    scales, biases, wanted, spread, card = rows(kind)
    found = many(kind, scales, biases)[0]
    count = 48 if kind in TWO_PARTS else 160
    error = 4 * spread * (1 / DRAWS + 1 / count) ** 0.5 + NOISE
    assert (np.abs(found.mean(0) - wanted) < error).all()
    assert (np.abs(np.log(found.std(0) / spread))[:, 1:] < np.log(2)).all()
    assert (np.abs(card - wanted) < 3 * spread + 0.02).all()
    # A keep gate at one half halves the gradient: no row is that of another setting.
    for row in range(len(wanted)):
        others = np.delete(wanted, row, axis=0)
        apart = np.abs(found.mean(0)[row] - others)
        assert (apart > error[row]).all()


@pytest.mark.parametrize("kind", ["simple", "relu"])
def test_profile_without_gates_is_the_product_of_the_slopes(kind) -> None:
    """|M_k|^2 / n is near the product over steps of scale^2 mean slope^2; equal at 1.

    That is why draws of a ReLU differ by decades: what share of the units is open
    differs from draw to draw, and goes in to the power k / 2. The mean over draws is
    that of half of them open, scale^k 2^(-k/2).
    """
    scales = (1.0, 1.5)
    found, alone = many(kind, scales, (0, 0))
    rest = found - alone
    # The noise of the probes is sqrt(2 / (8 n)) / 2 for n = 64 open units at k = 1.
    assert np.abs(rest[..., 0]).max() < 0.13 and np.abs(rest[..., 0].mean()) < 0.02
    assert np.abs(rest[..., 1].mean(0)).max() < 0.08
    assert (rest.std(0) / found.std(0))[:, 1].max() < 0.7
    if kind == "relu":
        fields = np.array(scales) / 2**0.5
    else:
        fields = np.array([mean_field(scale) for scale in scales])
    error = found.std(0) / DRAWS**0.5
    wanted = np.log(fields)[:, None] * KS
    assert (np.abs(found.mean(0) - wanted) < 4 * error + NOISE).all()


def mean_field(scale):
    """scale sqrt(E sech(z)^4), z normal of variance 1 + scale^2 E tanh(z)^2."""
    x, weights = np.polynomial.hermite_e.hermegauss(80)
    weights, variance = weights / weights.sum(), 1.0
    for _ in range(500):
        variance = 1 + scale**2 * (weights @ np.tanh(variance**0.5 * x) ** 2)
    return scale * (weights @ np.cosh(variance**0.5 * x) ** -4) ** 0.5


def test_profile_of_gru_after_is_that_of_gru() -> None:
    scales, biases, *_ = rows("gru")
    found = [many(kind, scales, biases)[0] for kind in ("gru", "gru_after")]
    ratio = np.exp(found[1].mean(0) - found[0].mean(0))
    # 3 %, as the card says, at k = 1; of other draws of U_h further on.
    assert np.abs(ratio[:, 0] - 1).max() < 0.03
    assert np.abs(np.log(ratio)).max() < np.log(1.5)


def test_profile_below_the_smallest_float32() -> None:
    params = {n: jnp.zeros((1, 1), jnp.float32) for n in "wu"}
    params = {**params, "u": params["u"] + 0.25, "b": jnp.zeros(1, jnp.float32)}
    xs, h = jnp.zeros((300, 1), jnp.float32), jnp.zeros(1, jnp.float32)
    found = jacobian_profile(simple_rnn_cell, params, h, xs).frobenius
    np.testing.assert_allclose(found[-1], 300 * np.log(0.25), rtol=1e-5)
