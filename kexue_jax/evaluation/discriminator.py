"""Telling test rows from training rows: a logistic discriminator, and fits by folds."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.eigen import eigenpairs
from kexue_jax._base.masks import safe_divide
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.evaluation._rows import check_sets, product, widen
from kexue_jax.evaluation.density_ratio import check_logits

Fit = Callable[[jax.Array, jax.Array, jax.Array], Any]
Apply = Callable[[Any, jax.Array], jax.Array]


class LogisticDiscriminator(NamedTuple):
    """weights [d] and bias []: the logit of x is x . weights + bias."""

    weights: jax.Array
    bias: jax.Array


class CrossFit(NamedTuple):
    """Logits of training rows [n] and test rows [m], each by fits that left it out."""

    train: jax.Array
    test: jax.Array


def fit_logistic_discriminator(
    x_train: jax.Array, x_test: jax.Array, *, l2: float = 1e-2, steps: int = 200
) -> LogisticDiscriminator:
    """The linear discriminator of least balanced loss plus a penalty.

    ``discriminator_loss`` + l2 / 2 |v|^2, v the weights of features that are scaled to
    mean 0 and variance 1 (both sets weighing the same). The Hessian is at most
    B = (E_p x x^T + E_q x x^T) / 4 + l2, so that steps of -B^-1 gradient always go
    down; momentum with restarts makes them fast.

    Shapes: x_train [n, d], x_test [m, d] -> weights [d], bias [].
    Article: kexue.fm/archives/7805 (logistic regression).  Paper: Bohning 1992 (B).
    Differs: all rows at every step, both sets weighing the same, where common code
    takes batches of equal halves. No step size; no key: the start is 0.
    Cost: O((n + m) d^2 + d^3) once, O((n + m) d) a step; no gradient.
    Raises: TypeError or ValueError unless both are floating arrays of one dtype with
    rows and equally many columns, l2 is positive and steps at least 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import fit_logistic_discriminator
        >>> x = jnp.array([[0.0], [1.0], [2.0]])
        >>> found = fit_logistic_discriminator(x, x + 1.0)
        >>> print(f"{found.weights[0]:.2f} {found.bias / found.weights[0]:.2f}")
        1.33 -1.50
    """
    name = "fit_logistic_discriminator"
    check_sets(name, minimum=1, x_train=(x_train, "n d"), x_test=(x_test, "m d"))
    checks.number(name, "l2", l2, minimum=0, open_minimum=True)
    checks.count(name, "steps", steps)
    dtype = x_train.dtype
    p, q = widen(*(jax.lax.stop_gradient(x) for x in (x_train, x_test)))
    # A constant less its mean is rounding, which a variance of 1 would blow up.
    low = jnp.minimum(jnp.min(p, 0), jnp.min(q, 0))
    high = jnp.maximum(jnp.max(p, 0), jnp.max(q, 0))
    constant = (low == high)[None]
    mean = (jnp.mean(p, 0) + jnp.mean(q, 0)) / 2
    p, q = (jnp.where(constant, 0, x - mean[None]) for x in (p, q))
    scale = jnp.sqrt((jnp.mean(p * p, 0) + jnp.mean(q * q, 0)) / 2)
    scale = jnp.where(scale > 0, scale, 1)
    p, q = p / scale[None], q / scale[None]
    v, bias = _least(p, q, l2, int(steps))
    v = v / scale
    bias = bias - jnp.sum(v * mean)
    return LogisticDiscriminator(v.astype(dtype), bias.astype(dtype))


def _least(
    p: jax.Array, q: jax.Array, l2: float, steps: int
) -> tuple[jax.Array, jax.Array]:
    """The minimizer by momentum in the metric of the bound; bias is the last entry."""
    ones = [jnp.ones((len(x), 1), x.dtype) for x in (p, q)]
    p, q = (jnp.concatenate([x, one], 1) for x, one in zip((p, q), ones, strict=True))
    size = p.shape[1]
    ridge = l2 * (jnp.arange(size) < size - 1).astype(p.dtype)
    bound = (product(p.T, p) / len(p) + product(q.T, q) / len(q)) / 4
    values, vectors = eigenpairs(bound + jnp.diag(ridge))
    # With all features constant the bias alone has curvature: no value is near 0.
    values = jnp.maximum(values, jnp.finfo(p.dtype).eps * values[-1])

    def slope(theta: jax.Array) -> jax.Array:
        up = jax.nn.sigmoid(product(p, theta)) / len(p)
        down = jax.nn.sigmoid(-product(q, theta)) / len(q)
        return product(up, p) - product(down, q) + ridge * theta

    def step(_: jax.Array, state: Any) -> Any:
        theta, ahead, t = state
        downhill = slope(ahead)
        turned = product(product(downhill, vectors) / values, vectors.T)
        there = ahead - turned
        # Momentum that climbs starts anew.
        t = jnp.where(jnp.sum(downhill * (there - theta)) > 0, 1, t)
        later = (1 + jnp.sqrt(1 + 4 * t * t)) / 2
        return there, there + (t - 1) / later * (there - theta), later

    start = jnp.zeros_like(bound[0])
    one = jnp.ones_like(start[0])
    theta, _, _ = jax.lax.fori_loop(0, steps, step, (start, start, one))
    return theta[:-1], theta[-1]


def discriminator_logits(params: LogisticDiscriminator, x: jax.Array) -> jax.Array:
    """The logits of a logistic discriminator, those of log(q / p) where it is right.

    logit = x . weights + bias.

    Shapes: params of d weights, x [..., d] -> [...].
    Article: kexue.fm/archives/7805.  Paper: none.
    Differs: no.
    Cost: O(d) a row.
    Raises: TypeError or ValueError unless params are a LogisticDiscriminator, x is
    floating and of its size and dtype.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import LogisticDiscriminator, discriminator_logits
        >>> params = LogisticDiscriminator(jnp.array([1.0, 2.0]), jnp.array(-1.0))
        >>> print(discriminator_logits(params, jnp.array([[1.0, 1.0], [0.0, 0.0]])))
        [ 2. -1.]
    """
    name = "discriminator_logits"
    if not isinstance(params, LogisticDiscriminator):
        got, wanted = f"a {type(params).__name__}", "a LogisticDiscriminator"
        raise checks.fail_type(name, "params", got, wanted)
    weights, bias = params
    checks.array(name, "params.weights", weights)
    checks.array(name, "params.bias", bias)
    checks.array(name, "x", x)
    shapes = {"params.weights": (weights, "d"), "params.bias": (bias, "")}
    checks.shapes(name, **shapes, x=(x, "... d"))
    checks.same_dtype(name, **{"params.weights": weights, "params.bias": bias, "x": x})
    wide, weights, bias = widen(x, weights, bias)
    return (product(wide, weights) + bias).astype(x.dtype)


def cross_fit_logits(
    key: jax.Array,
    x_train: jax.Array,
    x_test: jax.Array,
    *,
    fit_fn: Fit,
    apply_fn: Apply,
    k: int = 5,
    repeats: int = 1,
) -> CrossFit:
    """Logits of every row by discriminators that were fitted without it.

    Both sets are shuffled and cut into k folds; for each, params = fit_fn(key, the
    other training rows, the other test rows) and logits = apply_fn(params, the fold).
    A row that several folds or repeats hold has the mean of its logits.

    A discriminator that is asked about rows it was fitted on tells them by heart, and
    its weights explode.

    Shapes: x_train [n, *d], x_test [m, *d], fit_fn (key, [a, *d], [b, *d]) -> a tree,
    apply_fn (tree, [c, *d]) -> [c] -> [n], [m].
    Article: kexue.fm/archives/7805.  Paper: none.
    Differs: the article scores the rows it trained on. Folds have one size, ceil(n / k)
    and ceil(m / k), so that there is one program: where k does not divide, some rows
    lie in two. Keys: ``split(key, repeats)``, each split in three for the two
    permutations and the k fits.
    Cost: k repeats fits, one after the other; no gradient.
    Raises: TypeError or ValueError for bad kinds, dtypes or shapes, sets of fewer than
    k rows, k below 2, functions that are none or give other shapes.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.evaluation import cross_fit_logits
        >>> x, rows_seen = jnp.arange(6.0), lambda key, p, q: float(len(p))
        >>> f = lambda seen, x: 0 * x + seen
        >>> options = dict(fit_fn=rows_seen, apply_fn=f, k=3)
        >>> print(cross_fit_logits(jax.random.key(0), x, x, **options).train)
        [4. 4. 4. 4. 4. 4.]
    """
    name = "cross_fit_logits"
    checks.key(name, "key", key)
    _check_folds(name, x_train, x_test, k, repeats)
    checks.function(name, "fit_fn", fit_fn)
    checks.function(name, "apply_fn", apply_fn)
    sets = [jax.lax.stop_gradient(jnp.asarray(x)) for x in (x_train, x_test)]
    sizes = [len(x) for x in sets]
    held = [-(-size // k) for size in sizes]

    def fold(job: Any) -> tuple[jax.Array, ...]:
        key, orders, number = job
        inside, rest = [], []
        for order, size, width in zip(orders, sizes, held, strict=True):
            start = number * (size - width) // (k - 1)
            inside.append(order[start + jnp.arange(width)])
            rest.append(order[(start + width + jnp.arange(size - width)) % size])
        params = fit_fn(key, *(x[r] for x, r in zip(sets, rest, strict=True)))
        found = [apply_fn(params, x[i]) for x, i in zip(sets, inside, strict=True)]
        for logits, width in zip(found, held, strict=True):
            _check_found(name, logits, width)
        return *inside, *found

    def shuffled(key: jax.Array) -> Any:
        keys = jax.random.split(key, 3)
        orders = [
            jax.random.permutation(own, size)
            for own, size in zip(keys[:2], sizes, strict=True)
        ]
        return jax.random.split(keys[2], k), orders

    fits, orders = jax.vmap(shuffled)(jax.random.split(key, repeats))
    jobs = (
        fits.reshape(-1),
        [jnp.repeat(order, k, 0) for order in orders],
        jnp.tile(jnp.arange(k), repeats),
    )
    rows_p, rows_q, logits_p, logits_q = jax.lax.map(fold, jobs)
    dtype = x_train.dtype
    return CrossFit(
        _mean_by_row(rows_p, logits_p, sizes[0]).astype(dtype),
        _mean_by_row(rows_q, logits_q, sizes[1]).astype(dtype),
    )


def _check_folds(name: str, x_train: Any, x_test: Any, k: int, repeats: int) -> None:
    checks.array(name, "x_train", x_train)
    checks.array(name, "x_test", x_test)
    checks.shapes(name, x_train=(x_train, "n *d"), x_test=(x_test, "m *d"))
    checks.same_dtype(name, x_train=x_train, x_test=x_test)
    checks.count(name, "k", k, minimum=2)
    checks.count(name, "repeats", repeats)
    for argument, x in (("x_train", x_train), ("x_test", x_test)):
        if len(x) < k:
            got, wanted = f"{len(x)} rows", f"of at least k = {k} rows"
            raise checks.fail(name, argument, got, wanted)


def _check_found(name: str, logits: Any, width: int) -> None:
    """Raise unless apply_fn gave one floating logit a row."""
    if not checks.is_array(logits) or logits.shape != (width,):
        got = f"shape {getattr(logits, 'shape', None)}"
        raise checks.fail(name, "apply_fn", got, f"a function to logits of [{width}]")
    checks.array(name, "apply_fn", logits)


def _mean_by_row(rows: jax.Array, logits: jax.Array, size: int) -> jax.Array:
    """The mean of the logits of each row."""
    wide = logits.astype(accumulation_dtype(logits)).reshape(-1)
    places = rows.reshape(-1)
    total = jnp.zeros(size, wide.dtype).at[places].add(wide)
    count = jnp.zeros(size, wide.dtype).at[places].add(1)
    return safe_divide(total, count)


def calibration_scale(
    logits_train: jax.Array, logits_test: jax.Array, *, steps: int = 60
) -> jax.Array:
    """The factor on held-out logits that makes their balanced loss least.

    a in [1e-3, 1e3] with the least ``discriminator_loss(a logits_train, a
    logits_test)``, which is convex in a: bisection of its slope over log a. Below 1:
    the discriminator was too sure, and a logits give milder weights.

    Shapes: logits_train [..., n], logits_test [..., m] -> [...].
    Article: kexue.fm/archives/7805.  Paper: arXiv 1706.04599 (temperature).
    Differs: no.
    Cost: O(n + m) a step; no gradient.
    Raises: TypeError or ValueError as ``discriminator_loss`` does, and for steps that
    are no integer of at least 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import calibration_scale
        >>> x = jnp.array([8.0, -8.0, -8.0, -8.0])  # right three times of four
        >>> print(f"{calibration_scale(x, -x):.4f}")  # log(3) / 8
        0.1373
    """
    name = "calibration_scale"
    check_logits(name, logits_train, logits_test)
    checks.count(name, "steps", steps)
    p, q = widen(*(jax.lax.stop_gradient(x) for x in (logits_train, logits_test)))

    def slope(log_a: jax.Array) -> jax.Array:
        a = jnp.exp(log_a)[..., None]
        up = jnp.mean(jax.nn.sigmoid(a * p) * p, -1)
        return up - jnp.mean(jax.nn.sigmoid(-a * q) * q, -1)

    def step(_: jax.Array, ends: Any) -> Any:
        low, high = ends
        middle = (low + high) / 2
        rising = slope(middle) > 0
        return jnp.where(rising, low, middle), jnp.where(rising, middle, high)

    end = jnp.log(jnp.full_like(jnp.mean(p, -1), 1e3))
    low, high = jax.lax.fori_loop(0, int(steps), step, (-end, end))
    return jnp.exp((low + high) / 2).astype(logits_train.dtype)
