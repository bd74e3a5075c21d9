"""Softmax attention of other libraries as peers: PyTorch's SDPA, jax.nn's."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.extras import need
from experiments.benchmark.case import Form, Peer
from experiments.benchmark.forms import jitted
from experiments.benchmark.peers_diffusers import all_threads

# mask(n) -> boolean [n, n], or None where there is only the causal one.
Mask = Callable[[int], Any] | None


def torch_sdpa(
    *, causal: bool = False, mask: Mask = None, gradient: bool = False
) -> Callable[..., Form]:
    """``build(q, k, v[, weights])``: scaled_dot_product_attention of [heads, n, d]."""

    def build(*inputs: Any) -> Form:
        torch = need("torch", "bench")

        all_threads()
        q, k, v, *weights = (torch.from_numpy(np.array(x))[None] for x in inputs)
        keep = None if mask is None else torch.from_numpy(np.array(mask(q.shape[-2])))
        options = {"is_causal": causal, "attn_mask": keep}
        attend = torch.nn.functional.scaled_dot_product_attention

        def forward() -> Any:
            with torch.no_grad():
                return attend(q, k, v, **options)

        def backward() -> Any:
            leaves = [x.detach().requires_grad_() for x in (q, k, v)]
            out = attend(*leaves, **options)
            out.backward(weights[0])
            return out.detach(), *(x.grad for x in leaves)

        if gradient:
            return Form(backward, tuple(x[0].numpy() for x in backward()))
        return Form(forward, forward()[0].numpy())

    return build


def jax_nn(*, causal: bool = False, gradient: bool = False) -> Callable[..., Form]:
    """``build(q, k, v[, weights])``: jax.nn.dot_product_attention of [heads, n, d]."""

    def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        q, k, v = (jnp.swapaxes(x, 0, 1)[None] for x in (q, k, v))
        out = jax.nn.dot_product_attention(q, k, v, is_causal=causal)
        return jnp.swapaxes(out[0], 0, 1)

    def build(*inputs: Any) -> Form:
        return jitted(with_gradient(attend) if gradient else attend, *inputs)

    return build


def with_gradient(attend: Callable[..., jax.Array]) -> Callable[..., Any]:
    """``f(q, k, v, weights)``: the output, and gradients of sum(weights * output)."""

    def run(q: jax.Array, k: jax.Array, v: jax.Array, weights: jax.Array) -> Any:
        out, pull = jax.vjp(attend, q, k, v)
        return out, *pull(weights)

    return run


def peers(*, causal: bool, gradient: bool) -> tuple[Peer, ...]:
    """Both peers of plain softmax attention."""
    options = {"causal": causal, "gradient": gradient}
    return (
        Peer("torch", torch_sdpa(**options), label="torch SDPA"),
        Peer("jax", jax_nn(**options), label="jax.nn.dot_product_attention"),
    )
