"""Hierarchical positions: exact on the table, affine, and where they collide."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from kexue_jax.models import HierarchicalPositionEmbedding, functional, transformer
from kexue_jax.positions import (
    extend_position_parameters,
    extend_position_table,
    hierarchical_lookup,
    hierarchical_positions,
)
from tests.oracles import positions as oracle

RNG = np.random.default_rng(0)
ALPHAS = (0.1, 0.4, 0.6, 0.9)


def table(n: int = 8, d: int = 6) -> jax.Array:
    return jnp.asarray(RNG.normal(size=(n, d)))


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16])
def test_first_rows_are_the_table_bit_for_bit(dtype) -> None:
    p = table(50, 16).astype(dtype)
    for alpha in ALPHAS:
        for m in (1, 7, 50, 51, 700, 2500):
            q = hierarchical_positions(p, m, alpha=alpha)
            assert q.dtype == dtype and q.shape == (m, 16)
            assert (q[:50] == p[:m]).all()
    if dtype == jnp.float64:  # the article's form rounds
        u = (p - 0.4 * p[:1]) / 0.6
        assert not (0.4 * u[:1] + 0.6 * u == p).all()


@pytest.mark.parametrize("factor", [1.0, 1e4])
def test_bfloat16_rows_are_rounded_once(factor) -> None:
    # 512 rows to 4,096: differences of rows that are near each other.
    p = (factor * (7 + table(512, 4))).astype(jnp.bfloat16)
    ids = jnp.arange(4096)
    exact = oracle.hierarchical(np.asarray(p, np.float64), np.asarray(ids))

    def roundings(got) -> float:
        assert got.dtype == jnp.bfloat16
        apart = np.abs(np.asarray(got, np.float64) - exact)
        return float((apart / np.abs(exact)).max() * 2**8)

    assert roundings(hierarchical_positions(p, 4096)) < 1.01
    assert roundings(hierarchical_lookup(p, ids)) < 1.01
    c = jnp.asarray(2 / 3, jnp.bfloat16)
    assert roundings(p[ids % 512] + c * (p[ids // 512] - p[:1])) > 1.2


def test_thousand_random_tables_equal_the_articles_form() -> None:
    count, n, d = 1000, 5, 3
    tables = jnp.asarray(RNG.normal(size=(count, n, d)))
    for alpha in ALPHAS:
        got = jax.vmap(lambda p, a=alpha: hierarchical_positions(p, n * n, alpha=a))(
            tables
        )
        u = (tables - alpha * tables[:, :1]) / (1 - alpha)
        x, y = np.divmod(np.arange(n * n), n)
        wanted = alpha * u[:, x] + (1 - alpha) * u[:, y]
        bound = 4e-15 * np.abs(tables).max() / (1 - alpha)
        assert np.abs(got - wanted).max() < bound
    u_error = [
        float(np.abs(oracle.hierarchical(p, np.arange(5), 0.999) - p).max())
        for p in np.asarray(tables[:200])
    ]
    assert max(u_error) > 1e-14  # u loses digits as alpha nears 1; c does not


def test_block_starts_lie_on_segments_and_differences_are_those_of_the_table() -> None:
    p, n = table(), 8
    for alpha in ALPHAS:
        c = alpha / (1 - alpha)
        q = hierarchical_positions(p, n * n, alpha=alpha).reshape(n, n, -1)
        np.testing.assert_allclose(q[:, 0], p[:1] + c * (p - p[:1]), atol=1e-14)
        assert (c < 1) == (alpha < 0.5)
        within = q - q[:, :1]
        np.testing.assert_allclose(
            within, jnp.broadcast_to(p - p[:1], q.shape), atol=1e-13
        )
        between = q - q[:1]
        wanted = jnp.broadcast_to((c * (p - p[:1]))[:, None], q.shape)
        np.testing.assert_allclose(between, wanted, atol=1e-13)


def rows_apart(q) -> float:
    q = np.asarray(q)
    gaps = np.abs(q[:, None] - q[None]).max(-1)
    return float(gaps[~np.eye(len(q), dtype=bool)].min())


def test_rows_are_distinct_but_at_one_half() -> None:
    p = table()
    for alpha in ALPHAS:
        assert rows_apart(hierarchical_positions(p, 64, alpha=alpha)) > 1e-3
    half = hierarchical_positions(p, 64, alpha=jnp.asarray(0.5))  # traced: not seen
    assert rows_apart(half) < 1e-15
    square = half.reshape(8, 8, -1)
    np.testing.assert_allclose(square, square.swapaxes(0, 1), atol=1e-15)
    with pytest.raises(ValueError, match="hierarchical_positions: `alpha`"):
        hierarchical_positions(p, 64, alpha=0.5)


def test_linear_in_the_table_with_rows_that_sum_to_one() -> None:
    n, m, d = 6, 36, 4
    rows = jax.jacobian(lambda p: hierarchical_positions(p, m)[:, 0])(table(n, 1))
    M = np.asarray(rows)[..., 0]
    np.testing.assert_allclose(M.sum(-1), 1, atol=1e-14)
    p = table(n, d)
    np.testing.assert_allclose(
        M @ np.asarray(p), hierarchical_positions(p, m), atol=1e-14
    )
    A, b = jnp.asarray(RNG.normal(size=(d, 3))), jnp.asarray(RNG.normal(size=(1, 3)))
    got = hierarchical_positions(p @ A + b, m)
    np.testing.assert_allclose(got, hierarchical_positions(p, m) @ A + b, atol=1e-13)


def test_gradient_of_each_row() -> None:
    n, c = 7, 0.4 / 0.6
    p = table(n, 1)
    rows = jax.jacobian(lambda p: hierarchical_positions(p, n * n)[:, 0])(p)[..., 0]
    ids = jnp.arange(n * n)
    same = jax.jacobian(lambda p: hierarchical_lookup(p, ids)[:, 0])(p)[..., 0]
    for t in range(n * n):
        wanted = np.zeros(n)
        wanted[t % n] += 1
        wanted[t // n] += c
        wanted[0] -= c
        np.testing.assert_allclose(rows[t], wanted, atol=1e-15)
        np.testing.assert_allclose(same[t], wanted, atol=1e-15)
    assert (np.asarray(rows)[:n] == np.eye(n)).all()
    total = np.asarray(rows).sum(0)  # row 0 pays for all that lies beyond
    assert total[0] == pytest.approx(n + c * n - c * n * n)


def test_variances_and_the_swap_of_alpha() -> None:
    p = jnp.asarray(RNG.normal(size=(400, 50)))
    for alpha, ratio in ((0.4, 0.44), (0.9, 81.0)):
        c = alpha / (1 - alpha)
        assert c * c == pytest.approx(ratio, rel=0.02)
        q = hierarchical_positions(p, 400 * 40, alpha=alpha).reshape(40, 400, 50)
        block, within = q[:, 7].var(0).mean(), q[7].var(0).mean()
        assert block / within == pytest.approx(c * c, rel=0.12)
        swapped = 1 - alpha
        assert swapped / (1 - swapped) == pytest.approx(1 / c)
        # Beyond the table a row is longer.
        first = jnp.linalg.norm(q[0], axis=-1).mean()
        assert jnp.linalg.norm(q[1:], axis=-1).mean() > first


def test_position_n_is_block_1_row_0() -> None:
    p, n, c = table(), 8, 0.4 / 0.6
    q = hierarchical_positions(p, 64)
    for i, j in itertools.product(range(1, n + 1), range(1, n + 1)):
        one_based = (i - 1) * n + j
        u = lambda k: (p[k - 1] - 0.4 * p[0]) / 0.6  # noqa: E731
        np.testing.assert_allclose(
            q[one_based - 1], 0.4 * u(i) + 0.6 * u(j), atol=1e-14
        )
    np.testing.assert_allclose(q[n], p[0] + c * (p[1] - p[0]), atol=1e-15)


def test_lookup_at_any_ids_and_loudly_beyond() -> None:
    p = table()
    ids = jnp.asarray(RNG.integers(0, 64, (3, 1, 5)), jnp.int32)
    whole = hierarchical_positions(p, 64)
    np.testing.assert_allclose(hierarchical_lookup(p, ids), whole[ids], atol=1e-15)
    for wrong in (-1, 64):
        bad = jnp.array([0, wrong])
        with pytest.raises(ValueError, match="hierarchical_lookup: `position_ids`"):
            hierarchical_lookup(p, bad)
        got = jax.jit(hierarchical_lookup)(p, bad)
        assert np.isnan(got[1]).all() and (got[0] == p[0]).all()
    wide = jnp.asarray(np.zeros((512, 2)))
    assert hierarchical_lookup(wide, jnp.array([262_143])).shape == (1, 2)
    with pytest.raises(ValueError):
        hierarchical_lookup(wide, jnp.array([262_144]))


def test_more_levels_keep_the_table_and_reach_further() -> None:
    p = table(3, 4)
    q = hierarchical_positions(p, 81, levels=4)
    np.testing.assert_allclose(q, oracle.hierarchical(p, np.arange(81), levels=4))
    assert (q[:3] == p).all()
    np.testing.assert_allclose(q[:9], hierarchical_positions(p, 9), atol=1e-15)
    ids = jnp.arange(81)
    np.testing.assert_allclose(hierarchical_lookup(p, ids, levels=4), q, atol=1e-15)
    with pytest.raises(ValueError, match="hierarchical_positions: `length`"):
        hierarchical_positions(p, 10)


def test_alpha_to_zero_is_tile_and_equal_length_is_the_identity() -> None:
    p = table()
    tiled = extend_position_table(p, 30, method="tile")
    assert (hierarchical_positions(p, 30, alpha=0.0) == tiled).all()
    assert (tiled == np.tile(p, (4, 1))[:30]).all()
    for method in ("hierarchical", "tile", "interpolate", "zeros"):
        assert (extend_position_table(p, 8, method=method) == p).all()


def test_reserved_rows_and_rival_methods() -> None:
    p, key = table(10, 40), jax.random.key(0)
    for method in ("hierarchical", "tile", "interpolate", "random", "zeros"):
        got = extend_position_table(p, 24, method=method, offset=2, key=key)
        assert got.shape == (26, 40) and (got[:2] == p[:2]).all()
        assert (got[2:10] == p[2:]).all() == (method != "interpolate")
    random = extend_position_table(p, 900, method="random", key=key)
    assert random[10:].std() == pytest.approx(float(p.std()), rel=0.02)
    assert (extend_position_table(p, 24, method="zeros")[10:] == 0).all()
    line = extend_position_table(jnp.arange(5.0)[:, None], 9, method="interpolate")
    np.testing.assert_allclose(line[:, 0], np.arange(9) / 2, atol=1e-15)
    with pytest.raises(TypeError, match="extend_position_table: `key`"):
        extend_position_table(p, 24, method="random")


def test_surgery_by_path_gives_a_model_that_is_the_same_on_short_texts() -> None:
    def attend(q, k, v, layer):
        return jax.nn.softmax(q @ jnp.swapaxes(k, -1, -2), -1) @ v

    sizes = {"vocabulary": 9, "attend": attend, "width": 8, "heads": 2, "layers": 1}
    short, long = (transformer(**sizes, length=n) for n in (6, 18))
    params = short.init(jax.random.key(1))
    extended = extend_position_parameters(params, "position", 18)
    tokens = jnp.asarray(RNG.integers(0, 9, (2, 6)))
    assert (short.apply(params, tokens) == long.apply(extended, tokens)).all()
    assert extended["word"] is params["word"]
    # The live form computes the rows inside of the model, from the short table.
    live = transformer(
        **sizes, length=6, rows=lambda rows, n: hierarchical_positions(rows, n)
    )
    text = jnp.asarray(RNG.integers(0, 9, (2, 18)))
    np.testing.assert_allclose(
        live.apply(params, text), long.apply(extended, text), atol=1e-6
    )
    with pytest.raises(ValueError, match="extend_position_parameters: `path`"):
        extend_position_parameters(params, "positions", 18)


def test_layer_is_the_lookup_of_its_table() -> None:
    model = functional(lambda rngs: HierarchicalPositionEmbedding(8, 6, rngs=rngs))
    params = model.init(jax.random.key(0))
    assert {name: value.shape for name, value in params.items()} == {"table": (8, 6)}
    ids = jnp.array([[0, 7, 8, 63]])
    got = model.apply(params, ids)
    np.testing.assert_allclose(got, hierarchical_lookup(params["table"], ids))
    assert (got[0, :2] == params["table"][jnp.array([0, 7])]).all()
    wider = functional(
        lambda rngs: HierarchicalPositionEmbedding(8, 6, alpha=0.2, levels=3)
    )
    assert np.isfinite(wider.apply(params, jnp.array([511]))).all()
    for bad in ({"alpha": 1.0}, {"levels": 0}):
        with pytest.raises(ValueError, match="HierarchicalPositionEmbedding: `"):
            functional(functools.partial(build, **bad))


def build(rngs: nnx.Rngs, **options):
    return HierarchicalPositionEmbedding(8, 6, **options)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint16"])
def test_ids_may_be_narrow_integers(dtype) -> None:
    """The length of the table does not fit an int8."""
    table = jnp.asarray(np.random.default_rng(0).normal(size=(512, 3)))
    ids = jnp.array([1, 2, 100], dtype)
    for look_up in (hierarchical_lookup, jax.jit(hierarchical_lookup)):
        np.testing.assert_array_equal(look_up(table, ids), table[np.array([1, 2, 100])])
