"""AdaX: its closed forms, the order of the schedules, and what float32 does to it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kexue_jax.optim import adax, adaxw, scale_by_adax, second_moment_weight
from kexue_jax.optim import scale_by_second_moment_schedule as scheduled
from tests.oracles import optimizers as oracle

KINDS = ("adam", "adax", "adafactor", "mean")
# The card's values of the weight of the newest square.
VALUES = {
    1000: {"adax": 9.509e-4, "mean": 1e-3, "adam": 1.5815e-3, "adafactor": 3.981e-3},
    10**4: {"adax": 5.820e-5, "mean": 1e-4, "adam": 1.0000e-3, "adafactor": 6.310e-4},
    10**5: {"adax": 4.542e-9, "mean": 1e-5, "adam": 1e-3, "adafactor": 1e-4},
}


def weights(kind: str, steps: np.ndarray, dtype: str = "float64") -> np.ndarray:
    return np.asarray(second_moment_weight(jnp.asarray(steps, dtype), kind=kind))


@functools.cache
def averaged(kind: str, steps: int = 2000) -> tuple[np.ndarray, ...]:
    """Squares, and their second moment by ours, with b1 = 0, eps = 0 and g > 0.

    The update is then g / sqrt(nu), so that nu = (g / update)^2.
    """
    g = np.random.default_rng(0).uniform(0.5, 2, (steps, 5))
    opt = scheduled(
        lambda t: second_moment_weight(t, kind=kind), b1=0.0, eps=0.0, eps_root=0.0
    )

    def step(state, gradient):
        updates, state = opt.update(gradient, state)
        return state, updates

    updates = jax.lax.scan(step, opt.init(jnp.zeros(5)), jnp.asarray(g))[1]
    return g**2, (g / np.asarray(updates)) ** 2


def test_raw_adax_and_adam_are_the_moving_average_forms() -> None:
    for kind in ("adax", "adam"):
        squares, nu = averaged(kind)
        raw, beta = np.zeros(5), 1e-4 if kind == "adax" else 0.999
        for k, square in enumerate(squares, 1):
            if kind == "adax":
                raw = (1 + beta) * raw + beta * square
                wanted = raw / ((1 + beta) ** k - 1)
            else:
                raw = beta * raw + (1 - beta) * square
                wanted = raw / (1 - beta**k)
            np.testing.assert_allclose(nu[k - 1], wanted, rtol=1e-11)


def test_the_mean_is_the_mean() -> None:
    squares, nu = averaged("mean")
    steps = np.arange(1, 2001)[:, None]
    np.testing.assert_allclose(nu, np.cumsum(squares, 0) / steps, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_weight_is_one_and_weights_fall(kind) -> None:
    found = weights(kind, np.arange(1, 200_000, 17))
    assert found[0] == pytest.approx(1, rel=1e-12)
    assert (np.diff(found) <= 0).all() and (found > 0).all()
    if kind == "adam":  # the article's second wish, beta -> 1, is not Adam's
        assert found[-1] == pytest.approx(1e-3, rel=1e-6)
    else:
        assert found[-1] < 1e-4


def test_weights_have_the_values_and_the_order_of_the_card() -> None:
    for t, row in VALUES.items():
        for kind, value in row.items():
            assert weights(kind, np.array(t)) == pytest.approx(value, rel=1e-4)
    steps = np.unique(np.geomspace(2, 1e6, 5000).round())
    one, two, three = (weights(kind, steps) for kind in ("adax", "mean", "adafactor"))
    assert (one < two).all() and (two < three).all()
    # The claim with the order of the last two changed does not hold.
    assert not (three < two).any()


def test_adax_weighs_the_oldest_gradients_most() -> None:
    b2, t = 1e-4, 200_000
    i = np.arange(1, t + 1)
    newest = weights("adax", i)
    # What is left at step t of the weight of step i, from the schedule alone.
    kept = np.concatenate([np.cumsum(np.log1p(-newest[:0:-1]))[::-1], [0.0]])
    share = newest * np.exp(kept)
    wanted = b2 * (1 + b2) ** (t - i) / ((1 + b2) ** t - 1)
    np.testing.assert_allclose(share[1:], wanted[1:], rtol=1e-9)
    assert wanted.sum() == pytest.approx(1, rel=1e-9)
    assert (np.diff(wanted) < 0).all()
    assert wanted[:10_000].sum() == pytest.approx(0.632, abs=1e-3)
    np.testing.assert_allclose(wanted[:9], b2 * (1 + b2) ** -i[:9], rtol=1e-6)


def test_short_runs_are_adagrad_and_long_ones_a_frozen_preconditioner() -> None:
    squares, nu = averaged("adax", 100)
    mean = np.cumsum(squares, 0) / np.arange(1, 101)[:, None]
    np.testing.assert_allclose(nu, mean, rtol=100 * 1e-4)
    opt = scale_by_adax()
    state = opt.init(jnp.zeros(3))
    late = state._replace(count=jnp.asarray(400_000, jnp.int32), nu=jnp.full(3, 2.0))
    after = opt.update(jnp.full(3, 100.0), late)[1]
    np.testing.assert_allclose(after.nu, 2.0, rtol=1e-12)


@pytest.mark.parametrize("corrected", [False, True])
def test_a_constant_gradient_gives_its_sign_times_the_momentum(corrected) -> None:
    g = jnp.array([3.0, -1e-3, 0.5])
    opt = scale_by_adax(eps=0.0, bias_correction=corrected)

    def step(state, _):
        updates, state = opt.update(g, state)
        return state, (updates, state.nu)

    updates, nu = jax.lax.scan(step, opt.init(g), length=300)[1]
    momentum = np.ones((300, 1)) if corrected else 1 - 0.9 ** np.arange(1, 301)[:, None]
    np.testing.assert_allclose(updates, momentum * np.sign(g), rtol=1e-9)
    np.testing.assert_allclose(nu, np.broadcast_to(g**2, nu.shape), rtol=1e-9)


def test_the_scale_of_the_gradients_cancels() -> None:
    g = np.random.default_rng(1).normal(size=(50, 4))

    def run(gradients):
        opt = scale_by_adax(eps=0.0)

        def step(state, gradient):
            updates, state = opt.update(gradient, state)
            return state, updates

        return jax.lax.scan(step, opt.init(jnp.zeros(4)), jnp.asarray(gradients))[1]

    np.testing.assert_allclose(run(g), run(1e3 * g), rtol=1e-10)


def test_optax_adam_is_one_of_the_family() -> None:
    mine = scheduled(
        lambda t: second_moment_weight(t, kind="adam"), bias_correction=True
    )
    theirs = optax.scale_by_adam()
    g = jnp.asarray(np.random.default_rng(2).normal(size=(30, 4)))

    def step(states, gradient):
        pairs = [
            opt.update(gradient, state)
            for opt, state in zip((mine, theirs), states, strict=True)
        ]
        return tuple(p[1] for p in pairs), tuple(p[0] for p in pairs)

    start = mine.init(g[0]), theirs.init(g[0])
    first, second = jax.lax.scan(step, start, g)[1]
    np.testing.assert_allclose(first, second, rtol=1e-10)


def test_four_conventions_of_epsilon_differ() -> None:
    g, eps = jnp.array([1e-3]), 1e-6
    outside = scale_by_adax(b1=0.0, eps=eps).update(g, scale_by_adax().init(g))[0]
    inside = scale_by_adax(b1=0.0, eps=0.0, eps_root=eps)
    inside = inside.update(g, inside.init(g))[0]
    assert outside[0] == pytest.approx(1e-3 / (1e-3 + eps))
    assert inside[0] == pytest.approx(1e-3 / np.sqrt(1e-6 + eps))
    # The paper's code adds eps to the root of the raw moment: 100 eps at step 1.
    raw = np.sqrt(1e-4 * 1e-6) + eps
    paper = 1e-3 * np.sqrt(1e-4) / raw
    assert paper == pytest.approx(1e-3 / (1e-3 + 100 * eps))


def test_float32_weights_are_exact_where_the_plain_power_is_not() -> None:
    steps = np.array([1, 10, 1000, 10_000, 400_000])
    exact = oracle.weight(steps, "adax")
    mine = weights("adax", steps, "float32")
    np.testing.assert_allclose(mine, exact, rtol=2e-6)
    beta = np.float32(1e-4)
    plain = np.float32(1) + beta
    error = abs((float(plain) ** steps[:3] - 1) / np.expm1(steps[:3] * 1e-4) - 1)
    assert (error > 1e-4).all()


def test_the_weight_goes_to_zero_where_the_power_overflows() -> None:
    found = weights("adax", np.array([880_000, 900_000, 2**31]), "float32")
    assert np.isfinite(found).all() and found[-1] == 0
    raw = np.float32(np.expm1(np.float64(900_000) * np.log1p(1e-4)) > 3.4e38)
    assert raw == 1  # the raw moment of squares of 1 would be infinite there


def test_the_newest_weight_falls_below_half_a_unit_where_the_card_says() -> None:
    steps = np.arange(1, 100_000)
    found = weights("adax", steps)
    # Half a unit in the last place, over nu: 2^-9 is bfloat16's for nu just below 2
    # (just above 1 it is 2^-8, at step 253), the others for nu just above 1.
    for half, near in ((2**-9, 500), (2**-8, 253), (2**-11, 1860), (2**-24, 74_000)):
        assert steps[found < half][0] == pytest.approx(near, rel=0.02)


def test_moments_are_float32_below_and_mu_follows_mu_dtype() -> None:
    params = {"w": jnp.ones(3, jnp.bfloat16)}
    state = adaxw(1e-3, mu_dtype=jnp.bfloat16).init(params)
    assert optax.tree.get(state, "nu")["w"].dtype == jnp.float32
    assert optax.tree.get(state, "mu")["w"].dtype == jnp.bfloat16
    opt = adaxw(1e-3, mu_dtype="bfloat16")
    updates, after = jax.eval_shape(opt.update, params, state, params)
    assert updates["w"].dtype == jnp.bfloat16
    assert optax.tree.get(after, "mu")["w"].dtype == jnp.bfloat16


def test_complex_parameters_have_real_second_moments() -> None:
    opt, g = scale_by_adax(b1=0.0, eps=0.0), jnp.array([3 + 4j], jnp.complex64)
    updates, state = opt.update(g, opt.init(g))
    np.testing.assert_allclose(updates, [0.6 + 0.8j], rtol=1e-6)
    assert state.nu.dtype == jnp.float32 and updates.dtype == jnp.complex64


def test_decay_is_decoupled_or_enters_the_moments() -> None:
    p, zero = {"w": jnp.array([2.0])}, {"w": jnp.zeros(1)}
    apart = adax(0.1, weight_decay=0.5)
    assert apart.update(zero, apart.init(p), p)[0]["w"][0] == pytest.approx(-0.1)
    inside = adax(0.1, weight_decay=0.5, decoupled=False)
    found = inside.update(zero, inside.init(p), p)[0]["w"][0]
    assert found == pytest.approx(-0.01)  # 0.1 (1 - b1) sign: its size is lost


def test_zero_gradients_stay_zero_with_an_epsilon() -> None:
    opt = scale_by_adax()
    assert float(opt.update(jnp.zeros(1), opt.init(jnp.zeros(1)))[0][0]) == 0


def parabola(p):
    return jnp.sum((p - jnp.array([1.0, -1.0, 1.0])) ** 2)


def rosenbrock(p):
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


def matrix_parabola(p):
    return jnp.sum((p - jnp.array([[1.0, 0], [0, 1]])) ** 2)


TARGETS = {
    "parabola": (parabola, [-1.0, 10, 1]),
    "rosenbrock": (rosenbrock, [0.0, 0]),
    "matrix parabola": (matrix_parabola, [[1.0, 2], [3, 4]]),
}
FINAL = {
    "parabola": [1.0, -1, 1],
    "rosenbrock": [1.0, 1.0],
    "matrix parabola": [[1.0, 0], [0, 1]],
}


def ended(opt, loss, start):
    """The parameters after 30,000 steps."""

    def step(carry, _):
        params, state = carry
        updates, state = opt.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    params = jnp.asarray(start)
    return jax.lax.scan(step, (params, opt.init(params)), length=30_000)[0][0]


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("opt", [adax(1e-2), adaxw(1e-2, weight_decay=0.0)])
def test_meets_the_convergence_targets_of_optax(name, opt) -> None:
    np.testing.assert_allclose(ended(opt, *TARGETS[name]), FINAL[name], atol=3e-2)


def test_a_rate_of_a_thousandth_does_not_finish_the_parabola() -> None:
    left = np.abs(ended(adax(1e-3), *TARGETS["parabola"]) - np.array([1.0, -1, 1]))
    assert left.max() == pytest.approx(0.196, abs=0.005)


def test_the_second_moment_is_bitwise_frozen_late() -> None:
    opt = scale_by_adax()
    g = jnp.asarray([1.0, 3.0], jnp.float32)
    state = opt.init(g)

    def nu_after(count):
        late = state._replace(count=jnp.asarray(count, jnp.int32), nu=jnp.ones_like(g))
        return opt.update(2 * g, late)[1].nu

    assert (np.asarray(nu_after(120_000)) == 1).all()
    assert (np.asarray(nu_after(60_000)) != 1).all()


def test_a_first_spike_is_kept_by_adax_and_forgotten_by_adam() -> None:
    """20,000 gradients of 1 after one of 1,000: its square still counts, near 117."""
    g = jnp.ones(20_000).at[0].set(1000.0)

    def second_moment(kind):
        opt = scheduled(lambda t: second_moment_weight(t, kind=kind), b1=0.0)

        def step(state, gradient):
            return opt.update(gradient, state)[1], None

        return float(jax.lax.scan(step, opt.init(g[0]), g)[0].nu)

    share = 1e-4 * 1.0001**19_999 / (1.0001**20_000 - 1)
    assert second_moment("adax") == pytest.approx(1 + share * (1e6 - 1), rel=1e-6)
    assert second_moment("adam") == pytest.approx(1, abs=1e-2)


def test_the_papers_buffer_of_raw_quotients_starts_larger() -> None:
    """DCAdaXW averages g / sqrt(v) as it comes; the clean form normalizes v first."""
    opt, g, buffer = scale_by_adax(normalize_first=True, eps=0.0), jnp.array([3.0]), 0.0
    state = opt.init(g)
    for t in (1, 2, 3):
        u, state = opt.update(g, state)
        size = np.sqrt(np.expm1(t * np.log1p(1e-4)))  # of v before its normalization
        buffer = 0.9 * buffer + 0.1 / size
        assert float(u[0]) == pytest.approx(1 - 0.9**t)
        assert (buffer * size > 1.1 * float(u[0])) == (t > 1)


def test_the_growing_sum_overflows_where_the_card_says() -> None:
    """(1 + b2)^t - 1 as a number: 887,000 steps in float32, 110,900 in float16."""
    for kind, steps in ((np.float32, 887_000), (np.float16, 110_900)):
        found = np.log1p(float(np.finfo(kind).max)) / np.log1p(1e-4)
        assert found == pytest.approx(steps, rel=1e-3)
        for dtype in ("float32", "float64"):  # ours forms no such number
            assert (weights("adax", np.array([0.9, 1.1]) * steps, dtype) < 1e-8).all()
