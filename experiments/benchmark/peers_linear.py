"""Linear attention and FAVOR+ of other libraries, PyTorch on the CPU, as peers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments._harness.extras import need
from experiments.benchmark.case import Form, Peer
from experiments.benchmark.forms import jitted, with_gradient
from experiments.benchmark.peers_softmax import in_batch
from experiments.benchmark.peers_torch import torch_form
from kexue_jax import attention

# attend(q, k, v) of tensors [1, heads, n, d].
Attend = Callable[[Any, Any, Any], Any]


def late(attend: Callable[[], Attend], *, gradient: bool) -> Callable[..., Form]:
    """``build(q, k, v[, weights])`` of arrays [heads, n, d]; ``attend()`` imports."""

    def build(*inputs: Any) -> Form:
        return torch_form(in_batch(attend()), gradient=gradient)(*inputs)

    return build


def fla_chunks() -> Attend:
    """Chunks of 64 at once, as flash-linear-attention writes them without kernels."""
    naive = need("fla.ops.linear_attn.naive", "bench")

    def attend(q: Any, k: Any, v: Any) -> Any:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        out = naive.naive_chunk_linear_attn(q, k, v, scale=1.0, normalize=True)
        return out.transpose(1, 2)

    return attend


def performer_causal() -> Attend:
    """performer-pytorch's causal product without its CUDA kernel."""
    package = need("performer_pytorch.performer_pytorch", "bench")
    return package.causal_linear_attention_noncuda


def performer_full() -> Attend:
    """performer-pytorch's product of all keys."""
    return need("performer_pytorch.performer_pytorch", "bench").linear_attention


def performer_favor(w: Any, *, causal: bool) -> Callable[[], Attend]:
    """Its positive features of the projection ``w [m, d]``, and then its product."""

    def make() -> Attend:
        torch = need("torch", "bench")
        package = need("performer_pytorch.performer_pytorch", "bench")
        product = performer_causal() if causal else performer_full()
        matrix = torch.from_numpy(np.array(w))

        def attend(q: Any, k: Any, v: Any) -> Any:
            q, k = (
                package.softmax_kernel(x, projection_matrix=matrix, is_query=is_query)
                for x, is_query in ((q, True), (k, False))
            )
            return product(q, k, v)

        return attend

    return make


def quadratic(*, gradient: bool) -> Callable[..., Form]:
    """``build(q, k, v[, weights])``: all n x n products under the causal mask, JAX."""

    def attend(q: Any, k: Any, v: Any) -> Any:
        return attention.quadratic_linear_attention(q, k, v, causal=True)

    def build(*inputs: Any) -> Form:
        return jitted(with_gradient(attend) if gradient else attend, *inputs)

    return build


def causal_peers(n: int, *, gradient: bool) -> tuple[Peer, ...]:
    """Peers of the causal product; those that take seconds a call only up to 4,096."""
    fla = late(fla_chunks, gradient=gradient)
    peers = [Peer("flash-linear-attention", fla, module="fla", label="fla, chunks")]
    if n <= 4096:
        performer = late(performer_causal, gradient=gradient)
        peers += [
            Peer("performer-pytorch", performer),
            Peer("jax", quadratic(gradient=gradient), label="masked n x n products"),
        ]
    return tuple(peers)
