"""The cells: their conventions, bounds, limits, and the loop that runs them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kexue_jax.optim import clip_weights
from kexue_jax.theory import (
    CellState,
    gru_cell,
    init_rnn,
    lstm_cell,
    merged_gate_gru_cell,
    reset_last_cell,
    rnn_cells,
    scan_rnn,
    simple_rnn_cell,
)
from tests.oracles import rnn as oracle

CELLS = {
    "simple": simple_rnn_cell,
    "relu": partial(simple_rnn_cell, activation="relu"),
    "lstm": lstm_cell,
    "gru": gru_cell,
    "gru_after": partial(gru_cell, reset="after"),
    "merged_gate_gru": merged_gate_gru_cell,
    "reset_last": reset_last_cell,
}
TWO_PARTS = ("lstm", "reset_last")


def drawn(kind, d_in, d, lead=(), seed=0, scale=1.0):
    """Parameters with leading axes, float64 NumPy."""
    rng, g = np.random.default_rng(seed), oracle.BLOCKS[kind]
    shapes = {"w": (d_in, g * d), "u": (d, g * d), "b": (g * d,)}
    if kind == "gru_after":
        shapes["v"] = (d,)
    return {n: scale * rng.normal(size=(*lead, *s)) for n, s in shapes.items()}


def start(kind, shape, seed=1, bound=1.0):
    rng = np.random.default_rng(seed)
    c, h = rng.uniform(-bound, bound, (2, *shape))
    return CellState(c, h) if kind in TWO_PARTS else h


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("kind", CELLS)
def test_scan_is_the_loop_of_the_cell_in_value_and_gradient(
    kind, early, monkeypatch
) -> None:
    monkeypatch.setattr(rnn_cells, "WEIGHTS_A_ROW", 0 if early else 2**14)
    params, state = drawn(kind, 3, 2), start(kind, (2,))
    rng = np.random.default_rng(2)
    xs, weights = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    mask = np.array([True, True, False, True, False])

    def plain_cell(params, state, x):
        return CELLS[kind](params, state, x)

    def loss(cell, params, state, xs):
        last, out = scan_rnn(cell, params, state, xs, jnp.asarray(mask))
        read = last.c if kind in TWO_PARTS else last
        return jnp.sum(out * weights) + jnp.sum(jnp.sin(read)), (last, out)

    def both(*args):
        run = partial(jax.value_and_grad, argnums=(0, 1, 2), has_aux=True)
        return [run(partial(loss, cell))(*args) for cell in (CELLS[kind], plain_cell)]

    args = jax.tree.map(jnp.asarray, (params, state, xs))
    fast, plain = jax.jit(both)(*args)
    for got, wanted in zip(jax.tree.leaves(fast), jax.tree.leaves(plain), strict=True):
        assert np.abs(got - wanted).max() <= 1e-12 * max(1, np.abs(wanted).max())
    pair = (state.c, state.h) if kind in TWO_PARTS else (None, state)
    (c, h), out = oracle.scan(kind, params, pair, xs, mask)
    last, got = fast[0][1]
    assert np.abs(got - out).max() < 1e-14
    assert not got[2].any() and not got[4].any()
    assert np.abs((last.h if c is not None else last) - h).max() < 1e-14


@pytest.mark.parametrize("kind", ["gru", "gru_after", "merged_gate_gru", "reset_last"])
def test_states_stay_within_one_1000_times(kind) -> None:
    """Convex combinations with a tanh; +-1 is kept by a closed gate: equality."""
    params = drawn(kind, 1, 1, (1000,), scale=5.0)
    state = start(kind, (1000, 1))
    x = jnp.asarray(np.random.default_rng(3).normal(size=(1000, 1)))
    after = jax.jit(jax.vmap(CELLS[kind]))(params, state, x).state
    memory = after.c if kind in TWO_PARTS else after
    assert 0.99 < np.abs(memory).max() <= 1
    closed = {n: np.zeros_like(v[0]) for n, v in params.items()}
    closed["b"][0] = -800.0
    one = jnp.ones(1)
    kept = CELLS[kind](closed, CellState(one, one) if kind in TWO_PARTS else one, x[0])
    assert (kept.state.c if kind in TWO_PARTS else kept.state)[0] == 1


def test_memory_of_an_lstm_grows_by_less_than_one_a_step_1000_times() -> None:
    params, n = drawn("lstm", 1, 1, (1000,), scale=4.0), 20
    state = start("lstm", (1000, 1))
    xs = jnp.asarray(np.random.default_rng(4).normal(size=(1000, n, 1)))
    run = jax.jit(jax.vmap(partial(scan_rnn, lstm_cell)))
    last = run(params, state, xs).state.c
    assert (np.abs(last) <= np.abs(state.c) + n).all()
    # The bound is reached, so a state within one is not to be hoped for.
    opened = {n: np.zeros_like(v[0]) for n, v in params.items()}
    opened["b"] += 40.0
    zero = CellState(jnp.zeros(1), jnp.zeros(1))
    assert scan_rnn(lstm_cell, opened, zero, xs[0]).state.c[0] == n


def test_open_and_closed_gates_are_exact() -> None:
    h, x = jnp.asarray([0.3]), jnp.asarray([0.7])
    params = drawn("gru", 1, 1)
    z_closed = {**params, "b": np.array([-800.0, 0, 0])}
    assert gru_cell(z_closed, h, x).out[0] == h[0]
    opened = {**params, "b": np.array([800.0, -800.0, 0])}
    assert jax.jacfwd(lambda h: gru_cell(opened, h, x).out)(h)[0, 0] == 0
    params = drawn("lstm", 1, 1)
    params["b"] = np.array([800.0, -800.0, 0, 0])
    moved = jax.jacfwd(lambda c: lstm_cell(params, CellState(c, h), x).state.c)(h)
    assert moved[0, 0] == 1


def test_merged_gate_writes_where_that_of_mgu_keeps() -> None:
    params = drawn("merged_gate_gru", 1, 1, seed=5)
    h, x = np.array([0.3]), np.array([0.7])
    got = float(merged_gate_gru_cell(params, jnp.asarray(h), jnp.asarray(x)).out[0])
    pre = x @ params["w"] + params["b"]
    gate = oracle.sigmoid(pre[0] + h[0] * params["u"][0, 0])
    new = np.tanh(pre[1] + gate * h[0] * params["u"][0, 1])
    assert abs(got - ((1 - gate) * h[0] + gate * new)) < 1e-15
    assert abs(got - ((1 - gate) * new + gate * h[0])) > 0.01


def test_start_of_a_cell() -> None:
    key = jax.random.key(0)
    params = init_rnn(
        key, kind="gru", inputs=5, hidden=4, keep_bias=3.0, dtype="float64"
    )
    assert params["b"].tolist() == [-3.0] * 4 + [0.0] * 8
    for block in np.split(np.asarray(params["u"]), 3, -1):
        assert np.abs(block @ block.T - np.eye(4)).max() < 1e-14
    assert np.abs(params["w"]).max() <= (6 / 9) ** 0.5
    scaled = init_rnn(
        key,
        kind="simple",
        inputs=5,
        hidden=4,
        keep_bias=3.0,
        recurrent_init=jax.nn.initializers.orthogonal(1.5),
    )
    assert not scaled["b"].any() and scaled["u"].dtype == jnp.float32
    assert np.abs(scaled["u"] @ scaled["u"].T - 2.25 * np.eye(4)).max() < 1e-5


def test_recurrence_runs_in_float32_for_bfloat16() -> None:
    params = jax.tree.map(lambda v: jnp.asarray(v, jnp.bfloat16), drawn("gru", 2, 2))
    xs = jnp.ones((200, 2), jnp.bfloat16)
    state = jnp.zeros(2, jnp.bfloat16)
    last, out = scan_rnn(gru_cell, params, state, xs)
    high = jax.tree.map(lambda v: np.asarray(v, np.float64), (params, xs))
    (_, wanted), _ = oracle.scan("gru", high[0], (None, np.zeros(2)), high[1])
    assert (last.dtype, out.dtype) == (jnp.bfloat16, jnp.bfloat16)
    assert np.abs(np.asarray(last, float) - wanted).max() < 4e-3


def test_old_terms_vanish_and_the_whole_gradient_does_not() -> None:
    """The gradient by a bias that all steps share is the sum of those step by step."""
    params = {"w": jnp.ones((1, 1)), "u": jnp.full((1, 1), 0.5)}
    xs = 0.5 * jax.random.normal(jax.random.key(0), (60, 1))

    def last(biases):
        def step(h, row):
            x, b = row
            return simple_rnn_cell({**params, "b": b}, h, x).state, None

        return jax.lax.scan(step, jnp.zeros(1), (xs, biases))[0][0]

    terms = jax.grad(last)(jnp.zeros((60, 1)))[:, 0]
    whole = jax.grad(lambda b: last(jnp.broadcast_to(b, (60, 1))))(jnp.zeros(1))[0]
    assert abs(terms[0]) < 1e-15 and terms[-1] > 0.1
    np.testing.assert_allclose(terms.sum(), whole, rtol=1e-12)


def test_clipped_weights_hold_a_relu_unit_and_clipped_gradients_do_not() -> None:
    """max h_40 by U: beyond 1 the state explodes, and steps stay steps uphill.

    Clipping of U holds one unit; with d units entries of 1 leave a norm of d.
    """
    xs, x0 = jnp.zeros((40, 1)), jnp.ones(1)

    def last(u):
        params = {"w": jnp.zeros((1, 1)), "u": u, "b": jnp.zeros(1)}
        return scan_rnn(CELLS["relu"], params, x0, xs)[0][0]

    def trained(*links):
        opt = optax.chain(*links)

        def step(carry, _):
            u, state = carry
            up = jax.grad(lambda v: -last(v))(u)
            updates, state = opt.update(up, state, u)
            return (optax.apply_updates(u, updates), state), None

        u = jnp.full((1, 1), 0.9)
        return jax.lax.scan(step, (u, opt.init(u)), length=50)[0][0]

    clipped = optax.clip_by_global_norm(1.0), optax.sgd(0.05)
    free, held = trained(*clipped), trained(*clipped, clip_weights(1.0))
    assert free[0, 0] > 2 and last(free) > 1e12
    assert held[0, 0] == 1 and last(held) == 1
    params = {"w": jnp.zeros((1, 3)), "u": jnp.ones((3, 3)), "b": jnp.zeros(3)}
    wide = scan_rnn(CELLS["relu"], params, jnp.ones(3), xs)[0]
    assert (wide == 3.0**40).all()


def test_clipping_gradients_does_nothing_to_those_that_vanish() -> None:
    def last(h):
        params = {"w": jnp.zeros((1, 1)), "u": jnp.full((1, 1), 0.5), "b": jnp.zeros(1)}
        return scan_rnn(simple_rnn_cell, params, h, jnp.zeros((60, 1)))[0][0]

    slope, clip = jax.grad(last)(jnp.full(1, 0.1)), optax.clip_by_global_norm(1.0)
    assert 0 < slope[0] < 2.0**-60
    np.testing.assert_array_equal(clip.update(slope, clip.init(slope))[0], slope)
