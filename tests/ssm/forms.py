"""Values beside gradients of functions with a state, and forms by platform."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import pytest

PLATFORMS = ("cpu", "accelerator")


def run(f: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    """f(*inputs, **options) as one program, not op by op; the options are static."""
    return jax.jit(functools.partial(f, **options))(*inputs)


def value_and_gradient(f: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
    """What f gives, and the gradients of a nonlinear function of all of it."""

    def total(*inputs: Any) -> Any:
        results = f(*inputs)
        leaves = jax.tree.leaves(results)
        return sum(jnp.cos(leaf).sum() for leaf in leaves), results

    argnums = tuple(range(len(inputs)))
    gradient, results = jax.jit(jax.grad(total, argnums, has_aux=True))(*inputs)
    return results, gradient


@contextlib.contextmanager
def platform(module: ModuleType, name: str) -> Iterator[None]:
    """Inside, the fast form of a module is that of a CPU or of accelerators."""

    def by_platform(loop: Any, parallel: Any) -> Any:
        form = loop if name == "cpu" else parallel
        return lambda chunk: functools.partial(form, chunk)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_by_platform", by_platform)
        yield
