"""Signal and gradient at every sublayer of a network, and by the identity path."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_root
from kexue_jax._base.numerics import accumulation_dtype

Sublayer = Callable[[Any, jax.Array, Callable[[jax.Array], jax.Array]], jax.Array]


class Profile(NamedTuple):
    """What ``signal_gradient_profile`` measures of n sublayers, period p, in L layers.

    ``stream_rms`` [n + 1] the root mean square of each sublayer's input and of the
    result, ``branch_rms`` [n] that of what each hands to its tap, ``grad_stream`` and
    ``grad_identity`` [n + 1] the norms of the gradients there, whole and with no
    gradient through any branch, ``grad_params`` p trees as the parameters, with the
    norms [L] of the gradients by each.
    """

    stream_rms: jax.Array
    branch_rms: jax.Array
    grad_stream: jax.Array
    grad_identity: jax.Array
    grad_params: tuple[Any, ...]


def signal_gradient_profile(
    sublayers: Sequence[Sublayer],
    params: Sequence[Any],
    x: jax.Array,
    f: Callable[[jax.Array], jax.Array],
) -> Profile:
    """The size of stream, branches and gradients at every sublayer of a network.

    x_{k+1} = sublayer(params, x_k, tap), the ``sublayers`` in turn, L times over; each
    calls tap(F) on its branch and uses the result. |df / dx_k| and |df / dparams| are
    those of the network; grad_identity is |df / dx_k| where tap is ``stop_gradient``:
    what comes down the residual path alone.

    Shapes: sublayers p functions of (params of one, x [...], tap) to [...], params p
    trees of arrays [L, *], x [...], f a function of [...] to a scalar -> Profile.
    Article: kexue.fm/archives/8747, 8620.  Paper: arXiv 2004.08249, 2002.04745.
    Differs: the article speaks of the gradient and computes that of the identity path;
    the two are far apart, hence both.
    Cost: two gradients of the network as one loop over its layers, and the gradient of
    every sublayer's input in memory.
    Raises: TypeError or ValueError for sublayers and parameters that are no sequences
    of the same length, arrays without a common first axis, sublayers that change the
    shape or do not call their tap once, an ``x`` that is not floating, an ``f`` that
    gives no scalar.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import signal_gradient_profile
        >>> layer = lambda w, x, tap: x + tap(w * x)
        >>> f = lambda x: x.sum()
        >>> found = signal_gradient_profile([layer], [jnp.ones(2)], jnp.ones(1), f)
        >>> print(found.stream_rms, found.grad_stream, found.grad_identity)
        [1. 2. 4.] [4. 2. 1.] [1. 1. 1.]
    """
    name = "signal_gradient_profile"
    length = _checked(name, sublayers, params, x, f)
    wide = accumulation_dtype(x)
    params = tuple(params)
    counts = length, len(sublayers)
    zeros = jnp.zeros((*counts, *x.shape), x.dtype), jnp.zeros(x.shape, x.dtype)

    def network(zeros: Any, params: Any, cut: bool) -> tuple[jax.Array, Any]:
        def layer(x: jax.Array, inputs: Any) -> Any:
            own, zero = inputs
            streams, branches = [], []
            for place, sublayer in enumerate(sublayers):
                x = x + zero[place]
                streams.append(_rms(x, wide))
                seen: list[jax.Array] = []

                def tap(branch: jax.Array, seen: list[jax.Array] = seen) -> Any:
                    seen.append(_rms(branch, wide))
                    return jax.lax.stop_gradient(branch) if cut else branch

                new = sublayer(own[place], x, tap)
                _check_result(name, place, new, x, seen)
                x = new
                branches += seen
            return x, (jnp.stack(streams), jnp.stack(branches))

        inner, last = zeros
        out, (streams, branches) = jax.lax.scan(layer, x, (params, inner))
        out = out + last
        return f(out), (streams, branches, _rms(out, wide))

    whole = jax.grad(network, (0, 1), has_aux=True)
    (grads, by_params), (streams, branches, out) = whole(zeros, params, False)
    identity = jax.grad(lambda z: network(z, params, True)[0])(zeros)

    def result(a: jax.Array) -> jax.Array:
        return a.astype(x.dtype)

    return Profile(
        result(jnp.append(streams.ravel(), out)),
        result(branches.ravel()),
        result(_norms(grads, wide)),
        result(_norms(identity, wide)),
        jax.tree.map(lambda g: result(_length(g, g.shape[:1], wide)), by_params),
    )


def _rms(x: jax.Array, wide: Any) -> jax.Array:
    return _length(x, (), wide) / x.size**0.5


def _length(x: jax.Array, kept: tuple[int, ...], wide: Any) -> jax.Array:
    """The norms over all axes but the first ones, with a gradient of 0 at 0."""
    flat = x.astype(wide).reshape(*kept, -1)
    return safe_root(jnp.sum(jnp.square(flat), axis=-1))


def _norms(grads: Any, wide: Any) -> jax.Array:
    inner, last = grads
    by_place = _length(inner, inner.shape[:2], wide).ravel()
    return jnp.append(by_place, _length(last, (), wide))


def _check_result(name: str, place: int, new: Any, x: jax.Array, seen: Any) -> None:
    wanted = "a function to the shape and dtype of x that calls tap once"
    if getattr(new, "shape", None) != x.shape or new.dtype != x.dtype:
        got = f"a result {jax.typeof(new) if checks.is_array(new) else type(new)}"
        raise checks.fail(name, f"sublayers[{place}]", got, wanted)
    if len(seen) != 1:
        got = f"{len(seen)} calls"
        raise checks.fail(name, f"sublayers[{place}]", got, wanted)


def _checked(name: str, sublayers: Any, params: Any, x: Any, f: Any) -> int:
    """The number of layers, after the checks of all arguments."""
    for argument, value in (("sublayers", sublayers), ("params", params)):
        if not isinstance(value, (tuple, list)) or not value:
            got = f"a {type(value).__name__}"
            raise checks.fail_type(name, argument, got, "a sequence, not empty")
    for sublayer in sublayers:
        checks.function(name, "sublayers", sublayer)
    if len(params) != len(sublayers):
        wanted = f"of length {len(sublayers)}, one tree a sublayer"
        raise checks.fail(name, "params", f"length {len(params)}", wanted)
    lengths = set()
    for leaf in jax.tree.leaves(list(params)):
        if not checks.is_array(leaf):
            got = f"one with a {type(leaf).__name__}"
            raise checks.fail_type(name, "params", got, "trees of floating arrays")
        checks.array(name, "params", leaf)
        lengths.add(leaf.shape[0] if leaf.ndim else 0)
    if len(lengths) != 1 or lengths == {0}:
        got, wanted = f"first axes {sorted(lengths)}", "of one first axis, the layers"
        raise checks.fail(name, "params", got, wanted)
    checks.array(name, "x", x)
    checks.function(name, "f", f)
    value = jax.eval_shape(f, jax.ShapeDtypeStruct(x.shape, x.dtype))
    if getattr(value, "shape", None) != ():
        raise checks.fail(name, "f", f"a result {value}", "a function to a scalar")
    return lengths.pop()
