"""Both forms of the causal product, whatever the platform; decoding; closeness."""

import contextlib
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.attention import _causal

FORMS = ("loop", "together")


@contextlib.contextmanager
def form(name: str) -> Iterator[None]:
    """Inside, the causal product takes the CPU's form or the accelerators'."""
    with pytest.MonkeyPatch.context() as patch:
        chosen = {"loop": lambda loop, together: loop, "together": lambda a, b: b}
        patch.setattr(_causal, "_by_platform", chosen[name])
        yield


STEPS = 12  # tokens that are decoded one by one, at most


def prefill_and_steps(call: Callable, step: Callable, q, k, v):
    """All results: of a call over the first tokens, and of the last ones by steps."""
    first = max(0, q.shape[-2] - STEPS)
    head, tail = ([x[..., part, :] for x in (q, k, v)] for part in parts(first))
    state, outs = None, []
    if first:
        state, out = call(*head)
        outs.append(out)
    else:
        # One step without a state gives the state that a scan can carry.
        state, out = step(None, *(x[..., 0, :] for x in tail))
        tail = [x[..., 1:, :] for x in tail]
        outs.append(out[..., None, :])
    tokens = tuple(jnp.moveaxis(x, -2, 0) for x in tail)
    rest = jax.lax.scan(lambda s, t: tuple(step(s, *t)), state, tokens)[1]
    return jnp.concatenate([*outs, jnp.moveaxis(rest, 0, -2)], -2)


def parts(first: int) -> tuple[slice, slice]:
    return slice(None, first), slice(first, None)


def close(got, wanted, bound: float = 1e-12) -> bool:
    """Whether two trees agree to ``bound`` times the largest entry of all."""
    ours, theirs = (
        [np.asarray(leaf) for leaf in jax.tree.leaves(tree)] for tree in (got, wanted)
    )
    scale = max(float(np.abs(leaf).max(initial=1e-300)) for leaf in theirs)
    pairs = zip(ours, theirs, strict=True)
    errors = [float(np.abs(a - b).max(initial=0)) for a, b in pairs]
    return bool(np.isfinite(errors).all() and max(errors) <= bound * scale)
