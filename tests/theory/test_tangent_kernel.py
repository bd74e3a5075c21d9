"""The tangent kernel in three ways, and what it says of a step of gradient flow."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.theory import (
    kernel_machine_predict,
    kernel_ridge,
    mlp_tangent_kernel,
    ntk_gradient_flow,
    path_kernel,
    tangent_kernel,
)
from tests.oracles import path_kernel as oracle
from tests.theory.perceptrons import apply, data, drawn, scalar, square


def test_three_ways_and_chunks_are_one_kernel_in_value_and_gradient() -> None:
    params = drawn(3, 4, 4, 2)
    xa, _ = data(5, 3, 2)
    xb, _ = data(3, 3, 2, seed=2)
    weights = np.random.default_rng(3).normal(size=(5, 3, 2, 2))
    ways = {
        "jacobian": partial(tangent_kernel, apply),
        "products": partial(tangent_kernel, apply, method="products"),
        "chunks": partial(tangent_kernel, apply, chunk=2),
        "products, chunks": partial(tangent_kernel, apply, method="products", chunk=2),
        "structured": mlp_tangent_kernel,
    }

    def both(params, xa, xb):
        def total(params, run):
            found = run(params, xa, xb)
            return jnp.sum(found * weights), found

        run = jax.value_and_grad(total, has_aux=True)
        return {name: run(params, way) for name, way in ways.items()}

    found = jax.jit(both)(jax.tree.map(jnp.asarray, params), xa, xb)
    wanted = oracle.kernel(params, np.asarray(xa), np.asarray(xb))
    plain = jax.tree.leaves(found["jacobian"][1])
    for name, ((_, kernel), slope) in found.items():
        assert np.abs(kernel - wanted).max() <= 1e-13 * np.abs(wanted).max(), name
        for got, like in zip(jax.tree.leaves(slope), plain, strict=True):
            assert np.abs(got - like).max() <= 1e-12 * np.abs(like).max(), name


def test_chunks_bound_the_memory() -> None:
    x = jax.ShapeDtypeStruct((256, 8), jnp.float32)
    params = jax.tree.map(
        lambda v: jax.ShapeDtypeStruct(v.shape, jnp.float32), drawn(8, 64, 64, 1)
    )

    def bytes_of(**options):
        run = jax.jit(partial(tangent_kernel, scalar, **options))
        return run.lower(params, x, x).compile().memory_analysis().temp_size_in_bytes

    assert bytes_of(chunk=16) < 0.25 * bytes_of()


def test_kernel_is_symmetric_positive_and_makes_the_loss_fall_1000_times() -> None:
    """d(|r|^2 / 2)/dt = -r^T K r <= 0; 0 where K has r in its null space."""
    params = drawn(2, 3, 1, lead=(1000,), scale=2.0)
    x = jnp.asarray(np.random.default_rng(4).normal(size=(1000, 5, 2)))
    y = jnp.asarray(np.random.default_rng(5).normal(size=(1000, 5)))

    def both(params, x, y):
        def loss(params):
            return square(jax.vmap(partial(scalar, params))(x), y)

        down = jax.tree.map(jnp.negative, jax.grad(loss)(params))
        r = y - jax.vmap(partial(scalar, params))(x)
        kernel = tangent_kernel(scalar, params, x, x)
        slope = jax.jvp(loss, (params,), (down,))[1]
        return kernel, slope, -r @ kernel @ r

    kernel, slope, form = jax.jit(jax.vmap(both))(params, x, y)
    scale = np.abs(kernel).max()
    assert np.abs(kernel - np.swapaxes(kernel, 1, 2)).max() <= 1e-14 * scale
    assert np.linalg.eigvalsh(kernel).min() >= -1e-13 * scale
    assert (np.abs(slope - form) <= 1e-11 * np.abs(form).max()).all()
    assert (slope <= 0).all()
    # Equality: the same input twice, with opposite errors.
    twice = jnp.stack([x[0, 0], x[0, 0]])
    first = jax.tree.map(lambda leaf: leaf[0], params)
    kernel = tangent_kernel(scalar, first, twice, twice)
    r = jnp.asarray([1.0, -1.0])
    assert abs(r @ kernel @ r) < 1e-13 * kernel[0, 0] and kernel[0, 0] > 0.1


def test_path_kernel_of_a_flow_is_symmetric_and_positive() -> None:
    path = drawn(2, 3, 1, lead=(4,))
    x, _ = data(6, 2, 1)
    times = jnp.asarray([0.0, 0.1, 0.5, 0.6])
    found = path_kernel(scalar, path, times, x, x)
    points = [jax.tree.map(lambda leaf, s=s: leaf[s], path) for s in range(4)]
    kernels = [
        oracle.kernel(p, np.asarray(x), np.asarray(x))[..., 0, 0] for p in points
    ]
    wanted = np.trapezoid(np.stack(kernels), np.asarray(times), axis=0)
    assert np.abs(found - wanted).max() <= 1e-13 * np.abs(wanted).max()
    assert np.linalg.eigvalsh(found).min() > -1e-13


def test_flow_with_a_constant_kernel_is_that_of_many_small_steps() -> None:
    """A linear model, whose kernel x.x' + 1 is constant, and singular for 5 points."""
    x, y = data(5, 2, 1)
    x_test, y = data(3, 2, 1, seed=9)[0], y[:, 0]

    def kernel(a, b):
        return a @ b.T + 1

    start = jnp.asarray([0.3, -0.2, 0.1])
    f0_x, f0_t = (xs @ start[:2] + start[2] for xs in (x, x_test))
    found = ntk_gradient_flow(kernel(x_test, x), kernel(x, x), y, f0_t, f0_x, 0.7)
    line = np.column_stack([x, np.ones(5)])
    w, steps = np.asarray(start), 20000
    for _ in range(steps):
        w = w + 0.7 / steps * line.T @ (np.asarray(y) - line @ w)
    wanted = np.asarray(x_test) @ w[:2] + w[2]
    assert np.abs(found - wanted).max() < 1e-4
    late = ntk_gradient_flow(kernel(x_test, x), kernel(x, x), y, f0_t, f0_x, 1e6)
    least = np.linalg.lstsq(line, np.asarray(y), rcond=None)[0]
    assert np.abs(late - (np.asarray(x_test) @ least[:2] + least[2])).max() < 1e-6


def test_ridge_solves_its_two_equations() -> None:
    params, (x, y) = drawn(2, 8, 1), data(6, 2, 1)
    kernel = tangent_kernel(scalar, params, x, x)
    fit = kernel_ridge(kernel, y[:, 0], ridge=0.1)
    predicted = kernel_machine_predict(kernel, *fit)
    assert abs(fit.alpha.sum()) < 1e-12
    assert np.abs(predicted + 0.1 * fit.alpha - y[:, 0]).max() < 1e-11


def test_kernels_move_less_by_more_than_the_root_of_the_width() -> None:
    """Widths 32 and 512, trained to the end: by more than 4, about 16 times less.

    The papers' bound is width^(-1/2). To first order the change is a mean over units of
    terms that are odd in the output weights, over root width: 1 / width with those.
    """
    x, y = data(6, 2, 1)

    def moved(width):
        start = drawn(2, width, 1, seed=width)
        # NTK's layout: the factors 1 / sqrt(d_in) stand outside of the kernels.
        outside = (2**-0.5, width**-0.5)
        start = [
            {"kernel": p["kernel"] / c, "bias": p["bias"]}
            for p, c in zip(start, outside, strict=True)
        ]

        def f(params, v):
            scaled = [
                {"kernel": c * p["kernel"], "bias": p["bias"]}
                for p, c in zip(params, outside, strict=True)
            ]
            return scalar(scaled, v)

        def loss(params):
            return square(jax.vmap(partial(f, params))(x), y[:, 0])

        def step(params, _):
            down = jax.grad(loss)(params)
            return jax.tree.map(lambda a, b: a - 0.02 * b, params, down), None

        start = jax.tree.map(jnp.asarray, start)
        end = jax.lax.scan(step, start, length=2000)[0]
        before, after = (tangent_kernel(f, p, x, x) for p in (start, end))
        assert loss(end) < 0.05 * loss(start)
        return float(jnp.linalg.norm(after - before) / jnp.linalg.norm(before))

    narrow, wide = (moved(width) for width in (32, 512))
    assert 4 < narrow / wide < 32 and wide > 1e-3
