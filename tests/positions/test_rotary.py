"""Rotary positions: the card's facts of the rotation and of every frequency rule."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.positions import apply_rope, rope_frequencies
from kexue_jax.positions.rotary import apply_rope_plain
from tests.oracles import positions as oracle

RNG = np.random.default_rng(0)


def freqs(dim: int, scaling: str = "none", **options) -> np.ndarray:
    options = {"scaling": scaling, **options}
    return np.asarray(rope_frequencies(dim, dtype=jnp.float64, **options))


def normal(*shape: int) -> jax.Array:
    return jnp.asarray(RNG.normal(size=shape))


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("n", [1, 2, 63, 100, 1000])
def test_equals_the_twin_in_value_and_gradient(n: int, interleaved: bool) -> None:
    x, weights = normal(2, n, 8), normal(2, n, 8)
    turns, theta = jnp.asarray(RNG.uniform(-9, 9, (2, n))), jnp.asarray(freqs(8))

    def total(form):
        def run(x, turns, theta):
            return jnp.sum(weights * form(x, turns, theta, interleaved=interleaved))

        return jax.jit(jax.value_and_grad(run, (0, 1, 2)))

    got, wanted = (
        total(form)(x, turns, theta) for form in (apply_rope, apply_rope_plain)
    )
    for mine, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        scale, error = np.abs(theirs).max(), np.asarray(mine) - np.asarray(theirs)
        assert np.abs(error).max() <= 1e-12 * scale


def test_rotations_compose_keep_norms_and_depend_on_the_difference_alone() -> None:
    count, d = 1000, 16
    theta = jnp.asarray(freqs(d))
    q, k = normal(count, 1, d), normal(count, 1, d)
    s, t, shift = (jnp.asarray(RNG.uniform(-500, 500, (count, 1))) for _ in range(3))
    turn = lambda x, t: apply_rope(x, t, theta)  # noqa: E731
    assert (turn(q, jnp.zeros((count, 1))) == q).all()
    np.testing.assert_allclose(turn(turn(q, s), t), turn(q, s + t), atol=1e-11)
    norms = [jnp.linalg.norm(x, axis=-1) for x in (turn(q, s), q)]
    np.testing.assert_allclose(*norms, rtol=1e-13)
    score = lambda a, b: jnp.sum(turn(q, a) * turn(k, b), -1)  # noqa: E731
    np.testing.assert_allclose(score(s, t), score(s + shift, t + shift), atol=1e-10)
    direct = jnp.sum(q * turn(k, t - s), -1)
    np.testing.assert_allclose(score(s, t), direct, atol=1e-10)
    np.testing.assert_allclose(score(s, t), jnp.sum(turn(q, s - t) * k, -1), atol=1e-10)


def test_the_two_layouts_differ_by_one_permutation() -> None:
    x, theta = normal(7, 12), jnp.asarray(freqs(12))
    order = np.concatenate([np.arange(0, 12, 2), np.arange(1, 12, 2)])
    inter = apply_rope(x, jnp.arange(7), theta)
    half = apply_rope(x[:, order], jnp.arange(7), theta, interleaved=False)
    np.testing.assert_allclose(inter[:, order], half, atol=1e-15)


def test_positions_spread_over_heads_and_rows_only_where_they_are_told() -> None:
    x, theta = normal(2, 3, 4, 6), jnp.asarray(freqs(6))
    rows = jnp.asarray(RNG.integers(0, 50, (2, 1, 4)))
    got = apply_rope(x, rows, theta)
    for b in range(2):
        np.testing.assert_allclose(got[b], apply_rope(x[b], rows[b, 0], theta))
    # [batch, n] beside [batch, heads, n, d] would meet the heads: refused.
    with pytest.raises(ValueError, match="apply_rope: `positions`"):
        apply_rope(x, rows[:, 0], theta)


def test_table_of_ratios_at_extension_8_of_128_features() -> None:
    plain = freqs(128)
    ratio = {
        s: freqs(128, s, scale=8.0) / plain
        for s in ("ntk_old", "ntk", "ntk_fixed", "ntk_mixed", "linear")
    }
    lowest = {s: r[-1] for s, r in ratio.items()}
    assert lowest["ntk_old"] == pytest.approx(0.1291, abs=5e-5)
    for rule in ("ntk", "ntk_fixed", "ntk_mixed", "linear"):
        assert lowest[rule] == pytest.approx(0.125, abs=1e-15)
    assert ratio["ntk_old"][0] == ratio["ntk"][0] == 1
    assert ratio["ntk_fixed"][0] == pytest.approx(0.9680, abs=5e-5)
    assert ratio["ntk_mixed"][0] == pytest.approx(0.8568, abs=5e-5)
    base = 1e4 * 8 ** (128 / 126)
    assert base == pytest.approx(82684.6, abs=0.05)
    np.testing.assert_allclose(freqs(128, base=80000.0), freqs(128, "ntk_old", scale=8))


def test_wrong_by_one_forms_of_ntk_fail_the_facts() -> None:
    # m = 1 .. d/2 in "fixed" and "mixed", m - 1 in "old": each shifted by one fails.
    k, d = 8.0, 128
    m = np.arange(1, d // 2 + 1)
    theta = freqs(d)
    fixed_from_zero = theta * k ** (-2 * (m - 1) / d)
    assert fixed_from_zero[-1] / theta[-1] != pytest.approx(1 / k, rel=1e-3)
    np.testing.assert_allclose(fixed_from_zero, freqs(d, "ntk_old", scale=k))
    old_from_one = (1e4 * k) ** (-2 * m / d)
    assert old_from_one[0] != pytest.approx(1, rel=1e-3)
    a = math.log(k) / (d / 2) ** 0.625
    mixed_from_zero = theta * np.exp(-a * (m - 1) ** 0.625)
    assert mixed_from_zero[-1] / theta[-1] != pytest.approx(1 / k, rel=1e-3)
    for wrong in (fixed_from_zero, old_from_one, mixed_from_zero):
        for rule in ("ntk_fixed", "ntk_mixed", "ntk"):
            right = freqs(d, rule, scale=k)
            assert np.abs(wrong / right - 1).max() > 1e-3


@pytest.mark.parametrize("dim", [2, 4, 64])
def test_identities_between_the_rules(dim: int) -> None:
    k, plain = 7.0, freqs(dim)
    np.testing.assert_allclose(
        freqs(dim, "ntk_mixed", scale=k, beta=1.0), freqs(dim, "ntk_fixed", scale=k)
    )
    np.testing.assert_allclose(
        freqs(dim, "ntk_mixed", scale=k, beta=0.0), freqs(dim, "linear", scale=k)
    )
    np.testing.assert_allclose(
        freqs(dim, "yarn", scale=k, train_length=1), freqs(dim, "linear", scale=k)
    )
    many = freqs(dim, "yarn", scale=k, train_length=10**9)
    np.testing.assert_allclose(many, plain)
    for rule in ("linear", "ntk_old", "ntk_fixed", "ntk_mixed"):
        assert (freqs(dim, rule, scale=1.0) == plain).all()


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.625, 0.75, 1.0])
def test_digits_of_mixed_take_less_and_less_and_k_in_all(beta: float) -> None:
    for dim, k in itertools.product((4, 32, 128), (1.5, 8.0, 32.0)):
        ratio = freqs(dim) / freqs(dim, "ntk_mixed", scale=k, beta=beta)
        stretches = ratio / np.concatenate([[1.0], ratio[:-1]])
        assert np.prod(stretches) == pytest.approx(k)
        assert (np.diff(stretches) <= 1e-12).all() and (stretches >= 1 - 1e-12).all()


def test_yarn_counts_of_the_card() -> None:
    plain = freqs(128)
    ratio = freqs(128, "yarn", scale=8.0, train_length=4096) / plain
    assert (ratio > 1 - 1e-12).sum() == 21
    assert (np.abs(ratio - 1 / 8) < 1e-12).sum() == 18
    for dim, length, wanted in ((64, 512, 16), (128, 2048, 23), (128, 4096, 18)):
        assert (freqs(dim) * length / (2 * math.pi) < 1).sum() == wanted
    # tau = 32 presumes a long training: at 4,096 the top pair turns 652 times, at 64
    # only 10, so that hardly a pair is left alone.
    assert 4096 / (2 * math.pi) == pytest.approx(652, abs=0.5)
    short = freqs(32, "yarn", scale=8.0, train_length=64) / freqs(32)
    assert ((short - 1 / 8) / (1 - 1 / 8) < 0.3).all()
    longer = freqs(32, "yarn", scale=8.0, train_length=64, tau=4.0) / freqs(32)
    assert longer[0] == 1


def test_long_range_decay_of_128_features() -> None:
    theta = freqs(128)
    card = {0: 32.5, 1: 31.54, 10: 17.95, 100: 10.23, 256: 6.543, 1000: 4.471}
    for distance, wanted in card.items():
        partial = np.cumsum(np.exp(1j * distance * theta))
        assert np.abs(partial).mean() == pytest.approx(wanted, rel=6e-4)


def test_angle_error_in_float32_and_bfloat16_positions_refused() -> None:
    exact = freqs(128)
    theta = np.asarray(rope_frequencies(128))
    assert theta.dtype == np.float32
    # The frequency and the angle are each rounded to 24 bits. (The card says 1.6e-2 at
    # 1e6, which holds only where the frequency is not rounded.)
    for position, card in ((1e3, 3e-5), (1e4, 3e-4), (1e5, 5e-3), (1e6, 1.6e-2)):
        angle = np.float32(position) * theta
        error = np.abs(angle.astype(np.float64) - position * exact).max()
        assert card / 4 < error < position * 2**-23
    assert float(jnp.asarray(257, jnp.bfloat16)) == 256
    for wrong in (jnp.arange(4, dtype=jnp.bfloat16), jnp.arange(4, dtype=jnp.float16)):
        with pytest.raises(TypeError, match="apply_rope: `positions`"):
            apply_rope(normal(4, 6), wrong, rope_frequencies(6))
        with pytest.raises(TypeError, match="apply_rope: `freqs`"):
            apply_rope(normal(4, 8), jnp.arange(4), wrong)


def test_bfloat16_input_is_turned_by_float32_angles() -> None:
    x = normal(4096, 64).astype(jnp.bfloat16)
    got = apply_rope(x, jnp.arange(4096), rope_frequencies(64))
    wanted = oracle.rope(x.astype(jnp.float64), np.arange(4096), freqs(64))
    assert got.dtype == jnp.bfloat16
    # One rounding of the result, and angles within 3e-4.
    assert np.abs(got.astype(jnp.float64) - wanted).max() < 5 * 2**-8


def test_frequencies_take_a_traced_base_and_scale() -> None:
    @jax.jit
    def run(base, scale):
        return rope_frequencies(16, base=base, scale=scale, scaling="ntk")

    for base, scale in ((1e4, 1.0), (5e5, 8.0)):
        wanted = freqs(16, "ntk", base=base, scale=scale)
        got = run(jnp.float32(base), jnp.float32(scale))
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, wanted, rtol=3e-6)


def test_sines_are_computed_once_for_all_heads() -> None:
    # On a CPU the sines must not be fused into the loop over heads.
    x, theta = jnp.ones((1, 64, 256, 32), jnp.float32), rope_frequencies(32)
    turns = jnp.arange(256)
    for interleaved in (True, False):
        form = functools.partial(apply_rope, interleaved=interleaved)
        run = jax.jit(form)
        analysis = run.lower(x, turns, theta).compile().cost_analysis()
        assert analysis["transcendentals"] <= 2 * 256 * 16 * 1.01


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("dim", {"dim": 5}),
        ("dim", {"dim": 2, "scaling": "ntk"}),
        ("scaling", {"scaling": "dynamic"}),
        ("train_length", {"scaling": "yarn"}),
    ],
)
def test_bad_rules_are_refused_by_name(argument: str, options: dict) -> None:
    options = {"dim": 8, **options}
    with pytest.raises((ValueError, TypeError), match=f"rope_frequencies: `{argument}"):
        rope_frequencies(options.pop("dim"), **options)
