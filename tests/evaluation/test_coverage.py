"""Precision and recall, density and coverage: brute force and what they must say."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.evaluation import density_coverage, precision_recall
from tests.oracles import generative_metrics as oracle

FUNCTIONS = (precision_recall, density_coverage)
K = {"precision_recall": 3, "density_coverage": 5}
JITTED = {f: jax.jit(partial(f, k=K[f.__name__])) for f in FUNCTIONS}
PR, DC = (JITTED[f] for f in FUNCTIONS)


def cloud(seed: int, n: int, d: int, shift: float = 0.0, dtype="float64") -> jax.Array:
    values = np.random.default_rng(seed).normal(size=(n, d)) + shift
    return jnp.asarray(values, dtype)


@pytest.mark.parametrize(("k", "block_size"), [(1, 5), (3, 256), (6, 1)])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_equals_brute_force(function, k, block_size) -> None:
    real, fake = cloud(0, 31, 3), cloud(1, 22, 3, 0.8)
    wanted = getattr(oracle, function.__name__)(np.asarray(real), np.asarray(fake), k=k)
    jitted = jax.jit(partial(function, k=k, block_size=block_size))
    np.testing.assert_allclose(jitted(real, fake), wanted, rtol=1e-14)
    low = jitted(real.astype(jnp.float32), fake.astype(jnp.float32))
    np.testing.assert_allclose(low, wanted, rtol=1e-6)
    assert {v.dtype for v in low} == {jnp.dtype("float32")}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_identical_sets_have_precision_recall_and_coverage_one(dtype, shift) -> None:
    x = cloud(2, 60, 4, shift, dtype)
    np.testing.assert_allclose(PR(x, x[::-1]), [1, 1], rtol=1e-6)
    # Each ball holds its center and its k neighbors, the last on the surface.
    inside = DC(x, x[::-1])
    np.testing.assert_allclose(inside.coverage, 1, rtol=1e-6)
    if dtype == "float64":
        np.testing.assert_allclose(inside.density, 6 / 5, rtol=1e-12)


def test_repeated_vectors_have_balls_of_radius_zero_and_still_hold_their_copies() -> (
    None
):
    x = jnp.tile(cloud(3, 10, 3, 5.0, "float32"), (7, 1))
    np.testing.assert_allclose(PR(x, x), [1, 1], rtol=1e-6)
    np.testing.assert_allclose(DC(x, x).coverage, 1, rtol=1e-6)


def test_disjoint_sets_have_zeros() -> None:
    real, fake = cloud(4, 20, 3), cloud(5, 30, 3, 1e3)
    assert [float(v) for v in PR(real, fake)] == [0.0, 0.0]
    assert [float(v) for v in DC(real, fake)] == [0.0, 0.0]


def test_precision_and_recall_swap_with_the_sets() -> None:
    real, fake = cloud(6, 40, 3), cloud(7, 40, 3, 1.0)
    one, other = PR(real, fake), PR(fake, real)
    assert one.precision == other.recall and one.recall == other.precision


def test_blind_to_rotation_shift_and_scale() -> None:
    real, fake = cloud(8, 40, 5), cloud(9, 40, 5, 0.6)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    for function in FUNCTIONS:
        moved = JITTED[function](3 * real @ turn + 7, 3 * fake @ turn + 7)
        np.testing.assert_allclose(moved, JITTED[function](real, fake), rtol=1e-12)


def test_collapse_costs_recall_and_noise_costs_precision() -> None:
    real = cloud(10, 400, 2)
    collapsed = cloud(11, 400, 2) * 0.1
    noisy = cloud(12, 400, 2) * 5
    assert PR(real, collapsed).precision > 0.99
    assert PR(real, collapsed).recall < 0.2
    assert PR(real, noisy).precision < 0.4
    assert PR(real, noisy).recall > 0.9
    assert DC(real, collapsed).coverage < 0.5


def test_an_outlier_raises_precision_but_hardly_density() -> None:
    # The reason for density: one stray real vector has a ball that holds everything.
    real = jnp.concatenate([cloud(13, 399, 2), jnp.full((1, 2), 60.0)])
    fake = cloud(14, 400, 2) + jnp.array([[30.0, 30.0]])
    np.testing.assert_allclose(PR(real, fake).precision, 1, rtol=1e-6)
    assert DC(real, fake).density <= 1 / 5


def test_one_distribution_has_density_one_and_its_coverage() -> None:
    # By exchangeability E[density] = 1 and E[coverage] =
    # 1 - prod_{i=1..k} (n - i) / (2 n - i): the k nearest of n - 1 real and n fake
    # vectors are all real.
    n, k, draws = 60, 3, 2000
    keys = jax.random.split(jax.random.key(0), draws)

    def one(key):
        return density_coverage(*jax.random.normal(key, (2, n, 2)), k=k, block_size=n)

    got = jax.jit(jax.vmap(one))(keys)
    missed = np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    for values, wanted in ((got.density, 1.0), (got.coverage, 1 - missed)):
        error = float(jnp.std(values)) / draws**0.5
        assert abs(float(jnp.mean(values)) - wanted) < 5 * error
        assert 5 * error < 0.02


GOOD = np.ones((9, 2))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("arguments", "keywords", "named"),
    [
        ((None, GOOD), {}, "x_real"),
        ((GOOD.astype(int), GOOD), {}, "x_real"),
        ((GOOD[0], GOOD), {}, "x_real"),
        ((GOOD[:3], GOOD), {"k": 3}, "x_real"),
        ((GOOD, np.ones((9, 3))), {}, "x_fake"),
        ((GOOD, GOOD.astype(np.float32)), {}, "x_fake"),
        ((GOOD, GOOD), {"k": 0}, "k"),
        ((GOOD, GOOD), {"k": 1.0}, "k"),
        ((GOOD, GOOD), {"block_size": -1}, "block_size"),
    ],
)
def test_bad_input_is_refused_by_name(function, arguments, keywords, named) -> None:
    with pytest.raises(
        (ValueError, TypeError), match=f"{function.__name__}: `{named}`"
    ):
        function(*arguments, **keywords)


def test_recall_needs_more_fake_vectors_than_k_and_coverage_does_not() -> None:
    with pytest.raises(ValueError, match="precision_recall: `x_fake`"):
        precision_recall(GOOD, GOOD[:3], k=3)
    assert density_coverage(GOOD, GOOD[:1], k=3).coverage == 1.0
