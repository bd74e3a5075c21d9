"""Flooding, and that its steps up and down descend the squared gradient."""

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.training import descent_ascent_step, flooding

CURVES = jnp.array([0.5, 1.0, 3.0])


def f(p):
    return jnp.sum(CURVES * p**4 / 4 + jnp.sin(p))


def squared_gradient(p):
    return jnp.sum(jax.grad(f)(p) ** 2)


POINTS = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (1000, 3)))


@jax.jit
def errors(down, up, weight):
    """What a step down and up leaves over the claim, the largest of 1,000 points."""

    def one(p):
        step = descent_ascent_step(f, p, down=down, up=up)
        claim = (down - up) * jax.grad(f)(p)
        claim += weight * down * up / 2 * jax.grad(squared_gradient)(p)
        return jnp.abs(step - (p - claim)).max()

    return jax.vmap(one)(POINTS).max()


def order(down, up, weight=1.0):
    """The exponent with which the error falls as both rates are halved."""
    pairs = [errors(down / k, up / k, weight) for k in (1.0, 2.0)]
    return float(np.log2(pairs[0] / pairs[1]))


def test_equal_steps_descend_half_the_squared_gradient_to_third_order() -> None:
    assert order(0.01, 0.01) > 2.9
    assert order(0.01, 0.01, weight=0.5) < 2.1  # a wrong constant is of second order


def test_so_do_steps_in_the_other_order() -> None:
    assert order(-0.01, -0.01) > 2.9


def test_unequal_steps_add_the_penalty_of_the_article() -> None:
    assert order(0.02, 0.01) > 2.9
    assert order(0.02, 0.01, weight=2.0) < 2.1


def test_the_flooded_loss_never_lies_below_its_level_and_touches_it() -> None:
    loss = jnp.linspace(-2, 2, 1000)  # none of them at the level
    found = flooding(loss, level=0.4)
    assert (found >= 0.4).all() and float(flooding(jnp.array(0.4), level=0.4)) == 0.4
    slopes = jax.vmap(jax.grad(lambda x: flooding(x, level=0.4)))(loss)
    np.testing.assert_array_equal(slopes, np.sign(np.asarray(loss) - 0.4))


def test_alternating_at_the_level_goes_on_descending_the_squared_gradient() -> None:
    # A loss with a whole valley of minima at 0: flooding at 0.05 walks along it to
    # where it is flat, which plain descent does not.
    def valley(p):
        return (p[0] * p[1] - 1) ** 2

    start, rate = jnp.array([3.0, 0.35]), 0.02

    def walk(level):
        def step(p, _):
            down = jax.grad(lambda p: flooding(valley(p), level=level))(p)
            return p - rate * down, None

        return jax.lax.scan(step, start, length=3000)[0]

    plain, flooded = jax.jit(walk)(0.0), jax.jit(walk)(0.05)
    sizes = [float(jnp.sum(p**2)) for p in (plain, flooded)]
    assert sizes[1] < 0.9 * sizes[0]
