"""Contract row of the language model, through its functional form."""

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.models import transformer
from tests.contract.case import Bad, Case
from tests.contract.rows_models import (
    BAD_KEYS,
    bad_options,
    bad_params,
    draw_params,
    shapes_of,
)
from tests.oracles import language


def softmax_attention(q, k, v, layer):
    """Causal softmax attention, plainly."""
    wide = jnp.promote_types(q.dtype, jnp.float32)
    scores = jnp.einsum("...id,...jd->...ij", q.astype(wide), k.astype(wide))
    n = q.shape[-2]
    kept = np.tri(n, dtype=bool).reshape((1,) * (q.ndim - 2) + (n, n))
    scores = jnp.where(kept, scores / q.shape[-1] ** 0.5, -jnp.inf)
    return jnp.matmul(jax.nn.softmax(scores, -1), v.astype(wide)).astype(v.dtype)


SIZES = {
    "vocabulary": 7,
    "attend": softmax_attention,
    "width": 4,
    "heads": 2,
    "layers": 2,
    "hidden": 6,
}


def write(params, tokens, *, key=None, **options):
    """The model that the keywords describe."""
    return transformer(**options).apply(params, tokens, key=key)


def write_oracle(params, tokens, *, heads, **_):
    flat = tokens.reshape(-1, tokens.shape[-1])
    rows = [language.transformer(params, row, heads, causal=True) for row in flat]
    return np.reshape(rows, (*tokens.shape, -1))


def row(variant, bad=(), **options):
    sizes = {**SIZES, **options}
    return Case(
        "models.transformer",
        lambda rng: (
            draw_params(rng, transformer, sizes),
            rng.integers(0, 7, (2, 1, 5)).astype(np.int32),
        ),
        write_oracle,
        sizes,
        variant=variant,
        call=write,
        titles=("apply",),
        follows=0,
        optional=("length", "rows", "hidden", "outputs"),
        bad=(
            *bad_params(shapes_of(transformer, tuple(sizes.items()))),
            *BAD_KEYS,
            Bad("tokens", args={1: np.ones((2, 1, 5))}),
            Bad("tokens", args={1: np.int32(3)}),
            *bad,
        ),
    )


ROWS = (
    row(
        "learned positions",
        length=6,
        bad=(
            Bad("tokens", args={1: np.ones((2, 1, 7), np.int32)}),
            Bad("heads", static={"width": 5}),
            Bad("dot_general", static={"dot_general": 3}),
            *bad_options(
                vocabulary=(0, None),
                width=(0,),
                heads=(0, 3),
                layers=(0, 1.0),
                hidden=(0,),
                outputs=(0,),
                length=(0,),
                attend=(None, 3, lambda q, k, v, layer: q[..., :1]),
                rows=(3, lambda table, n: table[:1]),
                dropout_rate=(-0.1, 1.0, None),
            ),
        ),
    ),
    row(
        "no positions",
        outputs=3,
        bad=(*bad_options(rows=(lambda table, n: table[:n],)),),
    ),
)
