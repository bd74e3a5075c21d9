"""Small networks for GANs: no norms, leaky ReLU, and so piecewise linear critics."""

import itertools
from typing import Any

import jax
from flax import nnx

from kexue_jax._base import checks
from kexue_jax.models.functional import Model, functional
from kexue_jax.models.layers import Conv, Dense, average_pool, nearest_upsample


def leaky_perceptron(
    *, sizes: tuple[int, ...], slope: float = 0.2, bias: bool = True, tanh: bool = False
) -> Model:
    """A perceptron of leaky ReLUs, ``apply(params, x) -> y``: critic or generator.

    h = leaky(W h + b) in each layer but the last, which is W h + b, or the hyperbolic
    tangent of that with ``tanh`` (images in [-1, 1]).

    Shapes: x [..., sizes[0]] -> y [..., sizes[-1]].
    Article: none; Paper: none (the usual network).
    Differs: no.
    Cost: 2 sizes[l] sizes[l + 1] flops a layer.
    Raises: TypeError or ValueError for a bad argument or shape, when built or traced.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.models import leaky_perceptron
        >>> model = leaky_perceptron(sizes=(2, 16, 1))
        >>> params = model.init(jax.random.key(0))
        >>> model.apply(params, jnp.zeros((5, 2))).shape
        (5, 1)
    """
    name = "leaky_perceptron"
    if not isinstance(sizes, (tuple, list)):
        got = f"a {type(sizes).__name__}"
        raise checks.fail_type(name, "sizes", got, "a tuple of integers")
    if len(sizes) < 2:
        raise checks.fail(name, "sizes", sizes, "at least two integers")
    for size in sizes:
        checks.count(name, "sizes", size)
    checks.number(name, "slope", slope, minimum=0, maximum=1)
    checks.flag(name, "bias", bias)
    checks.flag(name, "tanh", tanh)
    return functional(lambda rngs: Perceptron(tuple(sizes), slope, bias, tanh))


def gan_critic(
    *,
    sides: tuple[int, int],
    channels: int = 1,
    width: int = 32,
    stages: int = 2,
    slope: float = 0.2,
) -> Model:
    """A convolutional critic, ``apply(params, x) -> values``, piecewise linear.

    In stage s a 3x3 convolution to 2^s width channels, leaky ReLU and a 2x2 average
    pool; then one linear layer over all that is left.

    Shapes: x [..., h, w, channels] with (h, w) = sides -> [...].
    Article: none; Paper: none (after arXiv 1511.06434).
    Differs: pools instead of strided convolutions, whose second derivatives XLA
    computes slowly on a CPU; no batch norm, which would mix the examples.
    Cost: 18 h w width (channels + width) flops about, for two stages.
    Raises: TypeError or ValueError for a bad argument or shape, when built or traced,
    sides that 2^stages does not divide.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.models import gan_critic
        >>> model = gan_critic(sides=(8, 8), width=4)
        >>> params = model.init(jax.random.key(0))
        >>> model.apply(params, jnp.zeros((5, 8, 8, 1))).shape
        (5,)
    """
    name = "gan_critic"
    _check_images(name, sides, channels, width, stages, slope)
    return functional(lambda rngs: ConvCritic(sides, channels, width, stages, slope))


def gan_generator(
    *,
    sides: tuple[int, int],
    noise: int = 64,
    channels: int = 1,
    width: int = 32,
    stages: int = 2,
    slope: float = 0.2,
) -> Model:
    """A convolutional generator, ``apply(params, z) -> images`` in (-1, 1).

    A linear layer to 2^(stages - 1) width channels of sides / 2^stages; in each stage
    every pixel twice along both sides, a 3x3 convolution, to half the channels from
    the second on, and leaky ReLU; a last 3x3 convolution and the hyperbolic tangent.

    Shapes: z [..., noise] -> [..., h, w, channels] with (h, w) = sides.
    Article: none; Paper: none (after arXiv 1511.06434).
    Differs: upsampling and convolution instead of a transposed convolution, whose
    gradient is slow on a CPU; no batch norm.
    Cost: 18 h w width (channels + width) flops about, for two stages.
    Raises: TypeError or ValueError for a bad argument or shape, when built or traced,
    sides that 2^stages does not divide.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.models import gan_generator
        >>> model = gan_generator(sides=(8, 8), noise=3, width=4)
        >>> params = model.init(jax.random.key(0))
        >>> model.apply(params, jnp.zeros((5, 3))).shape
        (5, 8, 8, 1)
    """
    name = "gan_generator"
    _check_images(name, sides, channels, width, stages, slope)
    checks.count(name, "noise", noise)
    return functional(
        lambda rngs: ConvGenerator(sides, noise, channels, width, stages, slope)
    )


class Perceptron(nnx.Module):
    """The network of ``leaky_perceptron``."""

    def __init__(self, sizes: tuple[int, ...], slope: float, bias: bool, tanh: bool):
        pairs = itertools.pairwise(sizes)
        self.layers = nnx.List([Dense(i, o, bias=bias, scale=2.0) for i, o in pairs])
        self.inputs, self.slope, self.tanh = sizes[0], slope, tanh

    def __call__(self, x: jax.Array) -> jax.Array:
        checks.array("leaky_perceptron", "x", x)
        checks.shapes("leaky_perceptron", x=(x, f"... {self.inputs}"))
        *hidden, last = self.layers
        for layer in hidden:
            x = jax.nn.leaky_relu(layer(x), self.slope)
        x = last(x)
        return jax.nn.tanh(x) if self.tanh else x


class ConvCritic(nnx.Module):
    """The network of ``gan_critic``."""

    def __init__(
        self, sides: Any, channels: int, width: int, stages: int, slope: float
    ):
        widths = [channels, *(width * 2**s for s in range(stages))]
        pairs = itertools.pairwise(widths)
        self.convs = nnx.List([Conv(i, o, bias=True, scale=2.0) for i, o in pairs])
        left = widths[-1] * (sides[0] >> stages) * (sides[1] >> stages)
        self.out = Dense(left, 1, bias=True)
        self.pattern = f"... {sides[0]} {sides[1]} {channels}"
        self.slope = slope

    def __call__(self, x: jax.Array) -> jax.Array:
        checks.array("gan_critic", "x", x)
        checks.shapes("gan_critic", x=(x, self.pattern))
        lead = x.shape[:-3]
        h = x.reshape(-1, *x.shape[-3:])
        for conv in self.convs:
            h = average_pool(jax.nn.leaky_relu(conv(h), self.slope))
        return self.out(h.reshape(h.shape[0], -1)).reshape(lead)


class ConvGenerator(nnx.Module):
    """The network of ``gan_generator``."""

    def __init__(
        self,
        sides: Any,
        noise: int,
        channels: int,
        width: int,
        stages: int,
        slope: float,
    ):
        widths = [width * 2**s for s in range(stages)][::-1]
        self.start = (sides[0] >> stages, sides[1] >> stages, widths[0])
        left = self.start[0] * self.start[1] * self.start[2]
        self.dense = Dense(noise, left, bias=True, scale=2.0)
        pairs = zip([widths[0], *widths[:-1]], widths, strict=True)
        self.convs = nnx.List([Conv(i, o, bias=True, scale=2.0) for i, o in pairs])
        self.out = Conv(width, channels, bias=True)
        self.noise, self.slope = noise, slope

    def __call__(self, z: jax.Array) -> jax.Array:
        checks.array("gan_generator", "z", z)
        checks.shapes("gan_generator", z=(z, f"... {self.noise}"))
        h = self.dense(z.reshape(-1, self.noise)).reshape(-1, *self.start)
        for conv in self.convs:
            h = jax.nn.leaky_relu(conv(nearest_upsample(h)), self.slope)
        images = jax.nn.tanh(self.out(h))
        return images.reshape(*z.shape[:-1], *images.shape[1:])


def _check_images(
    name: str, sides: Any, channels: Any, width: Any, stages: Any, slope: Any
) -> None:
    checks.count(name, "channels", channels)
    checks.count(name, "width", width)
    checks.count(name, "stages", stages)
    checks.number(name, "slope", slope, minimum=0, maximum=1)
    if not isinstance(sides, (tuple, list)) or len(sides) != 2:
        raise checks.fail_type(name, "sides", sides, "a pair of integers")
    for side in sides:
        checks.count(name, "sides", side)
        if side % 2**stages:
            wanted = f"divisible by 2^stages = {2**stages}"
            raise checks.fail(name, "sides", sides, wanted)
