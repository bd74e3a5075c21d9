"""The inequality between the gradients of a perceptron by input and by parameters."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_divide
from kexue_jax.theory.spectral import spectral_norm
from kexue_jax.training._perceptron import (
    Activation,
    Backward,
    Layers,
    Network,
    backward,
    check_targets,
    checked,
    squares,
)

NORMS = ("spectral", "frobenius", "jacobian")


class GradientBound(NamedTuple):
    """Both sides of the inequality of each example, and what they are made of.

    ``lhs`` [...] = inputs * sum_t terms <= ``rhs`` [...] = sum_t (weights + biases);
    ``terms`` [..., l] the coefficient of each layer; ``weights``, ``biases`` [..., l]
    the squared norms of the gradients by W_t and b_t (0 without a b_t); ``inputs``
    [...] that of the gradient by x.
    """

    lhs: jax.Array
    rhs: jax.Array
    terms: jax.Array
    weights: jax.Array
    biases: jax.Array
    inputs: jax.Array


def mlp_gradient_bound(
    params: Layers,
    x: jax.Array,
    f: Any,
    activation: Activation | list[Activation] | tuple[Activation, ...],
    *,
    targets: Any = None,
    norm: str = "spectral",
    iters: int | None = None,
) -> GradientBound:
    """Both sides of |grad_x L|^2 sum_t C_t <= |grad_params L|^2, for each example.

    h_1 = x, z_{t+1} = W_t h_t + b_t, h_{t+1} = activation(z_{t+1}), L = f(h_{l+1}),
    J_t = dh_t/dx, C_t = (1 + |h_t|^2) / N_t^2 (|h_t|^2 / N_t^2 without a b_t), where by
    ``norm`` "spectral": N_t = |W_t|_2 |J_t|_2; "frobenius": |W_t|_F |J_t|_F, weaker;
    "jacobian": |W_t J_t|_2, the sharp form. The proof, with delta_t = dL/dz_{t+1}:
    grad_x L = (W_t J_t)^T delta_t and |grad_{W_t} L| = |delta_t| |h_t|, for every t.
    A C_t with N_t = 0 is 0, as grad_x L is then.

    Shapes: params a list of (W [out, in], b [out] or None), x [..., d], f a function of
    h [d_out] (and of one example's ``targets``, a tree of arrays [..., *]) to a scalar,
    activation a function of [..., d_t] along the last axis, or one a layer
    -> GradientBound of [...] and [..., l].
    Article: kexue.fm/archives/8796.  Paper: arXiv 2111.15090.
    Differs: the article's proof divides by the entries of h, which may be 0; that of a
    single delta does not. "jacobian" is ours. The inequality is one of single examples:
    of the mean loss of a batch it is false (a test has the counter-example), and so it
    is for weights shared over positions, for skip connections, and for batch
    normalization, by whose statistics the loss of one example hangs on all.
    Cost: a forward and a backward pass, d columns carried through the layers for J_t,
    and the norms. Not meant to be trained through: singular values that meet have no
    gradient.
    Raises: TypeError or ValueError for layers that are no such list or do not fit each
    other, an ``x`` or ``targets`` of another shape, an ``f`` that gives no scalar, an
    unknown norm, ``iters`` (squarings of ``spectral_norm(side="upper")`` in place of
    the exact norms; the inequality stays certain) below 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import mlp_gradient_bound
        >>> layers = [(jnp.array([[2.0]]), jnp.array([1.0]))] * 2
        >>> x = jnp.array([1.0])
        >>> found = mlp_gradient_bound(layers, x, lambda h: h[0] ** 2, lambda z: z)
        >>> round(float(found.lhs), 1), float(found.rhs)
        (3528.0, 3528.0)
    """
    name = "mlp_gradient_bound"
    network = checked(name, params, x, f, activation)
    check_targets(name, targets, x.shape[:-1])
    checks.choice(name, "norm", norm, NORMS)
    if iters is not None:
        checks.count(name, "iters", iters)
    found = backward(name, network, f, targets)
    weights, biases, terms = [], [], []
    for h, delta, (_, b), divisor in zip(
        found.hidden[:-1],
        found.deltas,
        network.layers,
        _divisors(network, found, norm, iters),
        strict=True,
    ):
        has_bias = b is not None
        weights.append(squares(delta) * squares(h))
        biases.append(squares(delta) * has_bias)
        terms.append(safe_divide(squares(h) + has_bias, divisor))
    inputs = squares(found.inputs)
    stacked = [jnp.stack(parts, axis=-1) for parts in (terms, weights, biases)]
    lhs = inputs * jnp.sum(stacked[0], axis=-1)
    rhs = jnp.sum(stacked[1] + stacked[2], axis=-1)
    results = (lhs, rhs, *stacked, inputs)
    return GradientBound(*(r.astype(x.dtype) for r in results))


def _divisors(
    network: Network, found: Backward, norm: str, iters: int | None
) -> list[jax.Array]:
    """N_t^2 [...] of each layer."""
    x, squared = network.x, []
    identity = jnp.eye(x.shape[-1], dtype=x.dtype)
    jacobian = jnp.broadcast_to(identity, (*x.shape, x.shape[-1]))

    def size(a: jax.Array) -> jax.Array:
        if norm == "frobenius":
            return jnp.sum(jnp.square(a), axis=(-2, -1))
        return jnp.square(spectral_norm(a, iters=iters, side="upper"))

    for (w, _), z, phi in zip(
        network.layers, found.before, network.activations, strict=True
    ):
        moved = jnp.einsum("oi,...id->...od", w, jacobian)
        squared.append(size(moved) if norm == "jacobian" else size(w) * size(jacobian))
        jacobian = _pushed(phi, z, moved)
    return squared


def _pushed(phi: Activation, z: jax.Array, columns: jax.Array) -> jax.Array:
    """dphi(z) [..., o, o] times ``columns`` [..., o, d], a column at a time."""

    def push(column: jax.Array) -> jax.Array:
        return jax.jvp(phi, (z,), (column,))[1]

    return jax.vmap(push, in_axes=-1, out_axes=-1)(columns)
