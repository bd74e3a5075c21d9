"""How steep a function is: a bound from weights, difference quotients of samples."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks, trees
from kexue_jax._base.masks import safe_divide
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.generative._critics import (
    Critic,
    along_examples,
    check_batch,
    check_critic,
    example_norm,
)

NORMS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "spectral": lambda m: jnp.max(jnp.linalg.svd(m, compute_uv=False)),
    "frobenius": lambda m: jnp.sqrt(jnp.sum(jnp.square(m))),
    "largest": lambda m: jnp.max(jnp.abs(m)) * math.sqrt(m.size),
}


def lipschitz_upper_bound(params: Any, *, norm: str = "spectral") -> jax.Array:
    """A bound of the Lipschitz constant of a chain of layers, from its weights.

    prod_l s_l |W_l|, over the kernels W_l as matrices [m, out], with s_l = 1 for dense
    layers and sqrt(kh kw) for kernels [kh, kw, in, out] of convolutions (any stride,
    zeros around or a torus): the bound where activations have slopes of at most 1.

    |W| is the largest singular value, for "frobenius" the root of the sum of squares,
    for "largest" sqrt(m out) max|W|, which weights clipped to +-c bound by
    c sqrt(m out). Each bounds the one before.

    Shapes: params a tree of floating arrays; those of two axes or more are kernels,
    others are taken for biases -> [].
    Article: kexue.fm/archives/6051.  Paper: arXiv 1802.05957, 1701.07875.
    Differs: the common code leaves the factor of convolutions out, and is then no
    bound.
    Cost: a singular value decomposition of every kernel, or one pass over it.
    Raises: TypeError or ValueError for trees that hold other than floating arrays of
    one dtype or no kernel, an unknown norm.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import lipschitz_upper_bound
        >>> params = {"a": jnp.diag(jnp.array([3.0, 1.0])), "b": jnp.ones((1, 4))}
        >>> print(round(float(lipschitz_upper_bound(params)), 4))
        6.0
    """
    name = "lipschitz_upper_bound"
    checks.choice(name, "norm", norm, tuple(NORMS))
    kernels = _kernels(name, params)
    total: Any = 1
    for w in kernels:
        matrix = w.reshape(-1, w.shape[-1]).astype(accumulation_dtype(w))
        total = total * math.sqrt(math.prod(w.shape[:-2])) * NORMS[norm](matrix)
    return total.astype(kernels[0].dtype)


def empirical_lipschitz(
    key: jax.Array,
    f: Critic,
    x: jax.Array,
    *,
    radius: float | jax.Array,
    num: int = 1,
) -> jax.Array:
    """The largest difference quotient of a function around each point.

    max over num draws of |f(y_b) - f(x_b)| / |y_b - x_b| with y_b = x_b + radius e_b,
    e_b a random direction of length 1: a lower bound of the Lipschitz constant. Steps
    that cross into another piece of the function are among them, so that a jump shows
    as jump / radius. The directions are normal numbers of jax.random.split(key, num).

    Shapes: key [], f a function of [B, *d] to [B], x [B, *d] -> [B].
    Article: kexue.fm/archives/8757, 6051.  Paper: none (a definition).
    Differs: no.
    Cost: num + 1 forward passes, one after the other.
    Raises: TypeError or ValueError for a bad key, function or batch, a radius that is
    not above 0, num below 1.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.generative import empirical_lipschitz
        >>> f, x = lambda x: jnp.sign(x[:, 0]), jnp.array([[0.25], [9.0]])
        >>> key = jax.random.key(0)
        >>> print(empirical_lipschitz(key, f, x, radius=0.5, num=8))
        [4. 0.]
    """
    name = "empirical_lipschitz"
    checks.key(name, "key", key)
    check_batch(name, "x", x)
    check_critic(name, "f", f, x)
    checks.number(name, "radius", radius, minimum=0, open_minimum=True, traced=True)
    checks.count(name, "num", num)
    dtype = accumulation_dtype(x)
    here = f(x).astype(dtype)

    def quotient(key: jax.Array) -> jax.Array:
        # Flat, as everywhere: XLA draws in four axes at half the speed.
        noise = jax.random.normal(key, (math.prod(x.shape),), dtype).reshape(x.shape)
        step = radius * safe_divide(noise, along_examples(example_norm(noise), noise))
        there = (x.astype(dtype) + step).astype(x.dtype)
        rise = jnp.abs(f(there).astype(dtype) - here)
        return safe_divide(rise, example_norm(there.astype(dtype) - x.astype(dtype)))

    found = jax.lax.map(quotient, jax.random.split(key, num))
    return jnp.max(found, axis=0).astype(x.dtype)


def _kernels(name: str, params: Any) -> list[jax.Array]:
    """The leaves of two axes or more."""
    kernels: list[jax.Array] = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        place = f" at {trees.path_name(path)}" if path else ""
        wanted = "a tree of floating arrays"
        if not checks.is_array(leaf):
            got = f"a {type(leaf).__name__}{place}"
            raise checks.fail_type(name, "params", got, wanted)
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            got = f"dtype {leaf.dtype}{place}"
            raise checks.fail_type(name, "params", got, wanted)
        if leaf.ndim >= 2:
            if not leaf.size:
                got = f"shape {leaf.shape}{place}"
                raise checks.fail(name, "params", got, "a tree of kernels, none empty")
            kernels.append(jnp.asarray(leaf))
    if not kernels:
        wanted = "a tree with a kernel, of two axes or more"
        raise checks.fail(name, "params", "no such leaf", wanted)
    return kernels
