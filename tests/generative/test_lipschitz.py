"""Bounds of Lipschitz constants: what weights say, what samples say, and the jumps."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kexue_jax.generative import (
    empirical_lipschitz,
    gradient_normalize,
    lipschitz_upper_bound,
    spectral_normalize,
    spectral_vector,
)
from kexue_jax.optim import clip_weights
from tests.generative import nets
from tests.generative.nets import COUNT, drawn, facts, lengths


def test_every_bound_holds_for_a_thousand_critics() -> None:
    params, _ = drawn(0)
    slopes = facts()["raw"][0][0].grad_norm.max(1)
    bounds = jax.jit(
        jax.vmap(
            lambda params: [
                lipschitz_upper_bound(params, norm=norm)
                for norm in ("spectral", "frobenius", "largest")
            ]
        )
    )(params)
    spectral, frobenius, largest = map(np.asarray, bounds)
    assert (slopes <= spectral).all() and (spectral <= frobenius * (1 + 1e-12)).all()
    assert (frobenius <= largest).all()
    c = max(np.abs(w).max() for w, _ in params)
    sizes = np.prod([a * b for a, b in itertools.pairwise(nets.SIZES)])
    assert (largest <= c**3 * sizes**0.5).all()


def test_the_bound_of_clipped_weights_is_reached() -> None:
    c, sizes = 0.25, (4, 3, 5, 1)
    pairs = list(itertools.pairwise(sizes))
    start = [(jnp.full(s, 9.0), jnp.zeros(s[1])) for s in pairs]
    clip = clip_weights(c)
    moves, _ = clip.update(jax.tree.map(jnp.zeros_like, start), clip.init(start), start)
    params = optax.apply_updates(start, moves)
    found = gradient_normalize(lambda x: nets.value(params, x), jnp.ones((1, 4)))
    wanted = np.prod([c * (a * b) ** 0.5 for a, b in pairs])
    np.testing.assert_allclose(found.grad_norm, wanted, rtol=1e-12)
    for norm in ("spectral", "frobenius", "largest"):
        found = lipschitz_upper_bound(params, norm=norm)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def conv_norms(kernels, side=8):
    """The largest singular value of each convolution on a torus, over frequencies."""
    spectrum = np.fft.fft2(kernels, (side, side), axes=(1, 2))
    return np.linalg.svd(spectrum, compute_uv=False).max((1, 2, 3))


def test_a_kernel_as_a_matrix_does_not_bound_its_convolution() -> None:
    kernels = np.random.default_rng(0).normal(size=(COUNT, 3, 3, 2, 2))
    matrix = np.linalg.norm(kernels.reshape(COUNT, -1, 2), 2, axis=(1, 2))
    ratio = conv_norms(kernels) / matrix
    assert (ratio > 1).mean() > 0.9 and 1.8 < ratio.max() <= 3
    bound = jax.jit(jax.vmap(lambda w: lipschitz_upper_bound({"w": w})))(kernels)
    np.testing.assert_allclose(bound, 3 * matrix, rtol=1e-12)
    # The equality case: the same matrix at all places.
    flat = np.broadcast_to(kernels[:1, :1, :1], (1, 3, 3, 2, 2))
    bound = lipschitz_upper_bound({"w": jnp.asarray(flat[0])})
    np.testing.assert_allclose(conv_norms(flat)[0], bound, rtol=1e-12)


def test_power_iteration_finds_the_largest_singular_value_from_below() -> None:
    w = jnp.asarray(np.random.default_rng(1).normal(size=(COUNT, 4, 3)))
    keys = jax.random.split(jax.random.key(0), COUNT)

    def one(key, w):
        few = spectral_normalize(w, spectral_vector(key, w, n_iter=1), n_iter=1)
        many = spectral_normalize(w, spectral_vector(key, w, n_iter=300), n_iter=1)
        slope = jax.grad(lambda w: spectral_normalize(w, many.u, n_iter=1).sigma)(w)
        return few.sigma, many, slope

    few, many, slope = jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(keys, w))
    u, s, vt = np.linalg.svd(np.asarray(w))
    assert (few <= s[:, 0] * (1 + 1e-12)).all() and (few < 0.999 * s[:, 0]).any()
    np.testing.assert_allclose(many.sigma, s[:, 0], rtol=1e-4)
    np.testing.assert_allclose(np.median(many.sigma / s[:, 0]), 1, rtol=1e-12)
    exact = many.sigma / s[:, 0] > 1 - 1e-13
    assert exact.mean() > 0.8
    np.testing.assert_allclose(
        np.linalg.norm(many.w[exact], 2, axis=(1, 2)), 1, rtol=1e-12
    )
    # At its end the slope of sigma is u v^T, as if u and v had not been stopped.
    wanted = u[:, :, 0][:, :, None] * vt[:, 0][:, None]
    apart = (s[:, 1] / s[:, 0]) < 0.9
    np.testing.assert_allclose(slope[apart], wanted[apart], atol=1e-9)


def test_no_slope_goes_through_the_vectors_of_the_iteration() -> None:
    """Of sigma = v^T W u it is v u^T wherever the iteration stands."""
    rng = np.random.default_rng(4)
    w, u = rng.normal(size=(COUNT, 4, 3)), rng.normal(size=(COUNT, 3))

    def sigma(w, u):
        found = spectral_normalize(w, u)
        return found.sigma, found.u

    both = jax.jit(jax.vmap(jax.grad(sigma, (0, 1), has_aux=True)))
    (by_w, by_u), after = map(jax.device_get, both(w, u))
    v = np.einsum("nij,nj->ni", w, u)
    v = v / np.linalg.norm(v, axis=1, keepdims=True)
    wanted = v[:, :, None] * after[:, None]
    np.testing.assert_allclose(by_w, wanted, atol=1e-12)
    assert not by_u.any()


def test_one_iteration_a_step_follows_weights_that_move() -> None:
    rng = np.random.default_rng(2)
    start, moves = rng.normal(size=(6, 5)), 0.02 * rng.normal(size=(200, 6, 5))

    @jax.jit
    def run(w):
        u = spectral_vector(jax.random.key(0), w, n_iter=30)

        def step(state, move):
            w, u = state
            found = spectral_normalize(w + move, u)
            return (w + move, found.u), found.sigma

        return jax.lax.scan(step, (w, u), jnp.asarray(moves))[1]

    weights = start + np.cumsum(moves, axis=0)
    exact = np.linalg.norm(weights, 2, axis=(1, 2))
    np.testing.assert_allclose(run(jnp.asarray(start)), exact, rtol=0.02)


def test_weights_of_zeros_stay_and_have_finite_slopes() -> None:
    w, u = jnp.zeros((2, 3)), jnp.array([1.0, 0.0, 0.0])
    found = spectral_normalize(w, u)
    assert not found.w.any() and not found.sigma.any()
    np.testing.assert_array_equal(found.u, u)
    slope = jax.grad(lambda w: spectral_normalize(w, u).w.sum())(w)
    assert np.isfinite(slope).all()


def bent(x):
    return jnp.where(x[:, 0] < 1, x[:, 0], 3 * x[:, 0] - 2)


@pytest.mark.parametrize(("kind", "jump"), [("gn", 0.25), ("raw", 2 / 3)])
def test_difference_quotients_show_the_jump(kind, jump) -> None:
    x = 1 - jnp.array([[1e-6], [0.3]])

    def normalized(x):
        return gradient_normalize(bent, x, kind=kind).d_hat

    def largest(f, radius):
        found = empirical_lipschitz(jax.random.key(0), f, x, radius=radius, num=20)
        return np.asarray(found)

    for radius in (1e-2, 1e-3, 1e-4):
        at, away = largest(normalized, radius)
        np.testing.assert_allclose(at * radius, jump, rtol=0.05)
        assert away <= 1 + 1e-6
        assert (largest(bent, radius) <= 3 + 1e-6).all()


def test_quotients_of_linear_functions_are_at_most_the_slope() -> None:
    x = jnp.asarray(np.random.default_rng(3).normal(size=(COUNT, 2)))

    def linear(x):
        return 3 * x[:, 0] - 4 * x[:, 1]

    found = empirical_lipschitz(jax.random.key(1), linear, x, radius=0.5, num=16)
    assert (found <= 5 + 1e-9).all() and found.max() > 4.999
    assert lengths(np.asarray(x)).max() > 1
