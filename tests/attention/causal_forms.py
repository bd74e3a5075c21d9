"""Both forms of the causal product, whatever the platform of the test."""

import contextlib
from collections.abc import Iterator

import jax
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


def close(got, wanted, bound: float = 1e-12) -> bool:
    """Whether two trees agree to ``bound`` times the largest entry of all."""
    ours, theirs = (
        [np.asarray(leaf) for leaf in jax.tree.leaves(tree)] for tree in (got, wanted)
    )
    scale = max(float(np.abs(leaf).max(initial=1e-300)) for leaf in theirs)
    pairs = zip(ours, theirs, strict=True)
    errors = [float(np.abs(a - b).max(initial=0)) for a, b in pairs]
    return bool(np.isfinite(errors).all() and max(errors) <= bound * scale)
