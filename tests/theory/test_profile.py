"""Residual wirings at the start: the signal, the identity path, the whole gradient."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._initialization.encoder import Encoder, init, sublayers
from kexue_jax.theory import (
    deepnorm_constants,
    layer_norm,
    residual_block,
    signal_gradient_profile,
    stream_moments,
)

LAYERS, WIDTH, TOKENS = 12, 64, 24


@functools.cache
def profile(wiring):
    """Of an encoder of 24 sublayers with LeCun's start, the stream normed at first."""
    encoder = Encoder(WIDTH, 4, LAYERS, wiring, "lecun")
    norm = layer_norm if wiring in ("pre", "none", "rezero") else lambda v: v

    @jax.jit
    def measured(key):
        keys = jax.random.split(key, 3)
        params = init(keys[0], encoder)
        x, target = (jax.random.normal(k, (2, TOKENS, WIDTH)) for k in keys[1:])

        def f(h):
            return jnp.sum(norm(h) * target)

        return signal_gradient_profile(sublayers(encoder), params, layer_norm(x), f)

    with jax.enable_x64(False):
        return jax.tree.map(np.asarray, measured(jax.random.key(0)))


def ratio(values):
    return float(values[0] / values[-1])


def test_identity_path_of_post_norm_falls_as_predicted_and_the_gradient_does_not() -> (
    None
):
    # 8747 and 8620 conclude that the gradients of Post-LN vanish. What vanishes is the
    # identity path; the branches carry the rest.
    found = profile("post")
    predicted = stream_moments(jnp.asarray(found.branch_rms**2), wiring="post")
    slope = math.log(ratio(found.grad_identity)) / (2 * LAYERS)
    wanted = math.log(float(predicted.identity[-1])) / (2 * LAYERS)
    np.testing.assert_allclose(slope, wanted, rtol=0.05)
    assert ratio(found.grad_identity) < 0.05
    assert ratio(found.grad_stream) > 0.25
    np.testing.assert_allclose(found.stream_rms, 1, rtol=1e-4)
    kernels = found.grad_params[1]["up"]
    assert 0.3 < ratio(kernels) < 3


def test_pre_norm_keeps_the_identity_path_and_grows_by_the_sum_of_variances() -> None:
    found = profile("pre")
    np.testing.assert_allclose(found.grad_identity, found.grad_identity[-1], rtol=1e-5)
    predicted = stream_moments(jnp.asarray(found.branch_rms**2), wiring="pre")
    np.testing.assert_allclose(found.stream_rms**2, predicted.variance, rtol=0.25)
    # The gradients of early layers are the larger ones.
    assert ratio(found.grad_stream) > 1.2
    assert ratio(found.grad_params[1]["up"]) > 1.2


@pytest.mark.slow
def test_deepnorm_is_flat() -> None:
    found = profile("deepnorm")
    np.testing.assert_allclose(found.grad_stream / found.grad_stream[-1], 1, atol=0.05)


@pytest.mark.slow
def test_without_a_norm_signal_and_gradient_explode() -> None:
    found = profile("none")
    assert found.stream_rms[-1] > 20
    assert ratio(found.grad_stream) > 20


@pytest.mark.slow
def test_rezero_starts_as_the_identity_and_trains_its_gains_first() -> None:
    found = profile("rezero")
    np.testing.assert_allclose(found.grad_stream, found.grad_stream[-1], rtol=1e-5)
    attention, forward = found.grad_params
    assert all((tree["gain"] > 0).all() for tree in (attention, forward))
    assert (forward["up"] == 0).all() and (attention["v"] == 0).all()


def test_a_branch_of_weight_zero_leaves_its_input_exactly() -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)))
    found = residual_block(x, jnp.tanh, wiring="rezero", gain=0.0)
    np.testing.assert_array_equal(found, x)


def test_variance_one_halves_the_square_of_the_identity_path_each_time() -> None:
    found = stream_moments(jnp.ones(40), wiring="post")
    np.testing.assert_allclose(found.identity, 2.0 ** (-np.arange(41) / 2), rtol=1e-12)


def test_moments_of_linear_branches_are_those_of_a_thousand_draws() -> None:
    # x + W x with W ~ N(0, s / d): nothing but second moments is used.
    rng = np.random.default_rng(1)
    d, spreads = 256, np.array([0.3, 1.0, 0.5])
    x = rng.normal(size=(1000, d))
    streams = {"none": [x], "post": [x], "pre": [x]}
    identity = np.ones(1000)
    for s in spreads:
        w = rng.normal(size=(d, d)) * math.sqrt(s / d)
        for wiring, stream in streams.items():
            moved = np.asarray(
                residual_block(stream[-1], lambda h, w=w: h @ w, wiring=wiring)
            )
            stream.append(moved)
        last = streams["post"][-2]
        identity = identity / np.std(last + last @ w, axis=-1)
    for wiring, stream in streams.items():
        wanted = stream_moments(jnp.asarray(spreads), wiring=wiring)
        found = [np.mean(v**2) for v in stream]
        np.testing.assert_allclose(found, wanted.variance, rtol=0.12)
    post = stream_moments(jnp.asarray(spreads), wiring="post")
    np.testing.assert_allclose(identity.mean(), post.identity[-1], rtol=0.05)


def test_deepnorm_constants_balance_their_updates() -> None:
    for layers in (6, 100):
        paper, sgd, adam, lamb = (
            deepnorm_constants(num_layers=layers, optimizer=o)
            for o in ("paper", "sgd", "adam", "lamb")
        )
        assert paper.alpha == sgd.alpha
        np.testing.assert_allclose([sgd.alpha * sgd.gain, adam.alpha * adam.gain], 1)
        np.testing.assert_allclose(paper.gain * sgd.alpha, 4**-0.25)
        np.testing.assert_allclose(lamb.gain, adam.gain)
        # 2N sublayers with branches of gain^2 over a stream of alpha^2.
        kept = (1 + (paper.gain / paper.alpha) ** 2) ** -float(layers)
        assert kept > 0.75
