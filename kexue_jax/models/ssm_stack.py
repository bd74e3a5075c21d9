"""Residual networks of state spaces and recurrences, whole and token by token.

The mixer over time plugs in by name: S4, S4D, S5, LRU, SLRU, RTF, RWKV-4, retention,
Mamba. All else is the same, so that what differs between two networks is the mixer.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from kexue_jax._base import checks
from kexue_jax.models.functional import Params, functional, uniform_param
from kexue_jax.models.layers import Dense, dropout
from kexue_jax.models.ssm_mixers import (
    RtfMixer,
    S4dMixer,
    S4Mixer,
    SystemMixer,
    rest,
)
from kexue_jax.models.ssm_mixers_gated import MambaMixer, RetentionMixer, RwkvMixer
from kexue_jax.models.transformer import LayerNorm

MIXERS = ("s4", "s4d", "s5", "lru", "slru", "rtf", "rwkv", "retention", "mamba")
HEADS = ("token", "pooled")
TRUNCATED = ("s4", "rtf")  # whose parameters belong to one length
EVEN = ("s4", "s4d", "s5")  # whose states come in conjugate pairs


class SsmStack(NamedTuple):
    """A network over time as pure functions.

    ``init(key) -> params``; ``apply(params, inputs, key=None)`` is the network on whole
    sequences, in parallel; ``start(params, lead)`` is its state before the first input
    of sequences of leading shape lead, and ``step(params, state, input) -> (state,
    out)`` takes one more.

    Article: none; Paper: none (how this library holds a network that has a state).
    """

    init: Callable[[jax.Array], Params]
    apply: Callable[..., Any]
    start: Callable[..., Any]
    step: Callable[..., Any]


def ssm_stack(
    *,
    mixer: str,
    outputs: int,
    vocabulary: int | None = None,
    channels: int | None = None,
    head: str = "token",
    width: int = 64,
    state_size: int = 64,
    layers: int = 2,
    hidden: int | None = None,
    heads: int = 4,
    length: int | None = None,
    dropout_rate: float = 0.0,
) -> SsmStack:
    """A residual network of state spaces, ``apply(params, inputs) -> logits``.

    x = word[tokens], or W_in inputs; in each layer x += mix(norm(x)), and with
    ``hidden`` x += W_2 gelu(W_1 norm(x)); logits = W norm(x) + b for every token, or,
    head="pooled", W mean over the tokens + b. "s4", "s4d", "s5", "lru", "slru", "rtf"
    mix by their recurrence, then gelu and a gated linear unit; "rwkv" is the time
    mixing of RWKV-4, "retention" multi-scale retention of ``heads`` heads, "mamba" the
    block of Mamba. ``state_size`` is the number of states, of a channel for "s4",
    "s4d", "rtf" and "mamba" and of a layer for "s5", "lru", "slru".

    Shapes: tokens [..., n], integers from 0 to vocabulary - 1 (others are clipped), or
    sequences [..., n, channels], real -> logits [..., n, outputs], or [..., outputs]
    for head="pooled". ``step`` takes one token [...], or [..., channels], and gives
    the logits after it.
    Article: kexue.fm/archives/9554 (10162, 10180).  Paper: arXiv 2111.00396,
    2206.11893, 2208.04933, 2303.06349, 2405.06147, 2305.13048, 2307.08621, 2312.00752.
    Differs: norms first and one shape of network for all. "s4" and "rtf" have their
    parameters for sequences of at most ``length``. Retention has no rotation. RTF is
    parametrized by reflections, so it is stable throughout.
    Cost: what the mixer costs, and 2 n width (2 hidden) flops a layer. The states of
    "s4" and "rtf" hold their rows of outputs, for which ``start`` solves once:
    O(state_size^3 log length) a channel; a step is O(state_size).
    Raises: TypeError or ValueError for a bad argument or shape, when built or traced.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.models import ssm_stack
        >>> model = ssm_stack(mixer="s4d", outputs=10, channels=1, head="pooled")
        >>> params = model.init(jax.random.key(0))
        >>> model.apply(params, jnp.zeros((2, 30, 1))).shape
        (2, 10)
    """
    name = "ssm_stack"
    checks.choice(name, "mixer", mixer, MIXERS)
    checks.choice(name, "head", head, HEADS)
    _check_sizes(
        name,
        outputs=outputs,
        width=width,
        state_size=state_size,
        layers=layers,
        heads=heads,
        vocabulary=vocabulary,
        channels=channels,
        hidden=hidden,
        length=length,
    )
    if (vocabulary is None) == (channels is None):
        got = "both" if vocabulary else "neither"
        raise checks.fail(name, "vocabulary", got, "given, or `channels`, not both")
    if mixer in TRUNCATED and length is None:
        wanted = f"the longest sequence, for the mixer {mixer!r}"
        raise checks.fail(name, "length", "None", wanted)
    if mixer in EVEN and state_size % 2:
        raise checks.fail(name, "state_size", state_size, f"even for {mixer!r}")
    if mixer == "retention" and width % heads:
        raise checks.fail(name, "heads", heads, f"a divisor of width = {width}")
    limits: dict[str, Any] = {"minimum": 0, "maximum": 1, "open_maximum": True}
    checks.number(name, "dropout_rate", dropout_rate, **limits)

    def build(kind: type) -> Callable[..., Any]:
        def construct(rngs: nnx.Rngs) -> nnx.Module:
            mixers = [
                _mixer(mixer, width, state_size, heads, length, rngs)
                for _ in range(layers)
            ]
            blocks = [Block(m, width, hidden, layers, dropout_rate) for m in mixers]
            return kind(blocks, width, outputs, vocabulary, channels, head, length)

        return construct

    whole, single, first = (
        functional(build(kind)) for kind in (Stack, StackStep, StackStart)
    )
    return SsmStack(whole.init, whole.apply, first.apply, single.apply)


def _check_sizes(function: str, **sizes: Any) -> None:
    optional = ("vocabulary", "channels", "hidden", "length")
    for argument, value in sizes.items():
        if not (value is None and argument in optional):
            checks.count(function, argument, value)


def _mixer(
    kind: str, width: int, size: int, heads: int, length: int | None, rngs: nnx.Rngs
) -> Any:
    if kind == "s4":
        return S4Mixer(width, size, length or 1)
    if kind == "rtf":
        return RtfMixer(width, size, length or 1)
    if kind == "s4d":
        return S4dMixer(width, size)
    if kind == "rwkv":
        return RwkvMixer(width)
    if kind == "retention":
        return RetentionMixer(width, heads)
    if kind == "mamba":
        return MambaMixer(width, size)
    return SystemMixer(kind, width, size, rngs)


class Stack(nnx.Module):
    """The network of ``ssm_stack`` on whole sequences."""

    def __init__(
        self,
        blocks: "list[Block]",
        width: int,
        outputs: int,
        vocabulary: int | None,
        channels: int | None,
        head: str,
        length: int | None,
    ):
        if vocabulary is not None:
            self.word = uniform_param((vocabulary, width), bound=0.05)
        else:
            self.enter = Dense(channels or 1, width, bias=True)
        self.blocks, self.norm = nnx.List(blocks), LayerNorm(width)
        self.out = Dense(width, outputs, bias=True)
        self.head, self.channels, self.length = head, channels, length

    def _embed(self, inputs: Any, pattern: str) -> jax.Array:
        """``[..., width]`` of tokens or of vectors, checked."""
        if self.channels is None:
            checks.array("ssm_stack", "inputs", inputs, "integer")
            checks.shapes("ssm_stack", inputs=(inputs, pattern))
            word = jnp.asarray(self.word[...])
            return word[jnp.clip(inputs, 0, word.shape[0] - 1)]
        checks.array("ssm_stack", "inputs", inputs)
        wanted = f"{pattern} {self.channels}"
        checks.shapes("ssm_stack", inputs=(inputs, wanted))
        return self.enter(inputs)

    def __call__(self, inputs: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        x = self._embed(inputs, "... n")
        n = x.shape[-2]
        if n == 0 or (self.length is not None and n > self.length):
            wanted = "of at least one token and at most `length`"
            raise checks.fail("ssm_stack", "inputs", f"{n} of them", wanted)
        for number, block in enumerate(self.blocks):
            drawn = None if key is None else jax.random.fold_in(key, number)
            x = block(x, drawn)
        x = self.norm(x)
        return self.out(x.mean(-2) if self.head == "pooled" else x)


class StackStep(Stack):
    """The same network on one more input."""

    def __call__(self, state: Any, inputs: jax.Array) -> Any:
        x = self._embed(inputs, "...")
        mixers, total, count = state
        after = []
        for memory, block in zip(mixers, self.blocks, strict=True):
            memory, x = block.step(memory, x)
            after.append(memory)
        x = self.norm(x)
        total, count = total + x.astype(total.dtype), count + 1
        if self.head == "pooled":
            x = (total / count).astype(x.dtype)
        return (tuple(after), total, count), self.out(x)


class StackStart(Stack):
    """The state of the same network before the first input."""

    def __call__(self, lead: tuple[int, ...]) -> Any:
        if not isinstance(lead, tuple):
            got = f"a {type(lead).__name__}"
            raise checks.fail_type("ssm_stack", "lead", got, "a tuple of sizes")
        width = self.out.kernel[...].shape[0]
        memories = tuple(block.mixer.start(lead) for block in self.blocks)
        total = rest((*lead, width), self.out.kernel)
        return memories, total, jnp.zeros((), total.dtype)


class Block(nnx.Module):
    """A mixer and perhaps a feed-forward network, each beside the identity."""

    def __init__(
        self,
        mixer: Any,
        width: int,
        hidden: int | None,
        layers: int,
        dropout_rate: float,
    ):
        self.mixer, self.norm, self.rate = mixer, LayerNorm(width), dropout_rate
        self.fed = hidden is not None
        if hidden is not None:
            self.feed_norm = LayerNorm(width)
            self.wide = Dense(width, hidden, bias=True)
            self.narrow = Dense(hidden, width, bias=True, scale=1 / (2 * layers))

    def __call__(self, x: jax.Array, key: jax.Array | None) -> jax.Array:
        first, second = (None, None) if key is None else jax.random.split(key)
        x = x + dropout(self.mixer(self.norm(x)), first, rate=self.rate)
        return x + dropout(self._feed(x), second, rate=self.rate)

    def step(self, memory: Any, x: jax.Array) -> tuple[Any, jax.Array]:
        memory, mixed = self.mixer.step(memory, self.norm(x))
        x = x + mixed
        return memory, x + self._feed(x)

    def _feed(self, x: jax.Array) -> jax.Array:
        if not self.fed:
            return jnp.zeros_like(x)
        return self.narrow(jax.nn.gelu(self.wide(self.feed_norm(x))))
