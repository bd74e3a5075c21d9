"""Mixers over time whose recurrence depends on the tokens: RWKV-4, retention, Mamba."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from kexue_jax import ssm
from kexue_jax.models.functional import uniform_param
from kexue_jax.models.layers import Dense, along_last
from kexue_jax.models.ssm_mixers import Steps, number_param, rest, widened

State = Any
NOTHING = -1e30  # the logarithm of no weight at all, finite for the gradient


def shifted(x: jax.Array, by: int) -> jax.Array:
    """``x [..., n, d]`` later by some tokens, zeros first."""
    if by == 0:
        return x
    padding = [(0, 0)] * (x.ndim - 2) + [(by, 0), (0, 0)]
    return jnp.pad(x, padding)[..., : x.shape[-2], :]


class RwkvMixer(nnx.Module):
    """The time mixing of RWKV-4: each of r, k, v from a token and the one before."""

    def __init__(self, width: int):
        share = np.arange(width) / width
        self.mix_r, self.mix_k, self.mix_v = (number_param(share) for _ in range(3))
        self.r, self.k, self.v, self.out = (Dense(width, width) for _ in range(4))
        # exp(speed) is -log of the decay, from e^-5 to e^3 over the channels.
        self.speed = number_param(-5 + 8 * share**0.7)
        self.bonus = number_param(np.full(width, math.log(0.3)))

    def _rates(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return -jnp.exp(widened(self.speed, x)), widened(self.bonus, x)

    def _rkv(self, x: jax.Array, before: jax.Array) -> list[jax.Array]:
        rows = ((self.mix_r, self.r), (self.mix_k, self.k), (self.mix_v, self.v))
        shares = (along_last(mix[...], x) for mix, _ in rows)
        mixed = (x * share + before * (1 - share) for share in shares)
        return [dense(m) for m, (_, dense) in zip(mixed, rows, strict=True)]

    def __call__(self, x: jax.Array) -> jax.Array:
        (r, k, v), (decay, bonus) = self._rkv(x, shifted(x, 1)), self._rates(x)
        return self.out(ssm.wkv(r, k, v, decay, bonus).out)

    def start(self, lead: tuple[int, ...]) -> State:
        zeros = rest((*lead, self.mix_r[...].shape[0]), self.mix_r)
        none = ssm.WkvState(zeros, zeros, jnp.full_like(zeros, NOTHING))
        return zeros, none

    def step(self, state: State, x: jax.Array) -> tuple[State, jax.Array]:
        before, memory = state
        r, k, v = self._rkv(x, before.astype(x.dtype))
        decay, bonus = self._rates(x)
        memory, y = ssm.wkv_step(memory, r, k, v, decay, bonus)
        return (x.astype(before.dtype), memory), self.out(y)


class RetentionMixer(nnx.Module):
    """Multi-scale retention: heads that fade at their own rates, normalized, gated."""

    def __init__(self, width: int, heads: int):
        self.q, self.k, self.v = (Dense(width, width) for _ in range(3))
        self.gate, self.out = Dense(width, width), Dense(width, width)
        self.heads = heads

    def _qkv(self, x: jax.Array) -> list[jax.Array]:
        """[..., heads, n, width / heads] each, or without n for one token."""
        parts = [dense(x) for dense in (self.q, self.k, self.v)]
        parts = [part.reshape(*x.shape[:-1], self.heads, -1) for part in parts]
        parts[1] = parts[1] / math.sqrt(parts[1].shape[-1])
        return parts

    def _join(self, y: jax.Array, x: jax.Array) -> jax.Array:
        wide = y.astype(jnp.promote_types(y.dtype, jnp.float32))
        size = jnp.square(wide).mean(-1, keepdims=True)
        normal = (wide * jax.lax.rsqrt(size + 1e-5)).astype(x.dtype)
        return self.out(jax.nn.swish(self.gate(x)) * normal.reshape(x.shape))

    def _decays(self, x: jax.Array) -> jax.Array:
        wide = jnp.promote_types(x.dtype, jnp.float32)
        return ssm.retention_log_decays(heads=self.heads, dtype=wide)

    def __call__(self, x: jax.Array) -> jax.Array:
        q, k, v = (jnp.moveaxis(part, -2, -3) for part in self._qkv(x))
        y = ssm.retention(q, k, v, self._decays(x)[:, None]).out
        return self._join(jnp.moveaxis(y, -3, -2), x)

    def start(self, lead: tuple[int, ...]) -> State:
        d = self.q.kernel[...].shape[1] // self.heads
        return rest((*lead, self.heads, d, d), self.q.kernel)

    def step(self, state: State, x: jax.Array) -> tuple[State, jax.Array]:
        q, k, v = self._qkv(x)
        state, y = ssm.retention_step(state, q, k, v, self._decays(x))
        return state, self._join(y, x)


class MambaMixer(nnx.Module):
    """The block of Mamba: a short convolution by channel, a selective scan, a gate."""

    def __init__(self, width: int, size: int, taps: int = 4):
        wide, rank = 2 * width, -(-width // 16)
        self.enter, self.gate = Dense(width, wide), Dense(width, wide)
        self.kernel = uniform_param((taps, wide), bound=1 / math.sqrt(taps))
        self.bias = number_param(np.zeros(wide))
        self.low, self.high = Dense(wide, rank), Dense(rank, wide)
        self.b, self.c = Dense(wide, size), Dense(wide, size)
        self.steps = Steps(wide)
        self.a_log = number_param(np.tile(np.log(np.arange(1.0, size + 1)), (wide, 1)))
        self.d, self.out = number_param(np.ones(wide)), Dense(wide, width)

    def _select(self, x: jax.Array) -> tuple[jax.Array, ...]:
        """The arguments of the scan, from what the convolution gives."""
        # The bias is softplus^-1 of the step size: log(e^dt - 1).
        wide = self.high(self.low(x)).astype(jnp.promote_types(x.dtype, jnp.float32))
        bias = along_last(jnp.log(jnp.expm1(self.steps())), wide)
        delta = jax.nn.softplus(wide + bias).astype(x.dtype)
        a = -jnp.exp(widened(self.a_log, x))
        return x, delta, a, self.b(x), self.c(x), widened(self.d, x)

    def __call__(self, x: jax.Array) -> jax.Array:
        u, kernel = self.enter(x), self.kernel[...]
        # A sum of shifted products: XLA's depthwise convolution takes 40 times as long.
        taps = range(kernel.shape[0])
        mixed = sum(shifted(u, i) * along_last(kernel[i], u) for i in taps)
        u = jax.nn.silu(mixed + along_last(self.bias[...], u))
        y = ssm.selective_scan(*self._select(u)).out
        return self.out(y * jax.nn.silu(self.gate(x)))

    def start(self, lead: tuple[int, ...]) -> State:
        taps, wide = self.kernel[...].shape
        size = self.a_log[...].shape[1]
        zeros = rest((*lead, taps - 1, wide), self.kernel)
        return zeros, rest((*lead, size, wide), self.kernel)

    def step(self, state: State, x: jax.Array) -> tuple[State, jax.Array]:
        before, memory = state
        u, kernel = self.enter(x), self.kernel[...]
        window = jnp.concatenate([before.astype(u.dtype), u[..., None, :]], -2)
        mixed = jnp.einsum("...td,td->...d", window, kernel[::-1].astype(u.dtype))
        u = jax.nn.silu(mixed + along_last(self.bias[...], u))
        memory, y = ssm.selective_step(memory, *self._select(u))
        window = window[..., 1:, :].astype(before.dtype)
        return (window, memory), self.out(y * jax.nn.silu(self.gate(x)))
