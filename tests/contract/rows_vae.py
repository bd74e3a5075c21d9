"""Contract rows of the bounds by importance weights and of the parts of a model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax import generative
from tests.contract.case import Bad, Case
from tests.contract.chains import bad_arrays
from tests.contract.rows_models import bad_options
from tests.oracles import vae as oracle

M, B, D = 5, 3, 4


def bound_row(name, options=None, variant="", m=M, bad=(), few=(), axis=0):
    options = options or {}
    call, wanted = getattr(generative, name), getattr(oracle, name)
    if axis:
        call, wanted = (functools.partial(f, axis=axis) for f in (call, wanted))

    def inputs(rng):
        return (np.moveaxis(3 * rng.normal(size=(m, B, 1)), 0, axis),)

    return Case(
        f"generative.{name}",
        inputs,
        wanted,
        options,
        variant=variant,
        call=call,
        bad=(
            *bad_arrays("log_w", 0, (0, 3), *few),
            Bad("axis", static={"axis": 3}),
            Bad("axis", static={"axis": None}),
            *bad,
        ),
    )


BOUNDS = (
    bound_row("iwae_bound"),
    bound_row("iwae_bound", variant="another axis", axis=-2),
    bound_row("elbo"),
    bound_row("miwae", {"groups": 3}, m=6, bad=bad_options(groups=(0, 4, 1.0))),
    bound_row("ciwae", {"beta": 0.3}, bad=bad_options(beta=(-0.1, 1.1))),
    bound_row("jackknife_bound", {"order": 1}, few=[(1, 2)]),
    bound_row(
        "jackknife_bound",
        {"order": 2},
        "second order",
        few=[(2, 2)],
        bad=bad_options(order=(3,)),
    ),
    bound_row("delta_corrected", few=[(1, 2)]),
    bound_row("effective_sample_size"),
)


PARTS = (
    Case(
        "generative.gaussian_log_prob",
        lambda rng: (
            rng.normal(size=(B, 1, D)),
            rng.normal(size=D),
            rng.normal(size=(1, D)) / 2,
        ),
        oracle.gaussian_log_prob,
        wide=True,
        extremes=False,
        reason="a scale of exp(-10,000) has no density",
        bad=(
            *bad_arrays("x", 0, ()),
            *bad_arrays("mean", 1, (3,), (2, B, 1, D)),
            *bad_arrays("log_scale", 2, (3,)),
        ),
    ),
    Case(
        "generative.bernoulli_log_prob",
        lambda rng: (rng.integers(0, 2, (B, D)) * 1.0, rng.normal(size=(B, D))),
        oracle.bernoulli_log_prob,
        wide=True,
        bad=(*bad_arrays("x", 0, ()), *bad_arrays("logits", 1, (D,), (B, 1))),
    ),
    Case(
        "generative.gaussian_kl",
        lambda rng: (rng.normal(size=(B, D)), rng.normal(size=(B, D)) / 2),
        oracle.gaussian_kl,
        wide=True,
        extremes=False,
        reason="a scale of exp(10,000) is no number",
        bad=(*bad_arrays("mean", 0, ()), *bad_arrays("log_scale", 1, (D,), (B, 1))),
    ),
    Case(
        "generative.dequantize",
        lambda rng: (rng.integers(0, 5, (B, D)),),
        lambda x, *, draws, levels: (x + draws) / levels,
        {"levels": 5},
        draws=lambda key, x: jax.random.uniform(key, x.shape, jnp.float32),
        follows=None,
        grad=False,
        tolerance={"float64": 1e-6},
        reason="integers have no gradient, and the result is float32 unless asked",
        bad=(
            Bad("x", args={0: np.ones(3)}),
            *bad_options(levels=(1,), dtype=("int8", None)),
        ),
    ),
    Case(
        "generative.bits_per_dim",
        lambda rng: (rng.normal(size=(B, 1)),),
        oracle.bits_per_dim,
        {"dims": 7, "levels": 256},
        bad=(Bad("log_prob", args={0: np.arange(3)}), *bad_options(dims=(0,))),
    ),
    Case(
        "generative.active_units",
        lambda rng: (rng.normal(size=(9, 3)) * np.array([0.01, 1.0, 0.5]),),
        oracle.active_units,
        {"tol": 0.01},
        follows=None,
        grad=False,
        reason="booleans have no gradient",
        bad=(*bad_arrays("means", 0, (3,), (0, 3)), *bad_options(tol=(-1.0,))),
    ),
)


ROWS = (*BOUNDS, *PARTS)
