"""How far attention divided over batch and heads is from the undivided, as JSON.

Each form on 8 devices by ``jax.shard_map``, value and gradients, relative to the
largest entry. Features, masks and lengths that are the same everywhere stay undivided.
"""

import functools
import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 8)
    jax.config.update("jax_enable_x64", True)

from kexue_jax import attention, positions

SHAPE = (4, 2, 40, 4)
CAUSAL = {"causal": True, "chunk_size": 16}
DIVIDED = jax.sharding.PartitionSpec("batch", "heads")
KEEP = jnp.arange(40) != 2
FREQUENCIES = positions.rope_frequencies(4)
PROJECTION = attention.orthogonal_projection(jax.random.key(0), m=8, d=4)

Form = Callable[[Any, Any, Any], jax.Array]


def by_features(form: Callable[..., jax.Array], **options: Any) -> Form:
    """Linear attention of q, k, v by elu + 1."""

    def attend(q: Any, k: Any, v: Any) -> jax.Array:
        return form(attention.elu1(q), attention.elu1(k), v, **options)

    return attend


def rotated(q: Any, k: Any, v: Any) -> jax.Array:
    """Linear attention whose numerator alone is turned by position."""
    q, k = attention.elu1(q), attention.elu1(k)
    turn = functools.partial(
        positions.apply_rope, positions=jnp.arange(40), freqs=FREQUENCIES
    )
    return attention.linear_attention(q, k, v, numerator=(turn(q), turn(k)), **CAUSAL)


def performer(q: Any, k: Any, v: Any) -> jax.Array:
    """Causal Performer with one projection for all heads."""
    return attention.performer_attention(q, k, v, PROJECTION, **CAUSAL)


def hashed(q: Any, k: Any, v: Any) -> jax.Array:
    """LSH attention, the same hashes on every device."""
    key = jax.random.key(0)
    return attention.lsh_attention(key, q + k, v, n_buckets=4, n_rounds=2)


def decoded(q: Any, k: Any, v: Any) -> jax.Array:
    """ReRoPE of the last token from the cache of those before."""
    options: dict[str, Any] = {"freqs": FREQUENCIES, "window": 8}
    cache = attention.rerope_cache(k[..., :-1, :], v[..., :-1, :], size=40, **options)
    token = (x[..., -1, :] for x in (q, k, v))
    out = attention.rerope_decode_step(cache, *token, **options).out
    return jnp.broadcast_to(out[..., None, :], q.shape)


FORMS: dict[str, Form] = {
    "blockwise": functools.partial(
        attention.blockwise_attention, causal=True, block_size=16, key_mask=KEEP
    ),
    "local": functools.partial(attention.local_attention, radius=9, causal=True),
    "linear": by_features(attention.linear_attention, **CAUSAL),
    "linear_full": by_features(attention.linear_attention, key_mask=KEEP),
    "linear_masked": by_features(
        attention.linear_attention, key_mask=KEEP, prefix_length=5, **CAUSAL
    ),
    "linear_rotated": rotated,
    "recurrent": by_features(attention.recurrent_linear_attention),
    "log_linear": functools.partial(attention.log_linear_attention, **CAUSAL),
    "log_linear_exact": lambda q, k, v: attention.log_linear_attention(
        q, 1e3 * k, v, key_mask=KEEP, prefix_length=5, **CAUSAL
    ),
    "performer": performer,
    "efficient": functools.partial(attention.efficient_attention, **CAUSAL),
    "taylor": functools.partial(attention.blockwise_taylor_attention, causal=True),
    "rerope": functools.partial(
        attention.rerope_attention, freqs=FREQUENCIES, window=8, causal=True
    ),
    "rerope_both_ways": functools.partial(
        attention.rerope_attention,
        freqs=FREQUENCIES,
        window=8,
        leak=3.0,
        causal=False,
        key_mask=KEEP,
        block_size=16,
    ),
    "rerope_dense": functools.partial(
        attention.dense_rerope_attention, freqs=FREQUENCIES, window=8
    ),
    "rerope_decode": decoded,
    "self_extend": functools.partial(
        attention.self_extend_attention, freqs=FREQUENCIES, window=8, group=4
    ),
    "hwfa": functools.partial(
        attention.hwfa_attention, freqs=FREQUENCIES, window=None, train_length=20
    ),
    "sparse": functools.partial(attention.sparse_attention, reach=5, causal=True),
    "lsh": hashed,
}


def mesh(batch: int, heads: int) -> jax.sharding.Mesh:
    """Devices by batch and heads."""
    kind = jax.sharding.AxisType.Auto
    return jax.make_mesh((batch, heads), ("batch", "heads"), axis_types=(kind, kind))


def value_and_gradients(form: Form, q: Any, k: Any, v: Any) -> tuple[jax.Array, ...]:
    """The output, and the gradients of the sum of its sines."""
    out, pull = jax.vjp(form, q, k, v)
    return out, *pull(jnp.cos(out))


def apart(form: Form, devices: jax.sharding.Mesh) -> float:
    """The largest difference, over the largest entry."""
    draw = np.random.default_rng(0)
    arrays = [jnp.asarray(draw.normal(size=SHAPE)) for _ in range(3)]
    run = functools.partial(value_and_gradients, form)
    divided = jax.shard_map(run, mesh=devices, in_specs=DIVIDED, out_specs=DIVIDED)
    pairs = zip(jax.jit(divided)(*arrays), jax.jit(run)(*arrays), strict=True)
    return max(float(jnp.abs(a - b).max() / jnp.abs(b).max()) for a, b in pairs)


def main() -> None:
    """Print it."""
    print(json.dumps({name: apart(form, mesh(4, 2)) for name, form in FORMS.items()}))


if __name__ == "__main__":
    main()
