"""The top fraction of a tree: search and sort agree whatever the scores are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.optim import top_fraction_mask
from tests.oracles import fisher as oracle

SHAPES = {"a": (3, 4), "b": (5,), "c": (2, 1, 3), "d": ()}
COUNT = 1000


def instances(dtype: str = "float64") -> dict[str, np.ndarray]:
    """Scores of many sizes, many of them equal, some infinite, NaN or -0."""
    rng = np.random.default_rng(0)
    found = {}
    for name, shape in SHAPES.items():
        x = rng.normal(size=(COUNT, *shape)) * 10 ** rng.uniform(
            -30, 30, (COUNT, *[1] * len(shape))
        )
        kind = np.arange(COUNT).reshape(-1, *[1] * len(shape)) % 5
        x = np.where(kind == 1, np.round(rng.normal(size=x.shape)), x)  # ties
        x = np.where(kind == 2, np.maximum(rng.normal(size=x.shape) - 1, 0), x)
        odd = rng.choice([np.inf, -np.inf, np.nan, 0, -0.0, 1], x.shape)
        x = np.where(kind == 3, odd, x)
        found[name] = np.where(kind == 4, 7.0, x).astype(dtype)
    return found


@pytest.mark.parametrize("fraction", [0.1, 0.5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_search_and_sort_give_the_exact_mask(fraction, dtype) -> None:
    scores = instances(dtype)

    def both(scores):
        return tuple(
            top_fraction_mask(scores, fraction=fraction, method=m)
            for m in ("search", "sort")
        )

    search, sort = jax.jit(jax.vmap(both))(scores)
    jax.tree.map(np.testing.assert_array_equal, search, sort)
    kept = round(fraction * 24)
    counts = sum(np.asarray(m).reshape(COUNT, -1).sum(1) for m in search.values())
    assert (counts == kept).all()
    for i in range(0, COUNT, 37):
        wanted = oracle.top_fraction({n: s[i] for n, s in scores.items()}, fraction)
        for name, mask in search.items():
            np.testing.assert_array_equal(mask[i], wanted[name])


def test_nothing_and_everything() -> None:
    scores = {"a": jnp.arange(3.0)}
    assert not top_fraction_mask(scores, fraction=0.0)["a"].any()
    assert top_fraction_mask(scores, fraction=1.0)["a"].all()
    assert top_fraction_mask({}, fraction=0.5) == {}


def test_a_percentile_keeps_everything_where_most_scores_are_zero() -> None:
    # The paper's code: score >= percentile. Ours keeps as many as were asked for.
    scores = np.where(np.arange(100) < 10, 1.0 + np.arange(100), 0.0)
    theirs = scores >= np.percentile(scores, 70)
    mine = top_fraction_mask(jnp.asarray(scores), fraction=0.3)
    assert theirs.sum() == 100 and int(mine.sum()) == 30
    assert np.asarray(mine)[:30].all()  # the first zeros fill up


def test_many_scores_need_few_passes() -> None:
    passes = []
    scores = np.random.default_rng(1).normal(size=200_000).astype(np.float32) ** 2

    def search(low, high, above_low, above_high, kept):
        """The search in NumPy, to count its passes."""
        ranks = scores.view(np.uint32).astype(np.int64) + 2**31
        turn = 0
        while above_low != kept and high - low > 1:
            share = 0.5
            if turn % 3 != 2:
                share = (above_low - kept + 0.5) / (above_low - above_high)
            middle = low + min(max(int((high - low) * share), 1), high - low - 1)
            above = int((ranks >= middle).sum())
            if above >= kept:
                low, above_low = middle, above
            else:
                high, above_high = middle, above
            turn += 1
        passes.append(turn)
        return ranks >= low

    mine = top_fraction_mask(jnp.asarray(scores), fraction=0.3)
    np.testing.assert_array_equal(mine, search(0, 2**32 - 1, 200_000, 0, 60_000))
    assert passes[0] <= 32
