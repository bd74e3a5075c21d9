"""Linear systems without LAPACK: any pivots, any batch, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec
from jax.test_util import check_grads

from kexue_jax._base.elimination import solved


def systems(*lead, n=5, m=3, dtype=float, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(*lead, n, n)), rng.normal(size=(*lead, n, m))
    if dtype is complex:
        a, b = a + 1j * rng.normal(size=a.shape), b + 1j * rng.normal(size=b.shape)
    return a, b


def test_solutions_of_a_thousand_systems() -> None:
    for dtype in (float, complex):
        a, b = systems(1000, dtype=dtype)
        a[::3, 0, 0] = 0  # needs another pivot
        a[1::3] = np.eye(5)[np.random.default_rng(1).permutation(5)]
        wanted = np.linalg.solve(a, b)
        got = jax.jit(solved)(a, b)
        error = np.abs(got - wanted).max((-2, -1)) / np.abs(wanted).max((-2, -1))
        assert (error < 1e-14 * np.linalg.cond(a)).all()
        assert np.median(error) < 2e-15


def test_sizes_of_one_and_no_leading_axes() -> None:
    for n, m in ((1, 1), (1, 4), (6, 1)):
        a, b = systems(n=n, m=m)
        np.testing.assert_allclose(jax.jit(solved)(a, b), np.linalg.solve(a, b))
    assert solved(jnp.zeros((0, 3, 3)), jnp.zeros((0, 3, 2))).shape == (0, 3, 2)


def test_gradients_of_both_modes_and_under_vmap() -> None:
    a, b = systems(2, n=3, m=2, dtype=complex)
    check_grads(jax.jit(solved), (a, b), order=1, atol=1e-6, rtol=1e-6, eps=1e-5)
    np.testing.assert_allclose(jax.jit(jax.vmap(solved))(a, b), jax.jit(solved)(a, b))


def test_divided_over_devices() -> None:
    a, b = systems(2, n=3)
    mesh = jax.make_mesh((1,), ("rows",), axis_types=(AxisType.Auto,))
    rows = PartitionSpec("rows")
    split = jax.shard_map(solved, mesh=mesh, in_specs=rows, out_specs=rows)

    def slope(f):
        return jax.jit(jax.grad(lambda a, b: jnp.sin(f(a, b)).sum(), (0, 1)))(a, b)

    for mine, theirs in zip(slope(split), slope(solved), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12 * np.abs(theirs).max())


def test_no_program_calls_lapack() -> None:
    a, b = systems(4)
    total = lambda a, b: solved(a, b).sum()  # noqa: E731
    program = jax.jit(jax.grad(total)).lower(a, b).compile()
    assert "custom-call" not in program.as_text()
