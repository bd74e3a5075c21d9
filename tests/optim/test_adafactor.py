"""AdaFactor as the article writes it: its rank-one second moment, and optax's own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kexue_jax.optim import (
    adaxw,
    rank_one_nonneg,
    scale_by_second_moment_schedule,
    second_moment_weight,
)


def rms(x):
    return np.sqrt(np.mean(x**2))


class AdaFactor:
    """One matrix by the article's formulas, in float64."""

    def __init__(self, shape, c=0.8, eps1=1e-30, eps2=1e-3, d=1.0):
        self.r, self.c, self.k = np.zeros(shape[0]), np.zeros(shape[1]), 0
        self.power, self.eps1, self.eps2, self.d = c, eps1, eps2, d
        self.plain = np.zeros(shape)

    def update(self, g, theta):
        """The update before the rate; ``nu`` and ``plain`` are left to look at."""
        self.k += 1
        weight = self.k**-self.power
        square = g**2 + self.eps1
        self.r = (1 - weight) * self.r + weight * square.sum(1)
        self.c = (1 - weight) * self.c + weight * square.sum(0)
        self.plain = (1 - weight) * self.plain + weight * square
        self.nu = np.outer(self.r, self.c) / self.c.sum()
        u = g / np.sqrt(self.nu)
        return u / max(1, rms(u) / self.d) * max(self.eps2, rms(theta))


def divergence(c, a, b):
    product = a[..., :, None] * b[..., None, :]
    return np.sum(c * np.log(c / product) - c + product, axis=(-1, -2))


def test_rank_one_form_minimizes_the_divergence() -> None:
    rng = np.random.default_rng(0)
    c = rng.exponential(size=(1000, 3, 4)) + 1e-3
    a, b = (np.asarray(x) for x in rank_one_nonneg(jnp.asarray(c)))
    best = divergence(c, a, b)
    for size in (1e-3, 0.1, 1.0):
        near = a * np.exp(size * rng.normal(size=a.shape))
        also = b * np.exp(size * rng.normal(size=b.shape))
        assert (divergence(c, near, also) >= best - 1e-12).all()
        assert (divergence(c, near, b) >= best - 1e-12).all()
    # Equality: the scale moves freely between the two.
    np.testing.assert_allclose(divergence(c, 2 * a, b / 2), best, rtol=1e-9, atol=1e-12)
    # The square-root form (as in least squares) is not the minimizer.
    wrong = np.sqrt(c).sum(-1), np.sqrt(c).sum(-2) / np.sqrt(c).sum((-1, -2))[:, None]
    assert (divergence(c, *wrong) > best + 1e-3).mean() > 0.99


def test_row_and_column_sums_are_kept_and_rank_one_matrices_exact() -> None:
    rng = np.random.default_rng(1)
    c = rng.exponential(size=(3, 4))
    a, b = (np.asarray(x) for x in rank_one_nonneg(jnp.asarray(c)))
    np.testing.assert_allclose(np.outer(a, b).sum(1), c.sum(1), rtol=1e-12)
    np.testing.assert_allclose(np.outer(a, b).sum(0), c.sum(0), rtol=1e-12)
    c = np.outer(rng.exponential(size=3), rng.exponential(size=4))
    a, b = (np.asarray(x) for x in rank_one_nonneg(jnp.asarray(c)))
    np.testing.assert_allclose(np.outer(a, b), c, rtol=1e-12)


def test_factored_moment_is_the_plain_one_for_one_rank_one_pattern() -> None:
    rng = np.random.default_rng(2)
    pattern = np.outer(rng.exponential(size=3), rng.exponential(size=4))
    same, other = AdaFactor((3, 4)), AdaFactor((3, 4))
    for _ in range(20):
        sign = rng.choice([-1, 1], size=(3, 4))
        same.update(np.sqrt(pattern * rng.exponential()) * sign, np.ones((3, 4)))
        other.update(rng.normal(size=(3, 4)), np.ones((3, 4)))
    np.testing.assert_allclose(same.nu, same.plain, rtol=1e-12)
    # Else the sums agree and the entries do not.
    np.testing.assert_allclose(other.nu.sum(0), other.plain.sum(0), rtol=1e-12)
    np.testing.assert_allclose(other.nu.sum(1), other.plain.sum(1), rtol=1e-12)
    assert abs(other.nu / other.plain - 1).max() > 0.1


def test_the_update_is_no_longer_than_the_weights() -> None:
    rng = np.random.default_rng(3)
    twin, theta = AdaFactor((3, 4)), rng.normal(size=(3, 4))
    for size in 10.0 ** rng.uniform(-3, 3, 200):
        u = twin.update(size * rng.normal(size=(3, 4)), theta)
        assert rms(u) <= rms(theta) * (1 + 1e-12)


def test_optax_adafactor_is_the_articles_with_the_same_schedule() -> None:
    rng = np.random.default_rng(4)
    opt = optax.adafactor(1.0, min_dim_size_to_factor=2, eps=1e-30)
    twin, theta = AdaFactor((3, 4)), rng.normal(size=(3, 4))
    params = jnp.asarray(theta)
    state = opt.init(params)
    update = jax.jit(opt.update)
    for _ in range(5):
        g = rng.normal(size=(3, 4))
        updates, state = update(jnp.asarray(g), state, params)
        np.testing.assert_allclose(-updates, twin.update(g, theta), rtol=1e-6)


def test_the_family_has_adafactors_schedule() -> None:
    t = jnp.arange(1.0, 50.0)
    found = second_moment_weight(t, kind="adafactor", exponent=0.8)
    np.testing.assert_allclose(found, np.asarray(t) ** -0.8, rtol=1e-12)


def test_weights_near_zero_move_by_the_floor_of_a_thousandth() -> None:
    """max(eps2, RMS(theta)): without the floor, weights at zero would stay there."""
    rng = np.random.default_rng(5)
    for size, wanted in ((0.0, 1e-3), (1e-5, 1e-3), (0.5, 0.5)):
        twin, theta = AdaFactor((3, 4)), size * np.ones((3, 4))
        opt = optax.adafactor(1.0, min_dim_size_to_factor=2, eps=1e-30)
        state = opt.init(jnp.asarray(theta))
        for _ in range(3):
            g = rng.normal(size=(3, 4))
            updates, state = opt.update(jnp.asarray(g), state, jnp.asarray(theta))
            u = twin.update(g, theta)
            np.testing.assert_allclose(-updates, u, rtol=1e-6)
            assert 0.5 * wanted < rms(u) <= wanted * (1 + 1e-12)


def test_vectors_keep_a_second_moment_that_is_not_factored() -> None:
    """The same schedule and clipping; our family gives the direction before them."""
    rng = np.random.default_rng(6)
    theta, nu = rng.normal(size=5), np.zeros(5)
    opt = optax.adafactor(1.0, eps=1e-30)
    ours = scale_by_second_moment_schedule(
        lambda t: second_moment_weight(t, kind="adafactor", exponent=0.8),
        b1=0.0,
        eps=0.0,
    )
    state, own = opt.init(jnp.asarray(theta)), ours.init(jnp.asarray(theta))
    for t in range(1, 8):
        g = rng.normal(size=5)
        updates, state = opt.update(jnp.asarray(g), state, jnp.asarray(theta))
        u, own = ours.update(jnp.asarray(g), own)
        nu = (1 - t**-0.8) * nu + t**-0.8 * g**2
        np.testing.assert_allclose(u, g / np.sqrt(nu), rtol=1e-12)
        wanted = u / max(1, rms(np.asarray(u))) * rms(theta)
        np.testing.assert_allclose(-updates, wanted, rtol=1e-6)


def test_optax_adafactor_decays_after_the_rate() -> None:
    """Its decay is not multiplied by the rate, where AdaX-W's and AdamW's is."""
    theta, nothing = jnp.ones((3, 4)), jnp.zeros((3, 4))
    for rate in (1.0, 1e-3):
        opt = optax.adafactor(rate, weight_decay_rate=0.1)
        updates, _ = opt.update(nothing, opt.init(theta), theta)
        np.testing.assert_allclose(updates, -0.1, rtol=1e-6)
        opt = adaxw(rate, weight_decay=0.1)
        updates, _ = opt.update(nothing, opt.init(theta), theta)
        np.testing.assert_allclose(updates, -0.1 * rate, rtol=1e-6)
