"""A perceptron of dense layers, forward and backward, and the parts of its gradient."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype

Layers = Sequence[tuple[jax.Array, jax.Array | None]]
Activation = Callable[[jax.Array], jax.Array]


class Backward(NamedTuple):
    """Inputs of layers h_t [..., d_t], z_t+1 and d f / d z_t+1 [..., d_t+1]; d f / d x.

    All in at least float32.
    """

    hidden: list[jax.Array]
    before: list[jax.Array]
    deltas: list[jax.Array]
    inputs: jax.Array


class Network(NamedTuple):
    """Checked layers in at least float32, one activation a layer, the dtype of x."""

    layers: list[tuple[jax.Array, jax.Array | None]]
    activations: list[Activation]
    x: jax.Array


def checked(name: str, params: Any, x: Any, f: Any, activation: Any) -> Network:
    """The arguments of a perceptron, refused by name where they do not fit."""
    checks.array(name, "x", x)
    if x.ndim < 1:
        raise checks.fail(name, "x", f"shape {x.shape}", "of shape [..., d]")
    checks.function(name, "f", f)
    if not isinstance(params, (list, tuple)) or not params:
        got = f"a {type(params).__name__} of {_length(params)}"
        wanted = "a list of pairs (W [out, in], b [out] or None), not empty"
        raise checks.fail_type(name, "params", got, wanted)
    width = x.shape[-1]
    for place, layer in enumerate(params):
        width = _checked_layer(name, f"params[{place}]", layer, width)
    activations = activation
    if isinstance(activation, (list, tuple)):
        if len(activation) != len(params):
            got, wanted = f"{len(activation)} of them", f"{len(params)}, one a layer"
            raise checks.fail(name, "activation", got, wanted)
    else:
        activations = [activation] * len(params)
    for one in activations:
        checks.function(name, "activation", one)
    arrays = [a for layer in params for a in layer if a is not None]
    wide = accumulation_dtype(x, *arrays)
    layers = [
        (jnp.asarray(w, wide), None if b is None else jnp.asarray(b, wide))
        for w, b in params
    ]
    return Network(layers, list(activations), jnp.asarray(x, wide))


def _length(value: Any) -> str:
    return f"length {len(value)}" if hasattr(value, "__len__") else "no length"


def _checked_layer(name: str, argument: str, layer: Any, width: int) -> int:
    """The width of the layer's output, or an error that names the layer."""
    if not isinstance(layer, (list, tuple)) or len(layer) != 2:
        got = f"a {type(layer).__name__} of {_length(layer)}"
        raise checks.fail_type(name, argument, got, "a pair (W, b)")
    w, b = layer
    checks.array(name, f"{argument}[0]", w)
    if w.ndim != 2 or w.shape[1] != width:
        wanted = f"of shape [out, {width}]"
        raise checks.fail(name, f"{argument}[0]", f"shape {w.shape}", wanted)
    if b is not None:
        checks.array(name, f"{argument}[1]", b)
        if b.shape != w.shape[:1]:
            wanted = f"of shape {w.shape[:1]}"
            raise checks.fail(name, f"{argument}[1]", f"shape {b.shape}", wanted)
    return w.shape[0]


def backward(name: str, network: Network, f: Any, targets: Any) -> Backward:
    """One forward and one backward pass over all examples together.

    Each z_t+1 gets a zero added, whose gradient is the example's own delta.
    """
    x = network.x
    lead = x.shape[:-1]
    each = f
    for _ in lead:
        each = jax.vmap(each)
    more = () if targets is None else (targets,)

    def total(x: jax.Array, zeros: list[jax.Array]) -> tuple[jax.Array, Any]:
        hidden, before = [x], []
        for (w, b), phi, zero in zip(
            network.layers, network.activations, zeros, strict=True
        ):
            z = hidden[-1] @ w.T + zero
            if b is not None:
                z = z + b.reshape((1,) * len(lead) + b.shape)
            before.append(z)
            hidden.append(phi(z))
            if hidden[-1].shape != z.shape:
                got = f"shape {hidden[-1].shape} for {z.shape}"
                wanted = "functions that keep the shape"
                raise checks.fail(name, "activation", got, wanted)
        values = each(hidden[-1], *more)
        if jnp.shape(values) != lead:
            got = f"a result of shape {jnp.shape(values)[len(lead) :]}"
            raise checks.fail(name, "f", got, "a scalar function of one example")
        return jnp.sum(values), (hidden, before)

    zeros = [jnp.zeros((*lead, w.shape[0]), x.dtype) for w, _ in network.layers]
    (inputs, deltas), kept = jax.grad(total, (0, 1), has_aux=True)(x, zeros)
    hidden, before = kept
    return Backward(hidden, before, deltas, inputs)


def check_targets(name: str, targets: Any, lead: tuple[int, ...]) -> None:
    """Raise unless every leaf of ``targets`` is an array that starts with ``lead``."""
    for leaf in jax.tree.leaves(targets):
        if not checks.is_array(leaf):
            got = f"a {type(leaf).__name__}"
            raise checks.fail_type(name, "targets", got, "a tree of arrays")
        if leaf.shape[: len(lead)] != lead:
            wanted = f"of leading axes {list(lead)}, as x has"
            raise checks.fail(name, "targets", f"shape {leaf.shape}", wanted)


def squares(x: jax.Array) -> jax.Array:
    """The sum of squares over the last axis."""
    return jnp.sum(jnp.square(x), axis=-1)
