"""Mamba's selective scan beside mambapy's, with and without its gradient."""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from experiments._harness.devices import DATA_AXIS
from experiments.benchmark.case import Case, Peer, Prepared
from experiments.benchmark.cases_recurrence import LAST, SAME
from experiments.benchmark.forms import spread, with_gradient
from experiments.benchmark.peers_recurrence import mambapy_selective
from experiments.benchmark.peers_torch import torch_form
from kexue_jax.ssm import selective_scan

STATES = 16


def arrays(seed: int, *, length: int, e: int, gradient: bool) -> Any:
    """x, delta, a, b, c, d of Mamba's ranges, and weights for a gradient."""
    draw = np.random.default_rng(seed)
    x, weights = draw.standard_normal((2, length, e))
    delta = np.exp(draw.uniform(np.log(1e-3), np.log(1e-1), (length, e)))
    a = -np.broadcast_to(np.arange(1.0, STATES + 1), (e, STATES))
    b, c = draw.standard_normal((2, length, STATES))
    made = (x, delta, a, b, c, np.ones(e)) + (weights,) * gradient
    return tuple(jnp.asarray(x, jnp.float32) for x in made)


def case(length: int, e: int, *, goal: float, gradient: bool = False) -> Case:
    """The scan of one row; its channels go over the devices.

    The gradient of mambapy's sequential form takes tens of seconds and is left out.
    """

    def form(method: str) -> Prepared:
        def scan(*inputs: Any) -> Any:
            return selective_scan(*inputs, method=method).out

        channels = PartitionSpec(DATA_AXIS)
        specs = (LAST, LAST, channels, SAME, SAME, channels)
        if not gradient:
            return spread(scan, e, specs, LAST)
        outs = (LAST, *specs)
        return spread(with_gradient(scan), e, (*specs, LAST), outs)

    peers = tuple(
        Peer(
            "mambapy",
            torch_form(mambapy_selective(kind), gradient=gradient),
            label=f"mambapy {kind}",
        )
        for kind in (("pscan",) if gradient else ("pscan", "sequential"))
    )
    return Case(
        f"ssm.selective_scan_{length}_{e}" + ("_gradient" if gradient else ""),
        functools.partial(arrays, length=length, e=e, gradient=gradient),
        form("auto"),
        form("sequential"),
        peers,
        tolerance=1e-4,
        goal=goal,
        about=f"selective scan, {length} tokens of {e} channels, {STATES} states"
        + (", with gradients" if gradient else "")
        + "; twin: lax.scan",
    )


CASES = (
    case(1024, 256, goal=0.1),
    case(1024, 1536, goal=0.1),
    case(4096, 256, goal=0.1),
    case(1024, 256, goal=0.25, gradient=True),
    case(1024, 1536, goal=0.25, gradient=True),
)
