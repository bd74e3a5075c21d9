"""One training of a model of bytes by AdamW, compiled once for all seeds."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._harness import loop
from experiments._harness.data import Batches
from experiments._harness.gradients import value_and_grad
from experiments._harness.guard import Guarded
from experiments._harness.mesh import gathered, place_state, training_mesh
from experiments._harness.training_config import options
from experiments._harness.workdir import Run
from experiments._language.losses import Loss
from experiments._language.settings import SequenceConfig

Params = Any
Observe = Callable[[Params, int], dict[str, float]]


class Trainer:
    """``trainer(init, seed)`` is the parameters after ``num_steps`` steps of ``loss``.

    ``rows`` [N, n] are the texts. Seed by seed the order of the texts is the same
    whatever the model. ``num_steps`` and ``learning_rate`` default to the config's;
    the rate warms up over a twentieth of the steps and falls as a cosine to 0. With
    ``given``, arrays that are not trained, the loss gets {"params": params, "rule":
    given}: one program then serves several rules.
    """

    def __init__(
        self,
        config: SequenceConfig,
        run: Run,
        rows: np.ndarray,
        loss: Loss,
        *,
        num_steps: int | None = None,
        learning_rate: float | None = None,
    ) -> None:
        self.config, self.run, self.rows, self.loss = config, run, rows, loss
        self.num_steps = config.num_steps if num_steps is None else num_steps
        rate = config.learning_rate if learning_rate is None else learning_rate
        warmup = max(1, self.num_steps // 20)
        self.optimizer = optax.adamw(
            optax.warmup_cosine_decay_schedule(
                0.0, rate, warmup, max(self.num_steps, warmup + 1)
            ),
            b2=0.99,
            weight_decay=0.01,
        )
        self.mesh = training_mesh(config.mesh, config.batch_size)
        self._compiled: Guarded | None = None

    def init(self, params: Params, seed: int, given: Any = None) -> dict[str, Any]:
        """The state before the first step."""
        return {
            "params": params,
            "given": jax.tree.map(jnp.array, given),  # a copy: a step takes its state
            "optimizer": self.optimizer.init(params),
            "key": jax.random.key(seed),
            "step": jnp.zeros((), jnp.int32),
        }

    def step(self, state: Any, batch: Any) -> tuple[Any, Any]:
        """One step of AdamW."""
        key, drawn = jax.random.split(state["key"])

        def loss(params: Any, rows: Any, number: jax.Array) -> jax.Array:
            tokens = rows["text"].astype(jnp.int32)
            if state["given"] is not None:
                params = {"params": params, "rule": state["given"]}
            return self.loss(params, tokens, drawn, state["step"])

        value, gradient = value_and_grad(loss, state["params"], batch)
        updates, optimizer = self.optimizer.update(
            gradient, state["optimizer"], state["params"]
        )
        return {
            "params": optax.apply_updates(state["params"], updates),
            "given": state["given"],
            "optimizer": optimizer,
            "key": key,
            "step": state["step"] + 1,
        }, {"loss": value}

    def __call__(
        self,
        params: Params | Callable[[jax.Array], Params],
        seed: int,
        *,
        given: Any = None,
        part: str | None = None,
        observe: Observe | None = None,
        observe_every: int = 0,
    ) -> Params:
        """Train from ``params``, or from what ``params(key)`` draws.

        The metrics go to the file of ``part``; ``observe(params, step)`` is called
        every ``observe_every`` steps and at the end, and its numbers go there too.
        """
        if callable(params):
            params = jax.jit(params)(jax.random.key(seed))
        state = self.init(jax.tree.map(jnp.array, params), seed, given)
        state = place_state(self.mesh, state)
        if self._compiled is None:
            self._compiled = Guarded(self.step, state, self.config.on_nonfinite)
        chosen = options(
            self.config,
            self.run,
            log_every=max(1, self.num_steps // 10),
            evaluate_every=observe_every if observe else 0,
        )
        state = loop.run(
            self._compiled,
            state,
            Batches({"text": self.rows}, self.config.batch_size, seed),
            num_steps=self.num_steps,
            options=chosen,
            metrics=None if part is None else self.run.metrics(part),
            mesh=self.mesh,
            evaluate=observe and (lambda s, n: observe(gathered(s["params"]), n)),
        )
        return gathered(state["params"])
