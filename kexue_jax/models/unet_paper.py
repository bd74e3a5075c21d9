"""The U-Net of the DDPM paper, and the author's version of it without attention."""

import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.models.conditioning import check_conditions, check_network, merge_batch
from kexue_jax.models.functional import Model, functional
from kexue_jax.models.layers import (
    Conv,
    Dense,
    GroupNorm,
    average_pool,
    dropout,
    label_embedding,
    nearest_upsample,
    run_block,
    sinusoidal_embedding,
)


def unet_paper(
    *,
    channels: int = 3,
    width: int = 128,
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4, 4),
    blocks: int = 2,
    middle_blocks: int = 1,
    attention_stages: tuple[int, ...] = (),
    middle_attention: bool = False,
    downsample: str = "pool",
    upsample: str = "nearest",
    bias: bool = False,
    groups: int = 32,
    dropout_rate: float = 0.0,
    zero_init: bool = True,
    num_classes: int | None = None,
    recompute: bool = False,
) -> Model:
    """The U-Net closer to the DDPM paper's, ``apply(params, x, t) -> eps`` like ``x``.

    A block is ``skip(x) + conv(drop(swish(norm(conv(swish(norm(x))) + W c))))`` with c
    = swish(W swish(W sinusoidal(t - 1))); skips are concatenated, and each stage going
    up has ``blocks`` + 1 blocks. The defaults are the author's; the paper's network for
    CIFAR-10 is ``multipliers=(1, 2, 2, 2), middle_blocks=2, attention_stages=(1,),
    middle_attention=True, downsample="conv", upsample="conv", bias=True,
    dropout_rate=0.1``. With ``num_classes`` the call is ``apply(params, x, t, y)`` and
    y = num_classes means "no label". With ``recompute`` the backward pass computes the
    inside of the blocks again instead of keeping it: less memory, more time.

    Shapes: x [..., h, w, channels], t [...] (steps from 1 on, integers, or floating
    between them), y [...] integers in 0..num_classes -> [..., h, w, channels].
    Article: kexue.fm/archives/9152.  Paper: arXiv 2006.11239, appendix B.
    Differs: group norms use the author's strided groups, gcd(width, groups) of them;
    the last convolution of a block starts at exactly zero (author: variance 1e-10);
    attention is given by stage (0 is the full size), so that one network takes every
    image size; class labels are an addition.
    Cost: 35.7 million parameters as the paper's network for CIFAR-10.
    Raises: TypeError or ValueError for a bad argument or shape, when built or traced;
    both sides must be divisible by 2^(number of stages - 1).
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.models import unet_paper
        >>> model = unet_paper(channels=1, width=8, multipliers=(1, 2))
        >>> params = model.init(jax.random.key(0))
        >>> x, t = jnp.zeros((2, 8, 8, 1)), jnp.array([1, 1000])
        >>> model.apply(params, x, t).shape
        (2, 8, 8, 1)
    """
    name = "unet_paper"
    check_network(
        name,
        channels=channels,
        width=width,
        multipliers=multipliers,
        blocks=blocks,
        groups=groups,
        num_classes=num_classes,
    )
    _check_options(
        len(multipliers),
        width=width,
        middle_blocks=middle_blocks,
        attention_stages=attention_stages,
        dropout_rate=dropout_rate,
        downsample=downsample,
        upsample=upsample,
    )
    flags = {
        "middle_attention": middle_attention,
        "bias": bias,
        "zero_init": zero_init,
        "recompute": recompute,
    }
    for argument, value in flags.items():
        checks.flag(name, argument, value)
    block = {
        "condition_width": 4 * width,
        "groups": groups,
        "bias": bias,
        "dropout_rate": dropout_rate,
        "last_scale": 0.0 if zero_init else 1.0,
    }
    return functional(
        lambda rngs: UNetPaper(
            channels,
            width,
            tuple(multipliers),
            blocks,
            middle=[
                middle_attention and i < max(1, middle_blocks - 1)
                for i in range(middle_blocks)
            ],
            attention_stages=tuple(attention_stages),
            resample=(downsample == "conv", upsample == "conv"),
            num_classes=num_classes,
            recompute=recompute,
            block=block,
        )
    )


def _check_options(
    stages: int,
    *,
    width: Any,
    middle_blocks: Any,
    attention_stages: Any,
    dropout_rate: Any,
    downsample: Any,
    upsample: Any,
) -> None:
    name = "unet_paper"
    if width % 2:
        raise checks.fail(name, "width", width, "even (sines and cosines)")
    checks.count(name, "middle_blocks", middle_blocks)
    if not isinstance(attention_stages, (tuple, list)):
        got = f"a {type(attention_stages).__name__}"
        raise checks.fail_type(name, "attention_stages", got, "a tuple of integers")
    for stage in attention_stages:
        checks.count(name, "attention_stages", stage, minimum=0)
        if stage >= stages:
            wanted = f"stages below {stages}"
            raise checks.fail(name, "attention_stages", stage, wanted)
    bounds = {"minimum": 0, "maximum": 1, "open_maximum": True}
    checks.number(name, "dropout_rate", dropout_rate, **bounds)
    checks.choice(name, "downsample", downsample, ("pool", "conv"))
    checks.choice(name, "upsample", upsample, ("nearest", "conv"))


class UNetPaper(nnx.Module):
    """The network of ``unet_paper``; ``block`` holds the options of its blocks."""

    def __init__(
        self,
        channels: int,
        width: int,
        multipliers: tuple[int, ...],
        blocks: int,
        *,
        middle: list[bool],
        attention_stages: tuple[int, ...],
        resample: tuple[bool, bool],
        num_classes: int | None,
        recompute: bool,
        block: dict[str, Any],
    ):
        bias = block["bias"]
        self.recompute = recompute
        self.channels, self.width, self.num_classes = channels, width, num_classes
        self.divisor = 2 ** (len(multipliers) - 1)
        self.step1 = Dense(width, 4 * width, bias=bias)
        self.step2 = Dense(4 * width, 4 * width, bias=bias)
        self.label = label_embedding(num_classes, 4 * width)
        self.stem = Conv(channels, width, bias=bias)
        stages = [
            (i, m * width, i in attention_stages) for i, m in enumerate(multipliers)
        ]
        h, skips, down, up = width, [width], [], []
        for index, out, attends in stages:
            sizes = [(h, out)] + [(out, out)] * (blocks - 1)
            h = out
            shrinks = index < len(stages) - 1
            skips += [out] * (blocks + shrinks)
            end = Resample(out, "down", resample[0], bias) if shrinks else None
            down.append(Stage(sizes, [attends] * blocks, end, block))
        self.middle = Stage([(h, h)] * len(middle), middle, None, block)
        for index, out, attends in reversed(stages):
            sizes = []
            for _ in range(blocks + 1):
                sizes.append((h + skips.pop(), out))
                h = out
            end = Resample(out, "up", resample[1], bias) if index else None
            up.append(Stage(sizes, [attends] * (blocks + 1), end, block))
        self.down, self.up = nnx.List(down), nnx.List(up)
        self.norm = GroupNorm(h, groups=block["groups"])
        self.head = Conv(h, channels, bias=bias)

    def __call__(
        self,
        x: jax.Array,
        t: jax.Array,
        y: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
    ) -> jax.Array:
        check_conditions("unet_paper", x, t, y, self.channels, self.num_classes)
        if any(side % self.divisor for side in x.shape[-3:-1]):
            wanted = f"of sides divisible by {self.divisor}"
            raise checks.fail("unet_paper", "x", f"shape {x.shape}", wanted)
        images, t, y = merge_batch(x, t, y)
        condition = self._condition(t, y, accumulation_dtype(x))
        condition = condition.astype(x.dtype)[:, None, None, :]
        keys = _keys(key)
        h = self.stem(images)
        skips = [h]
        for stage in self.down:
            for block in stage.blocks:
                h = run_block(block, self.recompute, h, condition, next(keys))
                skips.append(h)
            if stage.end is not None:
                h = stage.end(h)
                skips.append(h)
        for block in self.middle.blocks:
            h = run_block(block, self.recompute, h, condition, next(keys))
        for stage in self.up:
            for block in stage.blocks:
                h = jnp.concatenate([h, skips.pop()], -1)
                h = run_block(block, self.recompute, h, condition, next(keys))
            h = h if stage.end is None else stage.end(h)
        return self.head(jax.nn.silu(self.norm(h))).reshape(x.shape)

    def _condition(
        self, t: jax.Array, y: jax.Array | None, dtype: jnp.dtype
    ) -> jax.Array:
        wave = sinusoidal_embedding(t - 1, width=self.width, dtype=dtype)
        condition = self.step2(jax.nn.silu(self.step1(wave)))
        if self.label is not None and y is not None:
            condition = condition + self.label(y)
        return jax.nn.silu(condition)


def _keys(key: jax.Array | None) -> Iterator[jax.Array | None]:
    """One key a block, or None for ever."""
    for index in itertools.count():
        yield None if key is None else jax.random.fold_in(key, index)


class Stage(nnx.Module):
    """The blocks of one resolution and the change of resolution after them."""

    def __init__(
        self,
        sizes: list[tuple[int, int]],
        attends: list[bool],
        end: Any,
        options: dict[str, Any],
    ):
        self.blocks = nnx.List(
            [
                PaperBlock(into, out, attention=attention, **options)
                for (into, out), attention in zip(sizes, attends, strict=True)
            ]
        )
        self.end = end


class Resample(nnx.Module):
    """Half ("down") or twice ("up") the sides, with a 3x3 convolution or without."""

    def __init__(self, width: int, direction: str, conv: bool, bias: bool):
        self.direction = direction
        stride = 2 if direction == "down" else 1
        layer = Conv(width, width, stride=stride, bias=bias) if conv else None
        self.conv: Any = layer

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.direction == "up":
            x = nearest_upsample(x)
        elif self.conv is None:
            x = average_pool(x)
        return x if self.conv is None else self.conv(x)


class PaperBlock(nnx.Module):
    """``skip(x) + conv(drop(swish(norm(conv(swish(norm(x))) + W condition))))``."""

    def __init__(
        self,
        in_width: int,
        width: int,
        *,
        attention: bool,
        condition_width: int,
        groups: int,
        bias: bool,
        dropout_rate: float,
        last_scale: float,
    ):
        same = in_width == width
        self.skip: Any = None if same else Dense(in_width, width, bias=bias)
        self.norm1 = GroupNorm(in_width, groups=groups)
        self.conv1 = Conv(in_width, width, bias=bias)
        self.condition = Dense(condition_width, width, bias=bias)
        self.norm2 = GroupNorm(width, groups=groups)
        self.conv2 = Conv(width, width, bias=bias, scale=last_scale)
        layer = {"groups": groups, "bias": bias, "last_scale": last_scale}
        self.attention: Any = None if not attention else SelfAttention(width, **layer)
        self.dropout_rate = dropout_rate

    def __call__(
        self, x: jax.Array, condition: jax.Array, key: jax.Array | None
    ) -> jax.Array:
        skip = x if self.skip is None else self.skip(x)
        h = self.conv1(jax.nn.silu(self.norm1(x))) + self.condition(condition)
        h = dropout(jax.nn.silu(self.norm2(h)), key, rate=self.dropout_rate)
        h = skip + self.conv2(h)
        return h if self.attention is None else self.attention(h)


class SelfAttention(nnx.Module):
    """``x + W softmax(q k^T / sqrt(c)) v`` over the pixels, one head, after a norm."""

    def __init__(self, width: int, *, groups: int, bias: bool, last_scale: float):
        self.norm = GroupNorm(width, groups=groups)
        self.query = Dense(width, width, bias=bias)
        self.key = Dense(width, width, bias=bias)
        self.value = Dense(width, width, bias=bias)
        self.out = Dense(width, width, bias=bias, scale=last_scale)

    def __call__(self, x: jax.Array) -> jax.Array:
        b, h, w, c = x.shape
        pixels = self.norm(x).reshape(b, h * w, c)
        q, k, v = self.query(pixels), self.key(pixels), self.value(pixels)
        scores = jnp.einsum(
            "bnc,bmc->bnm", q, k, preferred_element_type=accumulation_dtype(x)
        )
        weights = jax.nn.softmax(scores * c**-0.5, -1).astype(x.dtype)
        mixed = jnp.einsum("bnm,bmc->bnc", weights, v)
        return x + self.out(mixed).reshape(x.shape)
