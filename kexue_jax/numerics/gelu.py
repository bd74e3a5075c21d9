"""GELU: exact, and by its two elementary approximations, safe in every dtype."""

import functools
import math

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype

FORMS = ("none", "tanh", "sigmoid")
_ROOT = math.sqrt(2 / math.pi)
# Beyond |x| = 8 the tanh is 1 to all digits and its cubic argument need not grow.
_FAR = 64.0


def gelu(x: jax.Array, *, approximate: str = "none") -> jax.Array:
    """The Gaussian error linear unit, or one of its approximations.

    "none": x Phi(x) = x erfc(-x / sqrt(2)) / 2; "tanh": ``gelu_tanh``, off by at most
    4.73e-4 (at 2.70); "sigmoid": ``gelu_sigmoid``, off by at most 0.0203 (at 2.27).

    Shapes: x [...] -> [...].
    Article: kexue.fm/archives/7309.  Paper: arXiv 1606.08415.
    Differs: ``jax.nn.gelu`` has "tanh" as its default (PyTorch the exact form), whose
    gradient in float16 is NaN beyond |x| = 148. Here all forms run in at least float32
    and are 0 at -inf. x (1 + erf) / 2 loses all digits below -5.5.
    Cost: one erfc, tanh or exp an entry.
    Raises: TypeError unless x is a floating array; ValueError for another form.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import gelu
        >>> x = jnp.array([-1.0, 0.0, 2.0])
        >>> print([f"{v:.4f}" for v in gelu(x)])
        ['-0.1587', '0.0000', '1.9545']
    """
    checks.array("gelu", "x", x)
    checks.choice("gelu", "approximate", approximate, FORMS)
    if approximate == "tanh":
        return gelu_tanh(x)
    if approximate == "sigmoid":
        return gelu_sigmoid(x)
    return _exact(jnp.asarray(x, accumulation_dtype(x))).astype(x.dtype)


def gelu_tanh(x: jax.Array, *, coef: float = 0.044715) -> jax.Array:
    """GELU with a tanh of a cubic: x (1 + tanh(sqrt(2/pi) (x + coef x^3))) / 2.

    The same is x sigmoid(2 sqrt(2/pi) (x + coef x^3)). 0.044715 makes the largest error
    of erf least while the slope at 0 is kept (``gelu_constants``); Taylor's series at 0
    has 0.0455399, and 0.0443829 is best for GELU itself.

    Shapes: x [...] -> [...].
    Article: kexue.fm/archives/7309.  Paper: arXiv 1606.08415; Page 1977.
    Differs: no in value; beyond |x| = 8 the cubic is held, where tanh is 1 anyway, so
    that no gradient is inf times 0.
    Cost: one exp an entry.
    Raises: TypeError unless x is a floating array; TypeError or ValueError unless coef
    is a number of at least 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import gelu_tanh
        >>> x = jnp.array([-1.0, 0.0, 2.0])
        >>> print([f"{v:.4f}" for v in gelu_tanh(x)])
        ['-0.1588', '0.0000', '1.9546']
    """
    checks.array("gelu_tanh", "x", x)
    checks.number("gelu_tanh", "coef", coef, minimum=0)
    wide = jnp.asarray(x, accumulation_dtype(x))
    return _gated(wide, 2 * _ROOT, float(coef)).astype(x.dtype)


def gelu_sigmoid(x: jax.Array, *, scale: float = 1.702) -> jax.Array:
    """GELU with a logistic function: x sigmoid(scale x).

    1.702 makes the largest error of Phi least (``gelu_constants``); 1.5958 keeps the
    slope at 0, 1.7729 is best for GELU itself; scale = 1 is ``silu``.

    Shapes: x [...] -> [...].
    Article: kexue.fm/archives/7309.  Paper: arXiv 1606.08415; Bowling et al. 2009.
    Differs: no.
    Cost: one exp an entry.
    Raises: TypeError unless x is a floating array; TypeError or ValueError unless scale
    is a number above 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import gelu_sigmoid
        >>> x = jnp.array([-1.0, 0.0, 2.0])
        >>> print([f"{v:.4f}" for v in gelu_sigmoid(x)])
        ['-0.1542', '0.0000', '1.9357']
    """
    checks.array("gelu_sigmoid", "x", x)
    checks.number("gelu_sigmoid", "scale", scale, minimum=0, open_minimum=True)
    wide = jnp.asarray(x, accumulation_dtype(x))
    return _gated(wide, float(scale), 0.0).astype(x.dtype)


def silu(x: jax.Array) -> jax.Array:
    """The sigmoid linear unit: GELU's relative with the logistic distribution.

    x sigmoid(x), which as an approximation of GELU is off by up to 0.193.

    Shapes: x [...] -> [...].
    Article: kexue.fm/archives/7309.  Paper: arXiv 1606.08415.
    Differs: no.
    Cost: one exp an entry.
    Raises: TypeError unless x is a floating array.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import silu
        >>> x = jnp.array([-1.0, 0.0, 2.0])
        >>> print([f"{v:.4f}" for v in silu(x)])
        ['-0.2689', '0.0000', '1.7616']
    """
    checks.array("silu", "x", x)
    wide = jnp.asarray(x, accumulation_dtype(x))
    return _gated(wide, 1.0, 0.0).astype(x.dtype)


def _finite(x: jax.Array, value: jax.Array) -> jax.Array:
    """``value`` but for x = -inf, where it is -inf times 0."""
    return jnp.where(x == -jnp.inf, 0, value)


@jax.custom_jvp
def _exact(x: jax.Array) -> jax.Array:
    return _finite(x, 0.5 * x * jax.lax.erfc(-x / math.sqrt(2)))


@_exact.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (x,), (tangent,) = primals, tangents
    # x^2 may overflow; the density is 0 long before.
    near = jnp.clip(x, -40, 40)
    density = jnp.exp(-0.5 * near * near) / math.sqrt(2 * math.pi)
    slope = 0.5 * jax.lax.erfc(-x / math.sqrt(2)) + near * density
    return _exact(x), slope * tangent


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _gated(x: jax.Array, scale: float, coef: float) -> jax.Array:
    return _finite(x, x * jax.nn.sigmoid(_argument(x, scale, coef)))


@_gated.defjvp
def _(
    scale: float, coef: float, primals: tuple, tangents: tuple
) -> tuple[jax.Array, jax.Array]:
    (x,), (tangent,) = primals, tangents
    t = _argument(x, scale, coef)
    gate, rest = jax.nn.sigmoid(t), jax.nn.sigmoid(-t)
    # At infinity the product of gate and rest is 0.
    near = jnp.clip(x, -1e30, 1e30)
    inner = scale * (1 + 3 * coef * _square(near))
    return _gated(x, scale, coef), (gate + near * inner * gate * rest) * tangent


def _square(x: jax.Array) -> jax.Array:
    return jnp.minimum(jnp.abs(x), math.sqrt(_FAR)) ** 2


def _argument(x: jax.Array, scale: float, coef: float) -> jax.Array:
    return scale * x * (1 + coef * _square(x))
