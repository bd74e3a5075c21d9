"""A small image classifier, whose features serve the metrics of generated images."""

from typing import NamedTuple

import jax
from flax import nnx

from kexue_jax._base import checks
from kexue_jax.models.conditioning import check_network
from kexue_jax.models.functional import Model, functional
from kexue_jax.models.layers import Conv, Dense, GroupNorm, average_pool, dropout


class ClassifierOutput(NamedTuple):
    """What ``image_classifier`` returns: logits and the features they come from.

    Article: none; Paper: none.
    """

    logits: jax.Array
    features: jax.Array


def image_classifier(
    *,
    num_classes: int,
    channels: int = 1,
    width: int = 32,
    multipliers: tuple[int, ...] = (1, 2),
    feature_width: int = 64,
    groups: int = 8,
    dropout_rate: float = 0.0,
) -> Model:
    """A small convolutional classifier, ``apply(params, x) -> ClassifierOutput``.

    Each stage is two 3x3 convolutions with group norm and swish and a 2x2 average pool
    (where both sides are even); then features = swish(W mean over the pixels) and
    logits = W drop(features).

    Shapes: x [..., h, w, channels] -> logits [..., num_classes], features [...,
    feature_width].
    Article: none; Paper: none (a yardstick for generated images, not a method).
    Differs: no.
    Cost: 9 (channels width + width^2) parameters for the first stage.
    Raises: TypeError or ValueError for a bad argument or shape, when built or traced.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.models import image_classifier
        >>> model = image_classifier(num_classes=10, width=8)
        >>> params = model.init(jax.random.key(0))
        >>> output = model.apply(params, jnp.zeros((2, 8, 8, 1)))
        >>> output.logits.shape, output.features.shape
        ((2, 10), (2, 64))
    """
    name = "image_classifier"
    checks.count(name, "num_classes", num_classes)
    checks.count(name, "feature_width", feature_width)
    checks.number(
        name, "dropout_rate", dropout_rate, minimum=0, maximum=1, open_maximum=True
    )
    check_network(
        name,
        channels=channels,
        width=width,
        multipliers=multipliers,
        groups=groups,
    )
    widths = [m * width for m in multipliers]
    return functional(
        lambda rngs: Classifier(
            channels, widths, feature_width, num_classes, groups, dropout_rate
        )
    )


class Classifier(nnx.Module):
    """The network of ``image_classifier``."""

    def __init__(
        self,
        channels: int,
        widths: list[int],
        feature_width: int,
        num_classes: int,
        groups: int,
        dropout_rate: float,
    ):
        stages = []
        for into, out in zip([channels, *widths[:-1]], widths, strict=True):
            sizes = ((into, out), (out, out))
            stages.append(nnx.List([ConvBlock(i, o, groups) for i, o in sizes]))
        self.stages = nnx.List(stages)
        self.hidden = Dense(widths[-1], feature_width, bias=True)
        self.out = Dense(feature_width, num_classes, bias=True)
        self.channels, self.dropout_rate = channels, dropout_rate

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None
    ) -> ClassifierOutput:
        checks.array("image_classifier", "x", x)
        checks.shapes("image_classifier", x=(x, f"... h w {self.channels}"))
        h = x.reshape(-1, *x.shape[-3:])
        for stage in self.stages:
            for block in stage:
                h = block(h)
            if not any(side % 2 for side in h.shape[1:3]):
                h = average_pool(h)
        features = jax.nn.silu(self.hidden(h.mean((1, 2))))
        logits = self.out(dropout(features, key, rate=self.dropout_rate))
        lead = x.shape[:-3]
        return ClassifierOutput(logits.reshape(*lead, -1), features.reshape(*lead, -1))


class ConvBlock(nnx.Module):
    """``swish(norm(conv(x)))``."""

    def __init__(self, in_width: int, width: int, groups: int):
        self.conv = Conv(in_width, width)
        self.norm = GroupNorm(width, groups=groups)

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.silu(self.norm(self.conv(x)))
