"""Contract rows of the Performer: projections, features, attention, step."""

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax import attention
from tests.contract.case import Bad, Case
from tests.contract.rows_linear_attention import (
    BAD_MASKS,
    KEEP,
    MASKS,
    NO_FORWARD,
    grown,
    without,
)
from tests.oracles import linear_attention as oracle

M, D = 5, 3
CONSTANT = "a random matrix has no argument to differentiate"
BAD_SIZES = (
    *(Bad(n, static={n: bad}) for n in ("m", "d") for bad in (0, True)),
    Bad("heads", static={"heads": 0}),
    Bad("dtype", static={"dtype": jnp.int32}),
)


def normal(key, shape):
    return jax.random.normal(key, shape, jnp.float64)


def orthogonal_draws(key, *_, m=M, d=D):
    """Blocks, rows of norms and the order, as the docstring says."""
    key_q, key_n = jax.random.split(key)
    blocks = normal(key_q, (-(-m // d), d, d))
    return blocks, normal(key_n, (m, d)), jax.random.permutation(key_n, m)


def exact(function):
    """Drawn in float64 whatever the dtype of the row: float32 draws are others."""

    def call(key, *arguments, dtype=jnp.float32, **options):
        drawn = jnp.float64 if jnp.issubdtype(dtype, jnp.floating) else dtype
        return function(key, *arguments, dtype=drawn, **options).astype(dtype)

    return call


def redrawn(key, step, **options):
    return exact(attention.redrawn_projection)(key, step, **options)


def orthogonal_oracle(*_, draws, m, d, norms, every=None):
    blocks, rows, order = draws
    return oracle.orthogonal_projection(blocks, rows, order, m=m, d=d, norms=norms)


def inputs(rng, n=5, length=5):
    q, k = rng.normal(size=(2, n, D)), rng.normal(size=(2, length, D))
    return q, k, rng.normal(size=(2, length, 2)), rng.normal(size=(M, D))


def row(rng):
    return rng.normal(size=(2, 3, D)), rng.normal(size=(2, M, D))


W = np.random.default_rng(3).normal(size=(M, D))


def one_token(rng, features=M, plain=False):
    """A state of a few keys and one more token."""
    s, z = rng.normal(size=(2, features, 2)), rng.random((2, features)) + 3
    state = attention.LogLinearState(s, z, rng.normal(size=(2, features)))
    if plain:
        state = attention.LinearAttentionState(s, z)
    q, k = rng.normal(size=(2, 2, D))
    return state, q, k, rng.normal(size=(2, 2))


def stepped(state, q, k, v, *, kind):
    """Only the result: the state is in at least float32 whatever the inputs are."""
    dtype = getattr(v, "dtype", None)
    w = jnp.asarray(W, dtype if dtype in (jnp.float32, jnp.bfloat16) else jnp.float64)
    return attention.performer_step(state, q, k, v, w, kind=kind).out


def stepped_oracle(state, q, k, v, *, kind):
    if kind == "generalized":
        a, b = (oracle.generalized_features(x[:, None], W)[:, 0] for x in (q, k))
        state = attention.LogLinearState(*state, np.zeros_like(b))
    elif kind == "positive":
        u_q = oracle.log_softmax_features(q, W, is_query=True)
        a, b = np.exp(u_q), np.exp(oracle.log_softmax_features(k, W, is_query=False))
    else:
        a, b = (oracle.softmax_features(x, W, kind=kind) * M**0.5 for x in (q, k))
    s, z = grown(state, b, v)
    return (a[..., None, :] @ s)[..., 0, :] / (a * z).sum(-1, keepdims=True)


BAD_W = (
    Bad("w", args={1: np.ones((M, D + 1))}),
    Bad("w", args={1: np.ones((3, M, D))}),
    Bad("w", args={1: np.ones(D)}),
)
performer = without("chunk_size", "return_state")(oracle.performer)

ROWS = (
    Case(
        "attention.gaussian_projection",
        lambda rng: (),
        lambda *, draws, m, d: draws,
        {"m": M, "d": D},
        call=exact(attention.gaussian_projection),
        draws=lambda key: normal(key, (M, D)),
        follows=None,
        grad=False,
        reason=CONSTANT,
        takes_dtype=True,
    ),
    *(
        Case(
            "attention.orthogonal_projection",
            lambda rng: (),
            orthogonal_oracle,
            {"m": M, "d": D, "norms": norms},
            variant=norms,
            call=exact(attention.orthogonal_projection),
            draws=orthogonal_draws,
            follows=None,
            grad=False,
            reason=CONSTANT,
            takes_dtype=True,
        )
        for norms in ("chi", "sqrt_d", "quantile", "midpoint")
    ),
    Case(
        "attention.redrawn_projection",
        lambda rng: (np.asarray(7),),
        orthogonal_oracle,
        {"m": M, "d": D, "norms": "chi", "every": 3},
        call=redrawn,
        draws=lambda key, step: orthogonal_draws(jax.random.fold_in(key, 2)),
        follows=None,
        grad=False,
        reason=CONSTANT,
        takes_dtype=True,
        bad=(
            Bad("step", args={0: np.ones(2, int)}),
            Bad("step", args={0: -1}, traced=False),
        ),
    ),
    *(
        Case(
            "attention.softmax_features",
            row,
            oracle.softmax_features,
            {"kind": kind, "scale": scale},
            variant=kind,
            extremes=False,
            reason="exp of the norm itself is returned, which overflows by definition",
            bad=BAD_W,
        )
        for kind, scale in (("positive", True), ("hyperbolic", False), ("trig", True))
    ),
    Case(
        "attention.log_softmax_features",
        row,
        oracle.log_softmax_features,
        {"is_query": False, "scale": True},
        bad=BAD_W,
    ),
    Case(
        "attention.generalized_features",
        row,
        oracle.generalized_features,
        {"eps": 1e-3},
        optional=("w",),
        bad=(
            *BAD_W,
            Bad("function", static={"function": 3}),
            Bad("function", static={"function": lambda x: x[..., :1]}),
        ),
    ),
    *(
        Case(
            "attention.performer_attention",
            lambda rng: inputs(rng, n=4),
            performer,
            {"kind": kind, "key_mask": KEEP, "causal": False, "chunk_size": 2},
            variant=kind,
            optional=("w",) if kind == "generalized" else (),
            titles=("linear_attention",),
            extreme_grads=kind != "trig",
            reason="weights of 'trig' may cancel and their quotient be without bound",
            bad=(*BAD_MASKS, Bad("w", args={3: np.ones((M, D + 1))})),
        )
        for kind in ("positive", "hyperbolic", "trig", "generalized")
    ),
    *(
        Case(
            "attention.performer_attention",
            inputs,
            performer,
            {**MASKS, "kind": kind, "chunk_size": 2},
            variant=f"causal {kind}",
            optional=("w",) if kind == "generalized" else (),
            titles=("linear_attention",),
            grad=False,
            extremes=kind != "trig",
            reason=NO_FORWARD,
            bad=BAD_MASKS,
        )
        for kind in ("positive", "hyperbolic", "trig", "generalized")
    ),
    *(
        Case(
            "attention.performer_step",
            lambda rng, more=more: one_token(rng, **more),
            stepped_oracle,
            {"kind": kind},
            variant=kind,
            call=stepped,
            optional=("state",),
            titles=("linear_attention_step",),
            extreme_grads=kind != "trig",
            reason="weights of 'trig' may cancel and their quotient be without bound",
        )
        for kind, more in (
            ("positive", {}),
            ("trig", {"features": 2 * M}),
            ("generalized", {"plain": True}),
        )
    ),
)
