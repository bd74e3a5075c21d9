"""Optimizers of PyTorch as peers: fused AdamW, clipping, dropout of gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments._harness.extras import need
from experiments.benchmark.case import Form
from experiments.benchmark.peers_diffusers import all_threads


def parameters(params: Any, gradients: Any) -> list[Any]:
    """Parameters of PyTorch with their gradients, in the order of the names."""
    torch = need("torch", "bench")

    all_threads()
    made = []
    for name in sorted(params):
        leaf = torch.nn.Parameter(torch.from_numpy(np.array(params[name])))
        leaf.grad = torch.from_numpy(np.array(gradients[name]))
        made.append(leaf)
    return made


def torch_adamw(
    rate: float, decay: float, max_norm: float | None = None
) -> Callable[..., Form]:
    """``build(params, gradients)``: steps of fused AdamW, behind clipping in place."""

    def build(params: Any, gradients: Any) -> Form:
        torch = need("torch", "bench")

        leaves = parameters(params, gradients)
        options = {"lr": rate, "weight_decay": decay, "fused": True}
        opt = torch.optim.AdamW(leaves, **options)

        def step() -> None:
            if max_norm is not None:
                torch.nn.utils.clip_grad_norm_(leaves, max_norm)
            opt.step()

        step()
        return Form(step)

    return build


def torch_clip(gradients: Any) -> Form:
    """Clipping into new tensors, as ours."""
    torch = need("torch", "bench")

    all_threads()
    leaves = [torch.from_numpy(np.array(gradients[n])) for n in sorted(gradients)]

    def step() -> list[Any]:
        norm = torch.nn.utils.get_total_norm(leaves)
        factor = torch.clamp(1.0 / norm, max=1.0)
        return [leaf * factor for leaf in leaves]

    value = {n: x.numpy() for n, x in zip(sorted(gradients), step(), strict=True)}
    return Form(step, value)


def torch_dropout(share: float) -> Callable[..., Form]:
    """``build(gradients)``: PyTorch's dropout on every tensor."""

    def build(gradients: Any) -> Form:
        torch = need("torch", "bench")

        all_threads()
        leaves = [torch.from_numpy(np.array(gradients[n])) for n in sorted(gradients)]
        drop = torch.nn.functional.dropout
        return Form(lambda: [drop(leaf, 1 - share) for leaf in leaves])

    return build
