"""Dropout on gradients or on updates, from one random hash for eight components."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.optim._trees import check_mask, check_tree, leaf_mask

Number = float | jax.Array


class GradientDropoutState(NamedTuple):
    """State of ``gradient_dropout``: the number of updates, int32, and the next key.

    Article: kexue.fm/archives/8764.  Paper: arXiv 2109.05687.
    """

    count: jax.Array
    rng_key: jax.Array


def gradient_dropout(
    key: jax.Array, *, keep_prob: Number, rescale: bool = True, mask: Any = None
) -> optax.GradientTransformation:
    """An optax transformation: each component kept with a probability, or zeroed.

    updates * M / keep_prob, with M = ``keep_mask`` of each tensor, fresh at each update
    (Child-Tuning F); without the division for ``rescale=False``. Before the moments of
    an optimizer it is dropout on gradients, after them dropout on updates.

    Shapes: a tree of arrays of any shapes -> an optax pair (init, update). ``mask``: a
    tree of bools, or a function of the updates that gives one, says which tensors lose
    components (default: all).
    Article: kexue.fm/archives/8764.  Paper: arXiv 2109.05687.
    Differs: optax's transformations take an int for a key too, which the house does
    not. Under Adam with b1 < 1, dropout on gradients lowers the mean update by
    sqrt(keep_prob), as the article says, but raises its variance, from k (1 - r) to
    k (1 - keep_prob r) with k = (1 - b1) / (1 + b1), r = mean^2 / mean square. A
    masked component still moves under momentum. Under ``optax.MultiSteps`` put it
    inside, so that it acts once a real step; replicas must hold the same key.
    Cost: a Threefry hash for eight components, one pass over the updates.
    Raises: TypeError unless ``key`` is a typed key; TypeError or ValueError unless
    keep_prob is in (0, 1]; from ``update`` TypeError for a leaf that is no floating or
    complex array.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.optim import gradient_dropout
        >>> drop = gradient_dropout(jax.random.key(0), keep_prob=0.5)
        >>> grads = {"w": jnp.ones(1000)}
        >>> u = drop.update(grads, drop.init(grads))[0]["w"]
        >>> print(sorted({float(x) for x in u}), bool(abs(u.mean() - 1) < 0.2))
        [0.0, 2.0] True
    """
    name = "gradient_dropout"
    check_dropout(name, key, keep_prob, rescale, mask)

    def init(params: Any) -> GradientDropoutState:
        check_tree(name, "params", params)
        return GradientDropoutState(jnp.zeros((), jnp.int32), jnp.array(key, copy=True))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        check_tree(name, "updates", updates)
        following, now = jax.random.split(state.rng_key)
        leaves, structure = jax.tree.flatten(updates)
        chosen = jax.tree.leaves(leaf_mask(name, mask, updates))
        keys = jax.random.split(now, max(len(leaves), 1))

        def drop(place: int, leaf: jax.Array) -> jax.Array:
            if not chosen[place]:
                return leaf
            wide = leaf.astype(accumulation_dtype(leaf))
            if rescale:
                wide = wide / jnp.asarray(keep_prob, jnp.finfo(wide.dtype).dtype)
            keep = _keep(keys[place], leaf.shape, keep_prob)
            return jnp.where(keep, wide, 0).astype(leaf.dtype)

        dropped = [drop(i, leaf) for i, leaf in enumerate(leaves)]
        count = jnp.asarray(optax.safe_increment(state.count))
        return structure.unflatten(dropped), GradientDropoutState(count, following)

    return optax.GradientTransformation(init, update)


def keep_mask(
    key: jax.Array, *, shape: tuple[int, ...], keep_prob: Number
) -> jax.Array:
    """A random mask that is True with a probability, eight entries from one hash.

    The last axis is cut into eight parts of q = ceil(size / 8). Entry c of part 4 i + j
    is True where the uint32 word i of hash c, rotated left by 8 j bits, is below
    keep_prob * 2^32. The two words of a hash are those of one of
    ``jax.random.split(key, (*shape[:-1], q))`` (``jax.random.bits`` would throw half
    of them away); for a key that is not Threefry's, of ``jax.random.bits``.
    ``keep_prob=1`` keeps all.

    Shapes: -> boolean [*shape].
    Article: kexue.fm/archives/8764.  Paper: arXiv 2109.05687.
    Differs: from ``jax.random.bernoulli``, an eighth of the hashes. Each entry has the
    right probability to 2^-32 (float32's for a traced ``keep_prob``); entries of
    different words are independent, the four of one word have correlations below
    1/256, exactly 0 if 256 keep_prob is an integer.
    Cost: an eighth of the hashes of a Bernoulli mask.
    Raises: TypeError unless ``key`` is a typed key and ``shape`` a tuple of integers;
    TypeError or ValueError unless keep_prob is in (0, 1].
    Example:
        >>> import jax
        >>> from kexue_jax.optim import keep_mask
        >>> keep = keep_mask(jax.random.key(0), shape=(100, 100), keep_prob=0.25)
        >>> print(keep.shape, bool(abs(keep.mean() - 0.25) < 0.03))
        (100, 100) True
    """
    name = "keep_mask"
    checks.key(name, "key", key)
    if not isinstance(shape, tuple):
        got = f"a {type(shape).__name__}"
        raise checks.fail_type(name, "shape", got, "a tuple of integers")
    for size in shape:
        checks.count(name, "shape", size, minimum=0)
    _check_probability(name, keep_prob)
    return _keep(key, shape, keep_prob)


def check_dropout(
    name: str, key: Any, keep_prob: Number, rescale: bool, mask: Any
) -> None:
    """Raise for an argument of ``gradient_dropout`` that is out of range."""
    checks.key(name, "key", key)
    _check_probability(name, keep_prob)
    checks.flag(name, "rescale", rescale)
    check_mask(name, mask)


def _check_probability(name: str, keep_prob: Number) -> None:
    bounds: Any = {"minimum": 0, "maximum": 1, "open_minimum": True}
    checks.number(name, "keep_prob", keep_prob, traced=True, **bounds)


def _keep(key: jax.Array, shape: tuple[int, ...], keep_prob: Number) -> jax.Array:
    size = shape[-1] if shape else 1
    lead, part = shape[:-1], -(-size // 8)
    left = (8 * jnp.arange(4, dtype=jnp.uint32)).reshape((1,) * len(lead) + (4, 1))
    largest = _largest(keep_prob)
    parts = [
        # A shift by 32 is 0 for XLA, so that part 0 is the word itself.
        ((words << left) | (words >> (32 - left))) <= largest
        for words in _words(key, (*lead, 1, part))
    ]
    keep = jnp.concatenate(parts, axis=-2)
    return keep.reshape(*lead, 8 * part)[..., :size].reshape(shape)


def _words(key: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Two arrays of random uint32 words."""
    if jax.random.key_impl(key) == "threefry2x32":
        hashes = jax.random.key_data(jax.random.split(key, shape))
        return hashes[..., 0], hashes[..., 1]
    first, second = jax.random.bits(key, (2, *shape), jnp.uint32)
    return first, second


def _largest(keep_prob: Number) -> jax.Array:
    """The largest uint32 below keep_prob * 2^32, at least 0."""
    if not isinstance(keep_prob, jax.Array):
        return jnp.asarray(max(round(keep_prob * 2**32), 1) - 1, jnp.uint32)
    high = keep_prob.astype(jnp.float32) * 65536
    whole = jnp.floor(high)
    rest = jnp.round((high - whole) * 65536)
    total = whole.astype(jnp.uint32) * 65536 + rest.astype(jnp.uint32)
    # A keep_prob of 1 is 2^32, which is 0 here, and all ones after the subtraction.
    return jnp.where(keep_prob >= 2.0**-32, total - 1, 0).astype(jnp.uint32)
