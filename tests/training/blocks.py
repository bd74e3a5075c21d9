"""A pre-norm transformer block in plain functions, and losses of stacks of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from kexue_jax.training import memory_report, remat, scan_layers

ROWS, LENGTH, WIDTH, HEADS = 2, 32, 16, 2


def norm(x):
    x = x - x.mean(-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-5)


def block(x, p):
    """Attention and a feed-forward network with named results."""
    b, n, d = x.shape
    q, k, v = (
        (norm(x) @ p[name]).reshape(b, n, HEADS, d // HEADS) for name in ("q", "k", "v")
    )
    weights = jax.nn.softmax(jnp.einsum("bnhd,bmhd->bhnm", q, k), -1)
    mixed = jnp.einsum("bhnm,bmhd->bnhd", weights, v).reshape(b, n, d)
    x = x + checkpoint_name(mixed @ p["o"], "attn_out")
    return x + checkpoint_name(
        jax.nn.gelu(norm(x) @ p["wide"]) @ p["narrow"], "ffn_out"
    )


def shapes(layers, dtype="float32"):
    """Parameters of the stack, and its input, as shapes."""
    sizes = dict.fromkeys("qkvo", (WIDTH, WIDTH))
    sizes |= {"wide": (WIDTH, 4 * WIDTH), "narrow": (4 * WIDTH, WIDTH)}
    params = {
        name: jax.ShapeDtypeStruct((layers, *size), dtype)
        for name, size in sizes.items()
    }
    return params, jax.ShapeDtypeStruct((ROWS, LENGTH, WIDTH), dtype)


def drawn(layers, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)

    def one(leaf):
        return jnp.asarray(rng.normal(size=leaf.shape) / WIDTH**0.5, dtype)

    return jax.tree.map(one, shapes(layers, dtype))


def scanned(**options):
    def loss(params, x):
        return jnp.square(scan_layers(block, params, x, **options)).mean()

    return loss


def whole(params, x):
    """One checkpoint around everything: the article's main warning."""
    return remat(scanned())(params, x)


def unrolled(policy):
    """A Python loop of checkpointed layers (None: of plain ones)."""

    def loss(params, x):
        run = block if policy is None else remat(block, policy=policy)
        for layer in range(params["q"].shape[0]):
            x = run(x, jax.tree.map(lambda leaf, n=layer: leaf[n], params))
        return jnp.square(x).mean()

    return loss


NAMES = "names:attn_out,ffn_out"
WAYS = {
    "none": scanned(),
    "layers": scanned(remat_policy="nothing"),
    "everything": scanned(remat_policy="everything"),
    "dots": scanned(remat_policy="dots"),
    "dots_no_batch": scanned(remat_policy="dots_no_batch"),
    "names": scanned(remat_policy=NAMES),
    "segments": scanned(segment=4),
    "nested": scanned(segment=4, nested=True),
    "three levels": scanned(segment=(8, 4, 2), nested=True),
    "uneven": scanned(segment=5, nested=True, unroll=2),
    "whole": whole,
}


@functools.cache
def residual_bytes(way, layers):
    return memory_report(WAYS[way], shapes(layers), compiled=False).residual_bytes


@functools.cache
def compiled(way, layers):
    return memory_report(WAYS[way], shapes(layers))
