"""A small causal or masked language model whose attention and positions plug in."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.models.functional import Model, functional, uniform_param
from kexue_jax.models.layers import Dense, DotGeneral, along_last, dropout

# attend(q, k, v, layer): [..., heads, n, width / heads] each -> the same shape.
Attend = Callable[[jax.Array, jax.Array, jax.Array, int], jax.Array]
# rows(table, n): [length, width] -> the rows of positions 0..n-1, [n, width].
Rows = Callable[[jax.Array, int], jax.Array]


def transformer(
    *,
    vocabulary: int,
    attend: Attend,
    length: int | None = None,
    rows: Rows | None = None,
    width: int = 96,
    heads: int = 3,
    layers: int = 3,
    hidden: int | None = None,
    outputs: int | None = None,
    dropout_rate: float = 0.0,
    dot_general: DotGeneral = lax.dot_general,
) -> Model:
    """A pre-norm transformer, ``apply(params, tokens) -> logits``.

    x = word[tokens] + rows(position, n); then in each layer x += W_o attend(W_q h,
    W_k h, W_v h, layer) with h = norm(x), and x += W_2 gelu(W_1 norm(x)); logits =
    W norm(x) + b. What a token may see is decided by ``attend`` alone: a causal
    function makes a causal model, a bidirectional one a masked model. ``attend`` gets
    the number of the layer (0, 1, ...), for windows or projections that differ between
    layers, and has no parameters here: one ``params`` serves every ``attend``, so that
    a model can be trained with one rule of positions and tested with another.
    ``length`` rows of learned positions are added (None: none, as with rotary
    positions inside of ``attend``); ``rows`` reads them, by default the first n.
    ``hidden`` is 4 width and ``outputs`` the vocabulary unless given. The products W h
    are ``dot_general``'s: ``jax.lax.dot_general``, or one that computes otherwise.

    Shapes: tokens [..., n], integers from 0 to vocabulary - 1 (others are clipped) ->
    logits [..., n, outputs], in the dtype of the parameters; ``attend`` takes q, k, v
    of [..., heads, n, width / heads] and the layer and returns the like.
    Article: none; Paper: arXiv 1706.03762, with the norms first (2002.04745).
    Differs: no.
    Cost: a layer takes 2 n width (4 width + 2 hidden) flops and those of ``attend``.
    Raises: TypeError or ValueError for a bad argument or shape, when built or traced.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.models import transformer
        >>> def uniform(q, k, v, layer):
        ...     return jnp.broadcast_to(v.mean(-2, keepdims=True), v.shape)
        >>> model = transformer(vocabulary=256, attend=uniform, length=64)
        >>> params = model.init(jax.random.key(0))
        >>> model.apply(params, jnp.zeros((2, 10), int)).shape
        (2, 10, 256)
    """
    name = "transformer"
    for argument, value in (
        ("vocabulary", vocabulary),
        ("width", width),
        ("heads", heads),
        ("layers", layers),
        ("hidden", 1 if hidden is None else hidden),
        ("outputs", 1 if outputs is None else outputs),
        ("length", 1 if length is None else length),
    ):
        checks.count(name, argument, value)
    if width % heads:
        raise checks.fail(name, "heads", heads, f"a divisor of width = {width}")
    checks.function(name, "attend", attend)
    checks.function(name, "dot_general", dot_general)
    if rows is not None:
        checks.function(name, "rows", rows)
        if length is None:
            raise checks.fail(name, "rows", "a function", "None without `length`")
    checks.number(
        name, "dropout_rate", dropout_rate, minimum=0, maximum=1, open_maximum=True
    )
    wide = 4 * width if hidden is None else hidden
    out = vocabulary if outputs is None else outputs
    return functional(
        lambda rngs: Transformer(
            vocabulary,
            length,
            [
                Block(width, heads, wide, layers, dropout_rate, dot_general)
                for _ in range(layers)
            ],
            width,
            out,
            attend,
            rows or first_rows,
            dot_general,
        )
    )


def first_rows(table: jax.Array, n: int) -> jax.Array:
    """Rows 0..n-1; an error where the table has fewer."""
    if n > table.shape[0]:
        wanted = f"at most {table.shape[0]} tokens long, as its positions are"
        raise checks.fail("transformer", "tokens", f"{n} tokens", wanted)
    return table[:n]


class Transformer(nnx.Module):
    """The network of ``transformer``."""

    def __init__(
        self,
        vocabulary: int,
        length: int | None,
        blocks: "list[Block]",
        width: int,
        outputs: int,
        attend: Attend,
        rows: Rows,
        dot_general: DotGeneral,
    ):
        self.word = uniform_param((vocabulary, width), bound=0.05)
        self.position = (
            None if length is None else uniform_param((length, width), bound=0.05)
        )
        self.blocks = nnx.List(blocks)
        self.norm = LayerNorm(width)
        self.out = Dense(width, outputs, bias=True, dot_general=dot_general)
        self.attend, self.rows = attend, rows

    def __call__(self, tokens: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        checks.array("transformer", "tokens", tokens, "integer")
        checks.shapes("transformer", tokens=(tokens, "... n"))
        word = jnp.asarray(self.word[...])
        x = word[jnp.clip(tokens, 0, word.shape[0] - 1)]
        if self.position is not None:
            table = jnp.asarray(self.position[...])
            found = self.rows(table, tokens.shape[-1])
            if found.shape != x.shape[-2:]:
                wanted = f"a function that returns shape {x.shape[-2:]}"
                raise checks.fail(
                    "transformer", "rows", f"one that gives {found.shape}", wanted
                )
            x = x + found.astype(x.dtype).reshape((1,) * (x.ndim - 2) + found.shape)
        for number, block in enumerate(self.blocks):
            drawn = None if key is None else jax.random.fold_in(key, number)
            x = block(x, self.attend, number, drawn)
        return self.out(self.norm(x))


class Block(nnx.Module):
    """Attention and a feed-forward network, each beside the identity."""

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        layers: int,
        dropout_rate: float,
        dot_general: DotGeneral,
    ):
        # Each of the 2 layers branches starts with 1 / (2 layers) of the variance.
        small = 1 / (2 * layers)
        self.attention_norm, self.feed_norm = LayerNorm(width), LayerNorm(width)
        dense = partial(Dense, dot_general=dot_general)
        self.query = dense(width, width)
        self.key = dense(width, width)
        self.value = dense(width, width)
        self.mix = dense(width, width, scale=small)
        self.wide = dense(width, hidden, bias=True)
        self.narrow = dense(hidden, width, bias=True, scale=small)
        self.heads, self.dropout_rate = heads, dropout_rate

    def __call__(
        self, x: jax.Array, attend: Attend, number: int, key: jax.Array | None
    ) -> jax.Array:
        first, second = (None, None) if key is None else jax.random.split(key)
        h = self.attention_norm(x)
        q, k, v = (self._split(f(h)) for f in (self.query, self.key, self.value))
        mixed = attend(q, k, v, number)
        if mixed.shape != q.shape:
            wanted = f"a function that returns shape {q.shape}"
            raise checks.fail(
                "transformer", "attend", f"one that gives {mixed.shape}", wanted
            )
        mixed = jnp.swapaxes(mixed, -2, -3).reshape(x.shape).astype(x.dtype)
        x = x + dropout(self.mix(mixed), first, rate=self.dropout_rate)
        h = self.narrow(jax.nn.gelu(self.wide(self.feed_norm(x))))
        return x + dropout(h, second, rate=self.dropout_rate)

    def _split(self, x: jax.Array) -> jax.Array:
        """``[..., n, width] -> [..., heads, n, width / heads]``."""
        return jnp.swapaxes(x.reshape(*x.shape[:-1], self.heads, -1), -2, -3)


class LayerNorm(nnx.Module):
    """``scale * (x - mean) / sqrt(variance + epsilon) + offset`` over the last axis."""

    def __init__(self, width: int, *, epsilon: float = 1e-5):
        self.scale = nnx.Param(jnp.ones(width, jnp.float32))
        self.offset = nnx.Param(jnp.zeros(width, jnp.float32))
        self.epsilon = epsilon

    def __call__(self, x: jax.Array) -> jax.Array:
        wide = x.astype(accumulation_dtype(x))
        centered = wide - wide.mean(-1, keepdims=True)
        variance = jnp.square(centered).mean(-1, keepdims=True)
        normal = centered * lax.rsqrt(variance + self.epsilon)
        scale, offset = self.scale[...], self.offset[...]
        return (normal * along_last(scale, normal) + along_last(offset, normal)).astype(
            x.dtype
        )
