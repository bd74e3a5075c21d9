"""Recurrences of other libraries as peers: mambapy, loops of NumPy and of PyTorch."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from experiments._harness.extras import need
from experiments.benchmark.case import Form


def numpy_loop(*inputs: Any) -> Form:
    """h = a h + b in place, a step of NumPy each: a [n] or [L, n], b [L, n]."""
    a, b = (np.array(x) for x in inputs)
    states = np.empty_like(b, dtype=np.result_type(a, b))
    rates = np.broadcast_to(a, b.shape)

    def run() -> Any:
        h = np.zeros(b.shape[1:], states.dtype)
        for t in range(len(b)):
            np.multiply(rates[t], h, out=states[t])
            h = states[t]
            h += b[t]
        return states

    return Form(run, run().copy())


def mambapy_scan(a: Any, b: Any) -> Any:
    """mambapy's parallel scan of b [L, n], the decay spread over the steps."""
    pscan = need("mambapy.pscan", "bench").pscan

    length, n = b.shape
    shape = (1, length, n // 16, 16)
    return pscan(a.expand(length, n).reshape(shape), b.reshape(shape)).reshape(b.shape)


def mambapy_selective(kind: str) -> Callable[..., Any]:
    """mambapy's selective scan of one row, "pscan" or "sequential"."""

    def run(x: Any, delta: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
        block = need("mambapy.mamba", "bench").MambaBlock

        sizes = SimpleNamespace(d_inner=a.shape[0], d_state=a.shape[1])
        form = {"pscan": block.selective_scan, "sequential": block.selective_scan_seq}
        owner = SimpleNamespace(config=sizes)
        return form[kind](owner, x[None], delta[None], a, b[None], c[None], d)[0]

    return run


def torch_retention_parallel(q: Any, k: Any, v: Any, log_decay: Any) -> Any:
    """((q k^T) D) v with D by powers of a decay [heads, 1]."""
    torch = need("torch", "bench")

    steps = torch.arange(q.shape[-2])
    distance = (steps[:, None] - steps).clamp(min=0)
    inner = torch.exp(log_decay[..., None] * distance).tril()
    return ((q @ k.mT) * inner) @ v


def torch_retention_chunks(q: Any, k: Any, v: Any, log_decay: Any) -> Any:
    """RetNet's chunks of 128, one after the other, of all heads."""
    torch = need("torch", "bench")

    size = 128
    steps = torch.arange(size)
    distance = (steps[:, None] - steps).clamp(min=0)
    inner = torch.exp(log_decay[..., None] * distance).tril()
    until = torch.exp(log_decay * (steps + 1))[..., None]
    after = torch.exp(log_decay * (size - 1 - steps))[..., None]
    s = torch.zeros(*q.shape[:-2], q.shape[-1], v.shape[-1])
    outs = []
    for low in range(0, q.shape[-2], size):
        one, two, three = (x[..., low : low + size, :] for x in (q, k, v))
        outs.append(((one @ two.mT) * inner) @ three + (until * one) @ s)
        s = until[..., -1:, :] * s + (after * two).mT @ three
    return torch.cat(outs, -2)


def torch_wkv(r: Any, k: Any, v: Any, log_decay: Any, log_bonus: Any) -> Any:
    """RWKV-4 step by step with a running maximum, as its CPU code goes."""
    torch = need("torch", "bench")

    y, z = torch.zeros_like(log_decay), torch.zeros_like(log_decay)
    m = torch.full_like(log_decay, -1e38)
    outs = []
    for t in range(len(k)):
        top = torch.maximum(m, log_bonus + k[t])
        old, new = torch.exp(m - top), torch.exp(log_bonus + k[t] - top)
        outs.append((old * y + new * v[t]) / (old * z + new))
        top = torch.maximum(m + log_decay, k[t])
        old, new = torch.exp(m + log_decay - top), torch.exp(k[t] - top)
        y, z, m = old * y + new * v[t], old * z + new, top
    return torch.sigmoid(r) * torch.stack(outs)
