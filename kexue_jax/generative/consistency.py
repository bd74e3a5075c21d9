"""The penalty on a critic that changes its mind about an image moved a little."""

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.generative._critics import Critic, check_batch, check_critic


def consistency_penalty(
    critic: Critic,
    x: jax.Array,
    augmented: jax.Array,
    *,
    weight: float | jax.Array = 10.0,
) -> jax.Array:
    """The penalty on differences between a critic's values of images and their copies.

    weight mean_b (critic(augmented)_b - critic(x)_b)^2; normalize the critic at both.

    Shapes: critic a function of [B, *d] to [B], x [B, *d], augmented [B, *d] -> [].
    Article: kexue.fm/archives/8757.  Paper: arXiv 1910.12027, 2109.02235.
    Differs: no.
    Cost: two passes of the critic, in one batch of 2 B.
    Raises: TypeError or ValueError for a bad critic or batch, batches of two shapes or
    dtypes, a weight below 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import consistency_penalty
        >>> x = jnp.array([[1.0, 2.0], [0.0, 0.0]])
        >>> print(consistency_penalty(lambda x: x[:, 0], x, x[:, ::-1]))
        5.0
    """
    name = "consistency_penalty"
    check_batch(name, "x", x)
    check_batch(name, "augmented", augmented)
    checks.same_dtype(name, x=x, augmented=augmented)
    if augmented.shape != x.shape:
        wanted = f"of shape {x.shape} as `x` is"
        raise checks.fail(name, "augmented", f"shape {augmented.shape}", wanted)
    check_critic(name, "critic", critic, x)
    checks.number(name, "weight", weight, minimum=0, traced=True)
    value = critic(jnp.concatenate([jnp.asarray(x), jnp.asarray(augmented)]))
    here, there = jnp.split(value.astype(accumulation_dtype(value)), 2)
    return (weight * jnp.mean(jnp.square(there - here))).astype(x.dtype)


def flip_translate(key: jax.Array, x: jax.Array, *, share: float = 0.2) -> jax.Array:
    """Images flipped at random and moved by up to a share of their sides.

    With three draws of jax.random.split(key, 3): flipped left to right where
    jax.random.bernoulli(k_1, shape=[B]); moved by jax.random.randint(k_2, [B], -p,
    p + 1) rows and by the like of k_3 columns, p = int(share side), the edge repeated.

    Shapes: key [], x [B, h, w, c] -> [B, h, w, c].
    Article: kexue.fm/archives/8757.  Paper: arXiv 2109.02235, 1910.12027.
    Differs: the edge is repeated, so that no value leaves the range of the images and
    nothing is clipped behind the gradient by x.
    Cost: two gathers of the images.
    Raises: TypeError or ValueError for a bad key, an ``x`` that is no floating array of
    four axes, a share outside [0, 1).
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.generative import flip_translate
        >>> x = jnp.arange(5.0).reshape(1, 1, 5, 1)
        >>> print(flip_translate(jax.random.key(3), x, share=0.0)[0, 0, :, 0].sum())
        10.0
    """
    name = "flip_translate"
    checks.key(name, "key", key)
    checks.array(name, "x", x)
    checks.shapes(name, x=(x, "B h w c"))
    checks.number(name, "share", share, minimum=0, maximum=1, open_maximum=True)
    flip, down, right = jax.random.split(key, 3)
    count, height, width, _ = x.shape
    flipped = jax.random.bernoulli(flip, shape=(count,))
    columns = _moved(right, count, width, share)
    columns = jnp.where(flipped[:, None], width - 1 - columns, columns)
    rows = _moved(down, count, height, share)
    x = jnp.take_along_axis(jnp.asarray(x), rows[:, :, None, None], axis=1)
    return jnp.take_along_axis(x, columns[:, None, :, None], axis=2)


def _moved(key: jax.Array, count: int, side: int, share: float) -> jax.Array:
    """For each image the places [count, side] that its rows come from."""
    most = int(share * side)
    step = jax.random.randint(key, (count,), -most, most + 1)
    return jnp.clip(jnp.arange(side)[None] - step[:, None], 0, side - 1)
