"""Costs without a clock: flops by definition, XLA's account, and how they scale."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from experiments.benchmark.cost import compiled_facts, contraction_flops, scaling
from kexue_jax import diffusion

A, B = jnp.ones((3, 5), jnp.float32), jnp.ones((5, 7), jnp.float32)
BATCH = jnp.ones((2, 3, 5), jnp.float32)
W = jnp.ones((4, 4), jnp.float32)


def convolution(x, kernel, stride=1):
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def test_products():
    assert contraction_flops(jnp.dot, A, B) == 2 * 3 * 5 * 7
    product = lambda x: jnp.einsum("bij,kj->bik", x, A)  # noqa: E731
    assert contraction_flops(product, BATCH) == 2 * 2 * 3 * 3 * 5
    assert contraction_flops(jnp.tanh, A) == 0


def test_convolutions_count_their_padding():
    x, kernel = jnp.ones((2, 8, 8, 3), jnp.float32), jnp.ones((3, 3, 3, 6), jnp.float32)
    assert contraction_flops(convolution, x, kernel) == 2 * 2 * 64 * 6 * 27
    half = lambda x, k: convolution(x, k, 2)  # noqa: E731
    assert contraction_flops(half, x, kernel) == 2 * 2 * 16 * 6 * 27


def test_value_and_gradient_cost_three_times_the_function():
    def loss(a, b):
        return jnp.dot(a, b).sum()

    both = contraction_flops(jax.value_and_grad(loss, (0, 1)), A, B)
    assert both == 3 * contraction_flops(loss, A, B)


def test_loops_and_branches():
    def chain(x, length):
        return lax.scan(lambda c, _: (c @ W, None), x, None, length=length)[0]

    x = jnp.ones((2, 4), jnp.float32)
    once = 2 * 2 * 4 * 4
    assert contraction_flops(lambda x: chain(x, 6), x) == 6 * once
    assert contraction_flops(jax.jit(lambda x: chain(x, 6)), x) == 6 * once

    def branch(x):
        return lax.cond(x.sum() > 0, lambda x: x @ W, lambda x: x @ W @ W, x)

    assert contraction_flops(branch, x) == 2 * once
    with pytest.raises(ValueError, match="while loop"):
        contraction_flops(
            lambda x: lax.while_loop(lambda c: c.sum() < 9, lambda c: c @ W, x), x
        )


def test_custom_derivatives_are_counted_once():
    @jax.custom_vjp
    def f(x):
        return x @ W

    f.defvjp(lambda x: (x @ W, None), lambda _, d: (d @ W.T,))
    assert contraction_flops(f, W) == 2 * 4**3


def test_xla_account():
    compiled = jax.jit(jnp.dot).lower(A, B).compile()
    facts = compiled_facts(compiled)
    assert facts["devices"] == 1
    assert facts["flops"] >= 2 * 3 * 5 * 7
    assert facts["bytes"] >= 4 * (15 + 35 + 21)
    assert facts["peak_bytes"] >= 4 * 21


def test_a_donated_result_takes_no_memory_of_its_own():
    x = jnp.ones(1024, jnp.float32)
    kept = compiled_facts(jax.jit(jnp.cos).lower(x).compile())
    given = compiled_facts(jax.jit(jnp.cos, donate_argnums=0).lower(x).compile())
    assert kept["peak_bytes"] - given["peak_bytes"] == 4096


def test_scaling_tells_linear_from_quadratic():
    def rows(n):
        return (jnp.ones((n, 8), jnp.float32),)

    elementwise = scaling(lambda x: x * 2 + 1, rows, 64)
    assert elementwise.flops_ratio == pytest.approx(2, rel=0.01)
    assert elementwise.bytes_ratio == pytest.approx(2, rel=0.01)
    gram = scaling(lambda x: x @ x.T, rows, 64)
    assert gram.flops_ratio == pytest.approx(4, rel=0.01)


def ddim(x, steps):
    taus = diffusion.ddim_taus(T=1000, S=steps)
    schedule = diffusion.kexue_schedule()
    return diffusion.ddim_sample(None, lambda x, t: x @ W, schedule, x, taus).x


def test_ddim_costs_one_network_a_step():
    x = jnp.ones((2, 4), jnp.float32)
    one = contraction_flops(lambda x: x @ W, x)
    for steps in (5, 10, 40):
        assert contraction_flops(lambda x, s=steps: ddim(x, s), x) == steps * one


def test_ddim_compiles_one_step_whatever_their_number():
    """XLA counts the body of the loop once, so its account must not grow with S."""
    x = jnp.ones((2, 4), jnp.float32)
    short, long = (
        compiled_facts(jax.jit(lambda x, s=s: ddim(x, s)).lower(x).compile())
        for s in (5, 40)
    )
    assert long["flops"] < 1.2 * short["flops"]
    assert long["peak_bytes"] < 1.2 * short["peak_bytes"] + 4096
