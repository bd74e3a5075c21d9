"""Which training samples have moved a prediction most."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks
from kexue_jax.theory.tangent_kernel import high


class TopSamples(NamedTuple):
    """The samples that have moved each prediction most, and by how much.

    ``ids`` [a, count] are places among the samples, ``values`` [a, count] or
    [a, count, k] their attributions, largest first.

    Article: kexue.fm/archives/8009.
    """

    ids: jax.Array
    values: jax.Array


def top_attributions(attributions: jax.Array, *, count: int) -> TopSamples:
    """The training samples that have moved each prediction most.

    Those of the largest |sum over the outputs of attributions[x, i]|, in falling order.

    Shapes: attributions [a, n] or [a, n, k] -> TopSamples of ids [a, count] and values
    [a, count] or [a, count, k].
    Article: kexue.fm/archives/8009.  Paper: arXiv 2012.00152.
    Differs: no.
    Cost: O(a n log(count)).
    Raises: TypeError or ValueError for a bad argument, for ``count`` above n.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import top_attributions
        >>> top = top_attributions(jnp.array([[1.0, -3.0, 2.0]]), count=2)
        >>> print(top.ids, top.values)
        [[1 2]] [[-3.  2.]]
    """
    name = "top_attributions"
    checks.array(name, "attributions", attributions)
    if attributions.ndim not in (2, 3):
        got = f"shape {attributions.shape}"
        raise checks.fail(name, "attributions", got, "of shape [a, n] or [a, n, k]")
    checks.count(name, "count", count)
    if count > attributions.shape[1]:
        wanted = f"at most n = {attributions.shape[1]}"
        raise checks.fail(name, "count", count, wanted)
    total = attributions if attributions.ndim == 2 else high(attributions).sum(-1)
    _, ids = lax.top_k(jnp.abs(total), count)
    places = ids if attributions.ndim == 2 else ids[..., None]
    return TopSamples(ids, jnp.take_along_axis(attributions, places, 1))
