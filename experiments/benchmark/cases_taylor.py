"""Taylor softmax and Taylor attention, beside the forms that PyTorch code composes."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.extras import need
from experiments.benchmark.case import Case, Form, Peer
from experiments.benchmark.peers_diffusers import all_threads
from kexue_jax import attention, numerics


def rows(seed: int) -> tuple[jax.Array]:
    """Logits [4096, 1024]."""
    draw = np.random.default_rng(seed)
    return (jnp.asarray(2 * draw.standard_normal((4096, 1024)), jnp.float32),)


def heads(seed: int) -> tuple[jax.Array, ...]:
    """q, k, v [1, 8, 2048, 32]."""
    draw = np.random.default_rng(seed)
    shape = (1, 8, 2048, 32)
    return tuple(jnp.asarray(draw.standard_normal(shape), jnp.float32) for _ in "qkv")


def softmax_by_logs(x: jax.Array, *, order: int) -> jax.Array:
    """The readable twin: exp of the logarithms."""
    return jnp.exp(numerics.log_taylor_softmax(x, order=order))


def polynomial(x: Any, order: int) -> Any:
    """f_n as PyTorch code writes it, power by power."""
    total, term = 1 + x, x
    for k in range(2, order + 1):
        term = term * x / k
        total = total + term
    return total


def torch_softmax(x: Any, *, order: int) -> Form:
    """The ratio of polynomials."""
    torch = need("torch", "bench")

    all_threads()
    values = torch.from_numpy(np.array(x))

    def call() -> Any:
        f = polynomial(values, order)
        return f / f.sum(-1, keepdim=True)

    return Form(call, call().numpy())


def torch_attention(*inputs: Any, causal: bool) -> Form:
    """Scores, polynomial of order 2, normalization, product."""
    torch = need("torch", "bench")

    all_threads()
    q, k, v = (torch.from_numpy(np.array(x)) for x in inputs)
    keep = torch.ones(q.shape[-2], k.shape[-2]).tril()

    def call() -> Any:
        f = polynomial(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, 2)
        f = f * keep if causal else f
        return f / f.sum(-1, keepdim=True) @ v

    return Form(call, call().numpy())


def attention_case(name: str, causal: bool, goal: float, about: str) -> Case:
    """Order 2 by row blocks, the whole matrix, and PyTorch's composition."""
    return Case(
        name,
        heads,
        functools.partial(attention.blockwise_taylor_attention, causal=causal),
        functools.partial(attention.taylor_attention, causal=causal),
        peers=(Peer("torch", functools.partial(torch_attention, causal=causal)),),
        gradient=(0, 1, 2),
        goal=goal,
        about=about,
    )


CASES = (
    *(
        Case(
            f"taylor.softmax_{order}",
            rows,
            functools.partial(numerics.taylor_softmax, order=order),
            functools.partial(softmax_by_logs, order=order),
            peers=(Peer("torch", functools.partial(torch_softmax, order=order)),),
            gradient=(0,),
            goal=1.0,
            about=f"Taylor softmax of order {order} of 4096 rows of 1024 logits",
        )
        for order in (2, 6)
    ),
    attention_case(
        "taylor.attention",
        False,
        0.25,
        "Taylor attention of order 2, 8 heads of 2048 rows of 32; twin: whole matrix",
    ),
    attention_case("taylor.attention_causal", True, 0.25, "the same, causal"),
)
