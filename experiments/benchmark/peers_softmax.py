"""Softmax attention of other libraries as peers: PyTorch's SDPA, jax.nn's."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.extras import need
from experiments.benchmark.case import Form, Peer
from experiments.benchmark.forms import jitted, with_gradient
from experiments.benchmark.peers_torch import torch_form

# mask(n) -> boolean [n, n], or None where there is only the causal one.
Mask = Callable[[int], Any] | None


def torch_sdpa(
    *, causal: bool = False, mask: Mask = None, gradient: bool = False
) -> Callable[..., Form]:
    """``build(q, k, v[, weights])``: scaled_dot_product_attention of [heads, n, d]."""

    def build(*inputs: Any) -> Form:
        torch = need("torch", "bench")

        n = inputs[0].shape[-2]
        keep = None if mask is None else torch.from_numpy(np.array(mask(n)))
        attend = functools.partial(
            torch.nn.functional.scaled_dot_product_attention,
            is_causal=causal,
            attn_mask=keep,
        )
        return torch_form(in_batch(attend), gradient=gradient)(*inputs)

    return build


def in_batch(attend: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors [1, heads, n, d] as one of [heads, n, d]."""
    return lambda q, k, v: attend(q[None], k[None], v[None])[0]


def jax_nn(*, causal: bool = False, gradient: bool = False) -> Callable[..., Form]:
    """``build(q, k, v[, weights])``: jax.nn.dot_product_attention of [heads, n, d]."""

    def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        q, k, v = (jnp.swapaxes(x, 0, 1)[None] for x in (q, k, v))
        out = jax.nn.dot_product_attention(q, k, v, is_causal=causal)
        return jnp.swapaxes(out[0], 0, 1)

    def build(*inputs: Any) -> Form:
        return jitted(with_gradient(attend) if gradient else attend, *inputs)

    return build


def peers(*, causal: bool, gradient: bool) -> tuple[Peer, ...]:
    """Both peers of plain softmax attention."""
    options = {"causal": causal, "gradient": gradient}
    return (
        Peer("torch", torch_sdpa(**options), label="torch SDPA"),
        Peer("jax", jax_nn(**options), label="jax.nn.dot_product_attention"),
    )
