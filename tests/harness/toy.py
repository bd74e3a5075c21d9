"""A toy experiment for the tests of the harness: config, step, batches, main."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._harness.config import BaseConfig, setting
from experiments._harness.data import Batches
from experiments._harness.guard import Guarded

MODES = ("train", "sample")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """One setting of each type, with each kind of bound."""

    num_steps: int = setting(10, "training steps", minimum=1)
    learning_rate: float = setting(0.1, "step size", minimum=0, open_minimum=True)
    decay: float = setting(0.5, "decay", minimum=0, maximum=1)
    shift: float = setting(0.0, "any finite number")
    fancy: bool = setting(False, "a switch")
    mode: str = setting("train", "what to do", choices=MODES, shapes_run=False)
    data_dir: str = setting("", "folder of the data", shapes_run=False)
    log_every: int = setting(2, "steps a row", minimum=1, shapes_run=False)


PRESETS = {"smoke": {"num_steps": 3, "fancy": True}}


def config(folder: Path, **values: Any) -> Config:
    """A config whose run stands in ``folder``."""
    return Config(workdir=str(folder), **values)


def batches(seed: int = 0) -> Batches:
    """Batches of 8 from 20 rows, so that they span epochs."""
    rows = np.arange(60, dtype=np.float32).reshape(20, 3) / 60
    return Batches({"x": rows, "y": rows.sum(1)}, 8, seed)


OPTIMIZER = optax.adam(0.05)


def start() -> dict[str, Any]:
    """Params, EMA, the state of an optimizer, a typed key, a counter."""
    params = {"w": jnp.zeros(3, jnp.float32), "b": jnp.zeros((), jnp.float32)}
    return {
        "params": params,
        "ema": jax.tree.map(jnp.copy, params),
        "optimizer": OPTIMIZER.init(params),
        "key": jax.random.key(3),
        "seen": jnp.zeros((), jnp.int32),
    }


def step(state: dict[str, Any], batch: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """A noisy least-squares step: everything in the state matters to the next."""
    key, used = jax.random.split(state["key"])

    def loss(params: Any) -> jax.Array:
        noise = 0.1 * jax.random.normal(used, batch["y"].shape, jnp.float32)
        guess = batch["x"] @ params["w"] + params["b"]
        return jnp.mean(jnp.square(guess - batch["y"] + noise))

    value, gradient = jax.value_and_grad(loss)(state["params"])
    update, optimizer = OPTIMIZER.update(gradient, state["optimizer"])
    params = optax.apply_updates(state["params"], update)
    state = {
        "params": params,
        "ema": optax.incremental_update(params, state["ema"], 0.1),
        "optimizer": optimizer,
        "key": key,
        "seen": state["seen"] + 8,
    }
    return state, {"loss": value, "norm": optax.tree.norm(gradient)}


def leaves(state: Any) -> list[np.ndarray]:
    """The leaves as NumPy arrays, keys as their integers."""
    return [
        np.asarray(
            jax.random.key_data(leaf)
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            else leaf
        )
        for leaf in jax.tree.leaves(state)
    ]


def same(one: Any, other: Any) -> bool:
    """Whether two states are the same bits."""
    pairs = zip(leaves(one), leaves(other), strict=True)
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)


def recorder(seen: list[Config]) -> Callable[[Config], None]:
    """A main that notes its config."""
    return seen.append


class Hooked(Guarded):
    """A guarded step that calls ``hook(state)`` before each of its steps."""

    def __init__(self, inner: Guarded, hook: Callable[[Any], None]) -> None:
        self.inner, self.hook, self.skip = inner, hook, inner.skip

    def __call__(self, state: Any, batch: Any, halted: Any) -> Any:
        self.hook(state)
        return self.inner(state, batch, halted)
