"""Conditional sampling: guidance with and without a classifier, label dropping."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, numerics
from kexue_jax.diffusion._leading import leading
from kexue_jax.diffusion._network import EpsFn
from kexue_jax.diffusion.indexing import check_steps, entries
from kexue_jax.diffusion.schedules import Schedule


def cfg_eps(
    eps_cond: jax.Array, eps_uncond: jax.Array, w: float | jax.Array
) -> jax.Array:
    """The prediction pushed away from the unconditional one.

    (1 + w) eps_cond - w eps_uncond.

    Shapes: eps_cond, eps_uncond [..., *d]; w a number or [...] -> [..., *d].
    Article: kexue.fm/archives/9257.  Paper: arXiv 2207.12598, eq. 6.
    Differs: no; w = 0 is the conditional model. Much code writes the scale 1 + w.
    Cost: O(size of eps_cond).
    Raises: TypeError or ValueError for arguments that do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import cfg_eps
        >>> print(cfg_eps(jnp.ones(2), jnp.zeros(2), 2.0))
        [3. 3.]
    """
    name = "cfg_eps"
    checks.array(name, "eps_cond", eps_cond)
    checks.array(name, "eps_uncond", eps_uncond)
    checks.shapes(name, eps_cond=(eps_cond, "*d"), eps_uncond=(eps_uncond, "*d"))
    weight = leading(name, "w", w, eps_cond)
    dtype = numerics.accumulation_dtype(eps_cond)
    cond, uncond = jnp.asarray(eps_cond, dtype), jnp.asarray(eps_uncond, dtype)
    return ((1 + weight) * cond - weight * uncond).astype(eps_cond.dtype)


def guided_eps_fn(
    eps_fn: Callable[[jax.Array, jax.Array, jax.Array], jax.Array],
    labels: jax.Array,
    w: float | jax.Array,
    *,
    null_label: int,
) -> EpsFn:
    """The function (x, t) -> eps that a sampler takes, guided towards ``labels``.

    cfg_eps(eps_fn(x, t, labels), eps_fn(x, t, null_label), w), in one call of eps_fn on
    twice the batch.

    Shapes: labels integers [B]; w a number, scalar or [B]; eps_fn([2 B, *d], [2 B],
    [2 B]) -> [2 B, *d] -> a function ([B, *d], [B]) -> [B, *d].
    Article: kexue.fm/archives/9257.  Paper: arXiv 2207.12598, algorithm 2.
    Differs: no; with w the number 0 eps_fn is called on the batch itself.
    Cost: one call of eps_fn on 2 B examples.
    Raises: TypeError or ValueError for arguments that do not fit, and, from the result,
    for a batch other than that of the labels.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import guided_eps_fn
        >>> eps_fn = lambda x, t, y: x * y[:, None]
        >>> guided = guided_eps_fn(eps_fn, jnp.array([1, 2]), 1.0, null_label=0)
        >>> print(guided(jnp.ones((2, 1)), jnp.array([5, 5]))[:, 0])
        [2. 4.]
    """
    name = "guided_eps_fn"
    checks.function(name, "eps_fn", eps_fn)
    checks.array(name, "labels", labels, "integer")
    checks.shapes(name, labels=(labels, "B"))
    leading(name, "w", w, jax.ShapeDtypeStruct(labels.shape, jnp.float32))
    checks.count(name, "null_label", null_label, minimum=0)
    targets = jnp.asarray(labels)
    unguided = not checks.is_array(w) and w == 0

    def called(x: jax.Array, t: jax.Array, y: jax.Array) -> jax.Array:
        eps = eps_fn(x, t, y)
        if not checks.is_array(eps) or eps.shape != x.shape:
            kind = type(eps).__name__
            got = f"shape {eps.shape}" if checks.is_array(eps) else f"a {kind}"
            wanted = f"a function that returns eps of the shape {x.shape} it is given"
            raise checks.fail(name, "eps_fn", got, wanted)
        return eps

    def guided(x: jax.Array, t: jax.Array) -> jax.Array:
        checks.array(name, "x", x)
        checks.shapes(name, labels=(targets, "B"), t=(t, "B"), x=(x, "B *d"))
        if unguided:
            return called(x, t, targets)
        both = jnp.concatenate([targets, jnp.full_like(targets, null_label)])
        eps = called(jnp.concatenate([x, x]), jnp.concatenate([t, t]), both)
        cond, uncond = jnp.split(eps, 2)
        return cfg_eps(cond, uncond, w)

    return guided


def drop_labels(
    key: jax.Array, labels: jax.Array, *, rate: float | jax.Array, null: int
) -> jax.Array:
    """The labels, each replaced by ``null`` with probability ``rate``.

    null where uniform(key) < rate, labels elsewhere: what trains one network both with
    and without a condition.

    Shapes: labels integers [...] -> [...].
    Article: kexue.fm/archives/9257.  Paper: arXiv 2207.12598, algorithm 1.
    Differs: no; the paper's rates are 0.1 and 0.2.
    Cost: one uniform number a label.
    Raises: TypeError or ValueError for arguments that do not fit or a rate outside
    [0, 1].
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.diffusion import drop_labels
        >>> labels = jnp.array([1, 2, 3])
        >>> drop_labels(jax.random.key(0), labels, rate=1.0, null=10).tolist()
        [10, 10, 10]
    """
    name = "drop_labels"
    checks.key(name, "key", key)
    checks.array(name, "labels", labels, "integer")
    checks.number(name, "rate", rate, minimum=0, maximum=1, traced=True)
    checks.count(name, "null", null, minimum=0)
    draw = jax.random.uniform(key, labels.shape, jnp.float32)
    return jnp.where(draw < rate, jnp.asarray(null, labels.dtype), labels)


def classifier_guided_mean(
    mean: jax.Array,
    sigma: float | jax.Array,
    grad: jax.Array,
    scale: float | jax.Array,
) -> jax.Array:
    """The mean of a reverse step, moved along the gradient of a classifier.

    mean + scale sigma^2 grad, with grad that of ln p(y | x_t) at x_t and sigma the
    standard deviation of the step's noise.

    Shapes: mean, grad [..., *d]; sigma, scale numbers or [...] -> [..., *d].
    Article: kexue.fm/archives/9257.  Paper: arXiv 2105.05233, algorithm 1.
    Differs: no; a step without noise is not moved: take ``classifier_guided_eps``.
    Cost: O(size of mean).
    Raises: TypeError or ValueError for arguments that do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import classifier_guided_mean
        >>> print(classifier_guided_mean(jnp.zeros(2), 0.5, jnp.ones(2), 2.0))
        [0.5 0.5]
    """
    name = "classifier_guided_mean"
    checks.array(name, "mean", mean)
    checks.array(name, "grad", grad)
    checks.shapes(name, mean=(mean, "*d"), grad=(grad, "*d"))
    std = leading(name, "sigma", sigma, mean, minimum=0)
    strength = leading(name, "scale", scale, mean)
    dtype = numerics.accumulation_dtype(mean)
    moved = jnp.asarray(mean, dtype) + strength * std**2 * jnp.asarray(grad, dtype)
    return moved.astype(mean.dtype)


def classifier_guided_eps(
    schedule: Schedule,
    eps: jax.Array,
    t: jax.Array,
    grad: jax.Array,
    scale: float | jax.Array,
) -> jax.Array:
    """The prediction moved along the gradient of a classifier, for any sampler.

    eps - scale beta_bar_t grad, with grad that of ln p(y | x_t) at x_t.

    Shapes: eps, grad [..., *d]; t integers [...] in 1..T; scale a number or [...] ->
    [..., *d].
    Article: kexue.fm/archives/9257.  Paper: arXiv 2105.05233, algorithm 2.
    Differs: no.
    Cost: O(size of eps).
    Raises: TypeError or ValueError for arguments that do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import classifier_guided_eps, kexue_schedule
        >>> eps, t = jnp.zeros((1, 2)), jnp.array([1000])
        >>> moved = classifier_guided_eps(kexue_schedule(), eps, t, eps + 1, 1.0)
        >>> print(f"{moved[0, 0]:.3f}")
        -1.000
    """
    name = "classifier_guided_eps"
    t = check_steps(name, schedule, t, minimum=1)
    checks.array(name, "eps", eps)
    checks.array(name, "grad", grad)
    checks.shapes(name, t=(t, "..."), eps=(eps, "... *d"), grad=(grad, "... *d"))
    strength = leading(name, "scale", scale, eps)
    dtype = numerics.accumulation_dtype(eps)
    rate = strength * entries(schedule, t, eps).beta_bar
    return (jnp.asarray(eps, dtype) - rate * jnp.asarray(grad, dtype)).astype(eps.dtype)
