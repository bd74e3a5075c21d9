"""The top fraction of a tree: search and sort agree whatever the scores are."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.optim import top_fraction, top_fraction_mask
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
    scores = {"none": jnp.zeros((2, 0)), "one": jnp.ones(4)}
    mask = top_fraction_mask(scores, fraction=0.5)
    assert mask["none"].shape == (2, 0)
    np.testing.assert_array_equal(mask["one"], [True, True, False, False])


def test_a_percentile_keeps_everything_where_most_scores_are_zero() -> None:
    # The paper's code: score >= percentile. Ours keeps as many as were asked for.
    scores = np.where(np.arange(100) < 10, 1.0 + np.arange(100), 0.0)
    theirs = scores >= np.percentile(scores, 70)
    mine = top_fraction_mask(jnp.asarray(scores), fraction=0.3)
    assert theirs.sum() == 100 and int(mine.sum()) == 30
    assert np.asarray(mine)[:30].all()  # the first zeros fill up


def many(kind: str) -> np.ndarray:
    """A million scores, and more that do not fill a row."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1003, 1009)).astype(np.float32)
    return {
        "squares": x**2,
        "layers": (x * np.exp(3 * rng.normal(size=(1003, 1)))).astype(np.float32) ** 2,
        "ties": np.round(x),
        "mostly zero": np.maximum(x - 1, 0),
        "subnormal": np.abs(x) * np.float32(1e-42),
        "sorted": np.sort(x, axis=None).reshape(x.shape),
    }[kind]


@functools.cache
def searched(fraction: float, kept: int) -> Callable:
    """Passes and mask, compiled once for all kinds."""

    def both(x):
        found = top_fraction._search([x], kept)
        return found.passes, top_fraction_mask({"x": x}, fraction=fraction)["x"]

    return jax.jit(both)


@pytest.mark.parametrize("fraction", [0.003, 0.3])
@pytest.mark.parametrize(
    "kind", ["squares", "layers", "ties", "mostly zero", "subnormal", "sorted"]
)
def test_many_scores_need_few_passes(kind, fraction) -> None:
    scores = many(kind)
    kept = round(fraction * scores.size)

    passes, mask = searched(fraction, kept)(scores)
    # Equal scores that the sample missed are found by width: 5 times less a pass.
    assert 1 <= int(passes) <= (16 if kind in ("ties", "sorted") else 9)
    order = np.argsort(-scores.reshape(-1), kind="stable")
    wanted = np.zeros(scores.size, bool)
    wanted[order[:kept]] = True
    np.testing.assert_array_equal(np.asarray(mask).reshape(-1), wanted)


def test_nothing_of_the_size_of_the_tree_is_made_but_the_mask() -> None:
    scores = {n: jax.ShapeDtypeStruct((1024, 1024), jnp.float32) for n in "abc"}
    mask = functools.partial(top_fraction_mask, fraction=0.3)
    memory = jax.jit(mask).lower(scores).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 2**17


@pytest.mark.parametrize("fraction", [0.2, 0.35, 0.6, 0.9])
def test_ties_are_taken_in_the_order_of_a_tree_of_large_and_small_leaves(fraction):
    rng = np.random.default_rng(2)
    shapes = {
        "a": (3,),
        "b": (300, 500),
        "c": (0, 2),
        "d": (2**17,),
        "e": (7, 20, 1000),
    }
    scores = {n: rng.integers(0, 3, s).astype(np.float32) for n, s in shapes.items()}
    both = [
        jax.jit(functools.partial(top_fraction_mask, fraction=fraction, method=m))
        for m in top_fraction.METHODS
    ]
    found, wanted = (mask(scores) for mask in both)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
