"""Residual wirings: where the norm stands, how stream and branch are weighted."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.theory.normalization import layer_norm

WIRINGS = ("post", "pre", "none", "rezero", "deepnorm")
OPTIMIZERS = ("paper", "sgd", "adam", "lamb")

Branch = Callable[[jax.Array], jax.Array]


class DeepNorm(NamedTuple):
    """``alpha``, the weight of the stream, and ``gain``, that of the branch's start."""

    alpha: float
    gain: float


class StreamMoments(NamedTuple):
    """What a stream is made of after each sublayer, by second moments alone.

    ``variance`` [l + 1] of x_0..x_l; ``identity`` [l + 1] the weight of x_0 in x_l, for
    l sublayers: the gradient along the identity path.
    """

    variance: jax.Array
    identity: jax.Array


def residual_block(
    x: jax.Array,
    branch: Branch,
    *,
    wiring: str,
    norm: Branch | None = None,
    alpha: float | jax.Array = 1.0,
    gain: float | jax.Array = 1.0,
) -> jax.Array:
    """One sublayer of a residual network: the stream after a branch has been added.

    By ``wiring``: "post" norm(x + F(x)); "pre" x + F(norm(x)); "none" x + F(x);
    "rezero" x + gain F(x), gain 0 at the start; "deepnorm" norm(alpha x + F(x)).
    F is ``branch``; in every wiring alpha multiplies x and gain multiplies F.

    Shapes: x [...], branch and norm functions of [...] to [...] -> [...].
    Article: kexue.fm/archives/8620, 8747, 8978.  Paper: arXiv 2002.04745, 2003.04887,
    2203.00555.
    Differs: SkipInit is "rezero"; Fixup is "none" with the last kernel of each branch 0
    at the start. norm None is ``layer_norm`` without parameters.
    Cost: that of branch and norm.
    Raises: TypeError or ValueError for an ``x`` that is no floating array, a branch or
    a norm that is no function or changes the shape, an unknown wiring, weights that are
    no finite numbers and no floating scalars.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import residual_block
        >>> half = lambda x: x / 2
        >>> print(residual_block(jnp.ones(2), half, wiring="rezero", gain=0.5))
        [1.25 1.25]
    """
    name = "residual_block"
    checks.array(name, "x", x)
    if x.ndim < 1:
        raise checks.fail(name, "x", "shape ()", "of shape [..., d]")
    checks.function(name, "branch", branch)
    checks.choice(name, "wiring", wiring, WIRINGS)
    norm = layer_norm if norm is None else norm
    checks.function(name, "norm", norm)
    checks.number(name, "alpha", alpha, traced=True)
    checks.number(name, "gain", gain, traced=True)

    def kept(argument: str, function: Branch, value: jax.Array) -> jax.Array:
        result = function(value)
        if jnp.shape(result) != value.shape:
            got = f"a result of shape {jnp.shape(result)}"
            raise checks.fail(name, argument, got, f"a function to shape {value.shape}")
        return result

    wide = accumulation_dtype(x)
    before = kept("norm", norm, x) if wiring == "pre" else x
    moved = gain * kept("branch", branch, before).astype(wide)
    moved = (alpha * x.astype(wide) + moved).astype(x.dtype)
    return kept("norm", norm, moved) if wiring in ("post", "deepnorm") else moved


def stream_moments(
    branches: jax.Array, *, wiring: str, alpha: float | jax.Array = 1.0
) -> StreamMoments:
    """The variance of the stream and the weight of its start after each sublayer.

    With branches of variance s_k of an input of variance 1 and independent of it:
    "post": variance 1, identity prod_k (1 + s_k)^(-1/2); "deepnorm": variance 1,
    identity prod_k alpha (alpha^2 + s_k)^(-1/2); "pre": variance 1 + sum_k s_k,
    identity 1; "none": variance prod_k (1 + s_k), identity 1 ("rezero" is "none" with
    the s_k times the squared gains).

    Shapes: branches [..., l], the s_k >= 0 -> StreamMoments of [..., l + 1].
    Article: kexue.fm/archives/8620, 8747, 8978.  Paper: arXiv 2002.04745.
    Differs: the article concludes from this that gradients of Post-LN vanish. It is the
    identity path alone that does: the branches carry the rest, and at the start the
    gradient of an encoder's stream is within a factor of 3 at any depth measured
    (``signal_gradient_profile``).
    Cost: prefix sums.
    Raises: TypeError or ValueError for ``branches`` that are no floating [..., l], an
    unknown wiring, an ``alpha`` that is no finite number and no floating scalar.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import stream_moments
        >>> print(stream_moments(jnp.ones(2), wiring="post").identity.round(4))
        [1.     0.7071 0.5   ]
    """
    name = "stream_moments"
    checks.array(name, "branches", branches)
    if branches.ndim < 1:
        raise checks.fail(name, "branches", "shape ()", "of shape [..., l]")
    checks.choice(name, "wiring", wiring, WIRINGS)
    checks.number(name, "alpha", alpha, traced=True)
    wide = branches.astype(accumulation_dtype(branches))
    one = jnp.ones_like(wide[..., :1])
    ones = jnp.concatenate([one, jnp.ones_like(wide)], axis=-1)

    def product(factors: jax.Array) -> jax.Array:
        return jnp.cumprod(jnp.concatenate([one, factors], axis=-1), axis=-1)

    if wiring == "pre":
        variance, identity = ones.at[..., 1:].add(jnp.cumsum(wide, axis=-1)), ones
    elif wiring in ("post", "deepnorm"):
        weight = jnp.asarray(alpha if wiring == "deepnorm" else 1.0, wide.dtype)
        variance = ones
        identity = product(weight * jax.lax.rsqrt(weight**2 + wide))
    else:
        variance, identity = product(1 + wide), ones
    return StreamMoments(
        variance.astype(branches.dtype), identity.astype(branches.dtype)
    )


def deepnorm_constants(*, num_layers: int, optimizer: str = "paper") -> DeepNorm:
    """The weights of DeepNorm for an encoder of so many layers.

    norm(alpha x + F(x)), the kernels of values, outputs and feed-forwards started gain
    times smaller. For N layers, two sublayers each: "paper" alpha = (2N)^(1/4), gain =
    (8N)^(-1/4); the article's own analysis "sgd" alpha = (2N)^(1/4), gain = 1/alpha;
    "adam" alpha = (2N)^(1/2), gain = 1/alpha; "lamb" alpha = 1, gain = (2N)^(-1/2).

    Shapes: -> DeepNorm of Python floats.
    Article: kexue.fm/archives/8978.  Paper: arXiv 2203.00555, table 1.
    Differs: for encoders only; the paper has other values for decoders beside them.
    Cost: none worth the name.
    Raises: TypeError or ValueError for a number of layers below 1, an unknown
    optimizer.
    Example:
        >>> from kexue_jax.theory import deepnorm_constants
        >>> [round(constant, 4) for constant in deepnorm_constants(num_layers=8)]
        [2.0, 0.3536]
    """
    name = "deepnorm_constants"
    checks.count(name, "num_layers", num_layers)
    checks.choice(name, "optimizer", optimizer, OPTIMIZERS)
    n = float(num_layers)
    if optimizer == "lamb":
        return DeepNorm(1.0, (2 * n) ** -0.5)
    alpha = (2 * n) ** (0.5 if optimizer == "adam" else 0.25)
    return DeepNorm(alpha, (8 * n) ** -0.25 if optimizer == "paper" else 1 / alpha)
