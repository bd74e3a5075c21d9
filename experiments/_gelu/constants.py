"""Errors of GELU's approximations, and the fits that lead to their constants."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from kexue_jax import numerics
from kexue_jax.numerics.activation_fit import normal_erf, tanh_cubic

ROOT = math.sqrt(2 / math.pi)
END = 6.0


class Form(NamedTuple):
    """An approximation: a name, GELU, and the largest error of GELU by the card."""

    name: str
    function: Callable[[jnp.ndarray], jnp.ndarray]
    card: float


FORMS = (
    Form("tanh, 0.044715", numerics.gelu_tanh, 4.7324e-4),
    Form(
        "tanh, Taylor's 0.04554",
        lambda x: numerics.gelu_tanh(x, coef=(4 - math.pi) / (6 * math.pi)),
        7.4617e-4,
    ),
    Form("sigmoid, 1.702", numerics.gelu_sigmoid, 2.0335e-2),
    Form(
        "sigmoid, slope kept",
        lambda x: numerics.gelu_sigmoid(x, scale=2 * ROOT),
        3.3605e-2,
    ),
    Form("SiLU", numerics.silu, 1.930e-1),
)


class Errors(NamedTuple):
    """Of a form, in float32: the largest of GELU, where, its root mean square."""

    most: float
    at: float
    rms: float


def errors(form: Form) -> Errors:
    """On a fine grid of [0, END], by symmetry of both sides."""
    x = np.linspace(0, END, 60_001)
    found = np.asarray(form.function(jnp.asarray(x, jnp.float32)), np.float64)
    gap = found - exact(x)
    place = int(np.abs(gap).argmax())
    inside = gap[x <= 5]
    return Errors(
        float(abs(gap[place])), float(x[place]), float((inside**2).mean() ** 0.5)
    )


def exact(x: np.ndarray) -> np.ndarray:
    """GELU in float64."""
    phi = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])
    return x * phi


def fits() -> dict[str, numerics.FitResult]:
    """tanh(a x + b x^3) to erf by several criteria; a held but for "both free"."""
    held = {"fixed": [True, False]}
    jobs: dict[str, dict] = {
        "largest error": {"domain": (0.0, 4.0), **held},
        "least squares": {"domain": (0.0, 8.0), "criterion": "l2", **held},
        "least squares, normal weight": {
            "domain": (0.0, 8.0),
            "criterion": "l2",
            "weight": lambda x: np.exp(-x * x / 2),
            **held,
        },
        "least absolute": {"domain": (0.0, 8.0), "criterion": "l1", **held},
        "Taylor": {"domain": (0.0, 4.0), "criterion": "taylor"},
        "both free": {"domain": (0.0, 4.0)},
    }
    return {
        name: numerics.fit_activation(normal_erf, tanh_cubic, [ROOT, 0.036], **job)
        for name, job in jobs.items()
    }
