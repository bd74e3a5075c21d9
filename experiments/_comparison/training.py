"""One short training with any loss, and what it is worth on held-out images."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._comparison.settings import ComparisonConfig, held_out
from experiments._diffusion.sampling import noise
from experiments._harness import loop
from experiments._harness.data import Batches, ImageData
from experiments._harness.data_types import order_of
from experiments._harness.devices import data_mesh, replicate, shard_batch
from experiments._harness.guard import Guarded, go
from experiments._harness.mesh import (
    gathered,
    place_batch,
    place_state,
    training_mesh,
    whole,
)
from experiments._harness.training_config import options
from experiments._harness.workdir import Run
from kexue_jax import diffusion, models

Predictor = Callable[[jax.Array, jax.Array], jax.Array]
Loss = Callable[[jax.Array, Predictor, diffusion.Schedule, jax.Array, Any], jax.Array]


class Trainer:
    """Adam on ``loss(key, eps_fn, schedule, x0, numbers)``, compiled once.

    ``numbers`` is a dict of scalars, the same names every time, that reach the loss as
    traced values; "adam_eps" is the epsilon of Adam. Seed by seed, the initial weights,
    the batches and the noise are the same whatever the loss.
    """

    def __init__(
        self,
        config: ComparisonConfig,
        run: Run,
        images: ImageData,
        model: models.Model,
        loss: Loss,
    ) -> None:
        self.config, self.run, self.model, self.loss = config, run, model, loss
        self.data = {"image": images.train_images}
        self.schedule = diffusion.kexue_schedule(T=config.T, dtype=jnp.float32)
        self.mesh = training_mesh(config.mesh, config.batch_size)
        self._compiled: Any = None

    def optimizer(self, adam_eps: Any) -> optax.GradientTransformation:
        """Adam, a short warm-up, then a cosine to 0."""
        config = self.config
        warmup = max(1, config.num_steps // 10)
        rate = optax.warmup_cosine_decay_schedule(
            0.0, config.learning_rate, warmup, config.num_steps
        )
        return optax.adam(rate, eps=adam_eps)

    def init(self, seed: int, numbers: dict[str, float]) -> dict[str, Any]:
        """The state before the first step."""
        weights, key = jax.random.split(jax.random.key(seed))
        params = jax.jit(self.model.init)(weights)
        return {
            "params": params,
            "optimizer": self.optimizer(1e-8).init(params),
            "key": key,
            "numbers": {n: jnp.asarray(v, jnp.float32) for n, v in numbers.items()},
        }

    def step(self, state: Any, batch: Any) -> tuple[Any, Any]:
        """One step; the loss is reported as it is minimized."""
        key, draw = jax.random.split(state["key"])
        numbers = state["numbers"]

        def loss(params: Any) -> jax.Array:
            gathered_here = whole(params)

            def predict(x: jax.Array, t: jax.Array) -> jax.Array:
                return self.model.apply(gathered_here, x, t)

            return self.loss(draw, predict, self.schedule, batch["image"], numbers)

        value, gradient = jax.value_and_grad(loss)(state["params"])
        updates, optimizer = self.optimizer(numbers["adam_eps"]).update(
            gradient, state["optimizer"], state["params"]
        )
        params = jax.tree.map(lambda p, u: p + u, state["params"], updates)
        return {
            "params": params,
            "optimizer": optimizer,
            "key": key,
            "numbers": numbers,
        }, {"loss": value}

    def compiled(self, state: Any) -> Any:
        """The program of a step, made once."""
        if self._compiled is None:
            self._compiled = Guarded(self.step, state, self.config.on_nonfinite)
        return self._compiled

    def gradient(self, params: Any, seed: int, **numbers: float) -> np.ndarray:
        """All entries of the gradient of one batch, by the program of the training.

        Adam's first moment after one step from 0 is a tenth of the gradient.
        """
        state = {**self.init(seed, {"adam_eps": 1e-8, **numbers}), "params": params}
        state = jax.tree.map(jnp.copy, place_state(self.mesh, state))  # to be donated
        batch = next(Batches(self.data, self.config.batch_size, seed))
        halted = place_state(self.mesh, go())
        batch = place_batch(self.mesh, batch)
        state, _, _ = self.compiled(state)(state, batch, halted)
        return flat(gathered(state["optimizer"][0].mu)) / 0.1

    def __call__(
        self, part: str | None, seed: int, evaluate: Any = None, **numbers: float
    ) -> dict[str, Any]:
        """The state after the training; its metrics go to the file of ``part``."""
        state = self.init(seed, {"adam_eps": 1e-8, **numbers})
        state = place_state(self.mesh, state)
        every = max(1, self.config.num_steps // 6)
        shown = None if evaluate is None else lambda s, n: evaluate(self._whole(s), n)
        state = loop.run(
            self.compiled(state),
            state,
            Batches(self.data, self.config.batch_size, seed),
            num_steps=self.config.num_steps,
            options=options(
                self.config,
                self.run,
                log_every=every,
                evaluate_every=every if evaluate else 0,
                progress=False,
            ),
            metrics=None if part is None else self.run.metrics(part),
            mesh=self.mesh,
            evaluate=shown,
        )
        return self._whole(state)

    def _whole(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state without its key, whole on every process."""
        return gathered({name: leaf for name, leaf in state.items() if name != "key"})


def flat(tree: Any) -> np.ndarray:
    """All entries of a tree of arrays, float64."""
    leaves = [np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)]
    return np.concatenate(leaves)


class HeldOut:
    """||eps - eps_hat||^2 a pixel on held-out images, the same draws for every model.

    Each image is seen at ``DRAWS`` steps, which are spread evenly over 1..T.
    """

    DRAWS = 4

    def __init__(self, config: ComparisonConfig, images: ImageData, model: Any) -> None:
        x0 = np.concatenate([held_out(images)] * self.DRAWS)
        count = len(x0)
        t = 1 + (order_of(count, 0) * config.T) // count
        mesh = data_mesh(count)
        drawn = noise(2, count, images.shape)
        self.batch = shard_batch(mesh, (x0, t.astype(np.int32), drawn))
        self.mesh, self.model = mesh, model
        self.schedule = diffusion.kexue_schedule(T=config.T, dtype=jnp.float32)
        self._compiled = jax.jit(self._loss)

    def _loss(self, params: Any, scale: jax.Array, batch: Any) -> jax.Array:
        x0, t, eps = batch

        def predict(x: jax.Array, t: jax.Array) -> jax.Array:
            factor = scale[t].reshape(t.shape + (1,) * (x.ndim - 1))
            return factor * self.model.apply(params, x, t)

        return diffusion.ddpm_loss_at(
            predict, self.schedule, x0, t, eps, reduction="mean"
        ).loss

    def __call__(self, params: Any, param: str = "eps") -> float:
        """The loss of a network whose output is ``param``: eps or eps1."""
        scale = np.ones(self.schedule.T + 1, np.float32)
        if param == "eps1":
            beta, beta_bar = map(
                np.asarray, (self.schedule.beta, self.schedule.beta_bar)
            )
            scale[1:] = beta_bar[1:] / beta[1:]
        everywhere = replicate(self.mesh, (params, jnp.asarray(scale)))
        return float(self._compiled(*everywhere, self.batch))
