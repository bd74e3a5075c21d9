"""Functions of PyTorch made into forms of the benchmark."""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments._harness.extras import need
from experiments.benchmark.case import Form
from experiments.benchmark.peers_diffusers import all_threads


def torch_form(function: Callable[..., Any], *, gradient: bool) -> Callable[..., Form]:
    """``build(*inputs)`` of a PyTorch function; with ``gradient`` the last input is
    the weights of its output, and gradients come for all the others."""

    def build(*inputs: Any) -> Form:
        torch = need("torch", "bench")

        all_threads()
        arrays = [torch.from_numpy(np.array(x)) for x in inputs]

        def forward() -> Any:
            with torch.no_grad():
                return function(*arrays)

        def backward() -> Any:
            leaves = [x.detach().requires_grad_() for x in arrays[:-1]]
            out = function(*leaves)
            out.backward(arrays[-1])
            # PyTorch's gradient of a complex number is the conjugate of JAX's.
            return out.detach(), *(x.grad.conj().resolve_conj() for x in leaves)

        if gradient:
            return Form(backward, tuple(x.numpy() for x in backward()))
        return Form(forward, forward().numpy())

    return build
