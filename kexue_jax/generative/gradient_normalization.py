"""Critics divided by the norm of their own gradient by the input: GN, GraN, kin."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_divide
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.generative._critics import (
    Critic,
    along_examples,
    check_batch,
    check_critic,
    example_norm,
    example_sum,
    linear_along,
    value_and_slope,
)

KINDS = ("gn", "gran", "gran_simple", "raw", "inner")
Number = float | jax.Array


class NormalizedOutput(NamedTuple):
    """What ``gradient_normalize`` returns, each [B].

    d_hat is the normalized value, d the critic's own, grad_norm the norm of the
    gradient of d by the example.

    Article: kexue.fm/archives/8757.
    """

    d_hat: jax.Array
    d: jax.Array
    grad_norm: jax.Array


def input_gradient_norm(critic: Critic, x: jax.Array) -> jax.Array:
    """The norm of a critic's gradient by each example.

    n_b = |d critic(x)_b / d x_b|, Euclidean over all axes but that of examples.

    Shapes: critic a function of [B, *d] to [B], x [B, *d] -> [B].
    Article: kexue.fm/archives/8757, 4439.  Paper: arXiv 1704.00028.
    Differs: no. Value b must depend on example b alone: batch norm, minibatch
    deviations or any other mixing of examples make it the norm of something else.
    Cost: one forward and one backward pass of the critic.
    Raises: TypeError or ValueError for an ``x`` that is no floating array with an axis
    of examples, a critic that is no function to one real number an example.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import input_gradient_norm
        >>> x = jnp.array([[3.0, 4.0], [1.0, 0.0]])
        >>> print(input_gradient_norm(lambda x: (x**2).sum(-1), x))
        [10.  2.]
    """
    name = "input_gradient_norm"
    check_batch(name, "x", x)
    check_critic(name, "critic", critic, x)
    return example_norm(value_and_slope(critic, x)[1]).astype(x.dtype)


def gradient_normalize(
    critic: Critic,
    x: jax.Array,
    *,
    kind: str = "gn",
    eps: Number = 0.1,
    scale: Number = 1.0,
    piecewise_linear: bool = False,
    detach_norm: bool = False,
) -> NormalizedOutput:
    """A critic's values normalized by the norm of its gradient, with both.

    With d = critic(x), g its gradient by x and n = |g|, d_hat = scale times

    d / (n + |d|) for "gn", d n / (n^2 + eps) for "gran", d / (n + eps) for
    "gran_simple", d / n for "raw" and <g / n, x> for "inner".

    For piecewise linear critics (ReLU, leaky ReLU; no norm that mixes) and inside of
    one piece |grad d_hat| is (n / (n + |d|))^2, n^2 / (n^2 + eps), n / (n + eps) and 1
    for the first four: at most 1. Across pieces d_hat jumps, so that it is not
    Lipschitz. For smooth activations even the gradient is unbounded.

    ``piecewise_linear`` promises such a critic: the derivative by x is then taken from
    the g that is there already, so that a step of the generator costs one forward and
    one backward pass like any other's; the derivative by parameters stays whole.
    ``detach_norm`` stops the gradient at n (and g): another method, for study.

    Shapes: critic a function of [B, *d] to [B], x [B, *d] -> three [B].
    Article: kexue.fm/archives/8757.  Paper: arXiv 2109.02235, 2111.03162.
    Differs: where a denominator is 0 the result is 0, with a gradient of 0, not NaN.
    "inner", the article's probe, is not equivalent: no bias has a gradient. The common
    code halves a step's cost by hooks that scale gradients by hand; here
    ``piecewise_linear`` does it exactly. Value b must depend on example b alone.
    Cost: one backward pass beside the value; gradients by parameters differentiate
    through it. By x: the same again, or with ``piecewise_linear`` no pass at all.
    Raises: TypeError or ValueError for a bad critic or batch, an unknown kind, eps not
    above 0, flags that are no bools.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.generative import gradient_normalize
        >>> f, x = lambda x: 2 * x[:, 0], jnp.array([[1.0, 0.5]])
        >>> print(*gradient_normalize(f, x))
        [0.5] [2.] [2.]
        >>> print(jax.grad(lambda x: gradient_normalize(f, x).d_hat.sum())(x))
        [[0.25 0.  ]]
    """
    name = "gradient_normalize"
    _check_options(name, kind, eps, scale, piecewise_linear, detach_norm)
    check_batch(name, "x", x)
    check_critic(name, "critic", critic, x)
    at = jax.lax.stop_gradient(x) if piecewise_linear else x
    d, slope = value_and_slope(critic, at)
    if piecewise_linear:
        d = linear_along(d, x, slope)
    norm = example_norm(slope)
    wide = d.astype(accumulation_dtype(norm, d))
    used = jax.lax.stop_gradient((slope, norm)) if detach_norm else (slope, norm)
    d_hat = scale * _normalized(kind, wide, x, used[0], used[1], eps)
    return NormalizedOutput(*(part.astype(x.dtype) for part in (d_hat, d, norm)))


def normalized_critic(
    apply: Callable[..., Any],
    *,
    kind: str = "gn",
    eps: Number = 0.1,
    scale: Number = 1.0,
    piecewise_linear: bool = False,
    detach_norm: bool = False,
) -> Callable[..., jax.Array]:
    """The critic with parameters whose values are those of another, normalized.

    (params, x, *conditions) -> gradient_normalize(x -> apply(params, x, *conditions),
    x).d_hat, for a critic that may be conditional: the gradient is by x alone.

    Shapes: apply a function of params (any tree), x [B, *d] and conditions to [B] -> a
    function of the same arguments to [B].
    Article: kexue.fm/archives/8757.  Paper: arXiv 2109.02235, 2111.03162.
    Differs: see ``gradient_normalize``.
    Cost: see ``gradient_normalize``.
    Raises: as ``gradient_normalize``, and TypeError for an ``apply`` that is no
    function.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import normalized_critic
        >>> critic = normalized_critic(lambda w, x: x @ w)
        >>> print(critic(jnp.array([3.0, 4.0]), jnp.array([[1.0, 0.5]])))
        [0.5]
    """
    name = "normalized_critic"
    checks.function(name, "apply", apply)
    _check_options(name, kind, eps, scale, piecewise_linear, detach_norm)

    def critic(params: Any, x: jax.Array, *conditions: Any) -> jax.Array:
        check_batch(name, "x", x)

        def value(x: jax.Array) -> Any:
            return apply(params, x, *conditions)

        check_critic(name, "apply", value, x)
        found = gradient_normalize(
            value,
            x,
            kind=kind,
            eps=eps,
            scale=scale,
            piecewise_linear=piecewise_linear,
            detach_norm=detach_norm,
        )
        return found.d_hat

    return critic


def _normalized(
    kind: str,
    d: jax.Array,
    x: jax.Array,
    slope: jax.Array,
    norm: jax.Array,
    eps: Number,
) -> jax.Array:
    """The normalized values, before the scale."""
    if kind == "gn":
        return safe_divide(d, norm + jnp.abs(d))
    if kind == "gran":
        return d * norm / (jnp.square(norm) + eps)
    if kind == "gran_simple":
        return d / (norm + eps)
    if kind == "raw":
        return safe_divide(d, norm)
    direction = safe_divide(slope.astype(norm.dtype), along_examples(norm, slope))
    return example_sum(direction * x)


def _check_options(
    name: str, kind: Any, eps: Any, scale: Any, piecewise_linear: Any, detach_norm: Any
) -> None:
    checks.choice(name, "kind", kind, KINDS)
    checks.number(name, "eps", eps, minimum=0, open_minimum=True, traced=True)
    checks.number(name, "scale", scale, traced=True)
    checks.flag(name, "piecewise_linear", piecewise_linear)
    checks.flag(name, "detach_norm", detach_norm)
