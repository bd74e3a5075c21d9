"""A small experiment that kills itself, to be run as a process of its own.

``--kill`` names the point: "step:17" is before step 17 is called, "save:9:31" the event
number 31 that changes the disk (a file opened to write, a folder made, a name changed,
something removed) while step 9 is saved, "open:5" such an event between the start and
the first step, "row:8" in the middle of writing the first metrics row from step 8 on.
Python tells of these events by itself (``sys.addaudithook``): nothing in the harness
knows that it is watched.
"""

import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._harness import checkpoint, loop, workdir
from experiments._harness.checkpoint import Checkpointer
from experiments._harness.config import TrainingConfig, launch, setting
from experiments._harness.guard import Guarded
from experiments._harness.metrics import MetricsWriter
from experiments._harness.training_config import options
from tests.harness import toy

KINDS = ("plain", "ema", "gan", "skip")
FINAL = "final.npz"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """What a test may choose."""

    num_steps: int = setting(36, "training steps", minimum=1)
    kind: str = setting("ema", "the kind of state", choices=KINDS)
    kill: str = setting("none", "where the process kills itself", shapes_run=False)
    pause: float = setting(0.0, "seconds before a step", minimum=0, shapes_run=False)
    linger: float = setting(0.0, "seconds of work after", minimum=0, shapes_run=False)


def plain_start() -> dict[str, Any]:
    """Params and the state of an optimizer."""
    return {name: toy.start()[name] for name in ("params", "optimizer")}


def plain_step(state: dict[str, Any], batch: dict[str, Any]) -> tuple[Any, Any]:
    """A least-squares step without noise."""

    def loss(params: Any) -> jax.Array:
        return jnp.mean(jnp.square(batch["x"] @ params["w"] + params["b"] - batch["y"]))

    value, gradient = jax.value_and_grad(loss)(state["params"])
    update, optimizer = toy.OPTIMIZER.update(gradient, state["optimizer"])
    params = optax.apply_updates(state["params"], update)
    return {"params": params, "optimizer": optimizer}, {"loss": value}


MAKER, JUDGE = optax.adam(0.02), optax.chain(optax.trace(0.5), optax.scale(-0.05))


def gan_start() -> dict[str, Any]:
    """Two networks, an optimizer of its own for each, a typed key."""
    maker = {"w": jnp.eye(3, dtype=jnp.float32), "b": jnp.zeros(3, jnp.float32)}
    judge = {"w": jnp.full(3, 0.1, jnp.float32)}
    return {
        "generator": {"params": maker, "optimizer": MAKER.init(maker)},
        "discriminator": {"params": judge, "optimizer": JUDGE.init(judge)},
        "key": jax.random.key(5),
    }


def gan_step(state: dict[str, Any], batch: dict[str, Any]) -> tuple[Any, Any]:
    """One update of the discriminator, then one of the generator."""
    key, used = jax.random.split(state["key"])
    noise = jax.random.normal(used, batch["x"].shape, jnp.float32)

    def fake(params: Any) -> jax.Array:
        return noise @ params["w"] + params["b"][None]

    def gap(judge: Any, maker: Any) -> jax.Array:
        score = jnp.tanh(batch["x"] @ judge["w"]) - jnp.tanh(fake(maker) @ judge["w"])
        return jnp.mean(score)

    new: dict[str, Any] = {"key": key}
    maker, judge = state["generator"], state["discriminator"]
    value, gradient = jax.value_and_grad(lambda p: -gap(p, maker["params"]))(
        judge["params"]
    )
    new["discriminator"] = judge = _updated(JUDGE, judge, gradient)
    other, gradient = jax.value_and_grad(lambda p: gap(judge["params"], p))(
        maker["params"]
    )
    new["generator"] = _updated(MAKER, maker, gradient)
    return new, {"discriminator": value, "generator": other}


def _updated(optimizer: Any, part: dict[str, Any], gradient: Any) -> dict[str, Any]:
    update, new = optimizer.update(gradient, part["optimizer"])
    return {"params": optax.apply_updates(part["params"], update), "optimizer": new}


LOST = 0.8


def skip_step(state: dict[str, Any], batch: dict[str, Any]) -> tuple[Any, Any]:
    """The toy's step, whose loss is NaN where the first row of the batch is low."""
    new, metrics = toy.step(state, batch)
    lost = batch["y"][0] < LOST
    return new, {**metrics, "loss": jnp.where(lost, jnp.nan, metrics["loss"])}


STATES: dict[str, tuple[Callable[[], Any], Callable[..., Any]]] = {
    "plain": (plain_start, plain_step),
    "ema": (toy.start, toy.step),
    "gan": (gan_start, gan_step),
    "skip": (toy.start, skip_step),
}

_EVENTS = {"open", "shutil.rmtree"}
_EVENTS |= {f"os.{name}" for name in ("mkdir", "remove", "rename", "rmdir")}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Killer:
    """Counts the changes of the disk in each phase, and kills before one of them."""

    def __init__(self, folder: str, point: str) -> None:
        self.phase, _, number = point.rpartition(":")
        self.folder, self.number = folder, int(number) if self.phase else 0
        self.now, self.count = "", 0
        sys.addaudithook(self._heard)

    def enter(self, phase: str) -> None:
        """What the process does from here on."""
        self.now, self.count = phase, 0

    def leave(self) -> None:
        """The end of a phase: say how many events it had."""
        if self.now == self.phase:  # it had fewer events than were asked for
            self.kill("end")
        print(f"{self.now}:{self.count}", flush=True)
        self.now = ""

    def kill(self, what: str) -> None:
        """The end, without any clean-up."""
        print(f"killed in {self.now} at event {self.count}: {what}", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.now or event not in _EVENTS or not self._ours(arguments[0]):
            return
        if event == "open" and not arguments[2] & _WRITES:
            return
        self.count += 1
        if self.now == self.phase and self.count == self.number:
            self.kill(f"{event} {arguments[0]}")

    def _ours(self, path: Any) -> bool:
        """Whether ``path`` is in the run's folder, or relative to a folder in it."""
        if isinstance(path, int):
            return True
        text = os.fsdecode(path)
        return not os.path.isabs(text) or text.startswith(self.folder)


def watch(killer: Killer) -> None:
    """Let ``killer`` know when a step is saved, and let it tear a row in two.

    A save is counted from where its folder is made, and what a kill left is gone.
    """
    save, append = Checkpointer.save, MetricsWriter._append
    make_empty = checkpoint._make_empty

    def made(folder: Path) -> None:
        make_empty(folder)
        killer.enter(f"save:{int(folder.name.split('.')[0])}")

    def noted(self: Checkpointer, step: int, *rest: Any) -> Path:
        path = save(self, step, *rest)
        killer.leave()
        return path

    def torn(self: MetricsWriter, text: str, **rest: Any) -> Any:
        if killer.phase == "row" and text and json.loads(text)["step"] >= killer.number:
            append(self, text[: len(text) // 2])
            killer.kill("half a row")
        return append(self, text, **rest)

    checkpoint._make_empty = made
    Checkpointer.save, MetricsWriter._append = noted, torn  # type: ignore


def main(config: Config) -> None:
    """Train, as a main does; leave the last state in final.npz."""
    killer = Killer(config.workdir, config.kill)
    watch(killer)
    killer.enter("open")
    run = workdir.open_run(config)
    start, step = STATES[config.kind]
    batches = toy.batches(config.seed)

    def before(state: Any) -> None:
        number = batches.state()["batches"]
        if killer.now == "open":
            killer.leave()
        if killer.phase == "step" and number == killer.number:
            killer.kill(f"step {number}")
        if config.pause:
            print(f"step {number}", flush=True)
            time.sleep(config.pause)

    last = loop.run(
        toy.Hooked(Guarded(step, start(), config.on_nonfinite), before),
        start(),
        batches,
        num_steps=config.num_steps,
        options=options(config, run, log_every=4, progress=False),
        checkpointer=run.checkpointer(),
        metrics=run.metrics(),
    )
    paths = jax.tree_util.tree_leaves_with_path(last)
    names = [jax.tree_util.keystr(path) for path, _ in paths]
    np.savez(run.path(FINAL), **dict(zip(names, toy.leaves(last), strict=True)))
    if config.linger:
        print("trained", flush=True)
        time.sleep(config.linger)


if __name__ == "__main__":
    launch(main, Config, {}, __doc__)
