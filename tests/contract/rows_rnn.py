"""Contract rows of the recurrent cells and of how their gradients decay."""

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.theory import (
    CellState,
    gru_cell,
    init_rnn,
    lstm_cell,
    reset_last_cell,
)
from tests.contract.case import Bad, Case
from tests.oracles import rnn as oracle

LEAD, INPUTS, HIDDEN = (2, 1), 3, 2
TWO_PARTS = ("lstm", "reset_last")
KINK = "relu has no derivative at 0, where zeros put it"


def drawn(rng, kind, inputs=INPUTS, d=HIDDEN):
    g = oracle.BLOCKS[kind]
    params = {
        "w": rng.normal(size=(inputs, g * d)),
        "u": rng.normal(size=(d, g * d)),
        "b": rng.normal(size=g * d),
    }
    if kind == "gru_after":
        params["v"] = rng.normal(size=d)
    return params


def state_of(rng, kind, shape):
    c, h = rng.uniform(-1, 1, (2, *shape))
    return CellState(c, h) if kind in TWO_PARTS else h


def pair(state):
    return tuple(state) if isinstance(state, CellState) else (None, state)


def whole(state, found):
    """The oracle's (c, h) in the form of ``state``."""
    return CellState(*found) if isinstance(state, CellState) else found[1]


def bad_params(kind, *, inputs=INPUTS, d=HIDDEN, place=0):
    good = drawn(np.random.default_rng(0), kind, inputs, d)
    wrong = (
        {**good, "w": good["w"][1:]},
        {**good, "b": good["b"][None]},
        {**good, "u": good["u"].astype(int)},
        {n: good[n] for n in "wu"},
        {**good, "extra": good["b"]},
    )
    python = (None, [1.0], {**good, "b": "text"}, {**good, "b": None})
    return (
        *(Bad("params", args={place: p}) for p in wrong),
        *(Bad("params", args={place: p}, traced=False) for p in python),
    )


def bad_states(kind, shape, place=1):
    one = np.ones(shape)
    if kind in TWO_PARTS:
        wrong = (
            CellState(one, np.concatenate([one, one], -1)),
            CellState(one[:1], one[:1]),
            CellState(one, one.astype(int)),
            (one, one),
            one,
        )
    else:
        wrong = (one[:1], np.ones(()), CellState(one, one))
    return tuple(Bad("state", args={place: s}, traced=False) for s in wrong)


def cell_row(name, kind, static=None):
    shape = (*LEAD, HIDDEN)

    def wanted(params, state, x, **_):
        found = oracle.cell(kind, params, pair(state), x)
        return whole(state, found), found[1]

    return Case(
        f"theory.{name}",
        lambda rng: (
            drawn(rng, kind),
            state_of(rng, kind, shape),
            rng.normal(size=(*LEAD, INPUTS)),
        ),
        wanted,
        static or {},
        variant=kind,
        data=(0, 1),
        extreme_grads=kind != "relu",
        reason=KINK,
        bad=(
            *bad_params(kind),
            *bad_states(kind, shape),
            Bad("x", args={2: np.ones(())}),
            Bad("state", args={2: np.ones((3, 1, INPUTS))}),
        ),
    )


def scan_row(kind, cell, masked):
    n = 4
    shape = (*LEAD, HIDDEN)

    def inputs(rng):
        mask = rng.random((*LEAD, n)) < 0.7
        return (
            cell,
            drawn(rng, kind),
            state_of(rng, kind, shape),
            rng.normal(size=(*LEAD, n, INPUTS)),
            *((mask,) if masked else ()),
        )

    def wanted(cell, params, state, xs, mask=None):
        found, out = oracle.scan(kind, params, pair(state), xs, mask)
        return whole(state, found), out

    return Case(
        "theory.scan_rnn",
        inputs,
        wanted,
        variant=kind,
        follows=3,
        data=(1, 2),
        optional=("mask",),
        tolerance={"bfloat16": 6e-2},
        reason="four steps of a recurrence add up the rounding of its inputs",
        bad=(
            *bad_params(kind, place=1),
            *bad_states(kind, shape, place=2),
            Bad("xs", args={3: np.ones(INPUTS)}),
            Bad("xs", args={3: np.ones((*LEAD, 0, INPUTS))}),
            *(Bad("mask", args={4: np.ones((2, n), bool)}) for _ in (0,) * masked),
            *(Bad("mask", args={4: np.ones((*LEAD, n))}) for _ in (0,) * masked),
        ),
    )


def exact_init(key, *, dtype=jnp.float32, **options):
    """Drawn in float64 whatever the dtype of the row: float32 draws are others."""
    floats = dtype is not None and jnp.issubdtype(dtype, jnp.floating)
    made = init_rnn(key, dtype=jnp.float64 if floats else dtype, **options)
    return jax.tree.map(lambda leaf: leaf.astype(dtype), made)


def init_row(kind):
    sizes = {"kind": kind, "inputs": 3, "hidden": 2, "keep_bias": 0.5}

    def draws(key):
        parts = jax.random.split(key, oracle.BLOCKS[kind])
        found = []
        for part in parts:
            first, second = jax.random.split(part)
            glorot = jax.nn.initializers.glorot_uniform()(first, (3, 2), jnp.float64)
            orthogonal = jax.nn.initializers.orthogonal()(second, (2, 2), jnp.float64)
            found.append((glorot, orthogonal))
        return found

    def wanted(*, kind, inputs, hidden, keep_bias, draws):
        w, u = (np.concatenate(p, -1) for p in zip(*draws, strict=True))
        b = np.zeros(w.shape[-1])
        if kind not in ("simple", "relu"):
            b[:hidden] = keep_bias if kind == "lstm" else -keep_bias
        return {"b": b, "u": u, "w": w}

    return Case(
        "theory.init_rnn",
        lambda rng: (),
        wanted,
        sizes,
        variant=kind,
        draws=draws,
        follows=None,
        takes_dtype=True,
        call=exact_init,
        grad=False,
        extremes=False,
        reason="no inputs but the key",
        bad=(
            *(Bad("inputs", static={"inputs": v}) for v in (0, True)),
            *(Bad("hidden", static={"hidden": v}) for v in (0, True)),
            *(Bad("dtype", static={"dtype": v}) for v in (int, None)),
            Bad("kind", static={"kind": "mgu"}),
            Bad("recurrent_init", static={"recurrent_init": 3}),
            Bad("recurrent_init", static={"recurrent_init": "orthogonal"}),
        ),
    )


def terms_row(kind, *, gated):
    """d = 1, where the closed forms are exact."""

    def inputs(rng):
        state = state_of(rng, kind, (3, 1))
        gate = (rng.uniform(0, 1, (3, 1)),) if gated else ()
        return drawn(rng, kind, d=1), state, rng.normal(size=(3, INPUTS)), *gate

    def wanted(params, state, x, gate=None, *, kind):
        c, h = pair(state)
        if kind in TWO_PARTS and gate is None:
            gate = h / (np.tanh(c) if kind == "lstm" else c)
        rows = [
            oracle.terms(
                kind,
                params,
                None if c is None else c[k, 0],
                h[k, 0],
                x[k],
                None if gate is None else gate[k, 0],
            )
            for k in range(len(x))
        ]
        return np.array(rows)[..., None]

    return Case(
        "theory.one_step_derivative_terms",
        inputs,
        wanted,
        {"kind": kind},
        variant=f"{kind}{', gate given' if gated else ''}",
        data=(0, 1),
        follows=2,
        optional=("gate",),
        extremes=kind not in ("reset_last",) or gated,
        reason="a gate that is read off as h' / c' has no bound",
        bad=(
            *bad_params(kind, d=1),
            *bad_states(kind, (3, 1)),
            Bad("x", args={2: np.ones(())}),
            *(
                (Bad("gate", args={3: np.ones((2, 1))}),)
                if gated
                else (Bad("kind", static={"kind": "mgu"}),)
            ),
        ),
    )


def profile_row(kind, cell):
    n = 3

    def inputs(rng):
        mask = np.array([[True, False, True], [True, True, True]])
        return (
            cell,
            drawn(rng, kind),
            state_of(rng, kind, (2, HIDDEN)),
            rng.normal(size=(2, n, INPUTS)),
            mask,
        )

    def wanted(cell, params, state, xs, mask, **_):
        rows = []
        for k in range(len(xs)):
            one = tuple(None if part is None else part[k] for part in pair(state))
            rows.append(oracle.profile(kind, params, one, xs[k], mask[k]))
        return tuple(np.array(part) for part in zip(*rows, strict=True))

    return Case(
        "theory.jacobian_profile",
        inputs,
        wanted,
        {"method": "exact", "num_probes": 2},
        variant=kind,
        follows=3,
        data=(1, 2),
        optional=("mask",),
        extremes=False,
        tolerance={"bfloat16": 0.1},
        reason="saturated cells have a derivative of 0, and that a logarithm of minus "
        "infinity; rounded parameters of a product of derivatives",
        bad=(
            Bad("xs", args={3: np.ones(INPUTS)}),
            Bad("xs", args={3: np.ones((2, 0, INPUTS))}),
            Bad("mask", args={4: np.ones((2, n + 1), bool)}),
            Bad("mask", args={4: np.ones((2, n))}),
            Bad("state", args={2: np.ones(HIDDEN)}),
            Bad("state", args={2: np.ones((2, HIDDEN), int)}),
            Bad("state", args={2: {}}, traced=False),
            Bad("num_probes", static={"num_probes": 0}),
            Bad("key", static={"method": "probe", "key": None}),
            Bad("key", static={"method": "probe", "key": 3}),
        ),
    )


ROWS = (
    cell_row("simple_rnn_cell", "simple", {"activation": "tanh"}),
    cell_row("simple_rnn_cell", "relu", {"activation": "relu"}),
    cell_row("lstm_cell", "lstm"),
    cell_row("gru_cell", "gru", {"reset": "before"}),
    cell_row("gru_cell", "gru_after", {"reset": "after"}),
    cell_row("merged_gate_gru_cell", "merged_gate_gru"),
    cell_row("reset_last_cell", "reset_last"),
    scan_row("lstm", lstm_cell, masked=True),
    scan_row("gru", gru_cell, masked=False),
    init_row("lstm"),
    init_row("merged_gate_gru"),
    *(
        terms_row(kind, gated=gated)
        for kind, gated in (
            ("lstm", True),
            ("lstm", False),
            ("gru", False),
            ("reset_last", True),
        )
    ),
    profile_row("reset_last", reset_last_cell),
)
