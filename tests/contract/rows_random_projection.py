"""Contract rows of random projections, their laws and their dimensions."""

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax import embeddings
from tests.contract.case import Bad, Case
from tests.contract.chains import bad_arrays
from tests.contract.rows_performer import exact, normal
from tests.oracles import random_projection as oracle

N, M = 3, 5
CONSTANT = "a random matrix has no argument to differentiate"
HOST = "there is nothing but static arguments"


def shares(rng):
    """On both sides of where the series ends."""
    return (np.array([[0.03, 0.25, 0.5], [0.625, 0.75, 0.9375]]),)


def bad_counts(*names):
    wrong = (0, True, 2.5)
    return tuple(Bad(name, static={name: bad}) for name in names for bad in wrong)


def bad_integers(argument):
    """Arrays of integers, and Python numbers, in place of floating arrays."""
    return (
        Bad(argument, args={0: np.ones(2, int)}),
        Bad(argument, args={0: 0.5}, traced=False),
    )


def host(name, *bad, **static):
    function = getattr(embeddings, name)

    def call(**static):
        return jnp.asarray(function(**static))

    return {
        "call": call,
        "static": static,
        "bad": bad,
        "follows": None,
        "grad": False,
        "vmap": False,
        "extremes": False,
        "reason": HOST,
    }


def matrix_row(kind, n=N, m=M, **options):
    def draws(key):
        if kind in ("gaussian", "orthonormal"):
            return normal(key, (n, m))
        return jax.random.uniform(key, (n, m), jnp.float64)

    return Case(
        "embeddings.projection_matrix",
        lambda rng: (),
        lambda *, draws, **static: oracle.matrix(draws, **static),
        {"n": n, "m": m, "kind": kind, **options},
        variant=kind,
        call=exact(embeddings.projection_matrix),
        draws=draws,
        follows=None,
        grad=False,
        reason=CONSTANT,
        takes_dtype=True,
        optional=("sparsity",),
        bad=(
            *bad_counts("n", "m"),
            Bad("dtype", static={"dtype": jnp.int32}),
            Bad("sparsity", static={"sparsity": 0.5}),
            *((Bad("sparsity", static={"sparsity": 2.0}),) * (kind != "sparse")),
            *((Bad("n", static={"n": m + 1}),) * (kind == "orthonormal")),
        ),
    )


def pair(rng):
    return rng.normal(size=(N, M)), rng.normal(size=(2, 4, M))


BAD_PAIR = (
    *bad_arrays("a", 0, (N,), (2, N, M)),
    *bad_arrays("v", 1, (), (2, M + 1)),
    Bad("v", args={1: np.ones(M, np.float16)}),
)


def srht_draws(key):
    key_s, key_r = jax.random.split(key)
    signs = jax.random.rademacher(key_s, (8,), jnp.int8)
    return signs, jnp.sort(jax.random.permutation(key_r, 8)[:N]).astype(jnp.int32)


def srht_inputs(rng):
    signs = rng.choice([-1, 1], 8).astype(np.int8)
    rows = np.sort(rng.permutation(8)[:N]).astype(np.int32)
    return embeddings.SRHT(signs, rows), rng.normal(size=(2, M))


SIGNS, ROWS_OF = np.ones(8, np.int8), np.arange(N, dtype=np.int32)
BAD_SRHT = (
    Bad("srht", args={0: (SIGNS, ROWS_OF)}),
    Bad("srht", args={0: None}, traced=False),
    Bad("srht.signs", args={0: embeddings.SRHT(SIGNS * 1.0, ROWS_OF)}),
    Bad("srht.signs", args={0: embeddings.SRHT(SIGNS[:4], ROWS_OF)}),
    Bad("srht.rows", args={0: embeddings.SRHT(SIGNS, ROWS_OF * 1.0)}),
    Bad("srht.rows", args={0: embeddings.SRHT(SIGNS, ROWS_OF[None])}),
    *bad_arrays("v", 1, ()),
)


ROWS = (
    Case(
        "embeddings.jl_dim",
        lambda rng: (),
        lambda **static: np.asarray(222),
        **host(
            "jl_dim",
            Bad("num_points", static={"num_points": 1}),
            *(Bad("eps", static={"eps": bad}) for bad in (0.0, 1.0, -0.1)),
            *(Bad("delta", static={"delta": bad}) for bad in (0.0, 1.0)),
            Bad("delta", static={"rule": "16"}),
            num_points=100,
            eps=0.5,
            rule="exact",
            delta=0.01,
        ),
        optional=("delta",),
    ),
    Case(
        "embeddings.unit_norm_log_mgf",
        lambda rng: (np.array([-40.0, 0.0, 1.0, 2.375]),),
        oracle.log_mgf,
        {"n": 6},
        bad=(*bad_integers("lam"), *bad_counts("n")),
        extremes=False,
        reason="it is infinite from n / 2 on",
    ),
    Case(
        "embeddings.unit_norm_tail",
        shares,
        oracle.chernoff,
        {"n": 24},
        bad=(*bad_integers("eps"), *bad_counts("n")),
        extremes=False,
        reason="eps is a share from 0 to 1",
    ),
    Case(
        "embeddings.exact_norm_tail",
        shares,
        oracle.exact_tails,
        {"n": 24},
        bad=(*bad_integers("eps"), *bad_counts("n")),
        extremes=False,
        reason="eps is a share from 0 to 1",
    ),
    Case(
        "embeddings.orthogonality_bound",
        shares,
        oracle.orthogonality,
        {"n": 24},
        bad=(*bad_integers("eps"), *bad_counts("n")),
    ),
    Case(
        "embeddings.jl_failure_bound",
        shares,
        oracle.failure,
        {"num_points": 7, "n": 24},
        bad=(*bad_integers("eps"), *bad_counts("n", "num_points")),
    ),
    *(matrix_row(kind) for kind in ("gaussian", "rademacher", "orthonormal")),
    matrix_row("sparse", sparsity=2.5),
    Case("embeddings.project", pair, oracle.project, follows=1, bad=BAD_PAIR),
    Case(
        "embeddings.hadamard_transform",
        lambda rng: (rng.normal(size=(3, 64)),),
        oracle.transform,
        bad=bad_arrays("x", 0, (), (2, 3), (4, 0)),
    ),
    Case(
        "embeddings.srht_init",
        lambda rng: (),
        lambda *, draws, n, m: draws,
        {"n": N, "m": M},
        draws=srht_draws,
        follows=None,
        grad=False,
        reason=CONSTANT,
        bad=(*bad_counts("n", "m"), Bad("n", static={"n": 9})),
    ),
    Case(
        "embeddings.srht_apply",
        srht_inputs,
        oracle.srht,
        follows=1,
        bad=BAD_SRHT,
    ),
    Case(
        "embeddings.pairwise_sq_dists",
        lambda rng: (rng.normal(size=(2, 4, 3)),),
        oracle.sq_dists,
        bad=bad_arrays("x", 0, (), (3,)),
    ),
    Case(
        "embeddings.distortion",
        lambda rng: (rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 5, 3))),
        oracle.distortion,
        bad=(
            *bad_arrays("x", 0, (), (3,)),
            *bad_arrays("y", 1, (3,), (2, 4, 3)),
            Bad("y", args={1: np.ones((2, 5, 3), np.float16)}),
        ),
    ),
    Case(
        "embeddings.embedding_entropy_rate",
        lambda rng: (),
        lambda n: oracle.entropy_rate(n),
        **host(
            "embedding_entropy_rate",
            *(Bad("n", static={"n": bad}) for bad in (0, 1, 2.0, True, "3", [3], 1j)),
            n=7,
        ),
    ),
    Case(
        "embeddings.min_embedding_dim",
        lambda rng: (),
        lambda **static: np.asarray(52),
        **host(
            "min_embedding_dim",
            *(Bad("vocab", static={"vocab": bad}) for bad in (0, 1, 2.0, True)),
            *(Bad("coef", static={"coef": bad}) for bad in (0.0, -1.0, True)),
            vocab=512,
            coef=8.33,
        ),
        optional=("coef",),
    ),
)
