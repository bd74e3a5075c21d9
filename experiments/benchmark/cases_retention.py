"""Retention by chunks and RWKV-4's mixing, beside composed forms of PyTorch."""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from experiments._harness.devices import DATA_AXIS
from experiments.benchmark.case import Case, Peer, Prepared
from experiments.benchmark.cases_recurrence import LAST
from experiments.benchmark.forms import spread, with_gradient
from experiments.benchmark.peers_recurrence import (
    torch_retention_chunks,
    torch_retention_parallel,
    torch_wkv,
)
from experiments.benchmark.peers_torch import torch_form
from kexue_jax.ssm import retention, retention_log_decays, wkv

HEADS, WIDTH = 8, 64
CHANNELS = 512


def heads(seed: int, *, length: int, gradient: bool) -> Any:
    """q, k, v [8, n, 64], the decays of RetNet, and weights for a gradient."""
    draw = np.random.default_rng(seed)
    q, k, v, weights = draw.standard_normal((4, HEADS, length, WIDTH))
    decays = np.asarray(retention_log_decays(heads=HEADS))[:, None]
    made = (q / 8, k / 8, v, decays) + (weights,) * gradient
    return tuple(jnp.asarray(x, jnp.float32) for x in made)


def retained(length: int, *, goal: float, gradient: bool = False) -> Case:
    """Retention of one row; its heads go over the devices."""

    def form(method: str) -> Prepared:
        def run(*inputs: Any) -> Any:
            return retention(*inputs, method=method).out

        by_head = PartitionSpec(DATA_AXIS)
        if not gradient:
            return spread(run, HEADS, (by_head,) * 4, by_head)
        return spread(with_gradient(run), HEADS, (by_head,) * 5, (by_head,) * 5)

    peers = tuple(
        Peer("torch", torch_form(function, gradient=gradient), label=f"torch {name}")
        for name, function in (
            ("parallel", torch_retention_parallel),
            ("chunks", torch_retention_chunks),
        )
    )
    return Case(
        f"ssm.retention_{length}" + ("_gradient" if gradient else ""),
        functools.partial(heads, length=length, gradient=gradient),
        form("chunked"),
        form("recurrent"),
        peers,
        tolerance=1e-4,
        goal=goal,
        about=f"retention by chunks, 8 heads of {length}x64"
        + (", with gradients" if gradient else "")
        + "; twin: token by token",
    )


def tokens(seed: int, *, length: int, gradient: bool) -> Any:
    """r, k, v [L, d], decays, bonuses, and weights for a gradient."""
    draw = np.random.default_rng(seed)
    r, k, v, weights = draw.standard_normal((4, length, CHANNELS))
    decay = -np.exp(draw.uniform(-5, 0, CHANNELS))
    made = (r, 2 * k, v, decay, draw.standard_normal(CHANNELS))
    made += (weights,) * gradient
    return tuple(jnp.asarray(x, jnp.float32) for x in made)


def mixed(length: int, *, goal: float, gradient: bool = False) -> Case:
    """RWKV-4's mixing of one row; its channels go over the devices."""

    def form(method: str) -> Prepared:
        def run(*inputs: Any) -> Any:
            return wkv(*inputs, method=method).out

        specs = (LAST,) * 3 + (PartitionSpec(DATA_AXIS),) * 2
        if not gradient:
            return spread(run, CHANNELS, specs, LAST)
        return spread(with_gradient(run), CHANNELS, (*specs, LAST), (LAST, *specs))

    build = torch_form(torch_wkv, gradient=gradient)
    return Case(
        f"ssm.wkv_{length}" + ("_gradient" if gradient else ""),
        functools.partial(tokens, length=length, gradient=gradient),
        form("auto"),
        form("associative"),
        (Peer("torch", build, label="torch loop"),),
        tolerance=1e-4,
        goal=goal,
        about=f"RWKV-4's mixing, {length} tokens of {CHANNELS} channels"
        + (", with gradients" if gradient else "")
        + "; twin: the associative form",
    )


CASES = (
    retained(2048, goal=0.75),
    retained(2048, goal=1.0, gradient=True),
    mixed(1024, goal=0.2),
    mixed(1024, goal=0.2, gradient=True),
)
