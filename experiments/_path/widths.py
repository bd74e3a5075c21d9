"""By width: how the kernel moves, and two kernel machines beside the network."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.data import ImageData
from experiments._path.measurement import Report
from experiments._path.perceptron import scalar, square, two_digits, vectors
from kexue_jax.theory import (
    kernel_machine_predict,
    kernel_ridge,
    ntk_gradient_flow,
    tangent_kernel,
)

POINTS = 20  # of the path, beside its start
RIDGE = 1e-6  # of the mean of the diagonal


def measure_widths(
    report: Report,
    data: ImageData,
    seeds: list[int],
    *,
    widths: list[int],
    steps: int,
    rows: int,
    tested: int,
) -> None:
    """f = w . tanh(W x + b) / sqrt(width) + b', on two digits, float64.

    ``moved``: |K_t - K_0| / |K_0|. ``refit``: f_0 + beta + sum_i alpha_i K(x, x_i), K
    the path kernel, alpha and beta fitted to the trained network on its samples;
    ``flow``: gradient flow with K_0. Both by |f - f_T| / |f_T - f_0| on test digits.
    """
    inputs, targets = two_digits(data, 3, 5, rows)
    labels = np.asarray(data.test_labels)
    others = data.test_images[(labels == 3) | (labels == 5)][:tested]
    with jax.enable_x64(True):
        x, y = jnp.asarray(inputs), jnp.asarray(targets)
        x_test = jnp.asarray(vectors(others))
        for width in widths:
            one = partial(_run, x=x, y=y, x_test=x_test, width=width, steps=steps)
            every = jax.jit(partial(jax.lax.map, one))
            found = every(jnp.asarray(seeds))
            moved, refit, flow = map(np.asarray, found)
            report.moved[width], report.refit[width] = moved, refit
            report.flow[width] = flow


def start(seed: jax.Array, inputs: int, width: int) -> Any:
    """Entries of unit size, scaled in the network: the kernel is O(1) at any width."""
    sizes = (inputs, width), (width, 1)
    keys = jax.random.split(jax.random.key(seed))
    return [
        {"kernel": jax.random.normal(key, size), "bias": jnp.zeros(size[1])}
        for key, size in zip(keys, sizes, strict=True)
    ]


def network(params: Any, x: jax.Array) -> jax.Array:
    """The output for one input."""
    scales = 1.0, 1 / len(params[1]["kernel"]) ** 0.5
    scaled = [
        {name: leaf * s for name, leaf in layer.items()}
        for layer, s in zip(params, scales, strict=True)
    ]
    return scalar(scaled, x)


def _run(
    seed: jax.Array, x: Any, y: Any, x_test: Any, width: int, steps: int
) -> tuple[jax.Array, ...]:
    params = start(seed, x.shape[1], width)
    both = jnp.concatenate([x, x_test])

    def kernel(params: Any, rows: jax.Array) -> jax.Array:
        return tangent_kernel(network, params, rows, x)

    def total(params: Any) -> jax.Array:
        return jax.vmap(lambda a, b: square(network(params, a), b))(x, y).sum()

    def step(params: Any, _: Any) -> tuple[Any, None]:
        slope = jax.grad(total)(params)
        return jax.tree.map(lambda p, g: p - rate * g, params, slope), None

    def several(params: Any, _: Any) -> tuple[Any, Any]:
        params = jax.lax.scan(step, params, None, every)[0]
        return params, params

    rate = 0.5 / jnp.linalg.norm(kernel(params, x), 2)  # stable at any width
    every = max(1, steps // POINTS)
    last, points = jax.lax.scan(several, params, None, steps // every)
    path = jax.tree.map(lambda p, v: jnp.concatenate([p[None], v]), params, points)
    kernels = jax.lax.map(lambda p: kernel(p, both), path)
    first, samples = kernels[0], kernels[:, : len(x)]
    moved = jnp.linalg.norm(samples[1:] - samples[:1], axis=(1, 2))
    moved = moved / jnp.linalg.norm(samples[0])
    before, after = (jax.vmap(partial(network, p))(both) for p in (params, last))

    def distance(found: jax.Array) -> jax.Array:
        gap, change = found - after, after - before
        return jnp.linalg.norm(gap[len(x) :]) / jnp.linalg.norm(change[len(x) :])

    between = rate * every
    frozen = between * (kernels[1:] + kernels[:-1]).sum(0) / 2  # by trapezoids
    square_part = (frozen[: len(x)] + frozen[: len(x)].T) / 2
    ridge = RIDGE * jnp.trace(square_part) / len(x)
    fit = kernel_ridge(square_part, (after - before)[: len(x)], ridge=ridge)
    refit = before + kernel_machine_predict(frozen, fit.alpha, fit.beta)
    starts = before, before[: len(x)], between * len(moved)
    flow = ntk_gradient_flow(first, first[: len(x)], y, *starts)
    return moved, distance(refit), distance(flow)
