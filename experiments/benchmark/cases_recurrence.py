"""Diagonal recurrences from 1,024 to 65,536 steps, beside mambapy and a NumPy loop."""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from experiments._harness.devices import DATA_AXIS
from experiments.benchmark.case import Case, Peer, Prepared
from experiments.benchmark.forms import spread, with_gradient
from experiments.benchmark.peers_recurrence import mambapy_scan, numpy_loop
from experiments.benchmark.peers_torch import torch_form
from kexue_jax.ssm import linear_scan

SAME, LAST = PartitionSpec(), PartitionSpec(None, DATA_AXIS)


def arrays(seed: int, *, length: int, n: int, kind: str, gradient: bool) -> Any:
    """A decay [n] or [L, n] of 0.9 to 0.999, inputs [L, n], weights for a gradient."""
    draw = np.random.default_rng(seed)
    shape = (length, n) if kind == "varying" else (n,)
    a = 1 - 10 ** draw.uniform(-3, -1, shape)
    b = draw.standard_normal((1 + gradient, length, n))
    dtype: Any = np.float32
    if kind == "complex":
        a = a * np.exp(1j * draw.uniform(0, 3, shape))
        b, dtype = b + 1j * draw.standard_normal(b.shape), np.complex64
    return tuple(jnp.asarray(x, dtype) for x in (a, *b))


def case(
    length: int, n: int, *, kind: str = "", gradient: bool = False, goal: float = 0.5
) -> Case:
    """The recurrence of L steps of n channels; the channels go over the devices."""

    def form(method: str) -> Prepared:
        scan = functools.partial(linear_scan, method=method)
        of_a = LAST if kind == "varying" else PartitionSpec(DATA_AXIS)
        if gradient:
            outs = (LAST, of_a, LAST)
            return spread(with_gradient(scan), n, (of_a, LAST, LAST), outs)
        return spread(scan, n, (of_a, LAST), LAST)

    mambapy = torch_form(mambapy_scan, gradient=gradient)
    peers = (Peer("mambapy", mambapy, label="mambapy pscan"),)
    if not gradient:
        peers += (Peer("numpy", numpy_loop, label="NumPy loop"),)
    kinds = "_".join(x for x in (kind, "gradient" if gradient else "") if x)
    about = f"diagonal recurrence, {length} steps of {n} channels"
    return Case(
        f"ssm.linear_scan_{length}" + (f"_{kinds}" if kinds else ""),
        functools.partial(arrays, length=length, n=n, kind=kind, gradient=gradient),
        form("auto"),
        form("sequential"),
        peers,
        tolerance=1e-4,
        goal=goal,
        about=about + (f", {kinds}" if kinds else "") + "; twin: lax.scan",
    )


CASES = (
    case(1024, 256),
    case(16384, 256),
    case(65536, 64),
    case(1024, 256, gradient=True),
    case(16384, 256, gradient=True),
    case(65536, 64, gradient=True),
    case(4096, 256, kind="varying", gradient=True),
    case(4096, 256, kind="complex"),
)
