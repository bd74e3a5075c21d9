"""Completeness by rate, attributions of digits, how the kernel moves by width."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.data import ImageData
from experiments._path.perceptron import (
    apply,
    cross_entropy,
    init,
    scalar,
    square,
    two_digits,
    vectors,
)
from kexue_jax.theory import (
    tangent_kernel,
    top_attributions,
    train_with_path_kernel,
)

TOP = 5
NODES = {"Riemann": 0, "exact, 1 node": 1, "exact, 2 nodes": 2, "exact, 4 nodes": 4}


@dataclasses.dataclass
class Report:
    """All numbers of a run.

    ``errors`` by form: [seeds, rates], over the change of the predictions;
    ``retrieval`` by kind and seed; ``moved`` by width [seeds, points].
    """

    rates: list[float]
    errors: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    retrieval: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    residual: list[float] = dataclasses.field(default_factory=list)
    accuracy: list[float] = dataclasses.field(default_factory=list)
    not_additive: list[float] = dataclasses.field(default_factory=list)
    moved: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)
    shown: Any = None

    def slope(self, form: str) -> np.ndarray:
        """The exponent of the rate in the error, by seed."""
        logs = np.log(np.maximum(self.errors[form], 1e-300))
        return np.polyfit(np.log(self.rates), logs.T, 1)[0]


def measure_completeness(
    report: Report, data: ImageData, seeds: list[int], duration: float, rows: int
) -> None:
    """Residuals of a scalar network on two digits, full batch, in float64."""
    x, y = two_digits(data, 3, 5, rows)
    steps = [round(duration / rate) for rate in report.rates]
    longest = max(steps)
    rates = np.where(np.arange(longest) < np.array(steps)[:, None], 1.0, 0.0)
    rates = rates * np.array(report.rates)[:, None]
    with jax.enable_x64(True):
        order = jnp.broadcast_to(jnp.arange(len(x)), (longest, len(x)))
        args = jnp.asarray(x), jnp.asarray(y), order
        tested = jnp.asarray(vectors(data.test_images[:8]))

        def run(seed: jax.Array, rate: jax.Array, nodes: int) -> tuple[Any, Any]:
            params = init(jax.random.key(seed), (x.shape[1], 16, 16, 1))
            trace = train_with_path_kernel(
                scalar, square, params, *args, rate, tested, nodes=nodes
            )
            change = jnp.abs(trace.final - trace.initial).max()
            return jnp.abs(trace.residual).max() / change, trace.final

        for form, nodes in NODES.items():
            by_rate = jax.vmap(partial(run, nodes=nodes), (None, 0))
            found, _ = jax.jit(jax.vmap(by_rate, (0, None)))(
                jnp.asarray(seeds), jnp.asarray(rates)
            )
            report.errors[form] = np.asarray(found)
        _additivity(report, data, seeds, duration, rows)


def _additivity(
    report: Report, data: ImageData, seeds: list[int], duration: float, rows: int
) -> None:
    """How far f of both halves is from f of one + f of the other - f before."""
    x, y = two_digits(data, 3, 5, rows)
    tested = jnp.asarray(vectors(data.test_images[:8]))
    rate = report.rates[-1]
    steps = round(duration / rate)
    half = len(x) // 2

    def final(seed: int, places: np.ndarray) -> Any:
        params = init(jax.random.key(seed), (x.shape[1], 16, 16, 1))

        def step(params: Any, _: Any) -> tuple[Any, None]:
            def total(p: Any) -> jax.Array:
                rows = jax.vmap(lambda a, b: square(scalar(p, a), b))
                return rows(jnp.asarray(x[places]), jnp.asarray(y[places])).sum()

            slope = jax.grad(total)(params)
            return jax.tree.map(lambda p, g: p - rate * g, params, slope), None

        last, _ = jax.lax.scan(step, params, None, steps)
        return [jax.vmap(partial(scalar, p))(tested) for p in (params, last)]

    parts = [np.arange(half), np.arange(half, len(x)), np.arange(len(x))]
    runs = [jax.jit(lambda seed, p=p: final(seed, p)) for p in parts]
    for seed in seeds:
        (before, one), (_, two), (_, both) = (run(seed) for run in runs)
        gap = jnp.abs(both - (one + two - before)).max()
        report.not_additive.append(float(gap / jnp.abs(both - before).max()))


def measure_attributions(
    report: Report,
    data: ImageData,
    seeds: list[int],
    *,
    steps: int,
    rate: float,
    batch: int,
    width: int,
    tested: int,
    rows: int,
) -> None:
    """Mini-batch training on ten digits, and the labels of the samples that count."""
    x = jnp.asarray(vectors(data.train_images[:rows]), jnp.float32)
    labels = np.asarray(data.train_labels)[:rows]
    chosen = (np.arange(tested) * len(data.test_images)) // tested
    x_test = jnp.asarray(vectors(data.test_images[chosen]), jnp.float32)
    y_test = np.asarray(data.test_labels)[chosen]

    @jax.jit
    def run(seed: jax.Array, order: jax.Array) -> Any:
        params = init(jax.random.key(seed), (x.shape[1], width, data.num_classes))
        params = jax.tree.map(lambda p: p.astype(jnp.float32), params)
        return train_with_path_kernel(
            apply,
            cross_entropy,
            params,
            x,
            jnp.asarray(labels),
            order,
            rate,
            x_test,
            reduction="mean",
            nodes=2,
        )

    for seed in seeds:
        rng = np.random.default_rng(seed)
        turns = [rng.permutation(len(x)) for _ in range(-(-steps * batch // len(x)))]
        order = np.concatenate(turns)[: steps * batch].reshape(steps, batch)
        trace = run(jnp.asarray(seed), jnp.asarray(order))
        guess = np.asarray(trace.final).argmax(-1)
        change = np.abs(trace.final - trace.initial).max()
        report.residual.append(float(np.abs(trace.residual).max() / change))
        report.accuracy.append(float((guess == y_test).mean()))
        toward = np.take_along_axis(
            np.asarray(trace.attributions), guess[:, None, None], 2
        )[..., 0]
        support = np.argsort(-toward, 1)[:, :TOP]
        against = np.argsort(toward, 1)[:, :TOP]
        largest = np.asarray(top_attributions(trace.attributions, count=TOP).ids)
        distance = ((np.asarray(x_test)[:, None] - np.asarray(x)[None]) ** 2).sum(-1)
        near = np.argsort(distance, 1)[:, :TOP]
        for name, ids in (
            ("supporting samples", support),
            ("opposing samples", against),
            ("largest over all outputs", largest),
            ("nearest in pixels", near),
        ):
            share = (labels[ids] == guess[:, None]).mean()
            report.retrieval.setdefault(name, []).append(float(share))
        if report.shown is None:
            report.shown = chosen, support, against, toward, guess


def measure_widths(
    report: Report,
    data: ImageData,
    seeds: list[int],
    *,
    widths: list[int],
    steps: int,
    rows: int,
) -> None:
    """|K_t - K_0| / |K_0| along training, f = w . tanh(W x) / sqrt(width)."""
    inputs, targets = two_digits(data, 3, 5, rows)
    x, y = jnp.asarray(inputs, jnp.float32), jnp.asarray(targets, jnp.float32)

    def run(seed: jax.Array, width: int) -> jax.Array:
        # Entries of unit size, scaled in the network: the kernel is O(1) at any width.
        scales = [1.0, 1 / width**0.5]
        sizes = (x.shape[1], width), (width, 1)
        params = [
            {"kernel": jax.random.normal(key, size), "bias": jnp.zeros(size[1])}
            for key, size in zip(
                jax.random.split(jax.random.key(seed)), sizes, strict=True
            )
        ]

        def scaled(params: Any) -> Any:
            return [
                {name: leaf * s for name, leaf in layer.items()}
                for layer, s in zip(params, scales, strict=True)
            ]

        def kernel(params: Any) -> jax.Array:
            return tangent_kernel(lambda p, row: scalar(scaled(p), row), params, x, x)

        def total(params: Any) -> jax.Array:
            inner = scaled(params)
            return jax.vmap(lambda a, b: square(scalar(inner, a), b))(x, y).sum()

        first = kernel(params)
        rate = 0.5 / jnp.linalg.norm(first, 2)  # a stable rate at any width

        def step(params: Any, _: Any) -> tuple[Any, jax.Array]:
            slope = jax.grad(total)(params)
            params = jax.tree.map(lambda p, g: p - rate * g, params, slope)
            moved = jnp.linalg.norm(kernel(params) - first) / jnp.linalg.norm(first)
            return params, moved

        return jax.lax.scan(step, params, None, steps)[1]

    for width in widths:
        every = jax.jit(jax.vmap(partial(run, width=width)))
        report.moved[width] = np.asarray(every(jnp.asarray(seeds)))
