"""Contract rows of linear attention, its feature maps, and efficient attention."""

import numpy as np

from kexue_jax import attention
from tests.contract.case import Bad, Case
from tests.oracles import linear_attention as oracle

NO_FORWARD = (
    "the causal forms have a custom gradient and no forward mode; reverse mode is "
    "checked against the plain forms in tests/attention"
)
KEEP = np.array([True, True, False, True, True])
PREFIX = np.array([2, 0])
MASKS = {"causal": True, "key_mask": KEEP, "prefix_length": PREFIX}
LIMITS = {"chunk_size": 2, "eps": 1e-6, "normalize": True, "return_state": False}


def features(rng, n=5, length=5, m=3, d=2):
    """Positive features of two heads, and values."""
    q, k = rng.random((2, n, m)) + 0.1, rng.random((2, length, m)) + 0.1
    return q, k, rng.normal(size=(2, length, d))


def exponents(rng, n=5, length=5, m=3, d=2):
    q, k = rng.normal(size=(2, n, m)), rng.normal(size=(2, length, m))
    return q, k, rng.normal(size=(2, length, d))


def token(rng, m=3, d=2):
    """A state of a few keys and one more token."""
    state = attention.LinearAttentionState(
        rng.normal(size=(2, m, d)), rng.random((2, m)) + 0.5
    )
    q, k = rng.random((2, 2, m))
    return state, q, k, rng.normal(size=(2, d))


def log_token(rng, m=3, d=2):
    (s, z), q, k, v = token(rng, m, d)
    return attention.LogLinearState(s, z, rng.normal(size=(2, m))), q, k, v


def bad_features(first: str, second: str) -> tuple[Bad, ...]:
    """Arrays of a wrong rank, width, length or dtype."""
    return (
        Bad(first, args={0: np.ones((5, 3))}),
        Bad(second, args={1: np.ones((2, 5, 4))}),
        Bad(second, args={1: np.ones((3, 5, 3))}),
        Bad("v", args={2: np.ones((2, 4, 2))}),
        Bad(second, args={1: np.ones((2, 5, 3), np.float16)}),
        Bad(first, args={0: np.ones((2, 5, 0))}),
    )


BAD_MASKS = (
    Bad("key_mask", static={"key_mask": np.ones(5)}),
    Bad("key_mask", static={"key_mask": np.ones(4, bool)}),
    Bad("key_mask", static={"key_mask": np.ones((3, 2, 5), bool)}),
    Bad("prefix_length", static={"prefix_length": 2.5}),
    Bad("prefix_length", static={"prefix_length": -1}),
    Bad("prefix_length", static={"prefix_length": np.ones(3, int)}),
    Bad("prefix_length", static={"causal": False, "prefix_length": 1}),
    Bad("chunk_size", static={"chunk_size": 0}),
    Bad("state", static={"state": (1, 2)}),
)
ONE = np.ones((2, 5, 3))
BAD_NUMERATORS = (
    Bad("numerator", static={"numerator": ONE}),
    Bad("numerator", static={"numerator": (ONE, None)}),
    Bad("numerator", static={"numerator": (ONE.astype(np.float32), ONE[:, 1:])}),
    Bad("numerator", static={"numerator": (ONE[:1], ONE)}),
)


def without(*names):
    """The oracle of a function whose options ``names`` change no number."""

    def plain(f):
        def call(*args, **options):
            rest = {k: v for k, v in options.items() if k not in names}
            return f(*args, **rest)

        return call

    return plain


linear = without("chunk_size", "return_state")(oracle.linear)
log_linear = without("chunk_size", "return_state")(oracle.log_linear)
efficient = without("chunk_size", "return_state")(oracle.efficient)


def linear_step(state, phi_q, phi_k, v, *, eps, normalize):
    """Only the result: the state is in at least float32 whatever the inputs are."""
    step = attention.linear_attention_step
    return step(state, phi_q, phi_k, v, eps=eps, normalize=normalize).out


def linear_step_oracle(state, phi_q, phi_k, v, *, eps, normalize):
    s = state.s + phi_k[..., None] * v[..., None, :]
    top = (phi_q[..., None, :] @ s)[..., 0, :]
    den = (phi_q * (state.z + phi_k)).sum(-1, keepdims=True) + eps
    return top / den if normalize else top


def log_step(state, log_phi_q, log_phi_k, v):
    return attention.log_linear_attention_step(state, log_phi_q, log_phi_k, v).out


def efficient_step(state, q, k, v):
    return attention.efficient_attention_step(state, q, k, v).out


def grown(state, b, v):
    """The state of a running maximum in no units: s e^c and z e^c with a key added."""
    factor = np.exp(state.c)
    s = state.s * factor[..., None] + b[..., None] * v[..., None, :]
    return s, state.z * factor + b


def log_step_oracle(state, u_q, u_k, v):
    s, z = grown(state, np.exp(u_k), v)
    a = np.exp(u_q)
    return (a[..., None, :] @ s)[..., 0, :] / (a * z).sum(-1, keepdims=True)


def efficient_step_oracle(state, q, k, v):
    s, z = grown(state, np.exp(k), v)
    return (oracle.softmax(q)[..., None, :] @ (s / z[..., None]))[..., 0, :]


def bad_token(*parts):
    """States with a part of another shape or dtype, or of another kind."""
    good = {"s": np.ones((2, 3, 2)), "z": np.ones((2, 3)), "c": np.ones((2, 3))}
    kind = attention.LogLinearState if "c" in parts else attention.LinearAttentionState

    def state(**changed):
        return kind(**{part: {**good, **changed}[part] for part in parts})

    return (
        Bad("state.s", args={0: state(s=np.ones((2, 3, 3)))}),
        Bad("state.s", args={0: state(s=np.ones((2, 3, 2), int))}),
        Bad("state.z", args={0: state(z=np.ones((2, 4)))}),
        Bad("state", args={0: (1, 2)}, traced=False),
        Bad("v", args={3: np.ones((3, 2))}),
    )


X = lambda rng: (rng.normal(size=(2, 3, 4)),)  # noqa: E731
BAD_X = (Bad("x", args={0: np.ones(())}), Bad("x", args={0: np.ones((2, 3, 0))}))

ROWS = (
    Case("attention.elu1", X, oracle.elu1, bad=(Bad("x", args={0: np.ones(())}),) * 3),
    Case(
        "attention.relu_features",
        X,
        oracle.relu_features,
        {"eps": 0.1, "power": 2},
        bad=(Bad("eps", static={"eps": -1.0}), Bad("power", static={"power": 0})),
    ),
    Case("attention.feature_softmax", X, oracle.softmax, bad=BAD_X * 2),
    Case("attention.cosine_features", X, oracle.cosine_features, bad=BAD_X * 2),
    Case(
        "attention.exp_features",
        X,
        oracle.exp_features,
        {"is_query": False},
        grad=False,
        reason="the maximum is a constant to the gradient; attention's is checked",
        bad=(
            Bad("x", args={0: np.ones(3)}),
            Bad("key_mask", static={"key_mask": np.ones(3)}),
            Bad("key_mask", static={"is_query": True, "key_mask": np.ones(3, bool)}),
        ),
    ),
    Case(
        "attention.linear_attention",
        lambda rng: features(rng, n=4),
        linear,
        {"key_mask": KEEP, "causal": False, **LIMITS},
        optional=("key_mask",),
        bad=(*bad_features("phi_q", "phi_k")[1:], *BAD_MASKS),
    ),
    Case(
        "attention.linear_attention",
        features,
        linear,
        {**MASKS, **LIMITS},
        variant="causal",
        grad=False,
        reason=NO_FORWARD,
        bad=(*bad_features("phi_q", "phi_k"), *BAD_MASKS, *BAD_NUMERATORS),
    ),
    Case(
        "attention.linear_attention_step",
        token,
        linear_step_oracle,
        {"eps": 1e-6, "normalize": True},
        call=linear_step,
        optional=("state",),
        bad=(*bad_token("s", "z"), Bad("phi_k", args={2: np.ones((2, 2))})),
    ),
    *(
        Case(
            f"attention.{name}_linear_attention",
            features,
            oracle_,
            {"eps": 1e-6, "normalize": True, **extra},
            bad=bad_features("phi_q", "phi_k"),
        )
        for name, oracle_, extra in (
            ("recurrent", lambda *a, **k: linear(*a, causal=True, **k), {}),
            ("cumulative", lambda *a, **k: linear(*a, causal=True, **k), {}),
            ("quadratic", linear, {"causal": True}),
        )
    ),
    Case(
        "attention.log_linear_attention",
        lambda rng: exponents(rng, n=4),
        log_linear,
        {"key_mask": KEEP, "causal": False, "chunk_size": 2, "return_state": False},
        bad=(*bad_features("log_phi_q", "log_phi_k")[1:], *BAD_MASKS),
    ),
    Case(
        "attention.log_linear_attention",
        exponents,
        log_linear,
        {**MASKS, "chunk_size": 2},
        variant="causal",
        grad=False,
        reason=NO_FORWARD,
        bad=(*bad_features("log_phi_q", "log_phi_k"), *BAD_MASKS),
    ),
    Case(
        "attention.log_linear_attention_step",
        log_token,
        log_step_oracle,
        call=log_step,
        optional=("state",),
        bad=bad_token("s", "z", "c"),
    ),
    Case(
        "attention.efficient_attention",
        lambda rng: exponents(rng, n=4),
        efficient,
        {"key_mask": KEEP, "causal": False, "chunk_size": 2, "return_state": False},
        bad=(*bad_features("q", "k")[1:], *BAD_MASKS),
    ),
    Case(
        "attention.efficient_attention",
        exponents,
        efficient,
        {**MASKS, "chunk_size": 2},
        variant="causal",
        grad=False,
        reason=NO_FORWARD,
        bad=(*bad_features("q", "k"), *BAD_MASKS),
    ),
    Case(
        "attention.efficient_attention_step",
        log_token,
        efficient_step_oracle,
        call=efficient_step,
        optional=("state",),
        bad=bad_token("s", "z", "c"),
    ),
)
