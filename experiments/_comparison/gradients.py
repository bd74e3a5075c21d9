"""The variance of a stochastic gradient, of two losses with one expectation at once."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._comparison.training import flat
from experiments._harness.devices import data_mesh, replicate, shard_batch
from kexue_jax import diffusion, models


class Spread(NamedTuple):
    """Over draws: variances of both gradients and of their difference, summed over all
    parameters; the squared mean of the difference; both losses, draw by draw.
    """

    four: float
    reduced: float
    difference: float
    squared_mean: float
    losses: np.ndarray

    @property
    def ratio(self) -> float:
        """The variance of the four-variable gradient over that of the reduced one."""
        return self.four / self.reduced

    @property
    def mismatch(self) -> float:
        """The squared distance of the mean gradients over its expectation, if the two
        losses have one expectation: near 1 then.
        """
        draws = len(self.losses)
        return self.squared_mean / (self.difference / draws) if self.difference else 1.0


class Sums(NamedTuple):
    """A running mean and the sum of squared distances from it (Welford)."""

    mean: Any
    squares: Any


class Meter:
    """Measures a Spread at given parameters; one program for all steps and batches."""

    def __init__(self, model: models.Model, T: int, param: str, batch_size: int):
        self.model, self.param = model, param
        self.schedule = diffusion.kexue_schedule(T=T, dtype=jnp.float32)
        self.mesh = data_mesh(batch_size)
        # Not one scan over the draws: XLA's convolutions are slow inside of a loop.
        self._compiled = jax.jit(self._add, donate_argnums=0)

    def __call__(
        self, params: Any, x0: np.ndarray, t: np.ndarray, key: jax.Array
    ) -> Spread:
        """The spread over the draws of ``x0`` [K, B, h, w, c] at steps t [K, B].

        Draw k has the noise of ``fold_in(key, k)``; both losses get the same x_t.
        """
        params, key = replicate(self.mesh, (params, key))
        zeros = jax.tree.map(jnp.zeros_like, params)
        sums = jax.tree.map(jnp.copy, tuple(Sums(zeros, zeros) for _ in range(3)))
        losses = []
        for k in range(len(x0)):
            batch = shard_batch(self.mesh, (x0[k], t[k]))
            sums, values = self._compiled(sums, params, key, jnp.int32(k), *batch)
            losses.append(values)
        rows = np.asarray(jnp.stack(losses), np.float64)
        four, reduced, gap = (
            float(flat(s.squares).sum()) / (len(x0) - 1) for s in sums
        )
        distance = float((flat(sums[2].mean) ** 2).sum())
        return Spread(four, reduced, gap, distance, rows)

    def losses(
        self, params: Any, key: jax.Array, x0: jax.Array, t: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The four-variable and the reduced loss of one draw, at the same x_t.

        With eps and omega independent, eps_t = r eps - sqrt(1 - r^2) omega and eps_bar
        = sqrt(1 - r^2) eps + r omega are so too, r = beta_t / beta_bar_t.
        """
        r = self.schedule.beta[t] / self.schedule.beta_bar[t]
        r = r.reshape(r.shape + (1,) * (x0.ndim - 1))
        rest = jnp.sqrt(jnp.maximum(1 - r**2, 0))
        keys = jax.random.split(key)
        eps, omega = (jax.random.normal(k, x0.shape, x0.dtype) for k in keys)

        def predict(x: jax.Array, t: jax.Array) -> jax.Array:
            return self.model.apply(params, x, t)

        four = diffusion.four_variable_loss_at(
            predict,
            self.schedule,
            x0,
            t,
            rest * eps + r * omega,
            r * eps - rest * omega,
            param=self.param,
        )
        reduced = diffusion.reduced_variance_loss_at(
            predict, self.schedule, x0, t, eps, param=self.param
        )
        return four.loss, reduced.loss

    def _add(
        self, sums: Any, params: Any, key: jax.Array, k: jax.Array, *batch: jax.Array
    ) -> tuple[Any, jax.Array]:
        """The sums with draw k, and its two losses."""
        own = jax.random.fold_in(key, k)

        def at(index: int) -> Any:
            return lambda params: self.losses(params, own, *batch)[index]

        values, (four, reduced) = zip(
            *(jax.value_and_grad(at(index))(params) for index in (0, 1)), strict=True
        )
        gap = jax.tree.map(jnp.subtract, four, reduced)
        count = (k + 1).astype(values[0].dtype)
        parts = zip(sums, (four, reduced, gap), strict=True)
        return tuple(_with(s, g, count) for s, g in parts), jnp.stack(values)


def _with(sums: Sums, value: Any, count: jax.Array) -> Sums:
    step = jax.tree.map(jnp.subtract, value, sums.mean)
    mean = jax.tree.map(lambda m, d: m + d / count, sums.mean, step)
    squares = jax.tree.map(
        lambda s, d, v, m: s + d * (v - m), sums.squares, step, value, mean
    )
    return Sums(mean, squares)


def strata(T: int) -> list[int]:
    """Steps from 1 to T, about evenly on a logarithmic scale."""
    inner = [t for t in (2, 5, 10, 20, 50, 100, 200, 500) if t < T]
    return [1, *inner, T]


def draws_of(
    images: np.ndarray, T: int, draws: int, batch_size: int, seed: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(name, x0 [K, B, ...], t [K, B]): each step with one batch, then all drawn."""
    random = np.random.default_rng(seed)
    rows = random.integers(len(images), size=(draws, batch_size))
    one = np.broadcast_to(images[rows[0]], (draws, *images[rows[0]].shape))
    for t in strata(T):
        yield f"t={t}", one, np.full(rows.shape, t, np.int32)
    steps = random.integers(1, T + 1, size=rows.shape, dtype=np.int32)
    yield OVERALL, images[rows], steps


OVERALL = "all drawn"
