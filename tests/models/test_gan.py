"""Networks of GANs: sizes, ranges, and critics that are linear by pieces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.generative import gradient_normalize
from kexue_jax.models import gan_critic, gan_generator, leaky_perceptron


def test_generator_draws_images_that_its_critic_takes() -> None:
    sizes = {"sides": (8, 12), "channels": 3, "width": 4}
    generator, critic = gan_generator(noise=5, **sizes), gan_critic(**sizes)
    keys = jax.random.split(jax.random.key(0))

    def run(keys, z):
        images = generator.apply(generator.init(keys[0]), z)
        return images, critic.apply(critic.init(keys[1]), images)

    shapes = jax.eval_shape(run, keys, jnp.zeros((2, 7, 5)))
    assert [s.shape for s in shapes] == [(2, 7, 8, 12, 3), (2, 7)]


@pytest.mark.parametrize("name", ["gan_critic", "leaky_perceptron"])
def test_critics_are_piecewise_linear(name) -> None:
    # Along a short step every value is that of the tangent, to rounding, and the
    # normalized critic's first-order form is exact.
    shape = (8, 8, 1) if name == "gan_critic" else (6,)
    model = (
        gan_critic(sides=(8, 8), width=4)
        if name == "gan_critic"
        else leaky_perceptron(sizes=(6, 8, 8, 1))
    )
    rng = np.random.default_rng(0)
    x, step = (jnp.asarray(rng.normal(size=(5, *shape))) for _ in range(2))

    @jax.jit
    def run(key, x, step):
        params = jax.tree.map(lambda p: p.astype(x.dtype), model.init(key))

        def critic(x):
            return model.apply(params, x).reshape(x.shape[0])

        def out(x, pieces):
            return gradient_normalize(critic, x, piecewise_linear=pieces).d_hat.sum()

        value, rise = jax.jvp(critic, (x,), (step,))
        slopes = [jax.grad(out)(x, pieces) for pieces in (False, True)]
        return critic(x + 1e-6 * step) - value, rise, *slopes

    moved, rise, whole, pieces = run(jax.random.key(0), x, step)
    np.testing.assert_allclose(moved, 1e-6 * rise, rtol=1e-7)
    np.testing.assert_allclose(pieces, whole, rtol=1e-12, atol=1e-14)
