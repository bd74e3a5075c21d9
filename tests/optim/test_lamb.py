"""The author's LAMB: its float64 twin, optax's parts, the pitfalls of trust."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kexue_jax.optim import (
    lamb_layerwise,
    piecewise_linear,
    scale_by_layerwise_trust,
)
from tests.oracles import lamb as oracle

EXCLUDE = ("norm", "bias")


def parameters(dtype: str = "float64"):
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)  # noqa: E731
    return {
        "stem": {"kernel": draw(3, 3, 2, 4), "bias": draw(4)},
        "GroupNorm_0": {"scale": draw(4), "offset": draw(4)},
        "head": {"kernel": draw(4, 5), "Bias": draw(5), "zero": jnp.zeros(3, dtype)},
    }


def gradients(steps: int, dtype: str = "float64"):
    """NumPy trees of very different sizes."""
    rng = np.random.default_rng(1)

    def draw(p):
        return rng.normal(size=p.shape) * 10 ** rng.uniform(-4, 2)

    like = parameters()
    return [
        jax.tree.map(lambda p: draw(p).astype(jnp.dtype(dtype)), like)
        for _ in range(steps)
    ]


def flat(tree):
    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(k, simple=True, separator="/"): v for k, v in paths}


def run(opt, params, grads):
    def step(carry, gradient):
        params, state = carry
        updates, state = opt.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    stacked = jax.tree.map(lambda *g: np.stack(g), *grads)
    return jax.lax.scan(step, (params, opt.init(params)), stacked)[1]


def test_a_thousand_steps_equal_the_float64_twin() -> None:
    schedule = {0: 0, 100: 1, 500: 0.5, 900: 0.1}
    opt = lamb_layerwise(piecewise_linear(schedule, base=1e-2), exclude=EXCLUDE)
    params, grads = parameters(), gradients(1000)
    rates = [1e-2 * oracle.piecewise_linear(k, schedule) for k in range(1000)]
    wanted = oracle.lamb(
        {k: np.asarray(v) for k, v in flat(params).items()},
        [{k: np.asarray(v) for k, v in flat(g).items()} for g in grads],
        rates,
        exclude=EXCLUDE,
    )
    got = flat(run(opt, params, grads))
    for name, values in got.items():
        theirs = np.stack([step[name] for step in wanted])
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(values, theirs, rtol=0, atol=1e-9 * scale)


def test_equals_the_composition_of_optax_parts() -> None:
    params, grads = parameters(), gradients(50)

    def mask(tree):
        def named(path, _):
            name = jax.tree_util.keystr(path).lower()
            return not any(word in name for word in EXCLUDE)

        return jax.tree_util.tree_map_with_path(named, tree)

    parts = optax.chain(
        optax.scale_by_adam(eps=1e-7),
        optax.masked(optax.scale_by_trust_ratio(), mask),
        optax.scale_by_learning_rate(3e-3),
    )
    mine, theirs = run(lamb_layerwise(3e-3), params, grads), run(parts, params, grads)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def test_without_exclusions_it_is_optax_lamb() -> None:
    params, grads = parameters(), gradients(20)
    mine = run(lamb_layerwise(1e-2, exclude=(), eps=1e-6), params, grads)
    theirs = run(optax.lamb(1e-2, eps=1e-6), params, grads)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def test_scale_of_the_loss_cancels_and_steps_have_the_length_of_the_weights() -> None:
    # Why "never mse" matters only through eps: L and 1000 L make the same steps.
    params, grads = parameters(), gradients(10)
    tiny = lamb_layerwise(1e-2, eps=0.0)
    one = run(tiny, params, grads)
    more = run(tiny, params, [jax.tree.map(lambda g: 1e3 * g, g) for g in grads])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), one, more)
    updates, _ = tiny.update(grads[0], tiny.init(params), params)
    kernel, moved = params["stem"]["kernel"], updates["stem"]["kernel"]
    np.testing.assert_allclose(
        jnp.linalg.norm(moved), 1e-2 * jnp.linalg.norm(kernel), rtol=1e-12
    )


def test_exact_zeros_get_ratio_one() -> None:
    trust = scale_by_layerwise_trust()
    params = {"dead": jnp.zeros(3), "live": jnp.ones(3)}
    updates = {"dead": jnp.array([1.0, -2.0, 3.0]), "live": jnp.zeros(3)}
    scaled, _ = trust.update(updates, trust.init(params), params)
    np.testing.assert_array_equal(scaled["dead"], updates["dead"])
    np.testing.assert_array_equal(scaled["live"], np.zeros(3))


def test_exactly_zero_weights_move_at_once_and_tiny_ones_by_one_plus_rate() -> None:
    # The card's pitfall: a near-zero-initialized convolution stays near zero.
    rate, steps = 0.01, 40
    params = {"zero": jnp.zeros(4), "tiny": jnp.full(4, 1e-10)}
    grads = [{"zero": -jnp.ones(4), "tiny": -jnp.ones(4)}] * steps
    history = run(lamb_layerwise(rate), params, grads)
    np.testing.assert_allclose(history["zero"][0], rate, rtol=1e-6)
    growth = history["tiny"][-1] / 1e-10
    np.testing.assert_allclose(growth, (1 + rate) ** steps, rtol=1e-9)
    assert (growth < 1.5).all()


def test_names_are_matched_in_paths_regardless_of_case() -> None:
    trust = scale_by_layerwise_trust(exclude=("NORM", "Bias"))
    names = ["GroupNorm_0", "group_norm_1", "layernorm", "bias", "conv"]
    params = {name: {"w": jnp.full(2, 3.0)} for name in names}
    updates = jax.tree.map(jnp.ones_like, params)
    scaled, _ = trust.update(updates, trust.init(params), params)
    kept = {name for name in names if float(scaled[name]["w"][0]) == 1.0}
    assert kept == set(names) - {"conv"}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_state_is_dtype_stable_under_cond_without_recompiling(dtype) -> None:
    opt, traces = lamb_layerwise(1e-3), []
    params = parameters(dtype)

    @jax.jit
    def step(params, state, gradient):
        traces.append(1)
        updates, state = jax.lax.cond(
            gradient["stem"]["bias"][0] > 100,
            lambda: (gradient, state),
            lambda: opt.update(gradient, state, params),
        )
        return optax.apply_updates(params, updates), state

    state = opt.init(params)
    for gradient in gradients(3, dtype):
        params, state = step(params, state, gradient)
    assert {str(p.dtype) for p in jax.tree.leaves(params)} == {dtype}
    wide = "float64" if dtype == "float64" else "float32"
    moments = optax.tree.get(state, "mu"), optax.tree.get(state, "nu")
    assert {str(m.dtype) for m in jax.tree.leaves(moments)} == {wide}
    assert len(traces) == 1


def test_bfloat16_updates_are_the_rounded_float32_ones() -> None:
    opt = lamb_layerwise(1e-2)
    low, grads = parameters("bfloat16"), gradients(30, "bfloat16")
    high = jax.tree.map(lambda p: p.astype(jnp.float32), low)
    state, wide_state = opt.init(low), opt.init(high)
    update = jax.jit(opt.update)
    for gradient in grads:
        updates, state = update(gradient, state, low)
        wide = jax.tree.map(lambda g: g.astype(jnp.float32), gradient)
        exact, wide_state = update(wide, wide_state, high)
        jax.tree.map(
            lambda u, e: np.testing.assert_array_equal(
                np.asarray(u, np.float32),
                np.asarray(e.astype(jnp.bfloat16), np.float32),
            ),
            updates,
            exact,
        )


def test_float16_norms_do_not_overflow() -> None:
    trust = scale_by_layerwise_trust()
    params, updates = jnp.full(100, 300, jnp.float16), jnp.full(100, 2, jnp.float16)
    scaled, _ = trust.update(updates, trust.init(params), params)
    assert scaled.dtype == jnp.float16
    np.testing.assert_allclose(np.asarray(scaled, np.float32), 300, rtol=1e-3)


def test_inject_hyperparams_gives_the_same_steps_and_takes_new_rates() -> None:
    params, gradient = parameters("float32"), gradients(1, "float32")[0]
    plain, injected = lamb_layerwise(1e-2), optax.inject_hyperparams(lamb_layerwise)
    injected = injected(learning_rate=1e-2)
    state = jax.jit(injected.init)(params)
    mine, _ = jax.jit(plain.update)(gradient, plain.init(params), params)
    theirs, state = jax.jit(injected.update)(gradient, state, params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), mine, theirs)
    state.hyperparams["learning_rate"] = jnp.float32(0.0)
    still, _ = injected.update(gradient, state, params)
    assert all((np.asarray(u) == 0).all() for u in jax.tree.leaves(still))


def test_multi_steps_waits_and_then_steps_by_the_mean() -> None:
    params, grads = parameters("bfloat16"), gradients(2, "bfloat16")
    opt = optax.MultiSteps(lamb_layerwise(1e-2), every_k_schedule=2)
    state = opt.init(params)
    first, state = jax.jit(opt.update)(grads[0], state, params)
    assert all((np.asarray(u) == 0).all() for u in jax.tree.leaves(first))
    second, state = jax.jit(opt.update)(grads[1], state, params)
    assert any((np.asarray(u) != 0).any() for u in jax.tree.leaves(second))
    assert {str(u.dtype) for u in jax.tree.leaves(second)} == {"bfloat16"}


def test_works_under_masked_and_multi_transform() -> None:
    params, gradient = parameters(), gradients(1)[0]
    label = {"stem": "train", "GroupNorm_0": "freeze", "head": "train"}
    opt = optax.multi_transform(
        {"train": lamb_layerwise(1e-2), "freeze": optax.set_to_zero()}, label
    )
    updates, _ = opt.update(gradient, opt.init(params), params)
    assert all((np.asarray(u) == 0).all() for u in updates["GroupNorm_0"].values())
    alone, _ = lamb_layerwise(1e-2).update(
        gradient, lamb_layerwise(1e-2).init(params), params
    )
    np.testing.assert_allclose(updates["stem"]["kernel"], alone["stem"]["kernel"])


def test_empty_trees_none_leaves_and_extra_arguments() -> None:
    opt = lamb_layerwise(1e-2)
    assert opt.update({}, opt.init({}), {})[0] == {}
    params = {"w": jnp.ones(3), "frozen": None}
    updates, state = opt.update(params, opt.init(params), params, value=1.0)
    assert updates["frozen"] is None and updates["w"].shape == (3,)
    mapped = optax.tree.map_params(opt, lambda leaf: leaf, state)
    assert jax.tree.structure(mapped) == jax.tree.structure(state)


def test_complex_weights_keep_their_dtype_and_length() -> None:
    trust = scale_by_layerwise_trust()
    params = jnp.array([3 + 4j, 0], jnp.complex64)
    updates = jnp.array([0, 1j], jnp.complex64)
    scaled, _ = trust.update(updates, trust.init(params), params)
    assert scaled.dtype == jnp.complex64
    np.testing.assert_allclose(scaled, [0, 5j])


def test_minimizes_a_parabola_with_a_falling_rate() -> None:
    target = jnp.array([1.0, -1.0, 1.0])
    rate = piecewise_linear({0: 1, 4000: 1e-4}, base=3e-2)
    opt = lamb_layerwise(rate)

    def step(carry, _):
        params, state = carry
        updates, state = opt.update(2 * (params - target), state, params)
        return (optax.apply_updates(params, updates), state), None

    start = jnp.array([-1.0, 10.0, 1.0])
    (params, _), _ = jax.lax.scan(step, (start, opt.init(start)), length=4000)
    np.testing.assert_allclose(params, target, atol=1e-3)


def test_update_without_parameters_is_refused_by_name() -> None:
    for opt in (lamb_layerwise(1e-3), scale_by_layerwise_trust()):
        with pytest.raises(ValueError, match="`params` must be given to update"):
            opt.update({"w": jnp.ones(2)}, opt.init({"w": jnp.ones(2)}))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"learning_rate": None}, "learning_rate"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"b1": 1.0}, "b1"),
        ({"b1": -0.1}, "b1"),
        ({"b2": 1}, "b2"),
        ({"b2": "text"}, "b2"),
        ({"eps": -1e-8}, "eps"),
        ({"eps": float("inf")}, "eps"),
        ({"exclude": "norm"}, "exclude"),
        ({"exclude": None}, "exclude"),
        ({"exclude": ("norm", 3)}, "exclude"),
        ({"exclude": ("",)}, "exclude"),
    ],
)
def test_bad_hyperparameters_are_refused_by_name(arguments, named) -> None:
    arguments = {"learning_rate": 1e-3, **arguments}
    with pytest.raises((ValueError, TypeError), match=f"lamb_layerwise: `{named}`"):
        lamb_layerwise(**arguments)
