"""The ways of extending learned positions: a longer table, or rows that stay live."""

import functools
from typing import Any, NamedTuple

import jax

from experiments._harness.data_text import VOCABULARY
from experiments._language.losses import MASKED_VOCABULARY
from kexue_jax import attention, models, positions

ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.9)
TIMES = 3  # the extended length, in pretrained lengths


class Method(NamedTuple):
    """A table made once (``method`` and ``alpha``), or a live one of ``alpha``.

    Live: the model computes all rows from the pretrained ones, which keep learning.
    """

    method: str
    alpha: float = 0.4
    live: bool = False


def hierarchical(alpha: float, live: bool = False) -> str:
    """The name of the article's method."""
    return f"alpha = {alpha}{', live' if live else ''}"


METHODS: dict[str, Method] = {
    **{hierarchical(alpha): Method("hierarchical", alpha) for alpha in ALPHAS},
    "tile": Method("tile"),
    "random": Method("random"),
    "interpolate": Method("interpolate"),
    "zeros": Method("zeros"),
    **{hierarchical(a, True): Method("hierarchical", a, True) for a in (0.4, 0.6)},
    "tile, live": Method("hierarchical", 0.0, True),
}


def network(
    sizes: dict[str, Any], length: int, causal: bool, live: float | None = None
) -> models.Model:
    """A model with ``length`` rows of positions, read as of ``live`` alpha if given."""

    def attend(q: jax.Array, k: jax.Array, v: jax.Array, layer: int) -> jax.Array:
        return attention.dense_attention(q, k, v, causal=causal)

    rows = None
    if live is not None:

        def rows(table: jax.Array, n: int) -> jax.Array:
            return positions.hierarchical_positions(table, n, alpha=live)

    return models.transformer(
        vocabulary=VOCABULARY if causal else MASKED_VOCABULARY,
        outputs=VOCABULARY,
        attend=attend,
        length=length,
        rows=rows,
        **sizes,
    )


def extended(params: Any, method: Method, length: int, seed: int) -> Any:
    """The parameters with which the longer training begins."""
    if method.live:
        return params
    change = functools.partial(
        positions.extend_position_parameters,
        path="position",
        new_length=length,
        method=method.method,
        alpha=method.alpha,
    )
    return change(params, key=jax.random.fold_in(jax.random.key(seed), 1))
