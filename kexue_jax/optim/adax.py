"""AdaX and AdaX-W: a second moment that freezes as training goes on."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from kexue_jax._base import checks
from kexue_jax.optim._trees import check_mask, in_accumulation_dtype, leaf_mask
from kexue_jax.optim.second_moments import Number, moments_form, second_moment_weight

ScalarOrSchedule = float | jax.Array | Callable[[jax.typing.ArrayLike], Any]


def scale_by_adax(
    *,
    b1: Number = 0.9,
    b2: Number = 1e-4,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    mu_dtype: Any = None,
    bias_correction: bool = False,
    normalize_first: bool = False,
) -> optax.GradientTransformation:
    """An optax transformation: a momentum over the root of AdaX's second moment.

    mu = b1 mu + (1 - b1) g, nu = nu + w_t (|g|^2 - nu) with
    w_t = b2 / ((1 + b2)^t - 1); the update is mu / (sqrt(nu + eps_root) + eps).
    nu is the normalized moment v_t / ((1 + b2)^t - 1) of v_t = (1 + b2) v_{t-1} +
    b2 g^2. It weighs the first gradients most: step i with b2 (1 + b2)^-i in the end,
    so that nu is a mean of about the first 1 / b2 squared gradients, then frozen.

    Shapes: a tree of gradients of any shapes -> an optax pair (init, update).
    Article: kexue.fm/archives/7387.  Paper: arXiv 2004.09740.
    Differs: the normalized moment is stored, since the raw one overflows (float32 near
    step 887,000). eps as in optax: the article has it inside the root (``eps_root``),
    the paper's code adds it to the root of the raw moment (100 times as much at
    step 1). Without ``bias_correction`` of mu, as article and paper, the first step
    is (1 - b1) sign(g). ``normalize_first`` is the order of the paper's "DCAdaXW".
    Cost: two moments in at least float32; one pass over each tensor.
    Raises: TypeError or ValueError for arguments out of range; from ``init`` and
    ``update`` TypeError for a leaf that is no floating or complex array, ValueError
    where the gradients have other names or shapes than the state.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import scale_by_adax
        >>> grads = {"w": jnp.array([3.0, -4.0])}
        >>> opt = scale_by_adax(bias_correction=True)
        >>> print(opt.update(grads, opt.init(grads))[0]["w"].round(4))
        [ 1. -1.]
    """
    name = "scale_by_adax"
    checks.number(name, "b2", b2, minimum=0, open_minimum=True, traced=True)
    return _adax_form(
        name, b1, b2, eps, eps_root, mu_dtype, bias_correction, normalize_first
    )


def adax(
    learning_rate: ScalarOrSchedule,
    *,
    b1: Number = 0.9,
    b2: Number = 1e-4,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    mu_dtype: Any = None,
    weight_decay: Number = 0.0,
    mask: Any = None,
    decoupled: bool = True,
    bias_correction: bool = False,
    normalize_first: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """An optax optimizer: AdaX, with decoupled weight decay or with L2.

    params -= learning_rate (u + weight_decay params), where u is what
    ``scale_by_adax`` makes of the gradients (AdaX-W); with ``decoupled=False`` the
    decay is added to the gradients before both moments (L2, the paper's AdaX).

    Shapes: a tree of parameters of any shapes -> an optax pair (init, update); update
    needs the parameters if there is decay. ``mask``: a tree of bools, or a function
    of the parameters that gives one, says which tensors decay (default: all).
    Article: kexue.fm/archives/7387.  Paper: arXiv 2004.09740.
    Differs: as ``scale_by_adax``; the article has no decay. The paper's code has
    rates 1.5e-3 (L2 of 5e-4) and 5e-3 (AdaX-W of 5e-2), eps 1e-12. The oldest squares
    weigh most: a spike at the start is never forgotten, so clip before it.
    Cost: as ``scale_by_adax``.
    Raises: TypeError or ValueError for arguments out of range; from ``update``
    ValueError without parameters if there is decay, or where gradients have other
    names or shapes; TypeError for a leaf that is no floating or complex array.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import adax
        >>> params = {"w": jnp.array([1.0, 2.0])}
        >>> opt = adax(0.1)
        >>> print(opt.update(params, opt.init(params), params)[0]["w"].round(4))
        [-0.01 -0.01]
    """
    name = "adax"
    _check_rates(name, learning_rate, b2, weight_decay, mask)
    checks.flag(name, "decoupled", decoupled)
    scale = _adax_form(
        name, b1, b2, eps, eps_root, mu_dtype, bias_correction, normalize_first
    )
    return _chained(name, scale, learning_rate, weight_decay, mask, decoupled)


def adaxw(
    learning_rate: ScalarOrSchedule,
    *,
    b1: Number = 0.9,
    b2: Number = 1e-4,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    mu_dtype: Any = None,
    weight_decay: Number = 5e-2,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """An optax optimizer: AdaX-W, AdaX with decoupled weight decay.

    params -= learning_rate (mu / (sqrt(nu + eps_root) + eps) + weight_decay params).

    Shapes: a tree of parameters of any shapes -> an optax pair (init, update); update
    needs the parameters. ``mask`` as for ``adax``.
    Article: kexue.fm/archives/7387.  Paper: arXiv 2004.09740.
    Differs: as ``adax``, of which it is the case with decay.
    Cost: as ``scale_by_adax``.
    Raises: as ``adax``.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.optim import adaxw
        >>> params = {"w": jnp.array([1.0, 2.0])}
        >>> opt = adaxw(0.1)
        >>> print(opt.update(params, opt.init(params), params)[0]["w"].round(4))
        [-0.015 -0.02 ]
    """
    name = "adaxw"
    _check_rates(name, learning_rate, b2, weight_decay, mask)
    scale = _adax_form(name, b1, b2, eps, eps_root, mu_dtype, False, False)
    return _chained(name, scale, learning_rate, weight_decay, mask, True)


def _adax_form(name: str, b1: Number, b2: Number, *rest: Any) -> Any:
    def weight(t: jax.Array) -> jax.Array:
        return second_moment_weight(t, kind="adax", b2=b2)

    return moments_form(name, weight, b1, *rest)


def _chained(
    name: str,
    scale: optax.GradientTransformation,
    learning_rate: ScalarOrSchedule,
    weight_decay: Number,
    mask: Any,
    decoupled: bool,
) -> optax.GradientTransformationExtraArgs:
    rate = optax.scale_by_learning_rate(learning_rate)
    # As a function, so that a mask that does not fit is refused by our name.
    chosen = None if mask is None else lambda params: leaf_mask(name, mask, params)
    if not isinstance(weight_decay, jax.Array) and weight_decay == 0:
        parts = [scale, rate]
    elif decoupled:
        parts = [scale, optax.add_decayed_weights(weight_decay, chosen), rate]
    else:
        parts = [optax.add_decayed_weights(weight_decay, chosen), scale, rate]
    return in_accumulation_dtype(
        name, optax.chain(*parts), params_needed=len(parts) == 3
    )


def _check_rates(
    name: str, learning_rate: Any, b2: Number, weight_decay: Number, mask: Any
) -> None:
    if not callable(learning_rate):
        checks.number(name, "learning_rate", learning_rate, minimum=0, traced=True)
    checks.number(name, "b2", b2, minimum=0, open_minimum=True, traced=True)
    checks.number(name, "weight_decay", weight_decay, minimum=0, traced=True)
    check_mask(name, mask)
