"""What gradient normalization gives and what not, on a thousand critics each."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from kexue_jax.generative import (
    gan_losses,
    gradient_normalize,
    input_gradient_norm,
    normalized_critic,
)
from kexue_jax.models import gan_critic
from tests.generative import nets
from tests.generative.nets import COUNT, EPS, KINDS, drawn, facts, leaky, lengths, relu

CLOSE = {"rtol": 1e-12, "atol": 1e-12}
FORMULAS = {
    "raw": lambda d, n: np.ones_like(n),
    "gn": lambda d, n: (n / (n + np.abs(d))) ** 2,
    "gran": lambda d, n: n**2 / (n**2 + EPS),
    "gran_simple": lambda d, n: n / (n + EPS),
}


@pytest.mark.parametrize("activation", [leaky, relu])
@pytest.mark.parametrize("kind", FORMULAS)
def test_gradient_norms_of_piecewise_linear_critics(kind, activation) -> None:
    (out, slope), _ = facts(activation)[kind]
    live = out.grad_norm > 1e-6  # ReLUs that are all off give a norm of 0
    assert live.mean() > 0.9
    wanted = FORMULAS[kind](out.d, out.grad_norm)
    np.testing.assert_allclose(lengths(slope)[live], wanted[live], **CLOSE)
    assert (lengths(slope) <= 1 + 1e-12).all()
    if kind != "gn":  # the other rule of the two is told apart
        wrong = FORMULAS["gn"](out.d, out.grad_norm)
        assert (np.abs(lengths(slope) - wrong)[live] > 1e-3).mean() > 0.9


def test_ranges_hold_what_was_found_on_one_net() -> None:
    for kind, least, most in (("gn", 0.02, 0.997), ("gran", 0.64, 0.993)):
        found = lengths(facts()[kind][0][1])
        assert found.min() < least and found.max() > most and found.max() < 1


@pytest.mark.parametrize("kind", KINDS)
def test_first_order_form_is_exact_by_input_and_by_parameters(kind) -> None:
    (whole, slope), (pieces, linear) = facts()[kind]
    for a, b in zip(pieces, whole, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(linear, slope, **CLOSE)
    if kind in nets.parameter_facts():
        found = nets.parameter_facts()[kind]
        both = jax.tree.leaves(found["pieces"]), jax.tree.leaves(found["whole"])
        for a, b in zip(*both, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-11)


def test_detached_norms_are_another_method() -> None:
    found = nets.parameter_facts()["gn"]
    gap = jax.tree.map(lambda a, b: a - b, found["detached"], found["whole"])

    def size(tree):
        return sum((leaf.reshape(COUNT, -1) ** 2).sum(1) for leaf in tree) ** 0.5

    ratio = size(jax.tree.leaves(gap)) / size(jax.tree.leaves(found["whole"]))
    assert np.median(ratio) > 0.17


SMOOTH = {
    "softplus": jax.nn.softplus,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "swish": jax.nn.silu,
}


@functools.cache
def smooth_facts():
    def one(params, x):
        return {
            name: {
                kind: (
                    nets.by_input(params, x, kind, f)[1],
                    nets.by_input(params, x, kind, f, piecewise_linear=True)[1],
                )
                for kind in ("raw", "gn", "gran")
            }
            for name, f in SMOOTH.items()
        }

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(*drawn(0)))


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_activations_keep_neither_the_bound_nor_the_first_order_form(
    name,
) -> None:
    found = smooth_facts()[name]
    raw, gran = (lengths(found[kind][0]).max() for kind in ("raw", "gran"))
    assert raw > 1.3 and gran > 1.05
    whole, linear = found["gn"]
    gap = lengths(whole - linear) / lengths(whole)
    assert np.median(gap) > 0.05


def test_gn_exceeds_one_for_a_smooth_critic_in_one_dimension() -> None:
    def slope(x):
        def out(x):
            found = gradient_normalize(lambda x: jnp.tanh(3 * x) + 0.5, x[None])
            return found.d_hat[0]

        return jax.grad(out)(x)

    found = jax.jit(jax.vmap(slope))(jnp.linspace(-2.0, 2.0, 4001))
    np.testing.assert_allclose(np.abs(found).max(), 1.66, atol=0.005)


def test_normalized_critics_jump_between_pieces() -> None:
    x = jnp.array([1 - 1e-12, 1 + 1e-12])
    wanted = {"raw": (1, 1 / 3), "gn": (0.5, 0.25), "gran": (0.909, 0.330)}
    for kind, pair in wanted.items():
        found = gradient_normalize(
            lambda x: jnp.where(x < 1, x, 3 * x - 2), x, kind=kind
        )
        np.testing.assert_allclose(found.d_hat, pair, atol=5e-4)


def stepped(delta, height):
    """Nearly flat at +-1, steep between 0 and 0.1."""

    def critic(x):
        steep = 1 - 20 * x
        after = -1 + delta * (x - 0.1)
        return height * jnp.where(
            x < 0, 1 + delta * x, jnp.where(x < 0.1, steep, after)
        )

    return critic


@pytest.mark.parametrize("delta", [0.1, 0.01, 0.001])
def test_wasserstein_objective_is_unbounded_but_for_gn(delta) -> None:
    x = jnp.array([-1e-9, 0.1 + 1e-9])
    for kind, wanted in (("raw", 2 / delta), ("gran", 2 / delta), ("gn", 2.0)):
        found = gradient_normalize(stepped(delta, 1e6), x, kind=kind).d_hat
        gap = float(found[0] - found[1])
        assert gap <= wanted * (1 + 1e-6)
        np.testing.assert_allclose(gap, wanted, rtol=0.1 if kind == "gn" else 1e-6)


def test_gap_of_a_gn_critic_is_at_most_twice_the_total_variation() -> None:
    rng = np.random.default_rng(5)
    p, q = rng.dirichlet(np.ones(2), (2, COUNT))
    values = {kind: facts()[kind][0][0].d_hat for kind in ("gn", "raw")}
    twice = np.abs(p - q).sum(1)
    assert (np.abs(((p - q) * values["gn"]).sum(1)) <= twice).all()
    assert (np.abs(((p - q) * values["raw"]).sum(1)) > twice).any()
    # The equality case: flat pieces.
    flat = gradient_normalize(lambda x: jnp.sign(x), jnp.array([3.0, -2.0]))
    np.testing.assert_array_equal(flat.d_hat, [1.0, -1.0])


def test_hinges_never_switch_off_behind_gn_and_bce_has_a_floor() -> None:
    out = facts()["gn"][0][0].d_hat
    assert (np.abs(out) < 1).all()
    hinge, wasserstein = (gan_losses(n).d_loss for n in ("hinge", "wasserstein"))
    pairs = jnp.asarray(out[:, 0]), jnp.asarray(out[:, 1])
    both = [jax.value_and_grad(f, (0, 1))(*pairs) for f in (hinge, wasserstein)]
    np.testing.assert_allclose(both[0][0], 2 + both[1][0], rtol=1e-13)
    for a, b in zip(both[0][1], both[1][1], strict=True):
        np.testing.assert_array_equal(a, b)
    ns = gan_losses("ns").d_loss
    floor = 2 * math.log(1 + math.exp(-1))
    assert floor == pytest.approx(0.626523, abs=5e-7)
    np.testing.assert_allclose(ns(jnp.array([1.0]), jnp.array([-1.0])), floor)
    found = jax.jit(jax.vmap(lambda r, f: ns(r[None], f[None])))(*pairs)
    assert (found > floor).all()


def test_gn_does_not_see_the_scale_and_pulls_across_the_last_layer() -> None:
    params, x = drawn(0)

    def scaled(factor, kind):
        def one(params, x):
            *hidden, (w, b) = params
            layers = [*hidden, (factor * w, factor * b)]
            return nets.normalized(layers, x, kind, leaky).d_hat

        return jax.vmap(one)(params, x)

    found = jax.jit(
        lambda: {(c, k): scaled(c, k) for c in (7.0, -7.0) for k in ("gn", "gran")}
    )()
    plain = {kind: facts()[kind][0][0].d_hat for kind in ("gn", "gran")}
    np.testing.assert_allclose(found[7.0, "gn"], plain["gn"], **CLOSE)
    np.testing.assert_allclose(found[-7.0, "gn"], -plain["gn"], **CLOSE)
    assert np.median(np.abs(found[7.0, "gran"] / plain["gran"] - 1)) > 0.01

    (w, b) = drawn(1)[0][-1]
    for kind, across in (("gn", True), ("gran", False)):
        slope_w, slope_b = nets.parameter_facts()[kind]["whole"][-1]
        inner = (slope_w * w).sum((1, 2)) + (slope_b * b).sum(1)
        size = np.sqrt((slope_w**2).sum((1, 2)) + (slope_b**2).sum(1))
        cosine = inner / size / np.sqrt((w**2).sum((1, 2)) + (b**2).sum(1))
        assert (np.abs(cosine).max() < 1e-12) == across
        if across:  # so that a step of any length makes the layer longer
            longer = ((w - slope_w) ** 2).sum((1, 2)) + ((b - slope_b) ** 2).sum(1)
            assert (longer >= (w**2).sum((1, 2)) + (b**2).sum(1)).all()


def test_inner_products_give_no_bias_a_gradient() -> None:
    found = nets.parameter_facts()
    for _, b in found["inner"]["whole"]:
        assert not b.any()
    for _, b in found["gn"]["whole"]:
        assert (np.abs(b).max(1) > 0).all()
    # d = <g, x> + b_eff on a piece, and b_eff is what is lost.
    out, inner = facts()["raw"][0][0], facts()["inner"][0][0].d_hat
    assert np.median(np.abs(inner - out.d_hat)) > 0.1


def test_critics_without_biases() -> None:
    params, x = drawn(3, bias=False)

    def one(params, x):
        return {
            kind: nets.normalized(params, x, kind, relu).d_hat
            for kind in ("raw", "gn", "inner")
        }

    found = jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(params, x))
    inner = found["inner"]
    np.testing.assert_allclose(inner, found["raw"], **CLOSE)
    np.testing.assert_allclose(found["gn"], inner / (1 + np.abs(inner)), **CLOSE)
    size = lengths(x)
    assert (np.abs(found["gn"]) <= size / (1 + size) + 1e-14).all()


def test_a_dead_net_gives_zero_and_no_gradient_instead_of_nan() -> None:
    params = [(jnp.zeros((3, 4)), jnp.zeros(4)), (jnp.zeros((4, 1)), jnp.zeros(1))]
    x = jnp.ones((2, 3))

    @jax.jit
    def run(params, x):
        def total(params, x, kind):
            return nets.normalized(params, x, kind, leaky).d_hat.sum()

        return {k: jax.value_and_grad(total, (0, 1))(params, x, k) for k in KINDS}

    for kind, (total, grads) in run(params, x).items():
        assert float(total) == 0
        for leaf in jax.tree.leaves(grads):
            if kind == "gran_simple":
                assert np.isfinite(leaf).all()  # b: 1 / eps an example
            else:
                assert not leaf.any(), kind
    d, n = jnp.zeros(2)
    assert np.isnan(d / (n + jnp.abs(d)))  # the plain formula
    # A constant of 1e-12 in the denominator gives a gradient of 1e12.
    assert jax.grad(lambda d: d / (n + jnp.abs(d) + 1e-12))(d) == 1e12


def test_the_guard_at_zero_over_zero_changes_nothing_else() -> None:
    """Critics as small as can be are normalized as any; a constant would end them."""
    *hidden, (w, b) = drawn(0)[0]
    tiny = [*hidden, (1e-60 * w, 1e-60 * b)]

    def one(params, x):
        return nets.by_input(params, x, "gn", leaky)

    out, slope = jax.jit(jax.vmap(one))(tiny, drawn(0)[1])
    (plain, wanted), _ = facts()["gn"]
    np.testing.assert_allclose(out.d_hat, plain.d_hat, **CLOSE)
    np.testing.assert_allclose(slope, wanted, **CLOSE)
    constant = out.d / (out.grad_norm + np.abs(out.d) + 1e-12)
    assert np.abs(constant).max() < 1e-40
    # Near 0 / 0 every value of (-1, 1) is found as often with either sign.
    t = np.geomspace(1e-6, 1e6, 25) * 1e-60
    both = jax.vmap(lambda d: gradient_normalize(lambda x: 1e-60 * x + d, x).d_hat)
    x = jnp.zeros(1)
    np.testing.assert_array_equal(both(jnp.asarray(t)), -both(jnp.asarray(-t)))
    # A net of no slope but a value is -1 or 1, and nothing can move it.
    flat = jax.value_and_grad(
        lambda b: gradient_normalize(lambda x: 0 * x + b, x).d_hat[0]
    )
    assert flat(-2.0) == (-1.0, 0.0) and flat(1e-60) == (1.0, 0.0)


def test_a_critic_that_mixes_examples_has_other_gradients() -> None:
    def critic(x):
        return ((x - x.mean(0, keepdims=True)) ** 3).sum(-1)

    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
    alone = jnp.stack(
        [jax.grad(lambda v, b=b: critic(x.at[b].set(v))[b])(x[b]) for b in range(4)]
    )
    found = input_gradient_norm(critic, x)
    assert np.abs(found / lengths(np.asarray(alone)) - 1).max() > 0.1


def test_small_gradients_of_many_pixels_do_not_underflow() -> None:
    x = jnp.zeros((1, 100, 100), jnp.float16)
    found = input_gradient_norm(lambda x: jnp.float16(1e-4) * x.sum((1, 2)), x)
    assert found.dtype == jnp.float16
    np.testing.assert_allclose(found, 0.01, rtol=1e-2)


def test_numbers_are_examples_too() -> None:
    x = jnp.array([0.5, -2.0])
    found = gradient_normalize(lambda x: 3 * x, x)
    np.testing.assert_allclose(found.d_hat, [1.5 / 4.5, -6 / 9])


def test_conditions_are_not_differentiated() -> None:
    critic = normalized_critic(lambda p, x, y: (p * x).sum(-1) * y, kind="raw")
    x, y = jnp.array([[3.0, 4.0]]), jnp.array([2.0])
    np.testing.assert_allclose(critic(jnp.ones((1, 2)), x, y), 7 / 2**0.5)


def test_higher_derivatives_of_both_forms_agree() -> None:
    params, x = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), drawn(4))

    def mixed(params, pieces):
        """A loss of the slope of d_hat: third derivatives of the critic."""
        _, slope = nets.by_input(params, x, "gn", leaky, piecewise_linear=pieces)
        return jnp.sum(slope**3)

    both = jax.jit(lambda p: [jax.grad(mixed)(p, way) for way in (False, True)])
    for a, b in zip(*map(jax.tree.leaves, both(params)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    check_grads(
        jax.jit(lambda p: nets.normalized(p, x, "gn", jnp.tanh).d_hat),
        (params,),
        order=1,
        atol=1e-6,
        rtol=1e-6,
    )


def step_of(normalize, **options):
    """The gradient by images of the generator's loss, for a convolutional critic."""
    model = gan_critic(sides=(8, 8), width=8)

    def loss(x, params):
        def critic(x):
            return model.apply(params, x)

        if not normalize:
            return -critic(x).mean()
        return -gradient_normalize(critic, x, **options).d_hat.mean()

    params = jax.eval_shape(model.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((16, 8, 8, 1), jnp.float32)
    return jax.jit(jax.grad(loss)).lower(x, params).compile()


def test_generator_steps_by_the_first_order_form_do_no_more_work() -> None:
    steps = step_of(False), step_of(True, piecewise_linear=True), step_of(True)
    plain, pieces, whole = (step.cost_analysis()["flops"] for step in steps)
    assert pieces <= 1.1 * plain < 1.3 * plain < whole


def test_works_under_shard_map() -> None:
    mesh = jax.make_mesh((1,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("batch")
    params, x = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), drawn(0))

    def run(params, x, pieces):
        def total(params, x):
            out = nets.normalized(params, x, "gn", leaky, piecewise_linear=pieces)
            return out.d_hat.sum()

        return jax.grad(total, (0, 1))(params, x)

    for pieces in (False, True):
        one = functools.partial(run, pieces=pieces)
        divided = jax.shard_map(
            one,
            mesh=mesh,
            in_specs=(jax.sharding.PartitionSpec(), spec),
            out_specs=(jax.sharding.PartitionSpec(), spec),
        )
        found = zip(
            *map(
                jax.tree.leaves, (jax.jit(divided)(params, x), jax.jit(one)(params, x))
            ),
            strict=True,
        )
        for a, b in found:
            np.testing.assert_allclose(a, b, **CLOSE)
