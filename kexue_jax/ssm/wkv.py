"""The time mixing of RWKV-4: a weighted mean of the past, with a running maximum."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax._base.varying import all_varying
from kexue_jax.ssm.outputs import SsmOutput

METHODS = ("auto", "sequential", "associative")
# Below every exponent that is met; finite, so that differences are too.
NOTHING = -1e30


class WkvState(NamedTuple):
    """What RWKV-4 keeps of the tokens so far: y e^m and z e^m, in at least float32.

    y, z, m [..., d]; m is the largest exponent met, faded as its token is. Article:
    kexue.fm/archives/9554.
    """

    y: jax.Array
    z: jax.Array
    m: jax.Array


def wkv(
    r: jax.Array,
    k: jax.Array,
    v: jax.Array,
    log_decay: jax.Array,
    log_bonus: jax.Array,
    *,
    state: WkvState | None = None,
    method: str = "auto",
    chunk_size: int = 64,
) -> SsmOutput:
    """The mixing of RWKV-4 over time: a fading weighted mean of the values so far.

    y_t = lambda y_{t-1} + e^k_t v_t, z_t = lambda z_{t-1} + e^k_t, out_t = sigmoid(r_t)
    (y_t + g e^k_t v_t) / (z_t + g e^k_t), g = gamma lambda - 1, lambda =
    exp(log_decay), gamma = exp(log_bonus). It is computed as the official
    (y_{t-1} + gamma e^k_t v_t) / (z_{t-1} + gamma e^k_t), every exponent less a running
    maximum, so that no k overflows. Padding before the first token has k = -1e30.

    Shapes: r, k, v [..., L, d], log_decay (not positive), log_bonus [d]; state
    WkvState of [..., d] or None: no token before -> SsmOutput(state, out [..., L, d]).
    Article: kexue.fm/archives/9554.  Paper: arXiv 2305.13048, eq. 19-23.
    Differs: the article's code has gamma nu - 1 with nu = -log lambda in the place of
    gamma lambda - 1: the current token then weighs some 0.01 to 0.1 where the formula
    has 0.9 to 1. This is the formula. "auto" is "sequential" on a CPU, elsewhere
    "associative". Gradients make the states in each chunk again.
    Cost: O(L d) time and memory, four exponentials an entry; the gradient keeps one
    state a chunk, and one chunk of states.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import wkv
        >>> k, v, zero = jnp.zeros((3, 1)), jnp.ones((3, 1)), jnp.zeros(1)
        >>> print(wkv(k, 100 * k, v, zero, zero).out[:, 0])
        [0.5 0.5 0.5]
    """
    name = "wkv"
    checks.choice(name, "method", method, METHODS)
    checks.count(name, "chunk_size", chunk_size)
    _check(name, "... L d", r, k, v, log_decay, log_bonus)
    if 0 in r.shape:
        raise checks.fail(name, "r", f"shape {r.shape}", "without empty axes")
    dtype = accumulation_dtype(v)
    start = _start(name, state, (*k.shape[:-2], k.shape[-1]), dtype)
    wide, w, u = (jnp.asarray(x, dtype) for x in (r, log_decay, log_bonus))
    steps = (jnp.moveaxis(jnp.asarray(x, dtype), -2, 0) for x in (k, v))
    lead = (1,) * (start.m.ndim - 1)
    keys, values, w, u, *parts = all_varying(
        *steps, w.reshape(*lead, -1), u.reshape(*lead, -1), *start
    )
    chunk = min(chunk_size, k.shape[-2])
    loop, parallel = (functools.partial(f, chunk) for f in (_sequential, _associative))
    auto = functools.partial(lax.platform_dependent, cpu=loop, default=parallel)
    forms = {"auto": auto, "sequential": loop, "associative": parallel}
    end, mean = forms[method](keys, values, w, u, WkvState(*parts))
    out = jax.nn.sigmoid(wide) * jnp.moveaxis(mean, 0, -2)
    return SsmOutput(end, out.astype(v.dtype))


def wkv_step(
    state: WkvState | None,
    r: jax.Array,
    k: jax.Array,
    v: jax.Array,
    log_decay: jax.Array,
    log_bonus: jax.Array,
) -> SsmOutput:
    """``wkv`` of one more token: the state after it, and its output.

    q = max(m, log_bonus + k), out = sigmoid(r) (e^{m-q} y + e^{log_bonus+k-q} v) /
    (e^{m-q} z + e^{log_bonus+k-q}); m' = max(m + log_decay, k), y' = e^{m+log_decay-m'}
    y + e^{k-m'} v, z' likewise.

    Shapes: state WkvState of [..., d] or None: no token before; r, k, v [..., d],
    log_decay, log_bonus [d] -> SsmOutput(state, out [..., d]).
    Article: kexue.fm/archives/9554.  Paper: arXiv 2305.13048, appendix D.
    Differs: no. The state is in at least float32.
    Cost: O(d), whatever the number of tokens before.
    Raises: TypeError or ValueError for shapes that do not fit, dtypes that differ.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.ssm import wkv_step
        >>> zero, one = jnp.zeros(1), jnp.ones(1)
        >>> print(wkv_step(None, zero, 100 * one, one, zero, zero).out)
        [0.5]
    """
    name = "wkv_step"
    _check(name, "... d", r, k, v, log_decay, log_bonus)
    dtype = accumulation_dtype(v)
    start = _start(name, state, k.shape, dtype)
    lead = (1,) * (k.ndim - 1)
    w, u = (jnp.asarray(x, dtype).reshape(*lead, -1) for x in (log_decay, log_bonus))
    wide, key, value = (jnp.asarray(x, dtype) for x in (r, k, v))
    mean = _mean(start, key, value, u)
    end = _join(start, WkvState(value, jnp.ones_like(value), key), w)
    return SsmOutput(end, (jax.nn.sigmoid(wide) * mean).astype(v.dtype))


def _check(name: str, pattern: str, r: Any, k: Any, v: Any, w: Any, u: Any) -> None:
    arguments = {"r": r, "k": k, "v": v, "log_decay": w, "log_bonus": u}
    for argument, value in arguments.items():
        checks.array(name, argument, value)
    checks.same_dtype(name, r=r, k=k, v=v)
    patterns = (pattern, pattern, pattern, "d", "d")
    pairs = zip(arguments.items(), patterns, strict=True)
    checks.shapes(name, **{key: (x, p) for (key, x), p in pairs})


def _start(name: str, state: Any, shape: tuple[int, ...], dtype: Any) -> WkvState:
    """The state to begin with, checked and widened; None is no token before."""
    if state is None:
        none = jnp.zeros(shape, dtype)
        return WkvState(none, none, jnp.full(shape, NOTHING, dtype))
    checks.state(name, state, WkvState, dict.fromkeys(WkvState._fields, shape))
    return WkvState(*(jnp.asarray(part, dtype) for part in state))


def _join(one: WkvState, two: WkvState, w: Any) -> WkvState:
    """What two stretches of tokens keep together, the first faded by w.

    The maximum is a constant to the gradient: results do not depend on it.
    """
    faded = one.m + w
    m = lax.stop_gradient(jnp.maximum(faded, two.m))
    first, second = jnp.exp(faded - m), jnp.exp(two.m - m)
    return WkvState(first * one.y + second * two.y, first * one.z + second * two.z, m)


def _mean(before: WkvState, k: Any, v: Any, u: Any) -> jax.Array:
    """The weighted mean that a token sees: the state before it, and itself."""
    top = lax.stop_gradient(jnp.maximum(before.m, u + k))
    old, new = jnp.exp(before.m - top), jnp.exp(u + k - top)
    return (old * before.y + new * v) / (old * before.z + new)


def _sequential(chunk: int, k: Any, v: Any, w: Any, u: Any, start: WkvState) -> Any:
    """Step by step, in chunks whose states the gradient makes again."""

    def step(state: WkvState, now: Any) -> Any:
        k, v = now
        mean = _mean(state, k, v, u)
        return _join(state, WkvState(v, jnp.ones_like(v), k), w), mean

    def piece(state: WkvState, now: Any) -> Any:
        return lax.scan(step, state, now)

    return _in_pieces(piece, chunk, k, v, start)


def _associative(chunk: int, k: Any, v: Any, w: Any, u: Any, start: WkvState) -> Any:
    """In parallel inside the chunks: pairs (steps faded, what is kept) are joined."""

    def join(one: Any, two: Any) -> Any:
        return one[0] + two[0], _join(one[1], two[1], two[0])

    def piece(state: WkvState, now: Any) -> Any:
        k, v = now
        faded = jnp.broadcast_to(w, (k.shape[0], *w.shape))
        tokens = WkvState(v, jnp.ones_like(v), k)
        faded, kept = lax.associative_scan(join, (faded, tokens), axis=0)
        before = jax.tree.map(lambda x: x[None], state)
        states = _join(before, kept, faded)
        earlier = jax.tree.map(
            lambda first, rest: jnp.concatenate([first, rest[:-1]]), before, states
        )
        return jax.tree.map(lambda x: x[-1], states), _mean(earlier, k, v, u[None])

    return _in_pieces(piece, chunk, k, v, start)


def _in_pieces(piece: Any, chunk: int, k: Any, v: Any, start: WkvState) -> Any:
    """The state and results after all chunks, and after the steps that are left."""
    length = k.shape[0]
    whole = length // chunk * chunk
    saving = jax.checkpoint(piece)
    now = tuple(x[:whole].reshape(-1, chunk, *x.shape[1:]) for x in (k, v))
    state, mean = lax.scan(saving, start, now)
    mean = mean.reshape(whole, *k.shape[1:])
    if whole == length:
        return state, mean
    state, rest = saving(state, (k[whole:], v[whole:]))
    return state, jnp.concatenate([mean, rest])
