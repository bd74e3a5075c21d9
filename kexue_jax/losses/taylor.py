"""Cross entropies around Taylor expansions: Taylor softmax, margins, label noise."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.numerics.exp_taylor import (
    GRADIENT_MODES,
    check_order,
    log_taylor,
    widened,
)


def taylor_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    order: int = 2,
    margin: float | jax.Array = 0.0,
    monotone: bool = False,
    grad_mode: str = "finite",
) -> jax.Array:
    """-log p_y for p = taylor_softmax(logits, order=n), one number an example.

    -log f_n(x_y - margin) + log(f_n(x_y - margin) + sum_{j != y} f_n(x_j)). Gradient:
    (f_{n-1}(x_i) / f_n(x_i)) (p_i - y_i), or p_i - y_i with grad_mode="infinite". The
    margin (SM-Taylor softmax) belongs in training only.

    Shapes: logits [..., c], labels integers [...] in 0..c-1 -> [...].
    Article: kexue.fm/archives/7919.  Paper: arXiv 2011.11538.
    Differs: from log-space polynomials, so that no logit overflows. Below x*
    (``taylor_min``) the gradient pushes a true class towards -infinity and a wrong one
    up to x*; with ``monotone`` (x_i replaced by max(x_i, x*)) both get none.
    Cost: 2n multiply-adds and five transcendental functions a logit.
    Raises: TypeError or ValueError for bad shapes or kinds, labels out of range (where
    they are known), an order that is not an even integer in 2..24, a negative margin.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.losses import taylor_cross_entropy
        >>> logits, labels = jnp.array([[1.0, 3.0, 0.0]]), jnp.array([1])
        >>> print(taylor_cross_entropy(logits, labels).round(4))
        [0.3448]
    """
    name = "taylor_cross_entropy"
    check_labels(name, logits, labels)
    check_order(name, order)
    checks.number(name, "margin", margin, minimum=0, traced=True)
    checks.flag(name, "monotone", monotone)
    checks.choice(name, "grad_mode", grad_mode, GRADIENT_MODES)
    x = widened(with_margin(logits, labels, margin), order, monotone)
    logs = log_taylor(x, int(order), grad_mode == "infinite")
    return _surprise(logs, labels).astype(jnp.result_type(logits))


def soft_margin_cross_entropy(
    logits: jax.Array, labels: jax.Array, *, margin: float | jax.Array
) -> jax.Array:
    """-log p_y for the softmax whose true logit is less by a margin, an example each.

    p_y = exp(x_y - margin) / (exp(x_y - margin) + sum_{j != y} exp(x_j)); in training
    only.

    Shapes: logits [..., c], labels integers [...] in 0..c-1 -> [...].
    Article: kexue.fm/archives/7919.  Paper: arXiv 2011.11538 (SM-softmax).
    Differs: no.
    Cost: that of a log-softmax.
    Raises: TypeError or ValueError for bad shapes or kinds, labels out of range (where
    they are known), or a negative margin.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.losses import soft_margin_cross_entropy
        >>> logits, labels = jnp.array([[2.0, 0.0]]), jnp.array([0])
        >>> print(soft_margin_cross_entropy(logits, labels, margin=2.0).round(4))
        [0.6931]
    """
    name = "soft_margin_cross_entropy"
    check_labels(name, logits, labels)
    checks.number(name, "margin", margin, minimum=0, traced=True)
    moved = with_margin(logits, labels, margin)
    return _surprise(moved, labels).astype(jnp.result_type(logits))


def truncated_cross_entropy(
    logits: jax.Array, labels: jax.Array, *, terms: int = 2
) -> jax.Array:
    """The first terms of the series of -log p_y at p_y = 1, for the ordinary softmax.

    sum_{k=1}^t (1 - p_y)^k / k: 1 - p_y for one term, the cross entropy in the limit,
    and at most 1 + 1/2 + ... + 1/t, so that a wrong label cannot dominate.

    Shapes: logits [..., c], labels integers [...] in 0..c-1 -> [...].
    Article: none.  Paper: "Can Cross Entropy Loss Be Robust to Label Noise?", IJCAI
    2020, where it is called Taylor cross entropy: not that of the Taylor softmax.
    Differs: 1 - p_y is taken as -expm1(log p_y), exact near p_y = 1.
    Cost: a log-softmax and t multiply-adds an example.
    Raises: TypeError or ValueError for bad shapes or kinds, labels out of range (where
    they are known), or terms below 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.losses import truncated_cross_entropy
        >>> logits, labels = jnp.zeros((1, 2)), jnp.array([0])
        >>> print(truncated_cross_entropy(logits, labels, terms=2))
        [0.625]
    """
    name = "truncated_cross_entropy"
    check_labels(name, logits, labels)
    checks.count(name, "terms", terms)
    wide = jnp.asarray(logits, accumulation_dtype(logits))
    wrong = -jnp.expm1(-_surprise(wide, labels))
    total = jnp.zeros_like(wrong)
    for k in range(int(terms), 0, -1):
        total = wrong * (1 / k + total)
    return total.astype(jnp.result_type(logits))


def check_labels(function: str, logits: Any, labels: Any) -> None:
    """Raise unless logits [..., c] are floating, labels [...] integers in 0..c-1."""
    checks.array(function, "logits", logits)
    checks.array(function, "labels", labels, "integer")
    if logits.ndim == 0 or logits.shape[-1] == 0:
        wanted = "of shape [..., c] with c at least 1"
        raise checks.fail(function, "logits", f"shape {logits.shape}", wanted)
    checks.shapes(function, labels=(labels, "..."), logits=(logits, "... c"))
    try:
        known = np.asarray(labels)
    except (
        jax.errors.TracerArrayConversionError,
        jax.errors.ConcretizationTypeError,
        RuntimeError,  # lies on other hosts
    ):
        return
    classes = logits.shape[-1]
    if known.size and not (known.min() >= 0 and known.max() < classes):
        got = f"values from {known.min()} to {known.max()}"
        raise checks.fail(function, "labels", got, f"in 0..{classes - 1}")


def with_margin(
    logits: jax.Array, labels: jax.Array, margin: float | jax.Array
) -> jax.Array:
    """The logits in at least float32, those of the labels less by the margin."""
    wide = jnp.asarray(logits, accumulation_dtype(logits))
    if not isinstance(margin, jax.Array) and margin == 0:
        return wide
    true = jax.nn.one_hot(labels, wide.shape[-1], dtype=wide.dtype)
    return wide - jnp.asarray(margin, wide.dtype) * true


def _surprise(logs: jax.Array, labels: jax.Array) -> jax.Array:
    """logsumexp(logs) less the entry of the label."""
    places = jnp.expand_dims(jnp.asarray(labels), -1)
    true = jnp.take_along_axis(logs, places, -1)[..., 0]
    return jax.nn.logsumexp(logs, -1) - true
