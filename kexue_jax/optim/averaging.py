"""Averages of the parameters over training, kept beside them and used for sampling."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.optim._trees import check_alike, check_tree


class Average(NamedTuple):
    """An average of parameters, and how many times it was updated.

    ``params`` has the structure of the parameters, in at least float32; ``count`` is
    an int32 scalar.
    """

    params: Any
    count: jax.Array


class Averaging(NamedTuple):
    """A moving average of parameters as three pure functions.

    ``init(params) -> Average``, ``update(average, params) -> Average`` once after each
    optimizer step, ``read(average, like) -> params``: the averaged parameters in the
    dtypes of ``like``.
    """

    init: Callable[[Any], Average]
    update: Callable[[Average, Any], Average]
    read: Callable[[Average, Any], Any]


def ema(decay: float, *, convention: str = "zero_debias") -> Averaging:
    """The exponential moving average of parameters, as functions init, update, read.

    "zero_debias", the author's: accumulators m_0 = 0,
    m_k = decay m_{k-1} + (1 - decay) params_k, and m_k / (1 - decay^k) on use.
    "initial", the paper's: a_0 = the initial parameters,
    a_k = decay a_{k-1} + (1 - decay) params_k, used as it is.

    Both are kept as average_k = average_{k-1} + w_k (params_k - average_{k-1}) with
    w_k = (1 - decay) / (1 - decay^k) for the first and w_k = 1 - decay for the second.

    Shapes: params, a tree of arrays -> Average of the same tree and a count [].
    Article: kexue.fm/archives/9152.  Paper: arXiv 2006.11239, section 4.
    Differs: the author's debiased average is stored, not its accumulator: the same
    numbers, and before the first update it reads as the initial parameters instead of
    0/0. ``optax.ema`` on the parameters is the same in exact arithmetic; in float32,
    at decay 0.9999 and on constant parameters, it is 1.7e-4 off after one update
    (1 - decay^k cancels) and 6e-4 off after many (its rounded weights miss a sum of 1).
    Cost: one float32 copy of the parameters; three operations a parameter and update.
    Raises: TypeError or ValueError unless 0 <= decay < 1 and ``convention`` is one of
    the two; TypeError from ``init`` and ``update`` for a leaf that is no floating or
    complex array, ValueError for parameters of other names or shapes than the average.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import ema
        >>> average, params = ema(0.5), {"w": jnp.array(1.0)}
        >>> state = average.update(average.init(params), {"w": jnp.array(4.0)})
        >>> print(average.read(state, params)["w"])
        4.0
    """
    checks.number("ema", "decay", decay, minimum=0, maximum=1, open_maximum=True)
    checks.choice("ema", "convention", convention, ("zero_debias", "initial"))
    log_decay = math.log(decay) if decay > 0 else -math.inf

    def init(params: Any) -> Average:
        check_tree("ema", "params", params)
        # A copy: the caller may donate the parameters and the average to one jit.
        copied = jax.tree.map(lambda p: jnp.array(_wide(p), copy=True), params)
        return Average(copied, jnp.zeros((), jnp.int32))

    def update(average: Average, params: Any) -> Average:
        _check_average(average)
        check_tree("ema", "params", params)
        check_alike("ema", "params", params, average.params)
        count = average.count + 1
        weight: Any = 1 - decay
        if convention == "zero_debias":
            weight = weight / -jnp.expm1(count * log_decay)

        def step(a: jax.Array, p: jax.Array) -> jax.Array:
            return a + jnp.asarray(weight, a.real.dtype) * (_wide(p) - a)

        return Average(jax.tree.map(step, average.params, params), count)

    def read(average: Average, like: Any) -> Any:
        _check_average(average)
        check_alike("ema", "like", like, average.params)
        return jax.tree.map(lambda a, p: a.astype(p.dtype), average.params, like)

    return Averaging(init, update, read)


def _check_average(average: Any) -> None:
    if not isinstance(average, Average):
        got = f"a {type(average).__name__}"
        raise checks.fail_type("ema", "average", got, "an Average, as init gives")


def _wide(leaf: jax.Array) -> jax.Array:
    """A parameter in the dtype in which its average is kept."""
    return leaf.astype(accumulation_dtype(leaf))
