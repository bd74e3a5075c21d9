"""Feature maps of linear attention: sim(q, k) = phi(q) . phi(k)."""

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks, numerics
from kexue_jax.attention._features import spread

_TINY = 1e-12


def elu1(x: jax.Array) -> jax.Array:
    """The features elu(x) + 1, entry by entry: positive, with slope 1 on the right.

    phi(x) = x + 1 for x > 0, exp(x) for x <= 0.

    Shapes: x [..., d] -> [..., d].
    Article: kexue.fm/archives/7546.  Paper: arXiv 2006.16236, eq. 7.
    Differs: elu(x) + 1 is exactly 0 in float32 below about -17; exp(x) is not.
    Cost: one exponential an entry.
    Raises: TypeError for an x that is not a floating array.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import elu1
        >>> print(elu1(jnp.array([-20.0, 0.0, 2.0])))
        [2.0611537e-09 1.0000000e+00 3.0000000e+00]
    """
    wide = _wide("elu1", x)
    left = jnp.exp(jnp.where(wide > 0, 0, wide))
    return jnp.where(wide > 0, wide + 1, left).astype(x.dtype)


def relu_features(x: jax.Array, *, eps: float = 0.0, power: int = 1) -> jax.Array:
    """The features max(x, 0)^power + eps, entry by entry.

    phi(x) = max(x, 0)^power + eps.

    Shapes: x [..., d] -> [..., d].
    Article: kexue.fm/archives/7546.  Paper: arXiv 2009.14794, section 4.2.
    Differs: no. With eps 0 a query may meet no key at all; its result is then 0.
    Cost: that of the entries.
    Raises: TypeError or ValueError for an x that is not a floating array, a negative
    eps, a power below 1.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import relu_features
        >>> print(relu_features(jnp.array([-1.0, 3.0]), power=2))
        [0. 9.]
    """
    name = "relu_features"
    wide = _wide(name, x)
    checks.number(name, "eps", eps, minimum=0)
    checks.count(name, "power", power)
    return (lax.integer_pow(jnp.maximum(wide, 0), int(power)) + eps).astype(x.dtype)


def exp_features(
    x: jax.Array, *, is_query: bool, key_mask: jax.Array | None = None
) -> jax.Array:
    """The features exp(x), kept within 1 by a factor that cancels in the quotient.

    phi(x_i) = exp(x_i - max_c x_ic) for queries, exp(x_j - max_{j, c} x_jc) for keys.

    Shapes: x [..., n, d], key_mask boolean, broadcastable to [..., n] -> [..., n, d].
    Article: kexue.fm/archives/8338.  Paper: none.
    Differs: the article does not shift. A query's factor is its own; all keys share
    one, so that features of small keys may vanish beside one large key, and a causal
    model would see the largest key of the future through eps: log_linear_attention
    has neither flaw.
    Cost: one exponential an entry.
    Raises: TypeError or ValueError for arrays of a wrong kind or shape.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import exp_features
        >>> print(exp_features(jnp.array([[90.0, 89.0], [0.0, 0.0]]), is_query=True))
        [[1.         0.36787945]
         [1.         1.        ]]
    """
    name = "exp_features"
    wide = _wide(name, x)
    checks.shapes(name, x=(x, "... n d"))
    checks.flag(name, "is_query", is_query)
    if is_query:
        if key_mask is not None:
            raise checks.fail(name, "key_mask", "a mask", "None for queries")
        top = wide.max(-1, keepdims=True)
        return jnp.exp(wide - lax.stop_gradient(top)).astype(x.dtype)
    keep = spread(name, "key_mask", key_mask, x.shape[:-1])
    kept = wide if keep is None else jnp.where(keep[..., None], wide, -jnp.inf)
    top = lax.stop_gradient(kept.max((-2, -1), keepdims=True))
    # Without any key the maximum is -inf; a masked key may lie above it.
    shifted = wide - jnp.where(jnp.isfinite(top), top, 0)
    if keep is not None:
        shifted = jnp.where(keep[..., None], shifted, 0)
    return jnp.exp(shifted).astype(x.dtype)


def feature_softmax(x: jax.Array) -> jax.Array:
    """The softmax over the features, entries that sum to 1.

    phi(x)_c = exp(x_c) / sum_e exp(x_e).

    Shapes: x [..., d] -> [..., d].
    Article: kexue.fm/archives/7546.  Paper: arXiv 1812.01243, section 3.1.
    Differs: no.
    Cost: one exponential an entry.
    Raises: TypeError or ValueError for an x that is not a floating array with an axis.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import feature_softmax
        >>> print(feature_softmax(jnp.zeros(4)))
        [0.25 0.25 0.25 0.25]
    """
    return jax.nn.softmax(_wide("feature_softmax", x), axis=-1).astype(x.dtype)


def cosine_features(x: jax.Array) -> jax.Array:
    """The features (1, x / |x|), for which sim(q, k) = 1 + cos(q, k).

    phi(x) = (1, x / sqrt(|x|^2 + 1e-12)).

    Shapes: x [..., d] -> [..., d + 1].
    Article: kexue.fm/archives/7546.  Paper: none.
    Differs: 1e-12 keeps the gradient at x = 0 finite. For rotary positions rotate x
    first: the norm stays, so numerator and denominator may both use the result.
    Cost: that of the entries.
    Raises: TypeError or ValueError for an x that is not a floating array with an axis.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.attention import cosine_features
        >>> print(cosine_features(jnp.array([3.0, 4.0])))
        [1.  0.6 0.8]
    """
    wide = _wide("cosine_features", x)
    norm = lax.rsqrt(jnp.square(wide).sum(-1, keepdims=True) + _TINY)
    return jnp.concatenate([jnp.ones_like(norm), wide * norm], -1).astype(x.dtype)


def _wide(name: str, x: jax.Array) -> jax.Array:
    checks.array(name, "x", x)
    checks.shapes(name, x=(x, "... d"))
    if x.shape[-1] == 0:
        raise checks.fail(name, "x", f"shape {x.shape}", "with at least one feature")
    return jnp.asarray(x, numerics.accumulation_dtype(x))
