"""Penalties on gradients of a perceptron, beside gradients per example and PyTorch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.extras import need
from experiments.benchmark.case import Case, Form, Peer
from experiments.benchmark.peers_diffusers import all_threads
from kexue_jax.training import (
    input_gradient_penalty,
    mlp_parameter_penalty,
    parameter_gradient_penalty,
)

WIDTH, LAYERS, EXAMPLES = 512, 4, 256


def perceptron(seed: int) -> tuple[Any, jax.Array]:
    """Four layers of 512, tanh, and 256 examples."""
    draw = np.random.default_rng(seed)
    params = [
        (
            jnp.asarray(draw.standard_normal((WIDTH, WIDTH)) / WIDTH**0.5, jnp.float32),
            jnp.zeros(WIDTH, jnp.float32),
        )
        for _ in range(LAYERS)
    ]
    x = jnp.asarray(draw.standard_normal((EXAMPLES, WIDTH)), jnp.float32)
    return params, x


def score(h: jax.Array) -> jax.Array:
    """What the network's result is worth."""
    return jnp.sum(jnp.square(h)) / 2


def network(params: Any, x: jax.Array) -> jax.Array:
    """The score of one example."""
    for w, b in params:
        x = jnp.tanh(w @ x + b)
    return score(x)


def rank_one(params: Any, x: jax.Array) -> jax.Array:
    """By deltas and hidden states."""
    return mlp_parameter_penalty(params, x, score, jnp.tanh).mean()


def per_example(params: Any, x: jax.Array) -> jax.Array:
    """By the gradient of every example."""
    return parameter_gradient_penalty(network, params, x, group=1)


def with_slope(f: Callable[..., jax.Array]) -> Callable[..., Any]:
    """The penalty and its gradient by the parameters."""
    return jax.value_and_grad(f)


def by_input(params: Any, x: jax.Array) -> jax.Array:
    """The mean penalty on gradients by the input."""
    return input_gradient_penalty(lambda one: network(params, one), x).mean()


def by_input_twin(params: Any, x: jax.Array) -> jax.Array:
    """The same, an example after the other."""
    grads = jax.lax.map(lambda one: jax.grad(network, 1)(params, one), x)
    return jnp.sum(jnp.square(grads), axis=-1).mean()


def torch_by_input(params: Any, x: Any) -> Form:
    """Double backward."""
    torch = need("torch", "bench")

    all_threads()
    leaves = [
        torch.from_numpy(np.array(leaf)).requires_grad_()
        for layer in params
        for leaf in layer
    ]
    inputs = torch.from_numpy(np.array(x))

    def call() -> Any:
        start = inputs.clone().requires_grad_()
        h = start
        for w, b in zip(leaves[::2], leaves[1::2], strict=True):
            h = torch.tanh(torch.nn.functional.linear(h, w, b))
        total = (h**2).sum() / 2
        (slope,) = torch.autograd.grad(total, start, create_graph=True)
        penalty = (slope**2).sum(-1).mean()
        return penalty.detach(), torch.autograd.grad(penalty, leaves)

    penalty, grads = call()
    found = (penalty.numpy(), [g.numpy() for g in grads])
    return Form(call, found)


SIZES = f"{LAYERS} layers of {WIDTH}, {EXAMPLES} examples"
CASES = (
    Case(
        "training.mlp_penalty",
        perceptron,
        rank_one,
        per_example,
        goal=0.2,
        memory_goal=0.1,
        about=f"parameter penalty, {SIZES}; twin: a gradient per example",
    ),
    Case(
        "training.mlp_penalty_gradient",
        perceptron,
        with_slope(rank_one),
        with_slope(per_example),
        tolerance=1e-4,
        goal=0.2,
        memory_goal=0.1,
        about=f"parameter penalty and its gradient, {SIZES}; twin: one per example",
    ),
    Case(
        "training.input_penalty_gradient",
        perceptron,
        with_slope(by_input),
        with_slope(by_input_twin),
        (Peer("torch", torch_by_input, label="torch double backward"),),
        tolerance=1e-4,
        goal=1.0,
        about=f"input penalty and its gradient, {SIZES}; twin: example by example",
    ),
)
