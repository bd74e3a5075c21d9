"""The causal convolution of S4D without an FFT: blocks of time, states between them.

Inside a block of time the kernel is a short Toeplitz matrix; what came before is the
state that enters, of n modes. All of it is real matrix products of block size, and a
short recurrence from block to block.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks
from kexue_jax.ssm.diagonal import Power, check_channels, stepped_modes
from kexue_jax.ssm.modes import channel_inputs, complex_modes, power_rows
from kexue_jax.ssm.outputs import SsmOutput
from kexue_jax.ssm.recurrence import linear_scan


def s4d_conv(
    lam: jax.Array,
    b: jax.Array,
    c: jax.Array,
    dt: float | jax.Array,
    u: jax.Array,
    *,
    state: jax.Array | None = None,
    block: int = 32,
    method: str = "zoh",
) -> SsmOutput:
    """The outputs of diagonal systems for a whole sequence, and the state after it.

    x_t = A x_{t-1} + B u_t, y_t = 2 Re(c x_t), for h channels of n modes and their
    conjugates, A and B of the method: the causal convolution with ``s4d_kernel``, from
    any state. For blocks u_g of time and the states x_g that enter them, y_g = T u_g +
    2 Re(c A^(i + 1) x_g), T the Toeplitz matrix of the kernel's beginning.

    Shapes: lam, b, c [h, n] complex, dt a number or [h], u [..., L, h], state [..., h,
    n] complex or None: zeros -> SsmOutput(state [..., h, n], out [..., L, h]).
    Article: kexue.fm/archives/10162.  Paper: arXiv 2206.11893.
    Differs: the paper convolves by FFT, which gives no state to go on from.
    Cost: 2 L h (block + 4 n) flops in products of matrices; memory O(L h n / block).
    Raises: TypeError or ValueError for shapes or dtypes that do not fit, an unknown
    method.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import s4d_conv
        >>> one = jnp.ones((1, 1)) + 0j
        >>> print(s4d_conv(0 * one, one, one, 0.5, jnp.ones((4, 1))).out[:, 0])
        [1. 2. 3. 4.]
    """
    name = "s4d_conv"
    complex_modes(name, lam=lam, b=b, c=c)
    check_channels(name, lam, b, c, dt)
    channel_inputs(name, u, lam, "... l h")
    checks.count(name, "block", block)
    lead, (length, h), n = u.shape[:-2], u.shape[-2:], lam.shape[-1]
    if 0 in u.shape:
        raise checks.fail(name, "u", f"shape {u.shape}", "without empty axes")
    start = _start(name, state, (*lead, h, n), lam)
    drive, power = stepped_modes(name, lam, b, jnp.ones_like(c), dt, method)
    block = min(int(block), length)
    count = -(-length // block)
    tables = _tables(drive, power, c, block)
    wide = u.astype(drive.real.dtype).reshape(-1, length, h).transpose(2, 0, 1)
    rows, padding = wide.shape[1], count * block - length
    blocks = jnp.pad(wide, [(0, 0), (0, 0), (0, padding)])
    blocks = blocks.reshape(h, rows * count, block)
    added = _contract("hgj,jhm->hgm", blocks, tables.absorb)
    states = _entering(start, added, power(block))
    flat = states.reshape(h, rows * count, n)
    parts = jnp.concatenate([flat.real, flat.imag], -1)
    out = _contract("hgj,hji->hgi", blocks, tables.inside)
    out = out + _contract("hgm,ihm->hgi", parts, tables.emit)
    out = out.reshape(h, rows, count * block)[..., :length].transpose(1, 2, 0)
    # The last block may be short: its inputs end where the table ends.
    rest = block - padding
    last = _contract(
        "hgj,jhm->hgm", wide[..., length - rest :], tables.absorb[padding:]
    )
    end = power(rest)[:, None] * states[:, :, -1] + _paired(last)
    end = jnp.moveaxis(end, 0, 1).reshape(*lead, h, n)
    return SsmOutput(end, out.reshape(u.shape).astype(u.dtype))


class Tables(NamedTuple):
    """By channel: inputs to outputs [h, block, block] and to the state that leaves
    [block, h, 2 n], the state that enters to outputs [block, h, 2 n]."""

    inside: jax.Array
    absorb: jax.Array
    emit: jax.Array


def _tables(drive: Any, power: Power, c: Any, block: int) -> Tables:
    decay = power(1)
    absorb = power_rows(drive, decay, block, reverse=True)
    reading = 2 * jnp.concatenate([c.real, -c.imag], -1)
    kernel = _contract("jhm,hm->hj", absorb, reading)[:, ::-1]
    emit = power_rows((2 * c * decay).conj(), decay.conj(), block)
    return Tables(toeplitz(kernel), absorb, emit)


def toeplitz(kernel: jax.Array) -> jax.Array:
    """[..., j, i] = kernel[..., i - j], 0 below: ``u @ it`` is the convolution.

    Rows of [kernel, 0], each a place further: a repetition read with a shorter stride,
    whose gradient is a sum, where an index's would be a scatter.
    """
    lead, block = kernel.shape[:-1], kernel.shape[-1]
    row = jnp.concatenate([kernel, jnp.zeros_like(kernel)], -1)
    many = jnp.broadcast_to(row[..., None, :], (*lead, block, 2 * block))
    many = many.reshape(*lead, -1)[..., : block * (2 * block - 1)]
    return many.reshape(*lead, block, 2 * block - 1)[..., :block]


def _entering(start: Any, added: Any, decay: Any) -> jax.Array:
    """The states [h, rows, blocks, n] that enter the blocks, from what each adds.

    ``decay [h, n]`` is that of a whole block.
    """
    h, n = decay.shape
    rows = start.shape[1]
    parts = _paired(added).reshape(h, rows, -1, n)
    chain = jnp.concatenate([start[:, :, None], parts[:, :, :-1]], 2)
    return linear_scan(decay[:, None, None], chain, axis=2)


def _start(function: str, state: Any, shape: tuple[int, ...], like: Any) -> jax.Array:
    """The state [h, rows, n] to begin with."""
    if state is None:
        state = jnp.zeros(shape, like.dtype)
    checks.array(function, "state", state, "complex")
    checks.same_dtype(function, lam=like, state=state)
    if state.shape != shape:
        got, wanted = f"shape {state.shape}", f"of shape {list(shape)}"
        raise checks.fail(function, "state", got, wanted)
    return jnp.moveaxis(jnp.asarray(state).reshape(-1, *shape[-2:]), 0, 1)


def _paired(parts: jax.Array) -> jax.Array:
    """[..., 2 n], real parts and then imaginary ones, as complex [..., n]."""
    return lax.complex(*jnp.split(parts, 2, -1))


def _contract(letters: str, *arrays: jax.Array) -> jax.Array:
    return jnp.einsum(letters, *arrays, precision=lax.Precision.HIGHEST)
