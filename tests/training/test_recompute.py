"""Recomputation changes no value and no derivative, whatever the policy and place."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from experiments.benchmark.cost import contraction_flops
from kexue_jax.training import (
    memory_report,
    recompute_cost,
    remat,
    scan_layers,
    segment_length,
    stack_params,
    unstack_params,
)
from tests.oracles import recompute as oracle
from tests.training import blocks


def tiny(x, p):
    """A layer with a name and dropout by a key among the parameters."""
    h = checkpoint_name(jnp.tanh(x @ p["w"]), "h")
    kept = jax.random.bernoulli(p["key"], 0.7, h.shape)
    return x + jnp.where(kept, h / 0.7, 0)


TINY = {
    "layers": {"remat_policy": "nothing"},
    "names": {"remat_policy": "names:h"},
    "joined": {"remat_policy": "dots+names:h"},
    "not_names": {"remat_policy": "not_names:h"},
    "other_names": {"remat_policy": "other_names:h"},
    "function": {"remat_policy": jax.checkpoint_policies.dots_saveable},
    "segments": {"segment": 2},
    "nested": {"segment": 2, "nested": True},
    "two levels": {"segment": (3, 2), "nested": True, "remat_policy": "names:h"},
}


def by_hand(x, p):
    """What the article's decorator does: keep inputs, run again, pull back."""

    @jax.custom_vjp
    def layer(x, p):
        return tiny(x, p)

    def forward(x, p):
        return tiny(x, p), (x, p)

    def backward(kept, cotangent):
        return jax.vjp(tiny, *kept)[1](cotangent)

    layer.defvjp(forward, backward)
    return layer(x, p)


def test_values_and_gradients_are_those_of_a_plain_stack_1000_times() -> None:
    keys = jax.random.split(jax.random.key(1), (1000, 5))
    rng = np.random.default_rng(0)
    w, x = jnp.asarray(rng.normal(size=(1000, 5, 2, 2))), rng.normal(size=(1000, 1, 2))

    def both(w, x, key):
        def loss(w, x, run):
            return jnp.sum(jnp.sin(run({"w": w, "key": key}, x)))

        def stack(layer, **options):
            return lambda p, x: scan_layers(layer, p, x, **options)

        runs = {"plain": stack(tiny), "by hand": stack(by_hand)}
        runs["by hand, again"] = stack(by_hand, remat_policy="nothing")
        runs |= {name: stack(tiny, **options) for name, options in TINY.items()}
        return {
            name: jax.value_and_grad(loss, (0, 1))(w, x, run)
            for name, run in runs.items()
        }

    found = jax.jit(jax.vmap(both))(w, jnp.asarray(x), keys)
    plain = found.pop("plain")
    assert len(found) == len(TINY) + 2
    for name, result in found.items():
        for got, wanted in zip(
            jax.tree.leaves(result), jax.tree.leaves(plain), strict=True
        ):
            error = np.abs(got - wanted).max() / np.abs(wanted).max()
            assert error <= 1e-12, name
    # Another key in the second run would be another gradient: the check can fail.
    moved = jax.tree.map(lambda leaf: jnp.roll(leaf, 1, 0), plain[1])
    assert np.abs(moved[0] - plain[1][0]).max() > 0.1


@pytest.mark.parametrize("policy", ["offload_names:h", "offload_dots"])
def test_what_is_moved_to_the_host_changes_no_gradient(policy) -> None:
    w, x = map(jnp.asarray, np.random.default_rng(3).normal(size=(2, 3, 2, 2)))

    def layer(x, w):
        return x + jnp.sin(checkpoint_name(x @ w, "h"))

    def gradient(**options):
        def loss(w, x):
            return jnp.sum(jnp.sin(scan_layers(layer, w, x, **options)))

        return jax.jit(jax.grad(loss, (0, 1)))

    moved = gradient(remat_policy=policy)
    assert "f64<host>[3,2,2]" in str(jax.make_jaxpr(moved)(w, x[0]))
    both = (moved(w, x[0]), gradient()(w, x[0]))
    for got, wanted in zip(*both, strict=True):
        assert np.abs(got - wanted).max() <= 1e-12 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("dtype", "layers", "tolerance"), [("float64", 8, 1e-12), ("float32", 3, 1e-6)]
)
def test_transformer_block_has_the_same_gradient_in_every_way(
    dtype, layers, tolerance
) -> None:
    params, x = blocks.drawn(layers, dtype)
    ways = ("none", "layers", "names", "uneven", "whole")

    def all_ways(params, x):
        return {way: jax.grad(blocks.WAYS[way])(params, x) for way in ways}

    found = jax.jit(all_ways)(params, x)
    for way in ways:
        for got, wanted in zip(
            jax.tree.leaves(found[way]), jax.tree.leaves(found["none"]), strict=True
        ):
            assert got.dtype == dtype
            assert np.abs(got - wanted).max() <= tolerance * np.abs(wanted).max(), way


def test_second_derivatives_forward_mode_and_vmap_are_unchanged() -> None:
    params = {"w": jnp.asarray(np.random.default_rng(2).normal(size=(3, 2, 2)))}
    params["key"] = jax.random.split(jax.random.key(0), 3)
    x = jnp.ones((4, 1, 2))

    def programs(options):
        def loss(w, x):
            return jnp.sum(scan_layers(tiny, {**params, "w": w}, x, **options) ** 2)

        def twice(w):
            return jnp.sum(jnp.sin(jax.grad(loss)(w, x[0])))

        return (
            jax.vmap(jax.grad(loss), (None, 0))(params["w"], x),
            jax.grad(twice)(params["w"]),
            jax.jvp(lambda w: loss(w, x[0]), (params["w"],), (params["w"],))[1],
        )

    options = ({}, {"remat_policy": "nothing"}, {"segment": 2, "nested": True})
    plain, *others = jax.jit(lambda: [programs(o) for o in options])()
    for other in others:
        for got, wanted in zip(other, plain, strict=True):
            assert np.abs(got - wanted).max() <= 1e-12 * np.abs(wanted).max()


def test_bfloat16_agrees_to_its_precision() -> None:
    params, x = blocks.drawn(3, "bfloat16")
    both = jax.jit(lambda *a: [blocks.WAYS[way](*a) for way in ("none", "layers")])(
        params, x
    )
    assert both[0].dtype == jnp.bfloat16
    assert abs(float(both[0]) / float(both[1]) - 1) < 1e-2


@pytest.mark.parametrize("policy", ["names:attn_ouT", "dots+names:h,attn_out"])
def test_a_name_that_no_value_has_is_refused(policy) -> None:
    def inside(x):  # the names of a loop's body and of inner functions are found
        return jax.lax.scan(lambda c, _: (jax.jit(named)(c), None), x, None, 2)[0]

    def named(x):
        return checkpoint_name(jnp.sin(x), "attn_out")

    x = jnp.ones(2)
    assert jax.eval_shape(remat(inside, policy="names:attn_out"), x).shape == (2,)
    with pytest.raises(ValueError, match=r"remat: `policy` .*attn_out.*got"):
        jax.eval_shape(remat(inside, policy=policy), x)


def test_static_arguments_by_place_and_by_name() -> None:
    def power(x, times, *, scale):
        for _ in range(times):
            x = x * scale
        return x

    x = jnp.ones(1)
    by_place = remat(power, static_argnums=1, static_argnames="scale")
    by_name = remat(power, static_argnames=("times", "scale"))
    negative = remat(lambda x, n: x * 3 ** len(range(n)), static_argnums=(-1,))
    assert by_place(x, 2, scale=3)[0] == by_name(x, times=2, scale=3)[0] == 9
    assert by_name(x, 2, scale=3)[0] == negative(x, 2)[0] == 9
    assert remat(power, enabled=False) is power


def test_layers_are_stacked_and_taken_apart() -> None:
    layers = [{"w": jnp.full(2, n), "key": jax.random.key(n)} for n in range(3)]
    back = unstack_params(stack_params(layers))
    assert [int(layer["w"][0]) for layer in back] == [0, 1, 2]
    assert back[2]["key"] == layers[2]["key"]


def test_segment_length_is_the_best_1000_times() -> None:
    rng = np.random.default_rng(0)
    for _ in range(1000):
        layers, a = int(rng.integers(1, 200)), float(rng.uniform(0.1, 50))
        b = a * float(rng.uniform(0.01, 1))
        sizes = {"num_layers": layers, "layer_bytes": a, "boundary_bytes": b}
        s = segment_length(**sizes)
        assert s == oracle.best_segment(layers, a, b)
        kept = recompute_cost(way="segments", segment=s, **sizes).bytes
        # The continuous minimum is a bound, and rounding costs at most a + b.
        bound = 2 * (layers * a * b) ** 0.5
        if layers * b >= a:
            assert bound * (1 - 1e-12) <= kept <= bound + a + b
    equal = {"num_layers": 64, "layer_bytes": 4.0, "boundary_bytes": 1.0}
    assert segment_length(**equal) == 4  # s = sqrt(L b / a): the bound is reached
    assert recompute_cost(way="segments", segment=4, **equal).bytes == 32
    # sqrt(L), right only for a = b, keeps more.
    assert recompute_cost(way="segments", segment=8, **equal).bytes > 32


def test_costs_stand_in_the_order_of_the_article() -> None:
    sizes = {"num_layers": 64, "layer_bytes": 38.5, "boundary_bytes": 1.0}
    kept = {
        way: recompute_cost(
            way=way, segment=8 if way in ("segments", "nested") else None, **sizes
        )
        for way in ("none", "layers", "segments", "nested", "whole")
    }
    assert kept["nested"].bytes < kept["layers"].bytes < kept["segments"].bytes
    assert kept["segments"].bytes < 0.2 * kept["none"].bytes
    assert kept["whole"].bytes >= kept["none"].bytes
    assert kept["layers"].runs / kept["none"].runs == 4 / 3


def test_halves_of_halves_need_the_logarithm_for_a_cost_of_l_log_l() -> None:
    for power in range(2, 12):
        layers = 2**power
        halves = [2**p for p in range(power - 1, -1, -1)]
        sizes = {"num_layers": layers, "layer_bytes": 5.0, "boundary_bytes": 1.0}
        found = recompute_cost(way="segments", segment=halves, **sizes)
        assert found == oracle.cost(layers, 5.0, 1.0, "segments", halves)
        assert found.bytes == 2 * power + 5
        assert found.runs == (3 + power) * layers
    # One length is as before, and lengths that do not fall are cut to the one outside.
    one = recompute_cost(way="nested", segment=[8], **sizes)
    assert one == recompute_cost(way="nested", segment=8, **sizes)
    cut = recompute_cost(way="nested", segment=(8, 100), **sizes)
    assert cut == oracle.cost(layers, 5.0, 1.0, "nested", [8, 8])


def test_a_stack_runs_as_many_products_as_the_cost_says() -> None:
    layers, d = 16, 8
    params = jnp.zeros((layers, d, d), jnp.float32)

    def runs(**options):
        def loss(params, x):
            return scan_layers(lambda x, w: jnp.tanh(x @ w), params, x, **options).sum()

        done = contraction_flops(jax.grad(loss), params, jnp.ones((4, d)))
        return done / (2 * 4 * d * d)

    assert runs() == 3 * layers  # one forward, two backward: the unit of the cost
    sizes = {"num_layers": layers, "layer_bytes": 1, "boundary_bytes": 1}
    assert runs(remat_policy="nothing") == recompute_cost(way="layers", **sizes).runs
    for lengths in ((4,), (8, 4, 2), (8, 4, 2, 1)):
        for way in ("segments", "nested"):
            said = recompute_cost(way=way, segment=lengths, **sizes).runs
            assert runs(segment=lengths, nested=way == "nested") == said


def test_a_gradient_of_its_own_inside_of_a_checkpoint_is_used() -> None:
    """The layer's rule doubles its gradient, so that it is told from JAX's own."""

    @jax.custom_vjp
    def double(x):
        return jnp.sin(x)

    double.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (2 * g * jnp.cos(x),))
    w = jnp.asarray(np.random.default_rng(5).normal(size=(5, 3, 3)))

    def layer(x, w):
        return double(checkpoint_name(x @ w, "h"))

    def all_ways(w):
        def loss(w, options):
            return jnp.sum(scan_layers(layer, w, jnp.ones((2, 3)), **options))

        return [jax.grad(loss)(w, options) for options in ({}, *TINY.values())]

    plain, *others = jax.jit(all_ways)(w)
    for other in others:
        assert np.abs(other - plain).max() <= 1e-12 * np.abs(plain).max()
    # The last layer's by hand: 2 h^T cos(h w).
    h = np.ones((2, 3))
    for one in np.asarray(w)[:-1]:
        h = np.sin(h @ one)
    wanted = 2 * h.T @ np.cos(h @ np.asarray(w)[-1])
    np.testing.assert_allclose(plain[-1], wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("policy", "stacked"), [("nothing", 0), ("dots", 1), ("names:h", 1)]
)
def test_a_policy_around_a_loop_reaches_its_body(policy, stacked) -> None:
    """The card says that it does not; residuals say that it does: what the policy keeps
    of each turn, and not the carries, which a policy in the body keeps too."""
    shape = jax.ShapeDtypeStruct((2, 4), jnp.float32)
    w, one = jnp.ones((6, 4, 4), jnp.float32), 6 * 4 * 2 * 4

    def layer(x, w):
        return jnp.sin(checkpoint_name(jnp.cos(x @ w), "h"))

    def loop(w, x, **options):
        return scan_layers(layer, w, x, **options).sum()

    def kept(f):
        return memory_report(f, (w, shape)).residual_bytes

    assert kept(loop) == 3 * one
    assert kept(remat(loop, policy=policy)) == stacked * one
    inside = functools.partial(loop, remat_policy=policy)
    assert kept(lambda w, x: inside(w, x)) == (1 + stacked) * one
