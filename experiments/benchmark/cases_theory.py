"""Recurrent cells, recomputed layers and tangent kernels, beside PyTorch."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.case import Case, Peer
from experiments.benchmark.forms import with_gradient
from experiments.benchmark.peers_theory import torch_lstm, torch_tangent_kernel
from experiments.benchmark.peers_torch import torch_form
from kexue_jax.theory import (
    CellState,
    lstm_cell,
    mlp_tangent_kernel,
    scan_rnn,
    tangent_kernel,
)
from kexue_jax.training import scan_layers

ROWS, WIDTH = 16, 128


def sequences(seed: int, *, length: int, gradient: bool) -> Any:
    """w, u, b of an LSTM, xs [16, n, 128], and weights for a gradient."""
    rng = np.random.default_rng(seed)
    w, u = rng.normal(size=(2, WIDTH, 4 * WIDTH)) / WIDTH**0.5
    made = [w, u, rng.normal(size=4 * WIDTH), rng.normal(size=(ROWS, length, WIDTH))]
    made += [rng.normal(size=(ROWS, length, WIDTH))] * gradient
    return tuple(jnp.asarray(x, jnp.float32) for x in made)


def run_lstm(w: Any, u: Any, b: Any, xs: Any, *, plain: bool) -> jax.Array:
    """The outputs: with all projections at once, or cell by cell."""

    def cell(params: Any, state: Any, x: Any) -> Any:
        return lstm_cell(params, state, x)

    zero = jnp.zeros((len(xs), WIDTH), xs.dtype)
    params = {"w": w, "u": u, "b": b}
    return scan_rnn(cell if plain else lstm_cell, params, CellState(zero, zero), xs).out


def lstm(length: int, *, goal: float, gradient: bool) -> Case:
    """An LSTM over a sequence."""
    fast, twin = (functools.partial(run_lstm, plain=plain) for plain in (False, True))
    if gradient:
        fast, twin = with_gradient(fast), with_gradient(twin)
    return Case(
        f"theory.lstm_{length}" + ("_gradient" if gradient else ""),
        functools.partial(sequences, length=length, gradient=gradient),
        fast,
        twin,
        (Peer("torch", torch_form(torch_lstm, gradient=gradient)),),
        tolerance=1e-4,
        goal=goal,
        about=f"LSTM of {WIDTH} units, {ROWS} rows of {length}"
        + (", with gradients" if gradient else "")
        + "; twin: every product inside of the loop",
    )


def perceptron(seed: int, *, rows: int) -> Any:
    """Kernels and biases of a 64-256-256-1 perceptron, and two sets of inputs."""
    rng = np.random.default_rng(seed)
    made = []
    for a, b in itertools.pairwise((64, 256, 256, 1)):
        made += [rng.normal(size=(a, b)) / a**0.5, rng.normal(size=b)]
    made += [rng.normal(size=(rows, 64)), rng.normal(size=(rows, 64))]
    return tuple(jnp.asarray(x, jnp.float32) for x in made)


def layers_of(leaves: Any) -> list[dict[str, jax.Array]]:
    return [
        {"kernel": k, "bias": b} for k, b in zip(leaves[::2], leaves[1::2], strict=True)
    ]


def by_structure(*inputs: Any) -> jax.Array:
    *leaves, xa, xb = inputs
    return mlp_tangent_kernel(layers_of(leaves), xa, xb)[..., 0, 0]


def by_jacobians(*inputs: Any) -> jax.Array:
    *leaves, xa, xb = inputs

    def network(params: Any, x: jax.Array) -> jax.Array:
        for number, layer in enumerate(params):
            x = x @ layer["kernel"] + layer["bias"]
            x = x if number == len(params) - 1 else jnp.tanh(x)
        return x[0]

    return tangent_kernel(network, layers_of(leaves), xa, xb)


DEPTH = 8


def stack(seed: int) -> Any:
    """Kernels of 8 layers [8, 256, 1024] and [8, 1024, 256], and 512 rows."""
    rng = np.random.default_rng(seed)
    wide = rng.normal(size=(DEPTH, 256, 1024)) / 16
    narrow = rng.normal(size=(DEPTH, 1024, 256)) / 32
    made = wide, narrow, rng.normal(size=(512, 256))
    return tuple(jnp.asarray(x, jnp.float32) for x in made)


def recomputed(wide: Any, narrow: Any, x: Any, *, policy: str | None) -> Any:
    """The gradient of a stack of layers, recomputed or not."""

    def layer(x: jax.Array, p: Any) -> jax.Array:
        return x + jax.nn.gelu(x @ p["wide"]) @ p["narrow"]

    def total(params: Any) -> jax.Array:
        return jnp.square(scan_layers(layer, params, x, remat_policy=policy)).mean()

    return jax.grad(total)({"wide": wide, "narrow": narrow})


CASES = (
    lstm(256, goal=1.5, gradient=False),
    lstm(256, goal=1.5, gradient=True),
    Case(
        "theory.mlp_tangent_kernel_256",
        functools.partial(perceptron, rows=256),
        by_structure,
        by_jacobians,
        (Peer("torch", torch_form(torch_tangent_kernel, gradient=False)),),
        tolerance=1e-4,
        goal=0.25,
        about="tangent kernel of 256 by 256 inputs, 82,689 parameters, from "
        "activations and backward signals; twin and peer: Jacobians",
    ),
    Case(
        "training.recompute_layers_gradient",
        stack,
        functools.partial(recomputed, policy="nothing"),
        functools.partial(recomputed, policy=None),
        tolerance=1e-4,
        goal=1.35,
        about="gradient of 8 layers 256-1024-256, 512 rows, each layer recomputed; "
        "twin: everything kept",
    ),
)
