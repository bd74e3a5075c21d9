"""Contract rows of diagonal systems: S4D, DSS, S5, LRU and SLRU."""

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax import ssm
from tests.contract.case import Bad, Case
from tests.oracles import state_space as oracle

NO_FORWARD = (
    "the recurrence has a custom gradient and no forward mode; reverse mode is checked "
    "against the step in tests/ssm"
)
DT = 0.4
STEP = "a step of 0 is no step; powers of a huge one are 0 or not finite"


def draw(rng, *shape):
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def modes(rng, h=2, n=3):
    lam = -rng.random((h, n)) - 0.1 + 1j * rng.normal(size=(h, n))
    return lam, draw(rng, h, n), draw(rng, h, n), np.array([0.3, 0.7])


def normalized(rng, h=2, n=3):
    """Modes on both sides of the axis."""
    lam = draw(rng, h, n) + np.sign(rng.normal(size=(h, n)))
    return lam, draw(rng, h, n), np.array([0.3, 0.7])


def sequence(rng, b=2, length=7):
    lam, weights, c, _ = modes(rng)
    return lam, weights, c, rng.normal(size=(b, length, 2))


def token(rng, b=2):
    lam, weights, c, _ = modes(rng)
    state, u = draw(rng, b, 2, 3), rng.normal(size=(b, 2))
    return state, lam, weights, c, u


SHAPES = {"n": (3,), "nh": (3, 2), "hn": (2, 3), "h": (2,)}


def params(rng, kind):
    """Parameters of ordinary size: n = 3 modes, h = 2 features."""
    fields = {
        ssm.LruParams: ("n", "n", "n", "nh", "nh", "hn", "hn", "h"),
        ssm.SlruParams: ("n", "n", "nh", "hn", "h"),
        ssm.S5Params: ("n", "n", "nh", "nh", "hn", "hn", "h", "n"),
    }[kind]
    return kind(*(rng.normal(size=SHAPES[f]) * 0.7 for f in fields))


def whole(kind):
    return lambda rng: (params(rng, kind), rng.normal(size=(2, 5, 2)))


def one(kind):
    def inputs(rng):
        state = rng.normal(size=(2, 3)) if kind is ssm.SlruParams else draw(rng, 2, 3)
        return state, params(rng, kind), rng.normal(size=(2, 2))

    return inputs


def out_of(name):
    """Only the output: the state is wide whatever the inputs are."""
    function = getattr(ssm, name)
    if name.endswith("step"):
        return lambda state, params, u: function(state, params, u).out
    return lambda params, u, state=None: function(params, u, state=state).out


def conv(lam, b, c, u, *, block, method, dt=DT, state=None):
    options = {"block": block, "method": method, "state": state}
    return ssm.s4d_conv(lam, b, c, dt, u, **options).out


def s4d_step(state, lam, b, c, u, *, method):
    return ssm.s4d_step(state, lam, b, c, DT, u, method=method).out


def s4d_step_oracle(state, lam, b, c, u, *, method):
    options = {"state": state, "method": method}
    return oracle.s4d_conv(lam, b, c, DT, u[..., None, :], **options)[1][..., 0, :]


def step_oracle(whole_oracle):
    def call(state, params, u):
        return whole_oracle(params, u[..., None, :], state=state)[1][..., 0, :]

    return call


def s4d_init_oracle(*, kind, n):
    i = np.arange(n // 2)
    lam = {
        "lin": -0.5 + 1j * np.pi * i,
        "inv": -0.5 + 1j * n / np.pi * (n / (2 * i + 1) - 1),
        "real": -1.0 - i + 0j,
    }[kind]
    return lam, np.ones(n // 2, complex)


BAD_MODES = (
    Bad("lam", args={0: np.ones((2, 0), np.complex64)}),
    Bad("lam", args={0: np.ones((2, 3))}),
)
BAD_ROWS = (
    Bad("b", args={1: np.ones((2, 4), np.complex64)}),
    Bad("c", args={2: np.ones((2, 4), np.complex64)}),
    Bad("dt", args={3: -1.0}, traced=False),
    Bad("dt", args={3: np.ones(2, np.float16)}),
)


def bad_params(kind, place):
    good = params(np.random.default_rng(0), kind)
    good = kind(*(x.astype(np.float32) for x in good))
    first, second = kind._fields[0], kind._fields[2]
    wrong = (
        (first, good._replace(**{first: np.ones((2, 2), np.float32)})),
        (first, good._replace(**{first: np.ones(3, int)})),
        (second, good._replace(**{second: np.ones((3, 3, 2), np.float32)})),
        ("d", good._replace(d=np.ones(2, np.float16))),
    )
    found = [Bad(f"params.{field}", args={place: value}) for field, value in wrong]
    return (*found, Bad("params", args={place: tuple(good)}, traced=False))


def exact(function):
    """Drawn in float64 whatever the dtype of the row: float32 draws are others."""

    def call(key, *, dtype=jnp.float32, **options):
        drawn = jnp.float64 if jnp.issubdtype(dtype, jnp.floating) else dtype
        found = function(key, dtype=drawn, **options)
        return jax.tree.map(lambda x: x.astype(dtype), found)

    return call


def drawn(key, uniform, *shapes):
    """Uniform numbers [4] by the first keys, normal ones by the others."""
    keys = jax.random.split(key, uniform + len(shapes))
    first = [jax.random.uniform(k, (4,), float) for k in keys[:uniform]]
    pairs = zip(keys[uniform:], shapes, strict=True)
    return *first, *(jax.random.normal(k, shape, float) for k, shape in pairs)


NH, HN, H = (4, 3), (3, 4), (3,)


def lru_init(*, n, h, r_min, r_max, max_phase, draws):
    u1, u2, b_re, b_im, c_re, c_im, d = draws
    square = u1 * (r_max**2 - r_min**2) + r_min**2
    half, part = (2 * h) ** -0.5, n**-0.5
    return (
        np.log(-np.log(square) / 2),
        np.log(max_phase * u2),
        np.log(1 - square) / 2,
        *(b_re * half, b_im * half, c_re * part, c_im * part, d),
    )


def slru_init(*, n, h, r_min, r_max, draws):
    u, b, c, d = draws
    square = u * (r_max**2 - r_min**2) + r_min**2
    logs = np.log(-np.log(square) / 2), np.log(1 - square) / 2
    return *logs, b * h**-0.5, c * n**-0.5, d


def s5_draws(key):
    keys = jax.random.split(key, 4)
    shapes = (8, 3), (3, 8), (3,)
    pairs = zip(keys[:3], shapes, strict=True)
    normal = [jax.random.normal(k, shape, float) for k, shape in pairs]
    return *normal, jax.random.uniform(keys[3], (4,), float)


def s5_init(*, n, h, dt_min, dt_max, draws):
    """What the phases of the eigenvectors do not change."""
    start, end, d, share = draws
    lam, _, _, v = oracle.legs_modes(2 * n)
    b, c = v.conj().T @ start * h**-0.5, end @ v * (2 * n) ** -0.5
    low, high = np.log(dt_min), np.log(dt_max)
    product = c.T * b
    logs = np.log(-lam.real), lam.imag, product.real, product.imag
    return *logs, d, low + share * (high - low)


def s5_invariants(key, **options):
    p = ssm.s5_init(key, **options)
    product = (p.c_re + 1j * p.c_im).T * (p.b_re + 1j * p.b_im)
    return p.decay_log, p.frequency, product.real, product.imag, p.d, p.dt_log


def init_case(name, draws, reference, call=None, **static):
    return Case(
        f"ssm.{name}",
        lambda rng: (),
        reference,
        {"n": 4, "h": 3, **static},
        draws=draws,
        call=exact(call or getattr(ssm, name)),
        takes_dtype=True,
        follows=None,
        grad=False,
        reason="parameters to start with: nothing to differentiate",
        bad=(Bad("n", static={"n": 0}), Bad("dtype", static={"dtype": int})),
    )


def s4d_init(*, dtype, **options):
    if jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(dtype, jnp.complex64)
    return ssm.s4d_init(dtype=dtype, **options)


MIMO = (
    ("lru", ssm.LruParams, oracle.lru),
    ("slru", ssm.SlruParams, oracle.slru),
    ("s5", ssm.S5Params, oracle.s5),
)
RING = {"r_min": 0.5, "r_max": 0.9}
ROWS = (
    init_case(
        "lru_init",
        lambda key: drawn(key, 2, NH, NH, HN, HN, H),
        lru_init,
        max_phase=1.0,
        **RING,
    ),
    init_case("slru_init", lambda key: drawn(key, 1, NH, HN, H), slru_init, **RING),
    init_case("s5_init", s5_draws, s5_init, s5_invariants, dt_min=0.01, dt_max=0.1),
    *(
        Case(
            "ssm.s4d_init",
            lambda rng: (),
            s4d_init_oracle,
            {"kind": kind, "n": 6},
            variant=kind,
            call=s4d_init,
            takes_dtype=True,
            vmap=False,
            follows=None,
            grad=False,
            reason="constants, made on the host: nothing to map or to differentiate",
            bad=(Bad("n", static={"n": 5}), Bad("dtype", static={"dtype": int})),
        )
        for kind in ("lin", "inv", "real")
    ),
    Case(
        "ssm.s4d_kernel",
        modes,
        oracle.s4d_kernel,
        {"length": 70, "method": "zoh"},
        follows=None,
        extremes=False,
        reason=STEP,
        bad=(*BAD_MODES, *BAD_ROWS, Bad("length", static={"length": 0})),
    ),
    Case(
        "ssm.dss_kernel",
        normalized,
        oracle.dss_kernel,
        {"length": 9},
        follows=None,
        extremes=False,
        tolerance={"float64": 1e-6},
        reason="the paper's 1e-7 in the reciprocal is part of the method. " + STEP,
        bad=(
            *BAD_MODES,
            Bad("w", args={1: np.ones((2, 4), np.complex64)}),
            Bad("length", static={"length": 0}),
        ),
    ),
    Case(
        "ssm.s4d_conv",
        sequence,
        lambda *x, block, method: oracle.s4d_conv(*x[:3], DT, x[3], method=method)[1],
        {"block": 3, "method": "bilinear"},
        call=conv,
        follows=3,
        grad=False,
        reason=NO_FORWARD,
        bad=(
            *BAD_MODES,
            *BAD_ROWS[:2],
            Bad("dt", static={"dt": -1.0}),
            Bad("dt", static={"dt": np.ones(3, np.float32)}),
            Bad("u", args={3: np.ones((2, 7, 3))}),
            Bad("state", static={"state": np.ones((2, 2, 4), np.complex64)}),
        ),
    ),
    Case(
        "ssm.s4d_step",
        token,
        s4d_step_oracle,
        {"method": "bilinear"},
        call=s4d_step,
        follows=4,
        bad=(Bad("u", args={4: np.ones(3)}), Bad("lam", args={1: np.ones((2, 3))})),
    ),
    *(
        Case(
            f"ssm.{name}_apply",
            whole(kind),
            lambda params, u, f=reference: f(params, u)[1],
            call=out_of(f"{name}_apply"),
            follows=1,
            grad=False,
            extremes=False,
            reason=NO_FORWARD + "; exponentials of exponentials of huge parameters",
            bad=(*bad_params(kind, 0), Bad("u", args={1: np.ones((2, 5, 3))})),
        )
        for name, kind, reference in MIMO
    ),
    *(
        Case(
            f"ssm.{name}_step",
            one(kind),
            step_oracle(reference),
            call=out_of(f"{name}_step"),
            follows=2,
            extremes=False,
            reason="exponentials of exponentials of huge parameters",
            bad=(*bad_params(kind, 1), Bad("u", args={2: np.ones((2, 3))})),
        )
        for name, kind, reference in MIMO
    ),
)
