"""A layer of learned positions that reads beyond its table."""

import jax
import jax.numpy as jnp
from flax import nnx

from kexue_jax._base import checks
from kexue_jax.models.functional import uniform_param
from kexue_jax.positions.hierarchical import hierarchical_lookup


class HierarchicalPositionEmbedding(nnx.Module):
    """Learned positions 0 .. num_positions^levels - 1 from num_positions rows.

    Called with integers [...], it returns ``hierarchical_lookup`` of its ``table``
    [num_positions, features]: the embedding itself for positions within the table, and
    combinations of its rows beyond, which all learn together. In place of an embedding
    of positions of any module that goes through ``functional``.

    Article: kexue.fm/archives/7947. Paper: none.
    """

    def __init__(
        self,
        num_positions: int,
        features: int,
        *,
        alpha: float = 0.4,
        levels: int = 2,
        rngs: nnx.Rngs | None = None,
    ):
        name = "HierarchicalPositionEmbedding"
        checks.count(name, "num_positions", num_positions)
        checks.count(name, "features", features)
        checks.count(name, "levels", levels)
        checks.number(name, "alpha", alpha, minimum=0, maximum=1, open_maximum=True)
        self.table = uniform_param((num_positions, features), bound=0.05)
        self.alpha, self.levels = alpha, levels

    def __call__(self, position_ids: jax.Array) -> jax.Array:
        table = jnp.asarray(self.table[...])
        options = {"alpha": self.alpha, "levels": self.levels}
        return hierarchical_lookup(table, position_ids, **options)
