"""Completeness by rate, of full and of mini-batches; attributions of digits."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

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
SHOWN = 16  # test images in figure and table
TOLD = ", of the class told"
NODES = {"Riemann": 0, "exact, 1 node": 1, "exact, 2 nodes": 2, "exact, 4 nodes": 4}
BATCH_NODES = {"Riemann": 0, "exact, 4 nodes": 4}
BATCH_RATES = (0.2, 0.1, 0.05)
HIDDEN = (16, 16)
BATCH_WIDTH, BATCH_ROWS, BATCH_SIZE = 16, 200, 16


class Shown(NamedTuple):
    """The attributions of the first seed, ``toward`` the logit told [tested, rows].

    ``chosen`` the test images, their labels and what is told of them, the samples that
    support and oppose it most [tested, TOP], the labels of all samples.
    """

    chosen: np.ndarray
    wanted: np.ndarray
    told: np.ndarray
    toward: np.ndarray
    support: np.ndarray
    against: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass
class Report:
    """All numbers of a run.

    ``errors`` and, for ten digits, ``batch_errors`` in mini-batches and
    ``full_errors`` in full ones by form: [seeds, rates], over the change of the
    predictions; ``limit`` by seed the rate from which full batches are unstable at
    the start; ``retrieval`` by kind and seed; by width ``moved`` [seeds, points], and
    ``refit`` and ``flow`` [seeds], distances from the trained network's predictions.
    """

    rates: list[float]
    forms: list[str] = dataclasses.field(default_factory=lambda: list(NODES))
    errors: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    batch_errors: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    full_errors: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    limit: list[float] = dataclasses.field(default_factory=list)
    retrieval: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    residual: list[float] = dataclasses.field(default_factory=list)
    accuracy: list[float] = dataclasses.field(default_factory=list)
    not_additive: list[float] = dataclasses.field(default_factory=list)
    moved: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)
    refit: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)
    flow: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)
    shown: Shown | None = None

    def slope(self, form: str) -> np.ndarray:
        """The exponent of the rate in the error, by seed."""
        return _exponents(self.rates, self.errors[form])

    def batch_slope(self, form: str) -> np.ndarray:
        """The same for ten digits in mini-batches."""
        return _exponents(BATCH_RATES, self.batch_errors[form])

    def full_slope(self, form: str) -> np.ndarray:
        """The same for ten digits in full batches."""
        return _exponents(BATCH_RATES, self.full_errors[form])


def _exponents(rates: Any, errors: np.ndarray) -> np.ndarray:
    logs = np.log(np.maximum(errors, 1e-300))
    return np.polyfit(np.log(rates), logs.T, 1)[0]


def _courses(rates: Any, duration: float) -> np.ndarray:
    """Rates by step [rates, steps], 0 from where ``duration`` is over."""
    steps = np.array([round(duration / rate) for rate in rates])[:, None]
    running = np.arange(steps.max()) < steps
    return np.where(running, np.array(rates)[:, None], 0.0)


def measure_completeness(
    report: Report, data: ImageData, seeds: list[int], duration: float, rows: int
) -> None:
    """Residuals of a scalar network on two digits, full batch, in float64."""
    x, y = two_digits(data, 3, 5, rows)
    rates = _courses(report.rates, duration)
    with jax.enable_x64(True):
        order = jnp.broadcast_to(jnp.arange(len(x)), (rates.shape[1], len(x)))
        args = jnp.asarray(x), jnp.asarray(y), order
        tested = jnp.asarray(vectors(data.test_images[:8]))

        def run(given: Any, nodes: int) -> jax.Array:
            seed, rate = given
            params = init(jax.random.key(seed), (x.shape[1], *HIDDEN, 1))
            return _miss(
                train_with_path_kernel(
                    scalar, square, params, *args, rate, tested, nodes=nodes
                )
            )

        pairs = _pairs(seeds, np.broadcast_to(rates, (len(seeds), *rates.shape)))
        for form in report.forms:
            report.errors[form] = _mapped(partial(run, nodes=NODES[form]), pairs, seeds)
        _additivity(report, data, seeds, duration, rows)


def _pairs(seeds: list[int], *of_rates: np.ndarray) -> Any:
    """Every seed with what it has for every rate [seeds, rates, ...], one by one."""
    repeated = np.repeat(np.asarray(seeds), of_rates[0].shape[1])
    flat = (part.reshape(-1, *part.shape[2:]) for part in of_rates)
    return tuple(jnp.asarray(part) for part in (repeated, *flat))


def _mapped(run: Any, pairs: Any, seeds: list[int]) -> np.ndarray:
    """[seeds, rates], in turn: a loop compiles several times faster than a batch."""
    found = jax.jit(lambda given: jax.lax.map(run, given))(pairs)
    return np.asarray(found).reshape(len(seeds), -1)


def _miss(trace: Any) -> jax.Array:
    """The largest residual over the largest change of a prediction."""
    change = jnp.abs(trace.final - trace.initial).max()
    return jnp.abs(trace.residual).max() / change


def measure_batches(
    report: Report, data: ImageData, seeds: list[int], duration: float
) -> None:
    """Residuals of ten logits in float64: mini-batches, each rate and seed in an
    order of its own, and full batches of the first BATCH_SIZE images.
    """
    x = vectors(data.train_images[:BATCH_ROWS])
    labels = np.asarray(data.train_labels)[:BATCH_ROWS]
    rates = _courses(BATCH_RATES, duration)
    count = rates.shape[1]
    mini = [
        [_order(len(x), count, BATCH_SIZE, (seed, k)) for k in range(len(rates))]
        for seed in seeds
    ]
    with jax.enable_x64(True):
        args = jnp.asarray(x), jnp.asarray(labels)
        tested = jnp.asarray(vectors(data.test_images[:8]))

        def run(given: Any, nodes: int) -> jax.Array:
            seed, order, rate = given
            sizes = x.shape[1], BATCH_WIDTH, data.num_classes
            params = init(jax.random.key(seed), sizes)
            course: Any = (*args, order, rate, tested)
            return _miss(
                train_with_path_kernel(
                    apply, cross_entropy, params, *course, reduction="mean", nodes=nodes
                )
            )

        each = np.broadcast_to(rates, (len(seeds), *rates.shape))
        full = np.broadcast_to(np.arange(BATCH_SIZE), np.shape(mini))
        pairs = [_pairs(seeds, np.array(order), each) for order in (mini, full)]
        for form, nodes in BATCH_NODES.items():
            program = jax.jit(partial(jax.lax.map, partial(run, nodes=nodes)))
            found = [np.asarray(program(p)).reshape(len(seeds), -1) for p in pairs]
            report.batch_errors[form], report.full_errors[form] = found


def _order(rows: int, steps: int, batch: int, seed: Any) -> np.ndarray:
    """Samples of each step [steps, batch], every one once before any comes again."""
    rng = np.random.default_rng(seed)
    turns = [rng.permutation(rows) for _ in range(-(-steps * batch // rows))]
    return np.concatenate(turns)[: steps * batch].reshape(steps, batch)


def _additivity(
    report: Report, data: ImageData, seeds: list[int], duration: float, rows: int
) -> None:
    """How far f of both halves is from f of one + f of the other - f before."""
    inputs, targets = two_digits(data, 3, 5, rows)
    x, y = jnp.asarray(inputs), jnp.asarray(targets)
    tested = jnp.asarray(vectors(data.test_images[:8]))
    rate = report.rates[-1]
    steps = round(duration / rate)
    first = np.arange(len(x)) < len(x) // 2
    weights = jnp.asarray(np.stack([first, ~first, first | ~first]), x.dtype)

    @jax.jit
    def run(seed: jax.Array) -> tuple[jax.Array, ...]:
        params = init(jax.random.key(seed), (x.shape[1], *HIDDEN, 1))

        def final(weights: jax.Array) -> jax.Array:
            def total(p: Any) -> jax.Array:
                return weights @ jax.vmap(lambda a, b: square(scalar(p, a), b))(x, y)

            def step(params: Any, _: Any) -> tuple[Any, None]:
                slope = jax.grad(total)(params)
                return jax.tree.map(lambda p, g: p - rate * g, params, slope), None

            last, _ = jax.lax.scan(step, params, None, steps)
            return jax.vmap(partial(scalar, last))(tested)

        before = jax.vmap(partial(scalar, params))(tested)
        one, two, both = jax.lax.map(final, weights)
        gap = jnp.abs(both - (one + two - before)).max()
        kernel = tangent_kernel(scalar, params, x, x)
        limit = 2 / jnp.linalg.norm(kernel, 2)
        return gap / jnp.abs(both - before).max(), limit

    found = [run(jnp.asarray(seed)) for seed in seeds]
    report.not_additive = [float(gap) for gap, _ in found]
    report.limit = [float(limit) for _, limit in found]


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
        order = _order(len(x), steps, batch, seed)
        trace = run(jnp.asarray(seed), jnp.asarray(order))
        guess = np.asarray(trace.final).argmax(-1)
        report.residual.append(float(_miss(trace)))
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
            for judged, wanted in (("", y_test), (TOLD, guess)):
                share = (labels[ids] == wanted[:, None]).mean()
                report.retrieval.setdefault(name + judged, []).append(float(share))
        if report.shown is None:
            report.shown = Shown(
                chosen, y_test, guess, toward, support, against, labels
            )
