"""Every form of the diagonal recurrence, and values beside gradients, for the tests."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.ssm import _engine, linear_scan

# "auto" is the loop on the CPU of the tests; the others are the accelerators' forms.
FORMS = ("auto", "associative", "chunked")
DECAYS = {
    "number": (),
    "channels": (3,),
    "rows": (2, 1, 3),
    "steps": (1, "L", 1),
    "steps of rows": (2, "L", 1),
    "all": (2, "L", 3),
}


def problem(n: int, decay: str = "all", *, dtype: Any = float, seed: int = 0):
    """Decays, inputs [2, n, 3] and a state before them, of a real or complex dtype."""
    rng = np.random.default_rng(seed)
    shape = tuple(n if size == "L" else size for size in DECAYS[decay])
    a, b, h0 = rng.random(shape), rng.normal(size=(2, n, 3)), rng.normal(size=(2, 3))
    if np.issubdtype(dtype, np.complexfloating):
        a = a * np.exp(1j * rng.normal(size=shape))
        b = b + 1j * rng.normal(size=b.shape)
        h0 = h0 + 1j * rng.normal(size=h0.shape)
    return tuple(np.asarray(x, dtype) for x in (a, b, h0))


def value_and_gradient(method: str, inputs: Any, **options: Any) -> Any:
    """The states and the gradients of a nonlinear function of them."""

    def total(a: Any, b: Any, h0: Any) -> Any:
        h = linear_scan(a, b, h0=h0, method=method, **options)
        return jnp.sum(jnp.cos(h.real) + jnp.sin(2 * h.imag)), h

    gradient, h = jax.jit(jax.grad(total, (0, 1, 2), has_aux=True))(*inputs)
    return h, gradient


def states(method: str, a: Any, b: Any, h0: Any = None, **options: Any) -> jax.Array:
    """``linear_scan`` as one program: piece by piece a tree is slow to compile."""

    def run(a: Any, b: Any, h0: Any) -> jax.Array:
        return linear_scan(a, b, h0=h0, method=method, **options)

    return jax.jit(run)(a, b, h0)


@contextlib.contextmanager
def accelerator() -> Iterator[None]:
    """Inside, "auto" takes the form that it has on accelerators."""

    def chosen(options: Any, loop: Any, parallel: Any) -> Any:
        return lambda *arrays: parallel(options, *arrays)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_engine, "_by_platform", chosen)
        yield


def close(got: Any, wanted: Any, bound: float = 1e-12) -> bool:
    """Whether two trees agree, each leaf to ``bound`` times its largest entry."""
    ours, theirs = jax.tree.leaves(got), jax.tree.leaves(wanted)
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        mine, other = np.asarray(mine), np.asarray(other)
        scale = max(float(np.abs(other).max(initial=0)), 1e-300)
        if not float(np.abs(mine - other).max(initial=0)) <= bound * scale:
            return False
    return True
