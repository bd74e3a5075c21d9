"""LAMB as the author trained DDPM with it: Adam, then one step length per tensor."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from kexue_jax._base import checks, trees
from kexue_jax._base.masks import safe_divide, safe_root
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax.optim._trees import check_updates, in_accumulation_dtype

ScalarOrSchedule = float | jax.Array | Callable[[jax.typing.ArrayLike], Any]


def lamb_layerwise(
    learning_rate: ScalarOrSchedule,
    *,
    exclude: Sequence[str] = ("norm", "bias"),
    b1: float | jax.Array = 0.9,
    b2: float | jax.Array = 0.999,
    eps: float | jax.Array = 1e-7,
) -> optax.GradientTransformationExtraArgs:
    """An optax optimizer: Adam whose step has, tensor by tensor, the weights' length.

    u = m_hat / (sqrt(v_hat) + eps), the bias-corrected Adam direction;
    params -= learning_rate * |params| / |u| * u, with a ratio of 1 where either
    norm is zero and for parameters whose path contains a word of ``exclude``.

    Shapes: a tree of parameters of any shapes -> an optax pair (init, update); update
    needs the parameters.
    Article: kexue.fm/archives/9152.  Paper: arXiv 1904.00962.
    Differs: from the paper, no weight decay, as in the author's code. From that code,
    words match regardless of case (its 'Norm' misses Keras's own name group_norm_1),
    and eps is added to the corrected sqrt(v_hat), where old Keras adds it before the
    correction. From ``optax.lamb``, moments and norms are float32 for bfloat16
    parameters, and the excluded tensors.
    Cost: two moments in at least float32; Adam and two more sums over each tensor.
    Raises: TypeError or ValueError for hyperparameters out of range or for ``exclude``
    that is no sequence of non-empty strings; ValueError from ``update`` without
    parameters, or where the gradients have other names or shapes; TypeError for a leaf
    that is no floating or complex array.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import lamb_layerwise
        >>> params = {"kernel": jnp.array([3.0, 4.0]), "bias": jnp.array([3.0, 4.0])}
        >>> opt = lamb_layerwise(0.1)
        >>> updates, _ = opt.update(params, opt.init(params), params)
        >>> {k: [round(float(x), 4) for x in v] for k, v in sorted(updates.items())}
        {'bias': [-0.1, -0.1], 'kernel': [-0.3536, -0.3536]}
    """
    name = "lamb_layerwise"
    if not callable(learning_rate):
        checks.number(name, "learning_rate", learning_rate, minimum=0, traced=True)
    _check_words(name, exclude)
    for argument, beta in (("b1", b1), ("b2", b2)):
        bounds: Any = {"minimum": 0, "maximum": 1, "open_maximum": True}
        checks.number(name, argument, beta, traced=True, **bounds)
    checks.number(name, "eps", eps, minimum=0, traced=True)
    return in_accumulation_dtype(
        name,
        optax.chain(
            optax.scale_by_adam(b1=b1, b2=b2, eps=eps),
            scale_by_layerwise_trust(exclude=exclude),
            optax.scale_by_learning_rate(learning_rate),
        ),
        params_needed=True,
    )


def scale_by_layerwise_trust(
    *, exclude: Sequence[str] = ("norm", "bias")
) -> optax.GradientTransformation:
    """An optax transformation that gives each tensor's update the tensor's length.

    updates * |params| / |updates|, with a ratio of 1 where either norm is zero and
    for parameters whose path (``"down_0/norm/scale"``) contains a word of
    ``exclude``, regardless of case.

    Shapes: a tree of parameters of any shapes -> an optax pair (init, update) without
    state; update needs the parameters.
    Article: kexue.fm/archives/9152.  Paper: arXiv 1904.00962.
    Differs: ``optax.masked(optax.scale_by_trust_ratio(), ...)`` gives the same
    numbers; this takes one pass over each tensor where that takes two, sums squares in
    at least float32, and knows parameters by name.
    Cost: two sums of squares and one product a tensor; no state.
    Raises: TypeError or ValueError for ``exclude`` that is no sequence of non-empty
    strings; ValueError from ``update`` without parameters, or where the updates have
    other names or shapes; TypeError for a leaf that is no floating or complex array.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import scale_by_layerwise_trust
        >>> trust = scale_by_layerwise_trust()
        >>> params = {"kernel": jnp.array([3.0, 4.0])}
        >>> updates = {"kernel": jnp.array([0.0, 2.0])}
        >>> print(trust.update(updates, trust.init(params), params)[0]["kernel"])
        [0. 5.]
    """
    name = "scale_by_layerwise_trust"
    _check_words(name, exclude)
    words = tuple(word.lower() for word in exclude)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        check_updates(name, updates, params)

        def scale(path: tuple[Any, ...], u: jax.Array, p: jax.Array) -> jax.Array:
            parameter = trees.path_name(path).lower()
            if any(word in parameter for word in words):
                return u
            length, step = _norm(p), _norm(u)
            both = (length > 0) & (step > 0)
            ratio = jnp.where(both, safe_divide(length, step), 1)
            return (u * ratio).astype(u.dtype)

        return jax.tree_util.tree_map_with_path(scale, updates, params), state

    return optax.GradientTransformation(optax.init_empty_state, update)


def _norm(x: jax.Array) -> jax.Array:
    """The Euclidean norm of all entries, summed in at least float32."""
    x = x.astype(accumulation_dtype(x))
    total = jnp.sum(jnp.real(x * jnp.conj(x)))
    return safe_root(total)


def _check_words(name: str, exclude: Any) -> None:
    if isinstance(exclude, str) or not isinstance(exclude, Sequence):
        got = f"a {type(exclude).__name__}"
        raise checks.fail_type(name, "exclude", got, "a sequence of strings")
    for word in exclude:
        if not isinstance(word, str):
            got = f"one with a {type(word).__name__}"
            raise checks.fail_type(name, "exclude", got, "a sequence of strings")
        if not word:
            raise checks.fail(name, "exclude", repr(exclude), "without empty strings")
