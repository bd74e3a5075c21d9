"""S5: one diagonal state space of many inputs and outputs, a step size a mode."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks
from kexue_jax.ssm.discretization import phi_1
from kexue_jax.ssm.mimo import Layer, Mimo, advanced, applied, normals
from kexue_jax.ssm.outputs import SsmOutput
from kexue_jax.ssm.s4_nplr import nplr

_FIELDS = {
    "decay_log": "n",
    "frequency": "n",
    "b_re": "n h",
    "b_im": "n h",
    "c_re": "h n",
    "c_im": "h n",
    "d": "h",
    "dt_log": "n",
}


class S5Params(NamedTuple):
    """Parameters of an S5 of n conjugate pairs of modes and h features, all real.

    decay_log, frequency, dt_log [n]; b_re, b_im [n, h]; c_re, c_im [h, n]; d [h].
    """

    decay_log: jax.Array
    frequency: jax.Array
    b_re: jax.Array
    b_im: jax.Array
    c_re: jax.Array
    c_im: jax.Array
    d: jax.Array
    dt_log: jax.Array


def s5_init(
    key: jax.Array,
    *,
    n: int,
    h: int,
    dt_min: float = 1e-3,
    dt_max: float = 1e-1,
    dtype: Any = jnp.float32,
) -> S5Params:
    """The parameters an S5 starts with: the normal part of LegS, of 2 n modes.

    With v its eigenvectors and k_1, ..., k_4 = split(key, 4): b = v^H b_0, c = c_0 v,
    b_0 [2 n, h] normal of variance 1 / h (k_1), c_0 [h, 2 n] 1 / (2 n) (k_2), d 1
    (k_3); dt_log uniform between the logarithms (k_4). One mode of each pair is kept.

    Shapes: a typed key [] -> S5Params.
    Article: kexue.fm/archives/10162.  Paper: arXiv 2208.04933.
    Differs: one block of LegS; the paper's code has several beside each other too.
    Cost: O(n^3 + n^2 h).
    Raises: TypeError or ValueError for bad arguments.
    Example:
        >>> import jax
        >>> from kexue_jax.ssm import s5_init
        >>> params = s5_init(jax.random.key(0), n=4, h=2)
        >>> print(params.frequency.shape, params.b_re.shape)
        (4,) (4, 2)
    """
    name = "s5_init"
    checks.key(name, "key", key)
    checks.count(name, "n", n)
    checks.count(name, "h", h)
    checks.number(name, "dt_min", dt_min, minimum=0, open_minimum=True)
    checks.number(name, "dt_max", dt_max, minimum=dt_min)
    checks.float_dtype(name, "dtype", dtype)
    keys = jax.random.split(key, 4)
    wide = jnp.promote_types(dtype, jnp.float32)
    kind = jnp.result_type(wide, jnp.complex64)
    lam, _, _, v = nplr(measure="legs", n=2 * n, half=True, dtype=kind)
    start = normals(keys[0], (2 * n, h), 1 / h, dtype)
    end = normals(keys[1], (h, 2 * n), 1 / (2 * n), dtype)
    b, c = v.conj().T @ start, end @ v
    d = normals(keys[2], (h,), 1, dtype)
    low, high = np.log(dt_min), np.log(dt_max)
    dt_log = jax.random.uniform(keys[3], (n,), wide, low, high)
    decay_log = jnp.log(-lam.real)
    parts = (decay_log, lam.imag, b.real, b.imag, c.real, c.imag, d, dt_log)
    return S5Params(*(x.astype(dtype) for x in parts))


def s5_apply(
    params: S5Params, u: jax.Array, *, state: jax.Array | None = None
) -> SsmOutput:
    """The outputs of an S5 for a whole sequence, and the state after it.

    lam = -exp(decay_log) + i frequency, dt = exp(dt_log), x_t = e^(lam dt) x_{t-1} + dt
    phi_1(lam dt) (B u_t), y_t = 2 Re(C x_t) + d u_t, the input held over a step.

    Shapes: params of n pairs and h features, u [..., L, h], state [..., n] complex or
    None: zeros -> SsmOutput(state [..., n], out [..., L, h]).
    Article: kexue.fm/archives/10162.  Paper: arXiv 2208.04933.
    Differs: the recurrence is ``linear_scan``, an associative scan on accelerators
    alone. Re lam < 0 for all parameters.
    Cost: 8 L h n flops in products of real matrices, and the recurrence O(L n).
    Raises: TypeError or ValueError for shapes or dtypes that do not fit.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.ssm import s5_apply, s5_init
        >>> params = s5_init(jax.random.key(0), n=4, h=2)
        >>> state, out = s5_apply(params, jnp.ones((5, 2)))
        >>> print(state.shape, out.shape)
        (4,) (5, 2)
    """
    return applied("s5_apply", _S5_LAYER, params, u, state)


def s5_step(state: jax.Array, params: S5Params, u: jax.Array) -> SsmOutput:
    """The output of an S5 for one more input, and the state after it.

    x <- e^(lam dt) x + dt phi_1(lam dt) (B u), y = 2 Re(C x) + d u, as ``s5_apply``.

    Shapes: state [..., n] complex, params, u [..., h] -> SsmOutput(state [..., n], out
    [..., h]).
    Article: kexue.fm/archives/10162.  Paper: arXiv 2208.04933.
    Differs: no.
    Cost: 8 h n flops.
    Raises: TypeError or ValueError for shapes or dtypes that do not fit.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.ssm import s5_init, s5_step
        >>> params = s5_init(jax.random.key(0), n=4, h=2)
        >>> print(s5_step(jnp.zeros(4) + 0j, params, jnp.ones(2)).out.shape)
        (2,)
    """
    return advanced("s5_step", _S5_LAYER, state, params, u)


def _system(p: S5Params) -> Mimo:
    dt = jnp.exp(p.dt_log)
    rate = dt * jax.lax.complex(-jnp.exp(p.decay_log), p.frequency)
    drive = (dt * phi_1(rate))[:, None] * jax.lax.complex(p.b_re, p.b_im)
    parts = drive.real, drive.imag, 2 * p.c_re, 2 * p.c_im
    return Mimo(jnp.exp(rate), *parts, p.d)


_S5_LAYER = Layer(S5Params, _FIELDS, _system)
