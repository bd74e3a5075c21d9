"""Mixers over time of state-space networks: a parallel form, a start, and a step.

Each takes ``[..., n, width]`` to the like. ``start(lead)`` is the state before the
first token, and ``step(state, x)`` takes one token ``[..., width]`` to the state after
it and its output. Complex parameters are kept as two real ones.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from kexue_jax import ssm
from kexue_jax.models.functional import uniform_param
from kexue_jax.models.layers import Dense, along_last

DT_MIN, DT_MAX = 1e-3, 1e-1


def number_param(value: Any) -> nnx.Param:
    """A parameter that starts with these numbers."""
    return nnx.Param(jnp.asarray(value, jnp.float32))


def unit_param(shape: tuple[int, ...], *, variance: float) -> nnx.Param:
    """A uniform parameter of mean 0 and the variance."""
    return uniform_param(shape, bound=math.sqrt(3 * variance))


def widened(param: Any, *like: jax.Array) -> jax.Array:
    """A real parameter in at least float32, and in at least the dtype of ``like``."""
    value = jnp.asarray(param[...])
    return value.astype(jnp.result_type(value, jnp.float32, *like))


def rest(shape: tuple[int, ...], param: Any, kind: Any = jnp.float32) -> jax.Array:
    """A state of zeros, as wide as the parameter is and as ``kind`` at least."""
    return jnp.zeros(shape, jnp.result_type(widened(param), kind))


def paired(re: Any, im: Any) -> jax.Array:
    """The complex array of two real parameters, in at least float32."""
    return lax.complex(widened(re), widened(im))


def spread(rows: jax.Array, lead: tuple[int, ...]) -> jax.Array:
    """``rows [h, n]`` for every sequence, so that all of a state has ``lead`` axes."""
    return jnp.broadcast_to(rows, (*lead, *rows.shape))


def first(rows: jax.Array) -> jax.Array:
    """The ``[h, n]`` that were spread."""
    return rows.reshape(-1, *rows.shape[-2:])[0]


class Steps(nnx.Module):
    """Step sizes, log-uniform between the ends; the parameter is off the middle."""

    def __init__(self, size: int):
        span = math.log(DT_MAX) - math.log(DT_MIN)
        self.shift = uniform_param((size,), bound=span / 2)

    def __call__(self) -> jax.Array:
        middle = (math.log(DT_MAX) + math.log(DT_MIN)) / 2
        return jnp.exp(middle + widened(self.shift))


class Modes(nnx.Module):
    """Complex numbers with a negative real part, by its logarithm."""

    def __init__(self, lam: Any):
        self.decay_log = number_param(jnp.log(-lam.real))
        self.frequency = number_param(lam.imag)

    def __call__(self) -> jax.Array:
        return lax.complex(-jnp.exp(widened(self.decay_log)), widened(self.frequency))


class Gate(nnx.Module):
    """A gated linear unit after gelu, as S4, S5 and LRU have behind a recurrence."""

    def __init__(self, width: int):
        self.value, self.gate = Dense(width, width), Dense(width, width)

    def __call__(self, y: jax.Array) -> jax.Array:
        y = jax.nn.gelu(y)
        return self.value(y) * jax.nn.sigmoid(self.gate(y))


class S4Mixer(nnx.Module):
    """S4 from LegS, the row of outputs truncated at ``length``."""

    def __init__(self, width: int, size: int, length: int):
        parts = ssm.nplr(measure="legs", n=size, half=True)
        half = size // 2
        self.modes, self.steps, self.out = Modes(parts.lam), Steps(width), Gate(width)
        self.p_re, self.p_im = number_param(parts.p.real), number_param(parts.p.imag)
        self.b_re, self.b_im = number_param(parts.b.real), number_param(parts.b.imag)
        self.c_re = unit_param((width, half), variance=0.5)
        self.c_im = unit_param((width, half), variance=0.5)
        self.d = unit_param((width,), variance=1.0)
        self.length = length

    def _parts(self) -> tuple[jax.Array, ...]:
        return self.modes(), paired(self.p_re, self.p_im), paired(self.b_re, self.b_im)

    def __call__(self, x: jax.Array) -> jax.Array:
        lam, p, b = self._parts()
        c, dt = paired(self.c_re, self.c_im), self.steps()
        kernel = ssm.s4_kernel(lam, p, b, c, dt, length=self.length, half=True)
        y = ssm.causal_fft_conv(x, kernel[:, : x.shape[-2]].T)
        return self.out(y + x * along_last(self.d[...], x))

    def start(self, lead: tuple[int, ...]) -> Any:
        """Zeros, and beside them the row of outputs, which is solved for once."""
        lam, p, _ = self._parts()
        dt, row = self.steps(), paired(self.c_re, self.c_im)
        options: dict[str, Any] = {"length": self.length, "half": True}
        c = ssm.s4_truncate(lam, p, row, dt, inverse=True, **options)
        return jnp.zeros((*lead, *c.shape), c.dtype), spread(c, lead)

    def step(self, state: Any, x: jax.Array) -> tuple[Any, jax.Array]:
        (lam, p, b), (memory, rows) = self._parts(), state
        matrices = ssm.s4_step_matrices(lam, p, b, self.steps(), half=True)
        c = first(rows)
        memory, y = ssm.s4_step(memory.astype(c.dtype), matrices, c, x, half=True)
        return (memory, rows), self.out(y + x * along_last(self.d[...], x))


class S4dMixer(nnx.Module):
    """S4D, every channel with modes of its own."""

    def __init__(self, width: int, size: int):
        lam = ssm.s4d_init(kind="lin", n=size).lam
        self.modes = Modes(jnp.tile(lam[None], (width, 1)))
        self.steps, self.out = Steps(width), Gate(width)
        self.c_re = unit_param((width, size // 2), variance=0.5)
        self.c_im = unit_param((width, size // 2), variance=0.5)
        self.d = unit_param((width,), variance=1.0)

    def _parts(self) -> tuple[jax.Array, ...]:
        lam, c = self.modes(), paired(self.c_re, self.c_im)
        return lam, jnp.ones_like(lam), c, self.steps()

    def __call__(self, x: jax.Array) -> jax.Array:
        lam, b, c, dt = self._parts()
        y = ssm.s4d_conv(lam, b, c, dt, x).out
        return self.out(y + x * along_last(self.d[...], x))

    def start(self, lead: tuple[int, ...]) -> jax.Array:
        return rest((*lead, *self.c_re[...].shape), self.c_re, jnp.complex64)

    def step(self, state: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        lam, b, c, dt = self._parts()
        state, y = ssm.s4d_step(state.astype(c.dtype), lam, b, c, dt, x)
        return state, self.out(y + x * along_last(self.d[...], x))


class RtfMixer(nnx.Module):
    """A rational transfer function a channel, stable by reflections; from none on."""

    def __init__(self, width: int, size: int, length: int):
        self.theta = number_param(np.zeros((width, size)))
        self.b = unit_param((width, size), variance=1 / size)
        self.d, self.out = unit_param((width,), variance=1.0), Gate(width)
        self.length = length

    def _coefficients(self, *like: jax.Array) -> tuple[jax.Array, jax.Array]:
        # Wide: a denominator that is rounded to a half type may lose its stability.
        theta, b = widened(self.theta, *like), widened(self.b, *like)
        return ssm.rtf_from_reflection(theta, limit=0.999), b

    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = ssm.rtf_kernel(*self._coefficients(x), length=self.length)
        y = ssm.causal_fft_conv(x, kernel[:, : x.shape[-2]].T)
        return self.out(y + x * along_last(self.d[...], x))

    def start(self, lead: tuple[int, ...]) -> Any:
        """Zeros, and beside them the row of outputs, which is solved for once."""
        c = ssm.rtf_to_companion(*self._coefficients(), length=self.length).c
        return rest((*lead, *c.shape), self.b), spread(c, lead)

    def step(self, state: Any, x: jax.Array) -> tuple[Any, jax.Array]:
        (a, _), (memory, rows) = self._coefficients(x), state
        c = first(rows).astype(a.dtype)
        memory, y = ssm.rtf_step(memory, a, c, x.astype(a.dtype))
        y = y.astype(x.dtype) + x * along_last(self.d[...], x)
        return (memory, rows), self.out(y)


FORMS = {
    "lru": (ssm.lru_init, ssm.lru_apply, ssm.lru_step),
    "slru": (ssm.slru_init, ssm.slru_apply, ssm.slru_step),
    "s5": (ssm.s5_init, ssm.s5_apply, ssm.s5_step),
}


class SystemMixer(nnx.Module):
    """LRU, SLRU or S5: one system of many inputs and outputs."""

    def __init__(self, kind: str, width: int, size: int, rngs: nnx.Rngs):
        n = size // 2 if kind == "s5" else size
        params = FORMS[kind][0](rngs.params(), n=n, h=width)
        self.fields, self.type, self.kind = params._fields, type(params), kind
        for field, value in params._asdict().items():
            setattr(self, field, number_param(value))
        self.size, self.out = n, Gate(width)

    def _params(self, x: jax.Array) -> Any:
        """In at least float32: a rounded phase would be wrong after a few steps."""
        values = (getattr(self, field) for field in self.fields)
        return self.type(*(widened(value, x) for value in values))

    def __call__(self, x: jax.Array) -> jax.Array:
        params = self._params(x)
        y = FORMS[self.kind][1](params, x.astype(params.d.dtype)).out
        return self.out(y.astype(x.dtype))

    def start(self, lead: tuple[int, ...]) -> jax.Array:
        kind = jnp.float32 if self.kind == "slru" else jnp.complex64
        return rest((*lead, self.size), getattr(self, self.fields[0]), kind)

    def step(self, state: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        params = self._params(x)
        state, y = FORMS[self.kind][2](state, params, x.astype(params.d.dtype))
        return state, self.out(y.astype(x.dtype))
