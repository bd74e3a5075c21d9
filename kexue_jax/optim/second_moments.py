"""One family of second moments: how much the newest squared gradient counts."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.optim._trees import check_alike, check_tree, widen

KINDS = ("adam", "adax", "adafactor", "mean")
Number = float | jax.Array


class ScaleByAdaxState(NamedTuple):
    """State of AdaX and of every other schedule of the second moment.

    ``count`` is the number of updates, an int32 scalar; ``mu`` the first moment and
    ``nu`` the normalized second moment, trees like the parameters, in at least
    float32 (``mu`` in ``mu_dtype`` where that is given).
    Article: kexue.fm/archives/7387.  Paper: arXiv 2004.09740.
    """

    count: jax.Array
    mu: Any
    nu: Any


def second_moment_weight(
    t: jax.Array, *, kind: str, b2: Number | None = None, exponent: Number = 0.8
) -> jax.Array:
    """The weight of the newest squared gradient at step t = 1, 2, ....

    w_t = 1 - beta_t in nu_t = beta_t nu_{t-1} + (1 - beta_t) g_t^2:
    "adam" (1 - b2) / (1 - b2^t), with b2 = 0.999 by default;
    "adax" b2 / ((1 + b2)^t - 1), with b2 = 1e-4 by default;
    "adafactor" t^-exponent;
    "mean" 1 / t.
    All give w_1 = 1; all but Adam's fall to 0, and AdaX's stays below 1/t.

    Shapes: t [...], integer or floating -> [...].
    Article: kexue.fm/archives/7387, 7302.  Paper: arXiv 2004.09740, 1804.04235.
    Differs: powers are taken as expm1(t log1p(b2)): in float32 (1 + 1e-4)^t - 1 is
    1.2e-4 off from the first step on, and where it overflows the weight is 0.
    Cost: a few operations an entry.
    Raises: TypeError for a ``t`` that is no array of real numbers; TypeError or
    ValueError for ``kind``, ``b2`` (in [0, 1) for Adam, above 0 for AdaX) or
    ``exponent`` (in (0, 1]).
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import second_moment_weight
        >>> t = jnp.array([1.0, 1000.0])
        >>> print([round(float(x), 6) for x in second_moment_weight(t, kind="adax")])
        [1.0, 0.000951]
    """
    name = "second_moment_weight"
    checks.choice(name, "kind", kind, KINDS)
    checks.array(name, "t", t, "number")
    if jnp.issubdtype(t.dtype, jnp.complexfloating):
        raise checks.fail_type(name, "t", f"dtype {t.dtype}", "an array of real dtype")
    _check_b2(name, kind, b2)
    bounds: Any = {"minimum": 0, "maximum": 1, "open_minimum": True}
    checks.number(name, "exponent", exponent, traced=True, **bounds)
    floating = jnp.issubdtype(t.dtype, jnp.floating)
    steps = t.astype(accumulation_dtype(t) if floating else jnp.result_type(float))
    if kind == "mean":
        weight = 1 / steps
    elif kind == "adafactor":
        weight = steps ** -jnp.asarray(exponent, steps.dtype)
    elif kind == "adax":
        beta = jnp.asarray(1e-4 if b2 is None else b2, steps.dtype)
        weight = beta / jnp.expm1(steps * jnp.log1p(beta))
    else:
        beta = 0.999 if b2 is None else b2
        weight = _complement(beta, steps.dtype) / _debias(beta, steps)
    return weight.astype(t.dtype) if floating else weight


def scale_by_second_moment_schedule(
    weight: Callable[[jax.Array], jax.Array],
    *,
    b1: Number = 0.9,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    mu_dtype: Any = None,
    bias_correction: bool = False,
    normalize_first: bool = False,
) -> optax.GradientTransformation:
    """An optax transformation: a momentum over the root of any second moment.

    mu = b1 mu + (1 - b1) g, nu = nu + weight(t) (|g|^2 - nu) for t = 1, 2, ...;
    the update is mu / (sqrt(nu + eps_root) + eps), with mu / (1 - b1^t) for mu under
    ``bias_correction``. With ``normalize_first`` the gradient is divided by the root
    before it enters mu, and the update is mu.

    Shapes: a tree of gradients of any shapes -> an optax pair (init, update);
    ``weight`` gets the step as an int32 scalar and gives a scalar.
    Article: kexue.fm/archives/7387, 7302.  Paper: arXiv 2004.09740, 1804.04235.
    Differs: eps as in optax (outside of the root, eps_root inside), which is neither
    the article's nor the paper's nor the author's code; see ``scale_by_adax``.
    Cost: two moments in at least float32, one pass over each tensor.
    Raises: TypeError or ValueError for arguments out of range; from ``init`` and
    ``update`` TypeError for a leaf that is no floating or complex array, ValueError
    where the gradients have other names or shapes than the state.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import scale_by_second_moment_schedule
        >>> mean = scale_by_second_moment_schedule(lambda t: 1 / t, b1=0.0)
        >>> grads = {"w": jnp.array([3.0, -4.0])}
        >>> print(mean.update(grads, mean.init(grads))[0]["w"])
        [ 1. -1.]
    """
    name = "scale_by_second_moment_schedule"
    checks.function(name, "weight", weight)
    return moments_form(
        name, weight, b1, eps, eps_root, mu_dtype, bias_correction, normalize_first
    )


def moments_form(
    name: str,
    weight: Callable[[jax.Array], jax.Array],
    b1: Number,
    eps: Number,
    eps_root: Number,
    mu_dtype: Any,
    bias_correction: bool,
    normalize_first: bool,
) -> optax.GradientTransformation:
    """The transformation itself, whose errors name the function ``name``."""
    check_moments(name, b1, eps, eps_root, mu_dtype, bias_correction, normalize_first)

    def init(params: Any) -> ScaleByAdaxState:
        check_tree(name, "params", params)
        mu = jax.tree.map(lambda p: jnp.zeros(p.shape, mu_dtype or _wide(p)), params)
        nu = jax.tree.map(lambda p: jnp.zeros(p.shape, _real(_wide(p))), params)
        return ScaleByAdaxState(jnp.zeros((), jnp.int32), mu, nu)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        check_tree(name, "updates", updates)
        check_alike(name, "updates", updates, state.mu)
        count = jnp.asarray(optax.safe_increment(state.count))
        newest = jnp.asarray(weight(count))
        wide = widen(updates)

        def second(v: jax.Array, g: jax.Array) -> jax.Array:
            return v + newest.astype(v.dtype) * (jnp.real(g * jnp.conj(g)) - v)

        def normalized(x: jax.Array, v: jax.Array) -> jax.Array:
            root = jnp.sqrt(v + jnp.asarray(eps_root, v.dtype))
            return x / (root + jnp.asarray(eps, v.dtype))

        def first(m: jax.Array, g: jax.Array) -> jax.Array:
            kept = jnp.asarray(b1, _real(g.dtype))
            return kept * m.astype(g.dtype) + _complement(b1, kept.dtype) * g

        nu = jax.tree.map(second, state.nu, wide)
        if normalize_first:
            wide = jax.tree.map(normalized, wide, nu)
        mu = jax.tree.map(first, state.mu, wide)
        found = mu
        if bias_correction:
            found = jax.tree.map(lambda m: m / _debias_of(b1, count, m), found)
        if not normalize_first:
            found = jax.tree.map(normalized, found, nu)
        found = jax.tree.map(lambda u, g: u.astype(g.dtype), found, updates)
        mu = jax.tree.map(lambda m, old: m.astype(old.dtype), mu, state.mu)
        return found, ScaleByAdaxState(count, mu, nu)

    return optax.GradientTransformation(init, update)


def check_moments(
    name: str,
    b1: Number,
    eps: Number,
    eps_root: Number,
    mu_dtype: Any,
    bias_correction: bool,
    normalize_first: bool,
) -> None:
    """Raise for a hyperparameter out of range."""
    bounds: Any = {"minimum": 0, "maximum": 1, "open_maximum": True}
    checks.number(name, "b1", b1, traced=True, **bounds)
    checks.number(name, "eps", eps, minimum=0, traced=True)
    checks.number(name, "eps_root", eps_root, minimum=0, traced=True)
    if mu_dtype is not None:
        checks.float_dtype(name, "mu_dtype", mu_dtype)
    checks.flag(name, "bias_correction", bias_correction)
    checks.flag(name, "normalize_first", normalize_first)


def _check_b2(name: str, kind: str, b2: Number | None) -> None:
    if b2 is None:
        return
    if kind == "adax":
        checks.number(name, "b2", b2, minimum=0, open_minimum=True, traced=True)
    else:
        bounds: Any = {"minimum": 0, "maximum": 1, "open_maximum": True}
        checks.number(name, "b2", b2, traced=True, **bounds)


def _wide(leaf: jax.Array) -> Any:
    return accumulation_dtype(leaf)


def _real(dtype: Any) -> Any:
    """The dtype of the parts of a complex dtype; any other as it is."""
    is_complex = jnp.issubdtype(dtype, jnp.complexfloating)
    return jnp.finfo(dtype).dtype if is_complex else dtype


def _complement(beta: Number, dtype: Any) -> jax.Array:
    """1 - beta, rounded once where beta is a Python number."""
    if isinstance(beta, jax.Array):
        return 1 - beta.astype(dtype)
    return jnp.asarray(1 - beta, dtype)


def _debias(beta: Number, t: jax.Array) -> jax.Array:
    """1 - beta^t without cancellation, for t of floating dtype."""
    if isinstance(beta, jax.Array):
        log = jnp.log(beta.astype(t.dtype))
    else:
        log = jnp.asarray(math.log(beta) if beta > 0 else -math.inf, t.dtype)
    return -jnp.expm1(t * log)


def _debias_of(beta: Number, count: jax.Array, like: jax.Array) -> jax.Array:
    return _debias(beta, count.astype(_real(like.dtype)))
