"""The blog author's small U-Net: skips are added, norms come after the sum, no bias."""

import itertools
from typing import Any

import jax
from flax import nnx

from kexue_jax._base import checks
from kexue_jax.models.conditioning import check_conditions, check_network, merge_batch
from kexue_jax.models.functional import Model, functional
from kexue_jax.models.layers import (
    Conv,
    Dense,
    Embedding,
    GroupNorm,
    average_pool,
    label_embedding,
    nearest_upsample,
    run_block,
)


def unet_small(
    *,
    T: int = 1000,
    channels: int = 3,
    width: int = 128,
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4, 4),
    blocks: int = 2,
    min_side: int = 4,
    groups: int = 32,
    num_classes: int | None = None,
    recompute: bool = False,
) -> Model:
    """The author's small U-Net, ``apply(params, x, t) -> eps`` like ``x``.

    A stage is ``blocks`` residual blocks ``norm(x + swish(conv(swish(conv(x + W
    e_t)))))``, e_t row t of a trainable table, and a 2x2 average pool while the sides
    are even and above ``min_side``; one block in the middle; the mirror image upwards,
    where skips are added. With ``num_classes`` the call is ``apply(params, x, t, y)``
    and y = num_classes means "no label". With ``recompute`` the backward pass computes
    the inside of the blocks again instead of keeping it: less memory, more time.

    Shapes: x [..., h, w, channels], t [...] (steps 1..T, integers, or floating between
    them), y [...] integers in 0..num_classes -> [..., h, w, channels].
    Article: kexue.fm/archives/9152.  Paper: arXiv 2006.11239.
    Differs: the author's code (Keras-DDPM, ddpm.py) takes t in 0..T-1 and fails at odd
    sides, where this one stops pooling; groups are gcd(width, groups) where the width
    is no multiple of 32; class labels are an addition.
    Cost: 50.5 million parameters at the defaults, 25.3 at ``blocks=1``.
    Raises: TypeError or ValueError for a bad argument or shape, when built or traced.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.models import unet_small
        >>> model = unet_small(channels=1, width=8, multipliers=(1, 2))
        >>> params = model.init(jax.random.key(0))
        >>> x, t = jnp.zeros((2, 8, 8, 1)), jnp.array([1, 1000])
        >>> model.apply(params, x, t).shape
        (2, 8, 8, 1)
    """
    checks.count("unet_small", "T", T)
    checks.count("unet_small", "min_side", min_side)
    checks.flag("unet_small", "recompute", recompute)
    check_network(
        "unet_small",
        channels=channels,
        width=width,
        multipliers=multipliers,
        blocks=blocks,
        groups=groups,
        num_classes=num_classes,
    )
    options = (T, channels, width, tuple(multipliers), blocks, min_side, groups)
    return functional(lambda rngs: UNetSmall(*options, num_classes, recompute))


class UNetSmall(nnx.Module):
    """The network of ``unet_small``."""

    def __init__(
        self,
        T: int,
        channels: int,
        width: int,
        multipliers: tuple[int, ...],
        blocks: int,
        min_side: int,
        groups: int,
        num_classes: int | None,
        recompute: bool,
    ):
        self.recompute = recompute
        scale = (2 * len(multipliers) + 1) ** -0.5

        def stage(into: int, widths: list[int]) -> nnx.List:
            pairs = zip([into, *widths[:-1]], widths, strict=True)
            return nnx.List([SmallBlock(i, o, width, groups, scale) for i, o in pairs])

        self.channels, self.min_side = channels, min_side
        self.num_classes = num_classes
        self.step = Embedding(T, width)
        self.label = label_embedding(num_classes, width)
        self.stem = Conv(channels, width)
        widths = [width, *(m * width for m in multipliers)]
        pairs = list(itertools.pairwise(widths))
        self.down = nnx.List([stage(i, [o] * blocks) for i, o in pairs])
        self.middle = SmallBlock(widths[-1], widths[-1], width, groups, scale)
        self.up = nnx.List(
            [stage(o, [o] * (blocks - 1) + [i]) for i, o in reversed(pairs)]
        )
        self.norm = GroupNorm(width, groups=groups)
        self.head = Conv(width, channels)

    def __call__(
        self, x: jax.Array, t: jax.Array, y: jax.Array | None = None
    ) -> jax.Array:
        check_conditions("unet_small", x, t, y, self.channels, self.num_classes)
        images, t, y = merge_batch(x, t, y)
        condition = self.step(t - 1)
        if self.label is not None and y is not None:
            condition = condition + self.label(y)
        condition = condition.astype(x.dtype)[:, None, None, :]
        h = self.stem(images)
        skips, pooled = [h], []
        for stage in self.down:
            for block in stage:
                h = run_block(block, self.recompute, h, condition)
                skips.append(h)
            pooled.append(self._pools(h))
            if pooled[-1]:
                h = average_pool(h)
                skips.append(h)
        h = run_block(self.middle, self.recompute, h, condition)
        skips.pop()
        for stage in self.up:
            if pooled.pop():
                h = nearest_upsample(h) + skips.pop()
            for block in stage:
                h = run_block(block, self.recompute, h, condition) + skips.pop()
        return self.head(self.norm(h)).reshape(x.shape)

    def _pools(self, h: jax.Array) -> bool:
        sides = h.shape[1:3]
        return min(sides) > self.min_side and not any(side % 2 for side in sides)


class SmallBlock(nnx.Module):
    """``norm(skip(x) + swish(conv(swish(conv(x + W condition)))))``."""

    def __init__(
        self,
        in_width: int,
        width: int,
        condition_width: int,
        groups: int,
        scale: float,
    ):
        same = in_width == width
        self.skip: Any = None if same else Dense(in_width, width)
        self.condition = Dense(condition_width, in_width)
        self.conv1 = Conv(in_width, width, scale=scale)
        self.conv2 = Conv(width, width, scale=scale)
        self.norm = GroupNorm(width, groups=groups)

    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        skip = x if self.skip is None else self.skip(x)
        h = jax.nn.silu(self.conv1(x + self.condition(condition)))
        return self.norm(skip + jax.nn.silu(self.conv2(h)))
