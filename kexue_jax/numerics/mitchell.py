"""Mitchell's products and quotients: one addition of the bit patterns of two floats."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax.numerics import _layout
from kexue_jax.numerics._layout import Layout, constant

GRADIENTS = ("straight_through", "mimic", "exact")
OVERFLOWS = ("inf", "clamp")


class Rule(NamedTuple):
    """The static choices of a product."""

    offset: float = 0.0
    grad: str = "straight_through"
    overflow: str = "inf"


def mitchell_mul(
    a: jax.Array,
    b: jax.Array,
    *,
    offset: float = 0.0,
    grad: str = "straight_through",
    overflow: str = "inf",
) -> jax.Array:
    """Mitchell's product of two arrays, bit by bit: an addition in place of a product.

    With |a| = 2^i (1 + x), |b| = 2^j (1 + y) and s = x + y + offset: 2^(i+j) (1 + s)
    for s < 1, 2^(i+j+1) s from 1 on (4 (s - 1) / 2 from 2 on). For offset = 0 the
    relative error lies in [-1/9, 0] and is 0 if a or b is a power of two. offset =
    ``lmul_offset`` is L-Mul's, ``optimal_offset`` has better ones. Derivative, by
    ``grad``: "straight_through" that of a b; "mimic" the same with Mitchell's products
    (reverse mode only); "exact" that of this piecewise affine function.

    Shapes: a, b [...] of one dtype, shapes that broadcast -> [...].
    Article: kexue.fm/archives/7991.  Paper: IRE Trans. EC-11 (1962); arXiv 2012.03458,
    2305.17190, 2410.00907.
    Differs: the article's line of C++ makes a small number of 0 x and wraps signs and
    exponents. Here subnormal operands and results are 0, overflow gives inf (or, with
    overflow="clamp", the largest number, as always where a dtype has no inf), and inf
    and NaN go as in IEEE products.
    Cost: some ten integer operations an entry: slower than a product where there is
    hardware for one.
    Raises: TypeError or ValueError for arguments that are not floating arrays of one
    dtype, shapes that do not broadcast, an offset outside [0, 1) or unknown choices.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import mitchell_mul
        >>> a, b = jnp.array([1.5, 4.0, 12.3]), jnp.array([1.5, 0.3, 4.56])
        >>> print([f"{v:.2f}" for v in mitchell_mul(a, b)])
        ['2.00', '1.20', '53.68']
    """
    rule = check_rule("mitchell_mul", offset, grad, overflow)
    return _elementwise("mitchell_mul", a, b, rule, divides=False)


def mitchell_div(
    a: jax.Array,
    b: jax.Array,
    *,
    grad: str = "straight_through",
    overflow: str = "inf",
) -> jax.Array:
    """Mitchell's quotient of two arrays: a subtraction in place of a division.

    With |a| = 2^i (1 + x), |b| = 2^j (1 + y): 2^(i-j) (1 + x - y) for x >= y, else
    2^(i-j-1) (2 + x - y). Over a / b it lies in [1, 9/8]; mitchell_div(mitchell_mul(a,
    b), b) is a to the bit. ``grad`` as for ``mitchell_mul``.

    Shapes: a, b [...] of one dtype, shapes that broadcast -> [...].
    Article: kexue.fm/archives/7991.  Paper: IRE Trans. EC-11 (1962).
    Differs: as ``mitchell_mul``; special operands as in IEEE quotients.
    Cost: some ten integer operations an entry.
    Raises: as ``mitchell_mul``.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import mitchell_div
        >>> print(mitchell_div(jnp.array([6.0, 2.0]), jnp.array([4.0, 3.0])))
        [1.5  0.75]
    """
    rule = check_rule("mitchell_div", 0.0, grad, overflow)
    return _elementwise("mitchell_div", a, b, rule, divides=True)


def lmul(
    a: jax.Array,
    b: jax.Array,
    *,
    grad: str = "straight_through",
    overflow: str = "inf",
) -> jax.Array:
    """L-Mul's product: ``mitchell_mul`` with the offset of its paper.

    2^(i+j) (1 + x + y + 2^-l) with its carry, l = ``lmul_offset``'s for the dtype.

    Shapes: a, b [...] of one dtype, shapes that broadcast -> [...].
    Article: kexue.fm/archives/7991.  Paper: arXiv 2410.00907.
    Differs: as ``mitchell_mul``. 1 times 1 is 1.0625.
    Cost: as ``mitchell_mul``.
    Raises: as ``mitchell_mul``.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import lmul
        >>> print(lmul(jnp.array([1.0, 1.5]), jnp.array([1.0, 1.5])))
        [1.0625 2.125 ]
    """
    checks.array("lmul", "a", a)
    rule = check_rule("lmul", lmul_offset(a.dtype), grad, overflow)
    return _elementwise("lmul", a, b, rule, divides=False)


def lmul_offset(dtype: Any) -> float:
    """The offset that L-Mul adds to the sum of mantissas of a dtype.

    2^-l with l = m for m <= 3 bits of mantissa, 3 for m = 4, 4 for more.

    Shapes: none; a Python float.
    Article: kexue.fm/archives/7991.  Paper: arXiv 2410.00907.
    Differs: no.
    Cost: none.
    Raises: TypeError unless dtype names a floating dtype.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.numerics import lmul_offset
        >>> lmul_offset(jnp.float32), lmul_offset(jnp.float8_e4m3fn)
        (0.0625, 0.125)
    """
    checks.float_dtype("lmul_offset", "dtype", dtype)
    m = int(jnp.finfo(jnp.dtype(dtype)).nmant)
    return 2.0 ** -(m if m <= 3 else 3 if m == 4 else 4)


def check_rule(name: str, offset: float, grad: str, overflow: str) -> Rule:
    """The choices as a rule, or an error that names the one that is wrong."""
    checks.number(name, "offset", offset, minimum=0, maximum=1, open_maximum=True)
    checks.choice(name, "grad", grad, GRADIENTS)
    checks.choice(name, "overflow", overflow, OVERFLOWS)
    return Rule(float(offset), grad, overflow)


def _elementwise(name: str, a: Any, b: Any, rule: Rule, divides: bool) -> jax.Array:
    checks.array(name, "a", a)
    checks.array(name, "b", b)
    checks.same_dtype(name, a=a, b=b)
    shape = checks.leading(name, {"a": a.shape, "b": b.shape})
    a, b = (jnp.broadcast_to(jnp.asarray(x), shape) for x in (a, b))
    return (quotient if divides else product)(a, b, rule)


def product(a: jax.Array, b: jax.Array, rule: Rule) -> jax.Array:
    """Mitchell's product of arrays of one shape and dtype, differentiable."""
    return (_mul_mimic if rule.grad == "mimic" else _mul)(a, b, rule)


def quotient(a: jax.Array, b: jax.Array, rule: Rule) -> jax.Array:
    """Mitchell's quotient of arrays of one shape and dtype, differentiable."""
    return (_div_mimic if rule.grad == "mimic" else _div)(a, b, rule)


class Operands(NamedTuple):
    """Magnitudes of two arrays, the sign of the result, and what IEEE makes of them.

    ``native`` is of the operands with subnormals taken for 0; it is right wherever it
    is no finite number for the operands' sake.
    """

    form: Layout
    a: jax.Array
    b: jax.Array
    sign: jax.Array
    native: jax.Array
    special: jax.Array


def _operands(a: jax.Array, b: jax.Array, divides: bool) -> Operands:
    form = _layout.layout(a.dtype)
    patterns = [_layout.bits(x, form) for x in (a, b)]
    sizes = [_layout.magnitude(p, form) for p in patterns]
    signs = [p & constant(form.sign, form) for p in patterns]
    wide = _wide(a.dtype)
    flushed = [
        _layout.number(jnp.where(m < constant(form.least, form), s, p), x.dtype, form)
        for x, p, m, s in zip((a, b), patterns, sizes, signs, strict=True)
    ]
    left, right = (x.astype(wide) for x in flushed)
    native = (left / right if divides else left * right).astype(a.dtype)
    special = jnp.maximum(*sizes) >= constant(form.special, form)
    if divides:
        special |= sizes[1] < constant(form.least, form)
    first, second = sizes
    return Operands(form, first, second, signs[0] ^ signs[1], native, special)


def _wide(dtype: Any) -> Any:
    """At least float32; eight bits, too, which jax does not promote by itself."""
    return dtype if jnp.dtype(dtype).itemsize >= 4 else jnp.dtype("float32")


def _answer(o: Operands, found: jax.Array, dtype: Any) -> jax.Array:
    plain = _layout.number(found | o.sign, dtype, o.form)
    return jnp.where(o.special, o.native, plain)


def _overflown(form: Layout, rule: Rule) -> jax.Array:
    clamps = rule.overflow == "clamp" or not form.infinite
    return constant(form.most if clamps else form.special, form)


def _sum(o: Operands, rule: Rule) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The sum of two patterns, where it is too small, where too large."""
    c = functools.partial(constant, form=o.form)
    least = c(o.form.least)
    total = o.a + o.b + c(o.form.shift(rule.offset))  # below 2^width
    low = (jnp.minimum(o.a, o.b) < least) | (total < c(o.form.bias) + least)
    return total, low, total >= c(o.form.bias + o.form.special)


def _gap(o: Operands) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A pattern raised by that of 1, where less another it is too small, too large."""
    c = functools.partial(constant, form=o.form)
    least = c(o.form.least)
    raised = o.a + c(o.form.bias)
    low = (o.a < least) | (raised < o.b + least)
    return raised, low, raised >= o.b + c(o.form.special)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _mul(a: jax.Array, b: jax.Array, rule: Rule) -> jax.Array:
    o = _operands(a, b, divides=False)
    total, low, over = _sum(o, rule)
    found = jnp.where(
        over, _overflown(o.form, rule), total - constant(o.form.bias, o.form)
    )
    return _answer(o, jnp.where(low, constant(0, o.form), found), a.dtype)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _div(a: jax.Array, b: jax.Array, rule: Rule) -> jax.Array:
    o = _operands(a, b, divides=True)
    raised, low, over = _gap(o)
    found = jnp.where(over, _overflown(o.form, rule), raised - o.b)
    return _answer(o, jnp.where(low, constant(0, o.form), found), a.dtype)


@_mul.defjvp
def _(rule: Rule, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    a, b = primals
    slopes = (
        (b, a) if rule.grad == "straight_through" else slopes_of_product(a, b, rule)
    )
    return _mul(a, b, rule), slopes[0] * tangents[0] + slopes[1] * tangents[1]


@_div.defjvp
def _(rule: Rule, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    a, b = primals
    if rule.grad == "straight_through":
        slopes = 1 / b, -(a / b) / b
    else:
        slopes = _slopes_of_quotient(a, b)
    return _div(a, b, rule), slopes[0] * tangents[0] + slopes[1] * tangents[1]


def slopes_of_product(
    a: jax.Array, b: jax.Array, rule: Rule
) -> tuple[jax.Array, jax.Array]:
    """The derivatives of Mitchell's product: powers of two, 0 where it is constant."""
    o = _operands(a, b, divides=False)
    _, low, over = _sum(o, rule)
    constant_here = low | over | o.special
    m, fraction = o.form.mantissa, constant(o.form.fraction, o.form)
    shift = constant(o.form.shift(rule.offset), o.form)
    carry = ((o.a & fraction) + (o.b & fraction) + shift) >> constant(m, o.form)

    def slope(other: jax.Array, size: jax.Array) -> jax.Array:
        pattern = (size & ~fraction) + (carry << constant(m, o.form))
        pattern = jnp.minimum(pattern, constant(o.form.most, o.form))
        signed = pattern | (_layout.bits(other, o.form) & constant(o.form.sign, o.form))
        found = _layout.number(signed, a.dtype, o.form)
        return jnp.where(constant_here, 0, found)

    return slope(b, o.b), slope(a, o.a)


def _slopes_of_quotient(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    o = _operands(a, b, divides=True)
    _, low, over = _gap(o)
    constant_here = low | over | o.special
    fraction = constant(o.form.fraction, o.form)
    wide = _wide(a.dtype)
    powers = [
        jnp.where(constant_here, 1, _layout.number(size & ~fraction, a.dtype, o.form))
        for size in (o.a, o.b)
    ]
    top, bottom = (p.astype(wide) for p in powers)
    borrow = jnp.where((o.a & fraction) < (o.b & fraction), 2, 1).astype(wide)
    sign_a, sign_b = (jnp.where(x < 0, -1, 1).astype(wide) for x in (a, b))
    first = sign_b / (bottom * borrow)
    second = -sign_a * (top / bottom) / (bottom * borrow)
    zero = jnp.zeros((), a.dtype)
    left, right = (
        jnp.where(constant_here, zero, x.astype(a.dtype)) for x in (first, second)
    )
    return left, right


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _mul_mimic(a: jax.Array, b: jax.Array, rule: Rule) -> jax.Array:
    return _mul(a, b, rule)


_mul_mimic.defvjp(
    lambda a, b, rule: (_mul(a, b, rule), (a, b)),
    lambda rule, kept, g: (_mul(g, kept[1], rule), _mul(g, kept[0], rule)),
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _div_mimic(a: jax.Array, b: jax.Array, rule: Rule) -> jax.Array:
    return _div(a, b, rule)


def _div_forward(a: jax.Array, b: jax.Array, rule: Rule) -> tuple[jax.Array, Any]:
    found = _div(a, b, rule)
    return found, (found, b)


def _div_backward(rule: Rule, kept: Any, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    found, b = kept
    return _div(g, b, rule), -_mul(g, _div(found, b, rule), rule)


_div_mimic.defvjp(_div_forward, _div_backward)
