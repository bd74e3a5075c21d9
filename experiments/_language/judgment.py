"""How well a model predicts held-out bytes, byte by byte."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.data_text import VOCABULARY
from experiments._harness.devices import by_rows
from experiments._language.losses import MASK, cross_entropy
from kexue_jax.models import Model


class Scores(NamedTuple):
    """By text and position: cross entropy in nats, whether right, whether asked."""

    loss: np.ndarray
    right: np.ndarray
    asked: np.ndarray

    def mean_loss(self, where: slice = slice(None)) -> float:
        """The mean cross entropy over the positions ``where``."""
        return _mean(self.loss[:, where], self.asked[:, where])

    def accuracy(self, where: slice = slice(None)) -> float:
        """The share of right bytes over the positions ``where``."""
        return _mean(self.right[:, where], self.asked[:, where])


def _mean(values: np.ndarray, asked: np.ndarray) -> float:
    return float((values * asked).sum() / asked.sum())


class Judge:
    """``judge(params, rows)`` scores a model on texts uint8 [count, n].

    A causal model is asked for every byte but the first: position i of the scores is
    the prediction of byte i + 1. A masked model is asked for the bytes at ``places``
    (a fixed random share of 15 % by default), all of them hidden.
    """

    def __init__(self, model: Model, *, causal: bool = True, at_once: int = 32) -> None:
        self.model, self.causal, self.at_once = model, causal, at_once
        self._score: Callable[..., Any] = jax.jit(self._scores)

    def _scores(self, params: Any, seen: jax.Array, wanted: jax.Array) -> Any:
        logits = self.model.apply(params, seen)[..., :VOCABULARY]
        best = logits.max(-1, keepdims=True)
        chosen = jnp.take_along_axis(logits, wanted[..., None], -1)
        return cross_entropy(logits, wanted), (chosen == best)[..., 0]

    def __call__(
        self, params: Any, rows: np.ndarray, places: np.ndarray | None = None
    ) -> Scores:
        tokens = rows.astype(np.int32)
        if self.causal:
            seen, wanted = tokens[:, :-1], tokens[:, 1:]
            asked = np.ones(wanted.shape, bool)
        else:
            asked = hidden_places(rows.shape) if places is None else places
            seen, wanted = np.where(asked, MASK, tokens), tokens
        texts = seen, wanted
        loss, right = by_rows(self._score, params, texts, at_once=self.at_once)
        return Scores(loss, right, asked)


def hidden_places(shape: tuple[int, ...], share: float = 0.15) -> np.ndarray:
    """A fixed random ``share`` of the places, at least one a row."""
    rng = np.random.Generator(np.random.Philox(key=np.array([1, 0], np.uint64)))
    chosen = rng.random(shape) < share
    chosen[:, 0] |= ~chosen.any(-1)
    return chosen
