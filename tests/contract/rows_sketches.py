"""Contract rows of hashes, of sketches of matrices and of attention's factors."""

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax import embeddings
from tests.contract.case import Bad, Case
from tests.contract.chains import bad_arrays
from tests.contract.rows_performer import exact, normal
from tests.contract.rows_random_projection import (
    BAD_PAIR,
    CONSTANT,
    M,
    bad_counts,
    pair,
)
from tests.oracles import random_projection as oracle

BITS = "bits have no gradient"
NO_BIT = {"follows": None, "grad": False, "reason": BITS}


def hashes(rng, n=37):
    return rng.random((2, 1, n)) < 0.5, rng.random((3, n)) < 0.5


def words(rng):
    made = hashes(rng)
    return tuple(oracle.packed(h) for h in made)


def bad_hashes(place, argument, good):
    narrow = good[..., :1, 1:]
    wrong = (np.ones((3, 2)), np.ones((3, 2), np.int32), narrow, np.array(True))
    return tuple(Bad(argument, args={place: bad}) for bad in wrong)


BAD_HASHES = (
    *bad_hashes(0, "h", np.ones((3, 37), bool)),
    *bad_hashes(1, "h2", np.ones((3, 37), bool)),
    Bad("h2", args={1: np.ones((4, 1, 37), bool)}),
)


def sketched(rng):
    """Singular values far apart, and few beyond the rank that is wanted."""
    u, v = (np.linalg.qr(rng.normal(size=(s, 4)))[0] for s in (6, 5))
    return (u * np.array([8.0, 4.0, 1.0, 0.25])) @ v.T


def sketch_row(side):
    def draws(key, given):
        rows = given.shape[-1] if side == "left" else given.shape[-2]
        return jax.random.normal(key, (rows, 3), jnp.promote_types(given.dtype, "f4"))

    def found(given, *, draws, k, oversample, power_iters, side):
        if side == "left":
            return oracle.randomized_svd(given, draws, k=k, power_iters=power_iters)
        v, s, ut = oracle.randomized_svd(given.T, draws, k=k, power_iters=power_iters)
        signs = np.sign(ut.T[np.abs(ut.T).argmax(0), np.arange(k)])
        return ut.T * signs, s, v.T * signs[:, None]

    return Case(
        "embeddings.randomized_svd",
        lambda rng: (sketched(rng),),
        found,
        {"k": 2, "oversample": 1, "power_iters": 1, "side": side},
        variant=side,
        draws=draws,
        extreme_grads=False,
        reason="singular vectors of equal singular values have no derivative",
        bad=(
            *bad_arrays("matrix", 0, (5,), ()),
            Bad("k", static={"k": 0}),
            Bad("k", static={"k": 6}),
        ),
    )


def factors(key, mask, *, dtype=jnp.float32, **options):
    """Drawn in float64 whatever the dtype of the row: float32 draws are others."""
    drawn = jnp.float64 if jnp.issubdtype(dtype, jnp.floating) else dtype
    found = embeddings.sparse_attention_factors(key, mask, dtype=drawn, **options)
    return jax.tree.map(lambda x: x.astype(dtype), found)


def pattern(rng):
    p = rng.random((2, 3, 4))
    q, k = rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 4, 2))
    return p / p.sum(-1, keepdims=True), q, k


ROWS = (
    Case("embeddings.sign_hash", pair, oracle.sign_hash, bad=BAD_PAIR, **NO_BIT),
    Case(
        "embeddings.pack_bits",
        lambda rng: (rng.random((2, 37)) < 0.5,),
        oracle.packed,
        bad=(
            *(
                Bad("bits", args={0: np.ones(3, kind)})
                for kind in (np.float32, np.int32)
            ),
            Bad("bits", args={0: np.array(True)}),
            Bad("bits", args={0: True}, traced=False),
        ),
        **NO_BIT,
    ),
    *(
        Case(
            "embeddings.hamming",
            inputs,
            oracle.hamming,
            variant=variant,
            bad=BAD_HASHES,
            **NO_BIT,
        )
        for inputs, variant in ((hashes, "bits"), (words, "words"))
    ),
    *(
        Case(
            "embeddings.cosine_from_hash",
            inputs,
            oracle.cosine,
            {"n": 37, "corrected": corrected},
            variant=f"{variant}, {'corrected' if corrected else 'raw'}",
            optional=("n",) * (variant == "bits"),
            takes_dtype=True,
            bad=(
                *BAD_HASHES,
                Bad("n", static={"n": 70}),
                Bad("n", static={"n": 0}),
                Bad("dtype", static={"dtype": jnp.int32}),
            ),
            **NO_BIT,
        )
        for inputs, variant, corrected in (
            (hashes, "bits", True),
            (words, "words", False),
        )
    ),
    Case(
        "embeddings.fly_projection",
        lambda rng: (),
        lambda *, draws, m, n, density: (draws < density) * 1.0,
        {"m": M, "n": 7, "density": 0.25},
        call=exact(embeddings.fly_projection),
        draws=lambda key: jax.random.uniform(key, (M, 7), jnp.float64),
        follows=None,
        grad=False,
        reason=CONSTANT,
        takes_dtype=True,
        bad=(
            *bad_counts("n", "m"),
            Bad("density", static={"density": 0.0}),
            Bad("density", static={"density": 1.5}),
            Bad("dtype", static={"dtype": jnp.int32}),
        ),
    ),
    Case(
        "embeddings.fly_hash",
        lambda rng: (rng.normal(size=(M, 7)), rng.normal(size=(2, 4, M))),
        oracle.fly_hash,
        {"k": 2},
        bad=(
            *bad_arrays("w", 0, (7,), (2, M, 7)),
            *bad_arrays("v", 1, (), (2, M + 1)),
            Bad("k", static={"k": 8}),
            Bad("k", static={"k": 0}),
        ),
        **NO_BIT,
    ),
    sketch_row("left"),
    sketch_row("right"),
    Case(
        "embeddings.sparse_attention_factors",
        lambda rng: (rng.random((4, 3)) < 0.5,),
        lambda mask, *, draws, **static: oracle.factors(mask, draws, **static),
        {"d": 2, "beta": 1.5},
        call=factors,
        draws=lambda key, mask: normal(key, (3, 2)),
        follows=None,
        grad=False,
        reason=CONSTANT,
        takes_dtype=True,
        bad=(
            *(
                Bad("mask", args={0: bad})
                for bad in (np.ones((4, 3)), np.ones(3, bool), np.ones((1, 4, 3), bool))
            ),
            *bad_counts("d"),
            Bad("dtype", static={"dtype": jnp.int32}),
        ),
    ),
    Case(
        "embeddings.attention_divergence",
        pattern,
        oracle.divergence,
        bad=(
            *bad_arrays("p", 0, (4,), (2, 3, 5)),
            *bad_arrays("q", 1, (4,), (2, 2, 2), (2, 3, 3)),
            *bad_arrays("k", 2, (4,), (2, 3, 2)),
            Bad("k", args={2: np.ones((2, 4, 2), np.float16)}),
        ),
    ),
)
