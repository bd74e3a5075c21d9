"""Bounds on the average regret of projected gradient descent, by its rates alone."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype


def regret_bound_curve(
    etas: jax.Array, diameter: float | jax.Array, gradient_bound: float | jax.Array
) -> jax.Array:
    """The bound on the average regret after each of the steps 1..T.

    (D^2 (1/eta_1 + sum_{t=2..T} max(0, 1/eta_t - 1/eta_{t-1})) + G^2 sum_t eta_t) / 2T,
    which is D^2 / (2 T eta_T) + G^2 sum_t eta_t / 2T where no rate is above the one
    before. sum_t [L_t(theta_t) - L_t(theta)] / T is at most that for every sequence of
    convex losses and every theta in the set, L_t taken before step t.

    Shapes: etas [..., T], the diameter D of the set and the bound G on gradients over
    it [] -> [..., T].
    Article: kexue.fm/archives/9902.  Paper: Zinkevich 2003.
    Differs: the article asks for rates that never rise, and for those that do (warm-up)
    its formula is false (a test has the case). Here a fall of 1/eta is dropped, which
    keeps it a bound for any positive rates. From a rate of 0 on it is infinite (unless
    D is 0), as are all bounds here where a rate of 0 leaves them nothing to say, and
    gradients are finite where the bound is.
    Cost: two prefix sums.
    Raises: TypeError or ValueError for ``etas`` that are no floating [..., T], a
    diameter or bound that is no finite number of at least 0 and no floating scalar.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import regret_bound_curve
        >>> print(regret_bound_curve(jnp.full(2, 0.5), 2.0, 1.0))
        [4.25 2.25]
    """
    return _theorem("regret_bound_curve", etas, diameter, gradient_bound)


def regret_bound(
    etas: jax.Array, diameter: float | jax.Array, gradient_bound: float | jax.Array
) -> jax.Array:
    """The bound on the average regret after all steps.

    The last of ``regret_bound_curve``: D^2 / (2 T eta_T) + G^2 sum_t eta_t / 2T where
    no rate is above the one before.

    Shapes: etas [..., T], the diameter D and the bound G on gradients [] -> [...].
    Article: kexue.fm/archives/9902.  Paper: Zinkevich 2003.
    Differs: a bound for rates that rise, too; see ``regret_bound_curve``.
    Cost: two sums.
    Raises: as ``regret_bound_curve``.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import optimal_constant_rate, regret_bound
        >>> eta = optimal_constant_rate(2.0, 1.0, steps=16)
        >>> print(regret_bound(jnp.full(16, eta), 2.0, 1.0))
        0.5
    """
    return _theorem("regret_bound", etas, diameter, gradient_bound)[..., -1]


def trajectory_bound_curve(
    etas: jax.Array, distances: jax.Array, gradient_norms: jax.Array
) -> jax.Array:
    """The bound on the average regret of one run, by what was measured along it.

    (D_1^2/eta_1 + sum_{t=2..n} (1/eta_t - 1/eta_{t-1}) D_t^2 - D_{n+1}^2/eta_n
    + sum_t eta_t G_t^2) / 2n after n steps, D_t = |theta_t - theta| and G_t the norm
    of gradient t: what the proof of the theorem gives before D and G replace them.

    Shapes: etas [..., T], distances [..., T + 1], gradient_norms [..., T] -> [..., T].
    Article: kexue.fm/archives/9902.  Paper: Zinkevich 2003.
    Differs: the article goes on to the diameter; this is tighter, and assumes neither a
    bounded set nor falling rates. Infinite from a rate of 0 on: such a step tells
    nothing of its loss.
    Cost: two prefix sums.
    Raises: TypeError or ValueError for arrays that are not floating or do not fit.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import trajectory_bound_curve
        >>> eta, distances, norms = jnp.array([0.5]), jnp.array([2.0, 1.5]), jnp.ones(1)
        >>> print(trajectory_bound_curve(eta, distances, norms))
        [2.]
    """
    name = "trajectory_bound_curve"
    arrays = {"distances": distances, "gradient_norms": gradient_norms}
    _check_etas(name, etas)
    steps = etas.shape[-1]
    for argument, value in arrays.items():
        checks.array(name, argument, value)
        length = steps + (argument == "distances")
        if value.shape != (*etas.shape[:-1], length):
            wanted = f"of shape {(*etas.shape[:-1], length)}"
            raise checks.fail(name, argument, f"shape {value.shape}", wanted)
    wide = accumulation_dtype(etas, distances, gradient_norms)
    eta, d, g = (a.astype(wide) for a in (etas, distances, gradient_norms))
    dead, squared, inverse = _vacuous(eta), jnp.square(d), _inverse(eta)
    rises = jnp.diff(inverse, axis=-1, prepend=jnp.zeros_like(inverse[..., :1]))
    total = jnp.cumsum(rises * squared[..., :-1] + eta * jnp.square(g), axis=-1)
    curve = (total - squared[..., 1:] * inverse) / (2 * _counts(eta))
    return jnp.where(dead, jnp.inf, curve).astype(etas.dtype)


def weighted_bound_curve(
    etas: jax.Array, distance: float | jax.Array, gradient_bound: float | jax.Array
) -> jax.Array:
    """The bound on the regret of the average weighted by the rates, on any domain.

    (|theta_1 - theta|^2 + G^2 sum_t eta_t^2) / (2 sum_t eta_t), which bounds
    sum_t eta_t [L_t(theta_t) - L_t(theta)] / sum_t eta_t, and in expectation the loss
    of the average sum_t eta_t theta_t / sum_t eta_t over that of theta.

    Shapes: etas [..., T], the distance |theta_1 - theta| and the bound G on gradients
    [] -> [..., T].
    Article: kexue.fm/archives/11469.  Paper: none.
    Differs: no; it needs neither a bounded set, nor a projection, nor falling rates.
    Infinite as long as all rates are 0.
    Cost: two prefix sums.
    Raises: TypeError or ValueError for ``etas`` that are no floating [..., T], a
    distance or bound that is no finite number of at least 0 and no floating scalar.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import weighted_bound_curve
        >>> print(weighted_bound_curve(jnp.array([1.0, 0.5]), 2.0, 1.0))
        [2.5  1.75]
    """
    name = "weighted_bound_curve"
    _check_etas(name, etas)
    checks.number(name, "distance", distance, minimum=0, traced=True)
    checks.number(name, "gradient_bound", gradient_bound, minimum=0, traced=True)
    eta = etas.astype(accumulation_dtype(etas))
    far, steep = _squares(eta, distance, gradient_bound)
    total = far + steep * jnp.cumsum(jnp.square(eta), axis=-1)
    weights = jnp.cumsum(eta, axis=-1)
    dead = weights == 0
    found = total / (2 * jnp.where(dead, 1, weights))
    return jnp.where(dead, jnp.inf, found).astype(etas.dtype)


def last_iterate_bound(
    etas: jax.Array, distance: float | jax.Array, gradient_bound: float | jax.Array
) -> jax.Array:
    """The bound on the expected excess loss of the last iterate, on any domain.

    (|theta_1 - theta|^2 + G^2 s_1) / 2 S_1
    + sum_{k<T} eta_k / (S_{k+1} S_k) G^2 s_k / 2, S_k = sum_{t>=k} eta_t, s_k =
    sum_{t>=k} eta_t^2, which bounds E L(theta_T) - L(theta) for batches drawn alike,
    and L(theta_T) - L(theta) itself where every batch is the whole.

    It rests on an identity of any numbers q_1..q_T: q_T = sum_t eta_t q_t / S_1 +
    sum_{k<T} (1/S_{k+1} - 1/S_k) sum_{t>=k} eta_t (q_t - q_k), whose inner sums are
    regrets against theta_k, from which that part of the run starts.

    Shapes: etas [..., T], the distance |theta_1 - theta| and the bound G on gradients
    [] -> [...].
    Article: kexue.fm/archives/11480, 11494.  Paper: arXiv 2310.07831.
    Differs: for any positive rates, as the paper has it; constant ones and those of
    ``optim.sqrt_decay`` pay a factor log T here, a straight line to 0 does not. The
    last rate, which comes after theta_T, must not be 0 itself: infinite there.
    Cost: suffix sums.
    Raises: TypeError or ValueError for ``etas`` that are no floating [..., T], a
    distance or bound that is no finite number of at least 0 and no floating scalar.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import last_iterate_bound
        >>> print(last_iterate_bound(jnp.array([0.5, 0.5]), 2.0, 1.0))
        2.5
    """
    name = "last_iterate_bound"
    _check_etas(name, etas)
    checks.number(name, "distance", distance, minimum=0, traced=True)
    checks.number(name, "gradient_bound", gradient_bound, minimum=0, traced=True)
    eta = etas.astype(accumulation_dtype(etas))
    far, steep = _squares(eta, distance, gradient_bound)
    dead = eta[..., -1] == 0
    eta = jnp.where(dead[..., None], 1, eta)
    sums, squares = (
        jnp.flip(jnp.cumsum(jnp.flip(a, -1), axis=-1), -1) for a in (eta, eta**2)
    )
    inner = eta[..., :-1] * squares[..., :-1] / (sums[..., 1:] * sums[..., :-1])
    first = (far + steep * squares[..., 0]) / sums[..., 0]
    found = (first + steep * jnp.sum(inner, axis=-1)) / 2
    return jnp.where(dead, jnp.inf, found).astype(etas.dtype)


def optimal_constant_rate(
    diameter: float | jax.Array, gradient_bound: float | jax.Array, *, steps: int
) -> jax.Array:
    """The constant rate whose bound on the average regret is smallest.

    D / (G sqrt(T)), with the bound D G / sqrt(T).

    Shapes: the diameter D and the bound G on gradients [] -> [].
    Article: kexue.fm/archives/9902.  Paper: Zinkevich 2003.
    Differs: no. alpha / sqrt(t) with alpha = D / (sqrt(2) G) needs no T and has a bound
    sqrt(2) times larger: ``optim.sqrt_decay``.
    Cost: none worth the name.
    Raises: TypeError or ValueError for a diameter below 0, a bound that is not above 0,
    a count of steps below 1.
    Example:
        >>> from kexue_jax.theory import optimal_constant_rate
        >>> print(optimal_constant_rate(2.0, 1.0, steps=16))
        0.5
    """
    name = "optimal_constant_rate"
    checks.number(name, "diameter", diameter, minimum=0, traced=True)
    checks.number(
        name,
        "gradient_bound",
        gradient_bound,
        minimum=0,
        open_minimum=True,
        traced=True,
    )
    checks.count(name, "steps", steps)
    return jnp.asarray(diameter / (gradient_bound * math.sqrt(steps)))


def _theorem(name: str, etas: Any, diameter: Any, gradient_bound: Any) -> jax.Array:
    _check_etas(name, etas)
    checks.number(name, "diameter", diameter, minimum=0, traced=True)
    checks.number(name, "gradient_bound", gradient_bound, minimum=0, traced=True)
    eta = etas.astype(accumulation_dtype(etas))
    wide, steep = _squares(eta, diameter, gradient_bound)
    dead, inverse = _vacuous(eta), _inverse(eta)
    rises = jnp.diff(inverse, axis=-1, prepend=jnp.zeros_like(inverse[..., :1]))
    first = jnp.cumsum(jnp.maximum(rises, 0), axis=-1)
    total = wide * first + steep * jnp.cumsum(eta, axis=-1)
    curve = total / (2 * _counts(eta))
    return jnp.where(dead & (wide > 0), jnp.inf, curve).astype(etas.dtype)


def _inverse(eta: jax.Array) -> jax.Array:
    """1 / eta, and 1 at a rate of 0: finite there, with its gradient."""
    return 1 / jnp.where(eta == 0, 1, eta)


def _vacuous(eta: jax.Array) -> jax.Array:
    """Whether a rate up to this step is 0."""
    return jnp.cumsum(eta == 0, axis=-1) > 0


def _squares(like: jax.Array, *numbers: Any) -> list[jax.Array]:
    """The squares of scalars in the dtype of ``like``."""
    return [jnp.square(jnp.asarray(number, like.dtype)) for number in numbers]


def _counts(etas: jax.Array) -> jax.Array:
    """1..T along the last axis."""
    counts = jnp.arange(1, etas.shape[-1] + 1, dtype=etas.dtype)
    return counts.reshape((1,) * (etas.ndim - 1) + counts.shape)


def _check_etas(name: str, etas: Any) -> None:
    checks.array(name, "etas", etas)
    if etas.ndim < 1 or not etas.shape[-1]:
        raise checks.fail(name, "etas", f"shape {etas.shape}", "of shape [..., T]")
