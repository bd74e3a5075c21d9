"""S4, S4D and RTF: kernels and convolutions against the length and the state size."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.benchmark.case import Case, Form, Peer
from experiments.benchmark.forms import jitted, with_gradient
from experiments.benchmark.peers_ssm_kernels import (
    torch_rtf_kernel,
    torch_s4_kernel,
    torch_s4d,
    torch_s4d_kernel,
)
from experiments.benchmark.peers_torch import torch_form
from kexue_jax import ssm
from kexue_jax.ssm.diagonal import s4d_kernel_plain


def modes(seed: int, *, h: int, n: int) -> tuple[jax.Array, ...]:
    """lam, b, c [h, n / 2] and dt [h] of S4D-Lin with n states a channel."""
    draw = np.random.default_rng(seed)
    lam, b = (jnp.tile(x[None], (h, 1)) for x in ssm.s4d_init(kind="lin", n=n))
    c = draw.standard_normal((2, h, n // 2))
    dt = np.exp(draw.uniform(np.log(1e-3), np.log(1e-1), h))
    return (
        lam,
        b,
        jnp.asarray(c[0] + 1j * c[1], lam.dtype),
        jnp.asarray(dt, jnp.float32),
    )


def signals(
    seed: int, *, h: int, n: int, length: int, count: int = 1
) -> tuple[jax.Array, ...]:
    """The modes, inputs [length, h] and, for a gradient, weights of the outputs."""
    draw = np.random.default_rng(seed + 1)
    made = (draw.standard_normal((length, h)) for _ in range(count))
    return *modes(seed, h=h, n=n), *(jnp.asarray(x, jnp.float32) for x in made)


def blocks(lam: Any, b: Any, c: Any, dt: Any, u: Any) -> jax.Array:
    return ssm.s4d_conv(lam, b, c, dt, u).out


def composed(lam: Any, b: Any, c: Any, dt: Any, u: Any) -> jax.Array:
    """All powers, their sum, and an FFT."""
    kernel = s4d_kernel_plain(lam, b, c, dt, length=len(u))
    return ssm.causal_fft_conv(u, kernel.T)


def s4d_case(
    length: int, h: int, goal: float | None, *, gradient: bool = False
) -> Case:
    """S4D with 64 states a channel on one sequence."""
    wrap = with_gradient if gradient else (lambda form: form)

    def build(*inputs: Any) -> Form:
        return jitted(wrap(composed), *inputs)

    return Case(
        f"ssm.s4d_conv_{length}" + ("_gradient" if gradient else ""),
        functools.partial(signals, h=h, n=64, length=length, count=1 + gradient),
        wrap(blocks),
        wrap(composed),
        (
            Peer(
                "torch",
                torch_form(torch_s4d, gradient=gradient),
                label="torch, composed",
            ),
            Peer("jax", build, label="jax, composed"),
        ),
        tolerance=1e-3,
        goal=goal,
        about=f"S4D, {h} channels of 64 states, {length} steps, by blocks and no FFT"
        + (", with gradients" if gradient else "")
        + "; twin: matrix of powers and FFT",
    )


def s4d_kernel_case(length: int, h: int) -> Case:
    return Case(
        f"ssm.s4d_kernel_{length}",
        functools.partial(modes, h=h, n=64),
        functools.partial(ssm.s4d_kernel, length=length),
        functools.partial(s4d_kernel_plain, length=length),
        (Peer("torch", torch_s4d_kernel(length=length), label="torch, composed"),),
        tolerance=1e-3,
        about=f"kernel of S4D, {h} channels of 64 states, {length} steps; twin: matrix "
        "of powers",
    )


def s4_inputs(seed: int, *, h: int, n: int, length: int) -> tuple[jax.Array, ...]:
    """lam, p, b, the row truncated at damping 1/2 and at 1, and dt."""
    with jax.enable_x64(True):
        parts = ssm.nplr(measure="legs", n=n, half=True, dtype=jnp.complex128)
        draw = np.random.default_rng(seed)
        dt = np.exp(draw.uniform(np.log(1e-3), np.log(1e-1), h))
        c = jnp.asarray(draw.standard_normal((h, n))) @ parts.v
        options: dict[str, Any] = {"length": length, "half": True}
        made = [
            ssm.s4_truncate(
                parts.lam, parts.p, c, jnp.asarray(dt), damping=d, **options
            )
            for d in (0.5, 1.0)
        ]
        lam, b = (np.tile(np.asarray(x), (h, 1)) for x in (parts.lam, parts.b))
        p, rows = np.tile(np.asarray(parts.p), (h, 1, 1)), [np.asarray(x) for x in made]
    arrays = (jnp.asarray(x, jnp.complex64) for x in (lam, p, b, *rows))
    return *arrays, jnp.asarray(dt, jnp.float32)


def s4_case(length: int, h: int, n: int) -> Case:
    """S4 with n states by its generating function; twin: one step after the other."""
    options: dict[str, Any] = {"length": length, "half": True}

    def fast(lam: Any, p: Any, b: Any, row: Any, _: Any, dt: Any) -> jax.Array:
        return ssm.s4_kernel(lam, p, b, row, dt, **options)

    def twin(lam: Any, p: Any, b: Any, row: Any, _: Any, dt: Any) -> jax.Array:
        c = ssm.s4_truncate(lam, p, row, dt, inverse=True, **options)
        step = ssm.s4_step_matrices(lam, p, b, dt, half=True)
        impulse = jnp.zeros((length, h), dt.dtype).at[0].set(1)

        def advance(x: Any, u: Any) -> tuple[Any, Any]:
            out = ssm.s4_step(x, step, c, u, half=True)
            return out.state, out.out

        return lax.scan(advance, jnp.zeros_like(c), impulse)[1].T

    return Case(
        f"ssm.s4_kernel_{length}_{n}",
        functools.partial(s4_inputs, h=h, n=n, length=length),
        fast,
        twin,
        (Peer("torch", torch_s4_kernel(length=length), label="torch, composed"),),
        tolerance=1e-3,
        about=f"kernel of S4, {h} channels of {n} states, {length} steps; twin: steps",
    )


def rtf_inputs(seed: int, *, h: int, d: int) -> tuple[jax.Array, ...]:
    """A stable denominator and a numerator, [h, d] each."""
    a, b = np.random.default_rng(seed).standard_normal((2, h, d))
    a = 0.9 * a / np.abs(a).sum(-1, keepdims=True)
    return jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)


def rtf_case(length: int, d: int, h: int = 16) -> Case:
    """RTF: the same time at every d; twin: the recurrence of d delays."""

    def twin(a: Any, b: Any) -> jax.Array:
        # The kernel dies out long before its end, so that c is b.
        impulse = jnp.zeros((length, h), a.dtype).at[0].set(1)
        return ssm.rtf_scan(a, b, impulse).out.T

    return Case(
        f"ssm.rtf_kernel_{length}_{d}",
        functools.partial(rtf_inputs, h=h, d=d),
        functools.partial(ssm.rtf_kernel, length=length),
        twin,
        (Peer("torch", torch_rtf_kernel(length=length), label="torch, composed"),),
        tolerance=1e-4,
        about=f"kernel of RTF, {h} channels of {d} states, {length} steps; twin: steps",
    )


CASES = (
    s4d_case(4096, 128, 0.08),
    s4d_case(4096, 128, None, gradient=True),
    s4d_case(65536, 16, 0.08),
    s4d_kernel_case(65536, 16),
    s4_case(4096, 16, 64),
    s4_case(65536, 4, 64),
    rtf_case(16384, 16),
    rtf_case(16384, 1024),
    rtf_case(65536, 64),
)
