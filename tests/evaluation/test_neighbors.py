"""Nearest neighbors against brute force, and the two-sample test built on them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from kexue_jax.evaluation import nearest_neighbors, two_sample_accuracy
from tests.oracles import generative_metrics as oracle


def cloud(seed: int, n: int, d: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) + shift


@pytest.mark.parametrize(("k", "block_size"), [(1, 5), (3, 16), (9, 256), (2, 1)])
def test_neighbors_equal_brute_force(k, block_size) -> None:
    queries, data = cloud(0, 17, 5), cloud(1, 30, 5)
    distance, index = oracle.nearest_neighbors(queries, data, k=k)
    neighbors = jax.jit(partial(nearest_neighbors, k=k, block_size=block_size))
    got = neighbors(jnp.asarray(queries), jnp.asarray(data))
    np.testing.assert_allclose(got.distance, distance, rtol=1e-13)
    np.testing.assert_array_equal(got.index, index)
    assert got.index.dtype == jnp.int32


@pytest.mark.parametrize("k", [1, 4, 29])
def test_leave_one_out_bars_the_vector_itself(k) -> None:
    data = cloud(2, 30, 3)
    distance, index = oracle.nearest_neighbors(data, data, k=k, leave_one_out=True)
    got = nearest_neighbors(
        jnp.asarray(data), jnp.asarray(data), k=k, leave_one_out=True
    )
    np.testing.assert_allclose(got.distance, distance, rtol=1e-13)
    np.testing.assert_array_equal(got.index, index)


def test_all_of_the_data_can_be_asked_for() -> None:
    queries, data = cloud(3, 2, 2), cloud(4, 6, 2)
    got = nearest_neighbors(jnp.asarray(queries), jnp.asarray(data), k=6)
    assert (np.sort(got.index, axis=1) == np.arange(6)).all()
    assert (np.diff(got.distance, axis=1) >= 0).all()


def test_copies_have_distance_zero_in_float32_far_from_the_origin() -> None:
    # |q|^2 + |x|^2 - 2 q.x alone gives 0.1 here, since |x|^2 is about 1e5 wide.
    data = (cloud(5, 200, 10) + 100).astype(np.float32)
    got = nearest_neighbors(jnp.asarray(data[::-1]), jnp.asarray(data))
    np.testing.assert_array_equal(got.distance[:, 0], 0)
    np.testing.assert_array_equal(got.index[:, 0], np.arange(200)[::-1])


def test_equal_distances_take_the_lower_index() -> None:
    data = jnp.asarray([[1.0], [-1.0], [1.0], [2.0]])
    got = nearest_neighbors(jnp.zeros((1, 1)), data, k=4)
    np.testing.assert_array_equal(got.index, [[0, 1, 2, 3]])


def test_close_clusters_do_not_lose_a_neighbor_in_float32() -> None:
    # Pairs 1e-3 apart at a distance of 30 from the center.
    rng = np.random.default_rng(6)
    centers = 30 * rng.normal(size=(100, 4))
    data = np.concatenate([centers, centers + 1e-3 * rng.normal(size=(100, 4))])
    data = data.astype(np.float32)
    wanted = oracle.nearest_neighbors(
        data.astype(float), data.astype(float), leave_one_out=True
    )
    got = nearest_neighbors(jnp.asarray(data), jnp.asarray(data), leave_one_out=True)
    np.testing.assert_array_equal(got.index, wanted[1])
    np.testing.assert_allclose(got.distance, wanted[0], rtol=1e-5)


def test_gradient_of_distances_is_right_and_zero_at_copies() -> None:
    queries, data = jnp.asarray(cloud(7, 3, 2)), jnp.asarray(cloud(8, 8, 2))

    def total(queries, data):
        return nearest_neighbors(queries, data, k=2).distance

    check_grads(jax.jit(total), (queries, data), order=1, atol=1e-6, rtol=1e-6)
    slope = jax.grad(lambda q: jnp.sum(nearest_neighbors(q, data).distance))(data)
    np.testing.assert_array_equal(slope, 0)


def test_jit_traces_once_and_vmap_is_the_loop() -> None:
    traces = []
    sets = jnp.asarray(np.stack([cloud(s, 9, 3) for s in range(4)]))

    @jax.jit
    def counted(queries, data):
        traces.append(1)
        return nearest_neighbors(queries, data, k=2)

    loop = [counted(sets[i], sets[3 - i]) for i in range(4)]
    assert len(traces) == 1
    many = jax.vmap(lambda q, x: nearest_neighbors(q, x, k=2))(sets, sets[::-1])
    np.testing.assert_array_equal(many.index, np.stack([one.index for one in loop]))


@pytest.mark.parametrize("shape", [(20, 20), (30, 12), (2, 2)])
def test_two_sample_equals_brute_force(shape) -> None:
    x, y = cloud(9, shape[0], 3), cloud(10, shape[1], 3, 0.7)
    two_sample = jax.jit(partial(two_sample_accuracy, block_size=7))
    got = two_sample(jnp.asarray(x), jnp.asarray(y))
    np.testing.assert_allclose(got, oracle.two_sample_accuracy(x, y), rtol=1e-14)


def test_two_sample_is_one_for_sets_apart() -> None:
    got = two_sample_accuracy(
        jnp.asarray(cloud(11, 9, 2)), jnp.asarray(cloud(12, 7, 2, 99))
    )
    np.testing.assert_allclose(got, 1, rtol=1e-6)


def test_two_sample_is_zero_where_y_repeats_x() -> None:
    x = jnp.asarray(cloud(13, 25, 4), jnp.float32)
    got = jax.jit(two_sample_accuracy)(x, x[::-1])
    np.testing.assert_array_equal(got, [0.0, 0.0, 0.0])


def test_two_sample_counts_equal_distances_as_one_half() -> None:
    # Every vector has an equal in its own set and one in the other.
    x = jnp.asarray(np.repeat(cloud(14, 6, 2), 2, axis=0))
    np.testing.assert_allclose(jax.jit(two_sample_accuracy)(x, x), 3 * [0.5], atol=1e-6)


@pytest.mark.parametrize("shape", [(20, 20), (30, 10)])
def test_two_sample_has_its_null_mean_whatever_the_sizes(shape) -> None:
    # Exchangeable vectors: each other one is equally likely to be the nearest, so the
    # mean is (n + m - 2) / (n + m - 1) / 2; 4,000 draws, 5 standard errors.
    keys = jax.random.split(jax.random.key(1), 4000)

    def one(key):
        pooled = jax.random.normal(key, (sum(shape), 2))
        return two_sample_accuracy(pooled[: shape[0]], pooled[shape[0] :]).accuracy

    values = jax.jit(jax.vmap(one))(keys)
    wanted = (sum(shape) - 2) / (sum(shape) - 1) / 2
    error = float(jnp.std(values)) / 4000**0.5
    assert abs(float(jnp.mean(values)) - wanted) < 5 * error
    assert 5 * error < 0.01


def test_two_sample_swaps_with_its_arguments() -> None:
    x, y = jnp.asarray(cloud(15, 20, 3)), jnp.asarray(cloud(16, 20, 3, 0.5))
    two_sample = jax.jit(two_sample_accuracy)
    one, other = two_sample(x, y), two_sample(y, x)
    assert one.accuracy == other.accuracy
    assert one.x_accuracy == other.y_accuracy and one.y_accuracy == other.x_accuracy


GOOD = np.ones((4, 2))


@pytest.mark.parametrize(
    ("arguments", "keywords", "named"),
    [
        ((None, GOOD), {}, "queries"),
        ((GOOD.astype(int), GOOD), {}, "queries"),
        ((GOOD[0], GOOD), {}, "queries"),
        ((GOOD[:0], GOOD), {}, "queries"),
        ((GOOD, np.ones((4, 3))), {}, "data"),
        ((GOOD, GOOD.astype(np.float32)), {}, "data"),
        ((GOOD, GOOD), {"k": 0}, "k"),
        ((GOOD, GOOD), {"k": 5}, "k"),
        ((GOOD, GOOD), {"k": 4, "leave_one_out": True}, "k"),
        ((GOOD[:3], GOOD), {"leave_one_out": True}, "queries"),
        ((GOOD, GOOD), {"leave_one_out": 1}, "leave_one_out"),
        ((GOOD, GOOD), {"block_size": 0}, "block_size"),
    ],
)
def test_bad_input_of_neighbors_is_refused_by_name(arguments, keywords, named) -> None:
    with pytest.raises((ValueError, TypeError), match=f"nearest_neighbors: `{named}`"):
        nearest_neighbors(*arguments, **keywords)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((GOOD[:1], GOOD), "x"), ((GOOD, GOOD[:1]), "y"), ((GOOD, None), "y")],
)
def test_bad_input_of_two_sample_is_refused_by_name(arguments, named) -> None:
    with pytest.raises(
        (ValueError, TypeError), match=f"two_sample_accuracy: `{named}`"
    ):
        two_sample_accuracy(*arguments)
