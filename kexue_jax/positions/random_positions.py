"""Positions drawn at random in training, so that none is new in a longer test."""

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks


def random_positions(key: jax.Array, n: int, max_len: int) -> jax.Array:
    """A sorted random choice of n of the positions 0 .. max_len - 1.

    The first n of ``jax.random.permutation(key, max_len)``, sorted.

    Shapes: -> [n] int32; map over keys for a batch.
    Article: kexue.fm/archives/9444.  Paper: arXiv 2305.16843.
    Differs: no. The paper trains at n = 40 of max_len = 2048 and tests at 500. The
    author reports that it serves encoders alone (9603).
    Cost: a sort of max_len numbers.
    Raises: TypeError or ValueError for bad arguments, or n above max_len.
    Example:
        >>> import jax
        >>> from kexue_jax.positions import random_positions
        >>> random_positions(jax.random.key(0), 3, 3).tolist()
        [0, 1, 2]
    """
    checks.key("random_positions", "key", key)
    _check_counts("random_positions", n, max_len)
    chosen = jax.random.permutation(key, max_len)[:n]
    return jnp.sort(chosen).astype(jnp.int32)


def spaced_positions(n: int, max_len: int) -> jax.Array:
    """n evenly spaced positions from 0 to max_len - 1, for the test of such a model.

    round(t (max_len - 1) / (n - 1)), t = 0 .. n - 1.

    Shapes: -> [n] int32, strictly increasing.
    Article: kexue.fm/archives/9444.  Paper: arXiv 2305.16843.
    Differs: no.
    Cost: O(n), in NumPy.
    Raises: TypeError or ValueError for bad arguments, or n above max_len.
    Example:
        >>> from kexue_jax.positions import spaced_positions
        >>> spaced_positions(4, 10).tolist()
        [0, 3, 6, 9]
    """
    _check_counts("spaced_positions", n, max_len)
    return jnp.asarray(np.round(np.linspace(0, max_len - 1, n)), jnp.int32)


def equal_mean_positions(
    key: jax.Array,
    n: int,
    mean: float,
    *,
    dist: str = "exponential",
    max_len: int | None = None,
    concentration: float = 2.0,
) -> jax.Array:
    """n evenly spaced positions from 0 to a random end with the given mean.

    linspace(0, 1, n) e, with e = mean ``jax.random.exponential(key)``, or e = max_len
    ``jax.random.beta(key, a, c - a)``, c = concentration, a = c mean / max_len.

    Shapes: -> [n] float32; map over keys for a batch.
    Article: kexue.fm/archives/9444.  Paper: none.
    Differs: no; the article asks of the beta distribution its mean alone, and leaves
    a + b free.
    Cost: O(n).
    Raises: TypeError or ValueError for bad arguments, and for "beta" without a max_len
    above the mean.
    Example:
        >>> import jax
        >>> from kexue_jax.positions import equal_mean_positions
        >>> equal_mean_positions(jax.random.key(0), 5, 8.0).shape
        (5,)
    """
    name = "equal_mean_positions"
    checks.key(name, "key", key)
    checks.count(name, "n", n)
    checks.number(name, "mean", mean, minimum=0, open_minimum=True)
    checks.choice(name, "dist", dist, ("exponential", "beta"))
    checks.number(name, "concentration", concentration, minimum=0, open_minimum=True)
    if max_len is not None or dist == "beta":
        checks.count(name, "max_len", max_len)
    if dist == "exponential":
        end = mean * jax.random.exponential(key, (), jnp.float32)
    else:
        length = max_len or 1
        if mean >= length:
            raise checks.fail(name, "max_len", max_len, f"above the mean = {mean}")
        a = concentration * mean / length
        draw = jax.random.beta(key, a, concentration - a, (), jnp.float32)
        end = length * draw
    return jnp.asarray(np.linspace(0, 1, n), jnp.float32) * end


def _check_counts(function: str, n: int, max_len: int) -> None:
    checks.count(function, "n", n)
    checks.count(function, "max_len", max_len)
    if n > max_len:
        raise checks.fail(function, "max_len", max_len, f"at least n = {n}")
