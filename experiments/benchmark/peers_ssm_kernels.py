"""Kernels and convolutions of state spaces as PyTorch code composes them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments._harness.extras import need
from experiments.benchmark.case import Form
from experiments.benchmark.peers_diffusers import all_threads


def _tensors(torch: Any, inputs: Any) -> list[Any]:
    all_threads()
    return [torch.from_numpy(np.array(x)) for x in inputs]


def vandermonde(torch: Any, lam: Any, b: Any, c: Any, dt: Any, length: int) -> Any:
    """The kernel of S4D as a sum over the matrix of all powers."""
    rate = lam * dt[:, None]
    weights = c * b * (torch.exp(rate) - 1) / lam
    times = torch.arange(length, dtype=dt.dtype)
    return (
        2 * torch.einsum("hn,hnl->hl", weights, torch.exp(rate[..., None] * times)).real
    )


def convolved(torch: Any, u: Any, kernel: Any) -> Any:
    """The causal convolution of u [L, h] with a kernel [h, L], by FFT."""
    length = len(u)
    top = torch.fft.rfft(u.T, 2 * length) * torch.fft.rfft(kernel, 2 * length)
    return torch.fft.irfft(top, 2 * length)[:, :length].T


def torch_s4d(lam: Any, b: Any, c: Any, dt: Any, u: Any) -> Any:
    """Kernel and convolution of S4D, of tensors."""
    torch = need("torch", "bench")
    return convolved(torch, u, vandermonde(torch, lam, b, c, dt, len(u)))


def torch_s4d_kernel(*, length: int) -> Callable[..., Form]:
    """``build(lam, b, c, dt)``: the kernel of S4D."""

    def build(*inputs: Any) -> Form:
        torch = need("torch", "bench")
        lam, b, c, dt = _tensors(torch, inputs)

        def call() -> Any:
            with torch.no_grad():
                return vandermonde(torch, lam, b, c, dt, length)

        return Form(call, call().numpy())

    return build


def torch_s4_kernel(*, length: int) -> Callable[..., Form]:
    """``build(lam, p, b, row, row_one, dt)``: Cauchy sums, as the article has them.

    It takes the row truncated at damping 1, and rounding keeps z from -1.
    """

    def build(*inputs: Any) -> Form:
        torch = need("torch", "bench")
        lam, p, b, _, row, dt = _tensors(torch, inputs)
        half = torch.arange(length // 2 + 1, dtype=dt.dtype)
        z = torch.exp(-2j * torch.pi * half / length)
        left = [row, p[..., 0].conj()]
        right = [b, p[..., 0]]

        def call() -> Any:
            with torch.no_grad():
                omega = 2 / dt[:, None] * (1 - z) / (1 + z)
                one = 1 / (omega[:, None] - lam[..., None])
                two = 1 / (omega[:, None] - lam.conj()[..., None])
                k = [
                    (w[..., None] * one + w.conj()[..., None] * two).sum(1)
                    for w in (x * y for x in left for y in right)
                ]
                spectrum = 2 / (1 + z) * (k[0] - k[1] * k[2] / (1 + k[3]))
                return torch.fft.irfft(spectrum, length)

        return Form(call, call().numpy())

    return build


def torch_rtf_kernel(*, length: int) -> Callable[..., Form]:
    """``build(a, b)``: the quotient of two transforms."""

    def build(*inputs: Any) -> Form:
        torch = need("torch", "bench")
        a, b = _tensors(torch, inputs)

        def call() -> Any:
            with torch.no_grad():
                bottom = torch.nn.functional.pad(a, (1, 0))
                bottom[:, 0] = 1
                ratio = torch.fft.rfft(b, length) / torch.fft.rfft(bottom, length)
                return torch.fft.irfft(ratio, length)

        return Form(call, call().numpy())

    return build
