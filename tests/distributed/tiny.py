"""A tiny experiment for runs of several processes: a regression with noise from a key.

python -m tests.distributed.tiny --workdir=FOLDER [--coordinator=... ...]
"""

import dataclasses
import os
import signal
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._harness import loop, processes
from experiments._harness.config import TrainingConfig, launch, setting
from experiments._harness.data import Batches
from experiments._harness.mesh import gathered, init_state, training_mesh
from experiments._harness.training_config import options
from experiments._harness.workdir import open_run

SIZE = 64
OPTIMIZER = optax.adam(1e-3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """Length and batch, and how the test disturbs the run."""

    num_steps: int = setting(20, "training steps", minimum=1)
    batch_size: int = setting(16, "rows a step", minimum=1)
    pause: float = setting(0.0, "seconds before a step", minimum=0, shapes_run=False)
    stop_at: int = setting(0, "step of a SIGTERM", minimum=0, shapes_run=False)
    stop_process: int = setting(0, "who gets it", minimum=0, shapes_run=False)


PRESETS: dict[str, dict[str, Any]] = {"smoke": {}}


class Disturbed(Batches):
    """Batches that wait, and send a signal to their own process."""

    config: Config

    def __next__(self) -> Any:
        time.sleep(self.config.pause)
        here = jax.process_index() == self.config.stop_process
        if here and self._done + 1 == self.config.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().__next__()


def init(key: jax.Array) -> Any:
    """Two layers, the first large enough to be divided."""
    key, one, two = jax.random.split(key, 3)
    params = {
        "in": jax.random.normal(one, (SIZE, SIZE), jnp.float32) / 8,
        "out": jax.random.normal(two, (SIZE,), jnp.float32) / 8,
    }
    return {"params": params, "optimizer": OPTIMIZER.init(params), "key": key}


def step(state: Any, batch: Any) -> Any:
    """A step of Adam."""
    key, used = jax.random.split(state["key"])
    noise = jax.random.normal(used, batch["x"].shape, jnp.float32)

    def loss(params: Any) -> jax.Array:
        hidden = jnp.tanh((batch["x"] + 0.1 * noise) @ params["in"])
        return jnp.mean(jnp.square(hidden @ params["out"] - batch["y"]))

    value, gradient = jax.value_and_grad(loss)(state["params"])
    updates, optimizer = OPTIMIZER.update(gradient, state["optimizer"])
    params = optax.apply_updates(state["params"], updates)
    return {"params": params, "optimizer": optimizer, "key": key}, {"loss": value}


def main(config: Config) -> None:
    """Train, and leave the last state in final.npz."""
    mesh = training_mesh(config.mesh, config.batch_size)
    run = open_run(config)
    rows = np.random.default_rng(0).normal(size=(40, SIZE)).astype(np.float32)
    data = Disturbed({"x": rows, "y": rows[:, 0]}, config.batch_size, config.seed)
    data.config = config
    state = loop.run(
        step,
        init_state(mesh, init, config.seed),
        data,
        num_steps=config.num_steps,
        options=options(config, run, log_every=1, progress=False),
        checkpointer=run.checkpointer(),
        metrics=run.metrics(),
        mesh=mesh,
    )
    divided = sum("fsdp" in leaf.sharding.spec for leaf in jax.tree.leaves(state))
    whole = gathered({name: state[name] for name in ("params", "optimizer")})
    if processes.leader():
        leaves = {str(i): np.asarray(a) for i, a in enumerate(jax.tree.leaves(whole))}
        np.savez(run.path("final.npz"), divided=divided, **leaves)


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
