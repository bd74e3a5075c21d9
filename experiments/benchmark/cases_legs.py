"""LegS after every sample, beside the loop of NumPy and SciPy that papers' code has."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.extras import need
from experiments.benchmark.case import Case, Form, Peer
from kexue_jax.ssm import hippo_matrices, legs_scan
from kexue_jax.ssm.legs import legs_scan_plain


def signal(seed: int, *, length: int) -> tuple[jax.Array, ...]:
    """White noise, [length]."""
    noise = np.random.default_rng(seed).standard_normal(length)
    return (jnp.asarray(noise, jnp.float32),)


def coefficients(scan: Any, n: int, u: jax.Array) -> jax.Array:
    """The coefficients after every sample, by the default step."""
    return scan(u, n=n, method="trapezoid").coef


def triangular_loop(n: int, u: Any) -> Form:
    """A product with A and a triangular solve each step, dense, float32."""
    linalg = need("scipy.linalg", "bench")
    samples = np.array(u)
    a, b = (np.array(part) for part in hippo_matrices(measure="legs", n=n))
    eye, found = np.eye(n, dtype=a.dtype), np.empty((len(samples), n), a.dtype)

    def run() -> np.ndarray:
        x = np.zeros(n, a.dtype)
        x[0] = samples[0]
        found[0] = x
        for k in range(1, len(samples)):
            early, late = np.float32(0.5 / k), np.float32(0.5 / (k + 1))
            right = x + early * (a @ x) + (early + late) * samples[k] * b
            x = linalg.solve_triangular(
                eye - late * a, right, lower=True, check_finite=False
            )
            found[k] = x
        return found

    return Form(run, run().copy())


def case(length: int, n: int, gradient: tuple[int, ...] = ()) -> Case:
    """LegS of n coefficients over a signal."""
    loop = functools.partial(triangular_loop, n)
    return Case(
        f"ssm.legs_scan_{length}_{n}",
        functools.partial(signal, length=length),
        functools.partial(coefficients, legs_scan, n),
        functools.partial(coefficients, legs_scan_plain, n),
        (Peer("scipy", loop, label="NumPy and SciPy loop"),),
        gradient=gradient,
        tolerance=1e-4,
        goal=0.15,
        about=f"LegS, {length} samples, n = {n}; twin: a scan of legs_step",
    )


CASES = (case(1024, 64, gradient=(0,)), case(1024, 256))
