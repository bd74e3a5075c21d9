"""LRU and SLRU: linear recurrences whose modes are drawn in a ring of the unit disk."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax.ssm.mimo import Layer, Mimo, advanced, applied, normals
from kexue_jax.ssm.outputs import SsmOutput


class LruParams(NamedTuple):
    """Parameters of an LRU of n modes and h features, all real.

    nu_log, theta_log, gamma_log [n]; b_re, b_im [n, h]; c_re, c_im [h, n]; d [h].
    """

    nu_log: jax.Array
    theta_log: jax.Array
    gamma_log: jax.Array
    b_re: jax.Array
    b_im: jax.Array
    c_re: jax.Array
    c_im: jax.Array
    d: jax.Array


class SlruParams(NamedTuple):
    """Parameters of an SLRU: nu_log, gamma_log [n], b [n, h], c [h, n], d [h]."""

    nu_log: jax.Array
    gamma_log: jax.Array
    b: jax.Array
    c: jax.Array
    d: jax.Array


_LRU = {
    "nu_log": "n",
    "theta_log": "n",
    "gamma_log": "n",
    "b_re": "n h",
    "b_im": "n h",
    "c_re": "h n",
    "c_im": "h n",
    "d": "h",
}
_SLRU = {"nu_log": "n", "gamma_log": "n", "b": "n h", "c": "h n", "d": "h"}


def lru_init(
    key: jax.Array,
    *,
    n: int,
    h: int,
    r_min: float = 0.9,
    r_max: float = 0.999,
    max_phase: float = 2 * math.pi,
    dtype: Any = jnp.float32,
) -> LruParams:
    """The parameters an LRU starts with, its modes uniform in a ring of the disk.

    With k_1, ..., k_7 = split(key, 7), u_1, u_2 uniform by k_1, k_2: r^2 = u_1 (r_max^2
    - r_min^2) + r_min^2, nu_log = log(-log(r^2) / 2), theta_log = log(max_phase u_2),
    gamma_log = log(1 - r^2) / 2; b of variance 1 / (2 h) a part (k_3, k_4), c 1 / n
    (k_5, k_6), d 1 (k_7), normal.

    Shapes: a typed key [] -> LruParams.
    Article: kexue.fm/archives/9554.  Paper: arXiv 2303.06349.
    Differs: no. The article has no max_phase.
    Cost: O(n h).
    Raises: TypeError or ValueError for bad arguments, r_min >= r_max, r_max >= 1.
    Example:
        >>> import jax
        >>> from kexue_jax.ssm import lru_init
        >>> params = lru_init(jax.random.key(0), n=8, h=2)
        >>> print(params.nu_log.shape, params.b_re.shape, params.c_im.shape)
        (8,) (8, 2) (2, 8)
    """
    name = "lru_init"
    _check_init(name, key, n, h, r_min, r_max, dtype)
    checks.number(name, "max_phase", max_phase, minimum=0, open_minimum=True)
    keys = jax.random.split(key, 7)
    nu_log, gamma_log = _ring(keys[0], n, r_min, r_max, dtype)
    theta_log = jnp.log(max_phase * _uniform(keys[1], n, dtype))
    b_re, b_im = (normals(k, (n, h), 1 / (2 * h), dtype) for k in keys[2:4])
    c_re, c_im = (normals(k, (h, n), 1 / n, dtype) for k in keys[4:6])
    d = normals(keys[6], (h,), 1, dtype)
    params = (nu_log, theta_log, gamma_log, b_re, b_im, c_re, c_im, d)
    return LruParams(*(x.astype(dtype) for x in params))


def lru_apply(
    params: LruParams, u: jax.Array, *, state: jax.Array | None = None
) -> SsmOutput:
    """The outputs of an LRU for a whole sequence, and the state after it.

    lam = exp(-exp(nu_log) + i exp(theta_log)), x_t = lam x_{t-1} + exp(gamma_log) (B
    u_t), y_t = Re(C x_t) + d u_t.

    Shapes: params of n modes and h features, u [..., L, h], state [..., n] complex or
    None: zeros -> SsmOutput(state [..., n], out [..., L, h]).
    Article: kexue.fm/archives/9554.  Paper: arXiv 2303.06349.
    Differs: no; |lam| < 1 for all parameters. The recurrence is ``linear_scan``.
    Cost: 8 L h n flops in products of real matrices, and the recurrence O(L n).
    Raises: TypeError or ValueError for shapes or dtypes that do not fit.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.ssm import lru_apply, lru_init
        >>> params = lru_init(jax.random.key(0), n=8, h=2)
        >>> state, out = lru_apply(params, jnp.ones((5, 2)))
        >>> print(state.shape, out.shape)
        (8,) (5, 2)
    """
    return applied("lru_apply", _LRU_LAYER, params, u, state)


def lru_step(state: jax.Array, params: LruParams, u: jax.Array) -> SsmOutput:
    """The output of an LRU for one more input, and the state after it.

    x <- lam x + exp(gamma_log) (B u), y = Re(C x) + d u, as in ``lru_apply``.

    Shapes: state [..., n] complex, params, u [..., h] -> SsmOutput(state [..., n], out
    [..., h]).
    Article: kexue.fm/archives/9554.  Paper: arXiv 2303.06349.
    Differs: no.
    Cost: 8 h n flops.
    Raises: TypeError or ValueError for shapes or dtypes that do not fit.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.ssm import lru_init, lru_step
        >>> params = lru_init(jax.random.key(0), n=8, h=2)
        >>> print(lru_step(jnp.zeros(8) + 0j, params, jnp.ones(2)).out.shape)
        (2,)
    """
    return advanced("lru_step", _LRU_LAYER, state, params, u)


def slru_init(
    key: jax.Array,
    *,
    n: int,
    h: int,
    r_min: float = 0.9,
    r_max: float = 0.999,
    dtype: Any = jnp.float32,
) -> SlruParams:
    """The parameters an SLRU starts with: those of an LRU without phases, all real.

    With k_1, ..., k_4 = split(key, 4): nu_log and gamma_log as ``lru_init`` by k_1; b
    of variance 1 / h (k_2), c 1 / n (k_3), d 1 (k_4), normal.

    Shapes: a typed key [] -> SlruParams.
    Article: kexue.fm/archives/9554.  Paper: arXiv 2303.06349.
    Differs: no; b has the variance of both parts of an LRU's.
    Cost: O(n h).
    Raises: TypeError or ValueError for bad arguments, r_min >= r_max, r_max >= 1.
    Example:
        >>> import jax
        >>> from kexue_jax.ssm import slru_init
        >>> print(slru_init(jax.random.key(0), n=8, h=2).b.shape)
        (8, 2)
    """
    name = "slru_init"
    _check_init(name, key, n, h, r_min, r_max, dtype)
    keys = jax.random.split(key, 4)
    nu_log, gamma_log = _ring(keys[0], n, r_min, r_max, dtype)
    b, c = (
        normals(keys[1], (n, h), 1 / h, dtype),
        normals(keys[2], (h, n), 1 / n, dtype),
    )
    params = (nu_log, gamma_log, b, c, normals(keys[3], (h,), 1, dtype))
    return SlruParams(*(x.astype(dtype) for x in params))


def slru_apply(
    params: SlruParams, u: jax.Array, *, state: jax.Array | None = None
) -> SsmOutput:
    """The outputs of an SLRU for a whole sequence, and the state after it.

    x_t = exp(-exp(nu_log)) x_{t-1} + exp(gamma_log) (b u_t), y_t = c x_t + d u_t.

    Shapes: params of n modes and h features, u [..., L, h], state [..., n] or None:
    zeros -> SsmOutput(state [..., n], out [..., L, h]).
    Article: kexue.fm/archives/9554.  Paper: arXiv 2303.06349.
    Differs: no.
    Cost: 4 L h n flops in products of matrices, and the recurrence O(L n).
    Raises: TypeError or ValueError for shapes or dtypes that do not fit.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.ssm import slru_apply, slru_init
        >>> params = slru_init(jax.random.key(0), n=8, h=2)
        >>> print(slru_apply(params, jnp.ones((5, 2))).out.shape)
        (5, 2)
    """
    return applied("slru_apply", _SLRU_LAYER, params, u, state)


def slru_step(state: jax.Array, params: SlruParams, u: jax.Array) -> SsmOutput:
    """The output of an SLRU for one more input, and the state after it.

    x <- exp(-exp(nu_log)) x + exp(gamma_log) (b u), y = c x + d u.

    Shapes: state [..., n], params, u [..., h] -> SsmOutput(state [..., n], out
    [..., h]).
    Article: kexue.fm/archives/9554.  Paper: arXiv 2303.06349.
    Differs: no.
    Cost: 4 h n flops.
    Raises: TypeError or ValueError for shapes or dtypes that do not fit.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.ssm import slru_init, slru_step
        >>> params = slru_init(jax.random.key(0), n=8, h=2)
        >>> print(slru_step(jnp.zeros(8), params, jnp.ones(2)).out.shape)
        (2,)
    """
    return advanced("slru_step", _SLRU_LAYER, state, params, u)


def _lru_system(p: LruParams) -> Mimo:
    a = jnp.exp(jax.lax.complex(-jnp.exp(p.nu_log), jnp.exp(p.theta_log)))
    gain = jnp.exp(p.gamma_log)[:, None]
    return Mimo(a, gain * p.b_re, gain * p.b_im, p.c_re, p.c_im, p.d)


_LRU_LAYER = Layer(LruParams, _LRU, _lru_system)


def _slru_system(p: SlruParams) -> Mimo:
    gain = jnp.exp(p.gamma_log)[:, None]
    return Mimo(jnp.exp(-jnp.exp(p.nu_log)), gain * p.b, None, p.c, None, p.d)


_SLRU_LAYER = Layer(SlruParams, _SLRU, _slru_system)


def _uniform(key: jax.Array, n: int, dtype: Any) -> jax.Array:
    """Uniform numbers in (0, 1), never 0: logarithms follow."""
    wide = jnp.promote_types(dtype, jnp.float32)
    return jax.random.uniform(key, (n,), wide, minval=jnp.finfo(wide).tiny)


def _ring(key: jax.Array, n: int, r_min: float, r_max: float, dtype: Any) -> Any:
    """nu_log and gamma_log of radii whose squares are uniform between the ends."""
    low, high = r_min**2, r_max**2
    square = _uniform(key, n, dtype) * (high - low) + low
    return jnp.log(-jnp.log(square) / 2), jnp.log1p(-square) / 2


def _check_init(
    function: str, key: Any, n: Any, h: Any, r_min: Any, r_max: Any, dtype: Any
) -> None:
    checks.key(function, "key", key)
    checks.count(function, "n", n)
    checks.count(function, "h", h)
    checks.number(function, "r_max", r_max, minimum=0, maximum=1, open_maximum=True)
    limits: dict[str, Any] = {"minimum": 0, "maximum": r_max, "open_maximum": True}
    checks.number(function, "r_min", r_min, **limits)
    checks.float_dtype(function, "dtype", dtype)
