"""The parameter-gradient penalty of a perceptron without any gradient per example."""

from typing import Any

import jax

from kexue_jax.training._perceptron import (
    Activation,
    Layers,
    backward,
    check_targets,
    checked,
    squares,
)


def mlp_parameter_penalty(
    params: Layers,
    x: jax.Array,
    f: Any,
    activation: Activation | list[Activation] | tuple[Activation, ...],
    *,
    targets: Any = None,
) -> jax.Array:
    """The squared norm of each example's gradient by all parameters of a perceptron.

    h_1 = x, z_{t+1} = W_t h_t + b_t, h_{t+1} = activation(z_{t+1}), L = f(h_{l+1}).
    With delta_t = dL / dz_{t+1} the gradient by W_t is delta_t h_t^T, of rank one, so
    |grad_params L|^2 = sum_t |delta_t|^2 (1 + |h_t|^2), without the 1 where b_t is
    None: one forward and one backward pass for all examples, no gradient per example.

    Shapes: params a list of (W [out, in], b [out] or None), x [..., d], f a function of
    h [d_out] (and of one example's ``targets``, a tree of arrays [..., *]) to a scalar,
    activation a function of [..., d_t] along the last axis, or one a layer -> [...].
    Article: kexue.fm/archives/8796.  Paper: arXiv 2111.15090.
    Differs: the articles write the penalty and leave its computation open; the readable
    twin is ``parameter_gradient_penalty`` with groups of 1. W is [out, in], as in the
    article: the transpose of a flax kernel. Right for plain perceptrons only: weights
    that are shared over positions add up over them before the norm is taken.
    Cost: a forward and a backward pass, O(n (d_1 + ... + d_l)) memory for n examples.
    For 4 layers of 512 and 256 examples, penalty and its gradient: 9 MiB, against 523
    of the twin (compiled, CPU); of the value alone XLA stores no gradient per example
    in either form.
    Raises: TypeError or ValueError for layers that are no such list or do not fit each
    other, an ``x`` or ``targets`` of another shape, an ``f`` that gives no scalar.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.training import mlp_parameter_penalty
        >>> layer = (jnp.array([[2.0, 0.0]]), jnp.array([1.0]))
        >>> x = jnp.array([[3.0, 4.0], [0.0, 0.0]])
        >>> print(mlp_parameter_penalty([layer], x, lambda h: 3 * h[0], lambda z: z))
        [234.   9.]
    """
    name = "mlp_parameter_penalty"
    network = checked(name, params, x, f, activation)
    check_targets(name, targets, x.shape[:-1])
    found = backward(name, network, f, targets)
    total: Any = 0
    for h, delta, (_, b) in zip(
        found.hidden[:-1], found.deltas, network.layers, strict=True
    ):
        total = total + squares(delta) * (squares(h) + (b is not None))
    return total.astype(x.dtype)
