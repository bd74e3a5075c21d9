"""Networks of state spaces: whole sequences = token by token, causal; gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.models import ssm_stack
from kexue_jax.models.ssm_stack import MIXERS
from tests.models.networks import KEY

SIZES = {
    "vocabulary": 7,
    "outputs": 5,
    "width": 4,
    "state_size": 4,
    "layers": 2,
    "heads": 2,
    "length": 8,
}
TOKENS = np.random.default_rng(0).integers(0, 7, (2, 8)).astype(np.int32)


def random_start(model):
    """Parameters in float64, none at a special value."""
    rng = np.random.default_rng(1)
    params = model.init(KEY)
    return jax.tree.map(
        lambda x: jnp.asarray(x + 0.1 * rng.normal(size=x.shape), float), params
    )


@pytest.mark.parametrize("mixer", MIXERS)
def test_whole_sequences_are_token_by_token(mixer) -> None:
    # Of eight tokens the first three are compared: a step cannot see what comes later.
    model = ssm_stack(mixer=mixer, **{**SIZES, "layers": 1})
    params = random_start(model)

    def steps(params, tokens):
        advance = lambda state, t: model.step(params, state, t)  # noqa: E731
        outs = jax.lax.scan(advance, model.start(params, (2,)), tokens[:, :3].T)[1]
        return jnp.moveaxis(outs, 0, 1)

    def total(f):
        def g(params, tokens):
            out = f(params, tokens)
            return (out * jnp.cos(jnp.arange(out.size)).reshape(out.shape)).sum(), out

        return jax.jit(jax.grad(g, has_aux=True))

    gradients, out = total(lambda p, t: model.apply(p, t)[:, :3])(params, TOKENS)
    wanted, one = total(steps)(params, TOKENS)
    np.testing.assert_allclose(out, one, atol=1e-10 * np.abs(one).max())
    for (path, mine), theirs in zip(
        jax.tree.leaves_with_path(gradients), jax.tree.leaves(wanted), strict=True
    ):
        assert np.isfinite(mine).all(), path
        top = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(wanted))
        np.testing.assert_allclose(mine, theirs, atol=1e-9 * top, err_msg=str(path))
        assert np.abs(mine).max() > 0, path


def test_a_pooled_head_is_the_mean_and_its_step_the_running_mean() -> None:
    options = {**SIZES, "vocabulary": None, "channels": 3, "hidden": 6}
    model = ssm_stack(mixer="lru", head="pooled", **options)
    params = random_start(model)
    x = jnp.asarray(np.random.default_rng(2).normal(size=(2, 5, 3)))
    state, step = model.start(params, (2,)), jax.jit(model.step)
    for t in range(5):
        state, out = step(params, state, x[:, t])
    wanted = model.apply(params, x)
    assert wanted.shape == (2, 5) and np.abs(out - wanted).max() < 1e-5


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_state_keeps_its_shapes_and_dtypes_from_the_start_on(mixer) -> None:
    # So that a loop may carry it, whatever the dtype of parameters and activations.
    model = ssm_stack(mixer=mixer, **SIZES)
    for dtype in ("bfloat16", "float32", "float64"):
        shapes = jax.eval_shape(model.init, KEY)
        params = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, dtype), shapes)  # noqa: B023
        state = jax.eval_shape(lambda p: model.start(p, (2,)), params)
        after, out = jax.eval_shape(model.step, params, state, TOKENS[:, 0])
        assert after == state and out.dtype == dtype
        assert all(x.dtype != jnp.bfloat16 for x in jax.tree.leaves(state))


def apart_in_half_types(mixer, params_dtype):
    """Relative error of bfloat16 inputs, and perhaps parameters, beside float32."""
    options = {**SIZES, "vocabulary": None, "channels": 1, "length": 200, "layers": 1}
    model = ssm_stack(mixer=mixer, **options)
    params = random_start(model)
    if mixer == "rtf":  # poles near the circle, which half types would put outside
        params["blocks"]["0"]["mixer"]["theta"] = 3 * np.array([[-1.0, 1, -1, 1]] * 4)
    low = jax.tree.map(lambda x: np.asarray(x, params_dtype), params)
    high = jax.tree.map(lambda x: x.astype(np.float32), low)
    x = np.random.default_rng(3).normal(size=(2, 200, 1)).astype(jnp.bfloat16)
    run = jax.jit(model.apply)
    got, wanted = run(low, x), np.asarray(run(high, x.astype(np.float32)))
    assert got.dtype == jnp.bfloat16
    return np.linalg.norm(np.asarray(got, float) - wanted) / np.linalg.norm(wanted)


def test_half_types_do_not_round_what_a_recurrence_repeats() -> None:
    assert apart_in_half_types("lru", np.float32) < 0.02
    assert apart_in_half_types("rtf", jnp.bfloat16) < 0.05


def test_mamba_starts_as_in_its_paper() -> None:
    params = ssm_stack(mixer="mamba", **{**SIZES, "width": 20}).init(KEY)
    start = jax.tree.map(np.asarray, params["blocks"]["0"]["mixer"])
    rates = np.tile(np.arange(1.0, 5.0), (40, 1))
    np.testing.assert_allclose(np.exp(start["a_log"]), rates, rtol=1e-6)
    assert start["kernel"].shape == (4, 40) and (start["d"] == 1).all()
    assert start["low"]["kernel"].shape == (40, 2)  # the rank is width / 16, up
    steps = 1e-2 * np.exp(start["steps"]["shift"])
    assert 1e-3 <= steps.min() < 3e-3 and 3e-2 < steps.max() <= 1e-1


def test_dropout_needs_a_key_and_names_follow_init() -> None:
    model = ssm_stack(mixer="slru", dropout_rate=0.5, **SIZES)
    params = model.init(KEY)
    plain = model.apply(params, TOKENS)
    np.testing.assert_array_equal(plain, model.apply(params, TOKENS))
    assert np.abs(model.apply(params, TOKENS, key=KEY) - plain).max() > 1e-3


def test_a_few_steps_of_descent_lower_the_loss() -> None:
    model = ssm_stack(mixer="s4d", **{**SIZES, "length": None})
    params = model.init(KEY)
    rows = np.tile(np.arange(5, dtype=np.int32), (4, 2))

    def loss(params):
        logits = jax.nn.log_softmax(model.apply(params, rows[:, :-1]))
        return -jnp.take_along_axis(logits, rows[:, 1:, None], -1).mean()

    step = jax.jit(jax.value_and_grad(loss))
    first = float(step(params)[0])
    for _ in range(30):
        _, gradient = step(params)
        params = jax.tree.map(lambda p, g: p - 0.3 * g, params, gradient)
    assert float(step(params)[0]) < 0.5 * first
