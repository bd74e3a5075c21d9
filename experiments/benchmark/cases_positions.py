"""Rotary positions, ReRoPE by blocks and its decoding, beside PyTorch's forms."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.extras import need
from experiments.benchmark.case import Case, Form, Peer, Prepared
from experiments.benchmark.forms import jitted, stepping
from experiments.benchmark.peers_diffusers import all_threads
from kexue_jax import attention, positions
from kexue_jax.positions.rotary import apply_rope_plain

WINDOW = 512
DECODED = 4096


def draws(seed: int, *shapes: tuple[int, ...]) -> tuple[jax.Array, ...]:
    """Normal numbers of each shape."""
    draw = np.random.default_rng(seed)
    return tuple(jnp.asarray(draw.standard_normal(s), jnp.float32) for s in shapes)


def queries_and_keys(seed: int) -> tuple[jax.Array, ...]:
    """q, k [1, 12, 2048, 64]."""
    return draws(seed, *((1, 12, 2048, 64),) * 2)


def heads(seed: int) -> tuple[jax.Array, ...]:
    """q, k, v [1, 8, 2048, 64]."""
    return draws(seed, *((1, 8, 2048, 64),) * 3)


def rotated(form: Callable[..., jax.Array], interleaved: bool) -> Callable[..., Any]:
    """Queries and keys turned by a form."""

    def run(q: jax.Array, k: jax.Array) -> tuple[jax.Array, jax.Array]:
        turns = jnp.arange(q.shape[-2])
        freqs = positions.rope_frequencies(q.shape[-1])
        q, k = (form(x, turns, freqs, interleaved=interleaved) for x in (q, k))
        return q, k

    return run


def torch_angles(n: int, dim: int) -> tuple[Any, Any]:
    """cos and sin of the angles, each twice, as transformers composes them."""
    torch = need("torch", "bench")

    freqs = torch.from_numpy(np.array(positions.rope_frequencies(dim), np.float32))
    angles = torch.arange(n)[:, None].float() * freqs[None]
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def torch_turned(x: Any, cos: Any, sin: Any) -> Any:
    """x cos + rotate_half(x) sin."""
    torch = need("torch", "bench")

    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


def torch_rope(*inputs: Any) -> Form:
    """The form of transformers' models, half-split."""
    torch = need("torch", "bench")

    all_threads()
    tensors = [torch.from_numpy(np.array(x)) for x in inputs]

    def call() -> Any:
        cos, sin = torch_angles(*tensors[0].shape[-2:])
        return [torch_turned(x, cos, sin) for x in tensors]

    return Form(call, tuple(x.numpy() for x in call()))


def package_rope(*inputs: Any) -> Form:
    """``RotaryEmbedding.rotate_queries_or_keys``, interleaved."""
    torch = need("torch", "bench")

    all_threads()
    tensors = [torch.from_numpy(np.array(x)) for x in inputs]
    layer = need("rotary_embedding_torch", "bench").RotaryEmbedding(
        dim=tensors[0].shape[-1]
    )

    def call() -> Any:
        with torch.no_grad():
            return [layer.rotate_queries_or_keys(x) for x in tensors]

    return Form(call, tuple(x.numpy() for x in call()))


def rerope(
    q: jax.Array, k: jax.Array, v: jax.Array, *, form: Callable[..., jax.Array]
) -> jax.Array:
    """ReRoPE with a window of 512 by a form."""
    freqs = positions.rope_frequencies(q.shape[-1])
    return form(q, k, v, freqs=freqs, window=WINDOW, interleaved=False)


def torch_rerope(*inputs: Any) -> Form:
    """Two matrices of scores and a selection, as the author's patch."""
    torch = need("torch", "bench")

    all_threads()
    q, k, v = (torch.from_numpy(np.array(x)) for x in inputs)
    n, d = q.shape[-2:]
    place = torch.arange(n)
    delta = place[:, None] - place[None]

    def call() -> Any:
        cos, sin = torch_angles(n, d)
        near = torch_turned(q, cos, sin) @ torch_turned(k, cos, sin).transpose(-1, -2)
        still = torch_turned(q, cos[WINDOW], sin[WINDOW])
        scores = torch.where(delta < WINDOW, near, still @ k.transpose(-1, -2))
        scores = scores * d**-0.5
        scores = scores.masked_fill(delta < 0, -torch.inf)
        return scores.softmax(-1) @ v

    return Form(call, call().numpy())


def timed_alone(form: Callable[..., Any]) -> Prepared:
    """A form whose value is compared with nothing: the two forms differ by design."""

    def build(*inputs: Any) -> Form:
        return jitted(form, *inputs)._replace(value=None)

    return Prepared(build)


def rope_attention(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Plain rotary attention, block by block."""
    freqs = positions.rope_frequencies(q.shape[-1])
    return attention.rerope_attention(
        q, k, v, freqs=freqs, window=None, interleaved=False
    )


def with_gradient(form: Callable[..., jax.Array]) -> Callable[..., Any]:
    """Value and gradient of a sum of cosines of the form's output."""

    def total(*inputs: Any) -> jax.Array:
        return jnp.sum(jnp.cos(form(*inputs)))

    return jax.value_and_grad(total, (0, 1, 2))


def caches(seed: int) -> tuple[jax.Array, ...]:
    """Keys and values of 4,095 tokens and one token more, of 8 heads of 64."""
    rows = ((8, DECODED - 1, 64),) * 2
    return draws(seed, *rows, *((8, 64),) * 3)


def decoding(dual: bool) -> Prepared:
    """One token, again and again in the same place of a cache that is given back."""

    def build(keys: Any, values: Any, *token: Any) -> Form:
        freqs = positions.rope_frequencies(64)
        options = {"freqs": freqs, "window": WINDOW, "interleaved": False}
        if dual:
            cache = attention.rerope_cache(keys, values, size=DECODED, **options)
            step = attention.rerope_decode_step
        else:
            room = ((0, 0), (0, 1), (0, 0))
            k, v = (jnp.pad(x, room) for x in (keys, values))
            cache = attention.RawKeyCache(k, v, jnp.int32(DECODED - 1))
            step = attention.raw_decode_step

        def run(cache: Any, *token: Any) -> tuple[Any, jax.Array]:
            done = step(cache, *token, **options)
            return done.cache._replace(length=cache.length), done.out

        return stepping(run, cache, *token)

    return Prepared(build)


FAST = functools.partial(rerope, form=attention.rerope_attention)
TORCH = "torch, transformers' form"

CASES = (
    Case(
        "positions.rope_half_split",
        queries_and_keys,
        rotated(positions.apply_rope, False),
        rotated(apply_rope_plain, False),
        peers=(Peer("torch", torch_rope, label=TORCH),),
        gradient=(0, 1),
        tolerance=1e-4,
        goal=0.25,
        about="RoPE of q and k, 12 heads of 2048x64, half-split; twin: 2x2 matrices",
    ),
    Case(
        "positions.rope_interleaved",
        queries_and_keys,
        rotated(positions.apply_rope, True),
        rotated(apply_rope_plain, True),
        peers=(Peer("rotary-embedding-torch", package_rope),),
        gradient=(0, 1),
        tolerance=1e-4,
        goal=0.4,
        about="RoPE of q and k, 12 heads of 2048x64, interleaved; twin: 2x2 matrices",
    ),
    Case(
        "attention.rerope",
        heads,
        FAST,
        functools.partial(rerope, form=attention.dense_rerope_attention),
        peers=(Peer("torch", torch_rerope, label="torch, the author's form"),),
        gradient=(0, 1, 2),
        tolerance=5e-4,
        goal=0.4,
        about="ReRoPE, window 512, 8 heads of 2048x64, by blocks; twin: two matrices",
    ),
    Case(
        "attention.rerope_beside_rope",
        heads,
        timed_alone(FAST),
        timed_alone(rope_attention),
        goal=2.2,
        about="ReRoPE by blocks; in the twin's place plain RoPE attention by blocks",
    ),
    Case(
        "attention.rerope_beside_rope_gradient",
        heads,
        timed_alone(with_gradient(FAST)),
        timed_alone(with_gradient(rope_attention)),
        goal=2.2,
        about="the same with gradients",
    ),
    Case(
        "attention.rerope_decode",
        caches,
        decoding(True),
        decoding(False),
        tolerance=1e-3,
        about="one token after 4,095 by ReRoPE, dual cache; twin: plain keys turned",
    ),
)
