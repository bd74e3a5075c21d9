"""Kernel machines: predictions from a kernel, its ridge fit, and training by flow."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.elimination import solved
from kexue_jax.theory.tangent_kernel import high


class KernelMachine(NamedTuple):
    """Coefficients alpha [n] and offset beta [] of a kernel machine.

    Article: kexue.fm/archives/8009.
    """

    alpha: jax.Array
    beta: jax.Array


def kernel_machine_predict(
    kernel: jax.Array, alpha: jax.Array, beta: jax.Array
) -> jax.Array:
    """The predictions of a kernel machine.

    f(x) = beta + sum_i alpha_i kernel[x, i]. A trained network is one whose alpha and
    beta depend on x: kernel the path kernel, alpha = attributions / kernel, beta the
    predictions before training.

    Shapes: kernel [a, n], alpha [n] or [a, n], beta [] or [a] -> [a].
    Article: kexue.fm/archives/8009.  Paper: arXiv 2012.00152.
    Differs: alpha_i(x) is a mean by weights that may be negative: it has no bound where
    the path kernel is near 0. The attributions have none of that.
    Cost: O(a n).
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import kernel_machine_predict
        >>> alpha, beta = jnp.array([1.0, 2.0]), jnp.ones(())
        >>> print(kernel_machine_predict(jnp.eye(2), alpha, beta))
        [2. 3.]
    """
    name = "kernel_machine_predict"
    for argument, value in (("kernel", kernel), ("alpha", alpha), ("beta", beta)):
        checks.array(name, argument, value)
    checks.shapes(name, kernel=(kernel, "a n"))
    pattern = "n" if alpha.ndim == 1 else "a n"
    checks.shapes(name, kernel=(kernel, "a n"), alpha=(alpha, pattern))
    checks.shapes(name, kernel=(kernel, "a n"), beta=(beta, "a" if beta.ndim else ""))
    dtype = kernel.dtype
    kernel, alpha, beta = high((kernel, alpha, beta))
    weights = jnp.broadcast_to(alpha, kernel.shape) if alpha.ndim == 2 else alpha[None]
    return (beta + (weights * kernel).sum(-1)).astype(dtype)


def kernel_ridge(
    kernel: jax.Array, y: jax.Array, *, ridge: float | jax.Array
) -> KernelMachine:
    """The kernel machine of least squares with a penalty on its function's norm.

    alpha, beta minimize sum_i (f(x_i) - y_i)^2 + ridge alpha^T kernel alpha: (kernel +
    ridge) alpha + beta = y, sum_i alpha_i = 0.

    Shapes: kernel [n, n], symmetric, y [n] -> KernelMachine of alpha [n], beta [].
    Article: kexue.fm/archives/8009.  Paper: none.
    Differs: the article's "SVM" has no margin and is not sparse either.
    Cost: O(n^3).
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import kernel_ridge
        >>> fit = kernel_ridge(jnp.eye(2), jnp.array([1.0, 3.0]), ridge=1.0)
        >>> [round(float(v), 4) for v in (*fit.alpha, fit.beta)]
        [-0.5, 0.5, 2.0]
    """
    name = "kernel_ridge"
    checks.array(name, "kernel", kernel)
    checks.array(name, "y", y)
    checks.shapes(name, kernel=(kernel, "n n"), y=(y, "n"))
    checks.number(name, "ridge", ridge, minimum=0, traced=True)
    dtype = kernel.dtype
    kernel, y = high((kernel, y))
    eye = jnp.eye(len(y), dtype=kernel.dtype)
    system = jnp.pad(kernel + ridge * eye, (0, 1), constant_values=1).at[-1, -1].set(0)
    found = solved(system, jnp.pad(y, (0, 1))[:, None])[:, 0]
    return KernelMachine(found[:-1].astype(dtype), found[-1].astype(dtype))


def ntk_gradient_flow(
    k_tx: jax.Array,
    k_xx: jax.Array,
    y: jax.Array,
    f0_t: jax.Array,
    f0_x: jax.Array,
    time: Any,
) -> jax.Array:
    """The predictions of gradient flow on squared errors, the kernel held constant.

    f(t) = f0_t + k_tx k_xx^{-1} (1 - exp(-time k_xx)) (y - f0_x): df/dtime = k_tx (y -
    f_x) with a loss of sum_i (f(x_i) - y_i)^2 / 2. A singular k_xx is no difficulty.

    Shapes: k_tx [a, n], k_xx [n, n], symmetric; y, f0_x [n], f0_t [a]; time [] -> [a].
    Article: kexue.fm/archives/8009.  Paper: arXiv 1806.07572.
    Differs: no.
    Cost: O(n^3 + a n).
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.theory import ntk_gradient_flow
        >>> k, zero = jnp.ones((1, 1)), jnp.zeros(1)
        >>> f = ntk_gradient_flow(k, k, jnp.ones(1), zero, zero, jnp.log(2.0))
        >>> round(float(f[0]), 4)
        0.5
    """
    name = "ntk_gradient_flow"
    values = {"k_tx": k_tx, "k_xx": k_xx, "y": y, "f0_t": f0_t, "f0_x": f0_x}
    patterns = ("a n", "n n", "n", "a", "n")
    for argument, value in values.items():
        checks.array(name, argument, value)
    checks.shapes(
        name,
        **{n: (v, p) for (n, v), p in zip(values.items(), patterns, strict=True)},
    )
    if not checks.is_array(time):
        checks.number(name, "time", time, minimum=0)
        time = jnp.asarray(time, k_tx.dtype)
    checks.array(name, "time", time)
    checks.shapes(name, time=(time, ""))
    dtype = k_tx.dtype
    k_tx, k_xx, y, f0_t, f0_x, time = high((k_tx, k_xx, y, f0_t, f0_x, time))
    rates, basis = jnp.linalg.eigh(k_xx)
    nonzero = rates != 0
    safe = jnp.where(nonzero, rates, 1)
    reached = jnp.where(nonzero, -jnp.expm1(-safe * time) / safe, time)
    found = f0_t + k_tx @ (basis @ (reached * (basis.T @ (y - f0_x))))
    return found.astype(dtype)
