"""Networks of state spaces: whole sequences = token by token, causal; gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.models import ssm_stack
from kexue_jax.models.ssm_stack import MIXERS
from tests.models.networks import KEY, compiled

SIZES = {
    "vocabulary": 7,
    "outputs": 5,
    "width": 4,
    "state_size": 4,
    "layers": 2,
    "heads": 2,
    "length": 12,
}
TOKENS = np.random.default_rng(0).integers(0, 7, (2, 10)).astype(np.int32)


def random_start(model):
    """Parameters in float64, none at a special value."""
    rng = np.random.default_rng(1)
    params = model.init(KEY)
    return jax.tree.map(
        lambda x: jnp.asarray(x + 0.1 * rng.normal(size=x.shape), float), params
    )


@pytest.mark.parametrize("mixer", MIXERS)
def test_whole_sequences_are_token_by_token(mixer) -> None:
    # Of ten tokens the first three are compared: a step cannot see what comes later.
    model = ssm_stack(mixer=mixer, **{**SIZES, "layers": 1})
    params = random_start(model)

    def steps(params, tokens):
        state = jax.tree.map(
            lambda x: x.astype(jnp.promote_types(x.dtype, float)),
            model.start(params, (2,)),
        )
        advance = lambda state, t: model.step(params, state, t)  # noqa: E731
        outs = []
        for t in range(3):
            state, out = advance(state, tokens[:, t])
            outs.append(out)
        return jnp.stack(outs, 1)

    def total(f):
        def g(params, tokens):
            out = f(params, tokens)
            return (out * jnp.cos(jnp.arange(out.size)).reshape(out.shape)).sum(), out

        return compiled(jax.grad(g, has_aux=True))

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
    state, step = model.start(params, (2,)), compiled(model.step)
    for t in range(5):
        state, out = step(params, state, x[:, t])
    wanted = model.apply(params, x)
    assert wanted.shape == (2, 5) and np.abs(out - wanted).max() < 1e-5


def test_dropout_needs_a_key_and_names_follow_init() -> None:
    model = ssm_stack(mixer="slru", dropout_rate=0.5, **SIZES)
    params = model.init(KEY)
    plain = model.apply(params, TOKENS)
    np.testing.assert_array_equal(plain, model.apply(params, TOKENS))
    assert np.abs(model.apply(params, TOKENS, key=KEY) - plain).max() > 1e-3


def test_a_few_steps_of_descent_lower_the_loss() -> None:
    model = ssm_stack(mixer="s4d", **SIZES)
    params = model.init(KEY)
    rows = np.tile(np.arange(5, dtype=np.int32), (4, 2))

    def loss(params):
        logits = jax.nn.log_softmax(model.apply(params, rows[:, :-1]))
        return -jnp.take_along_axis(logits, rows[:, 1:, None], -1).mean()

    step = compiled(jax.value_and_grad(loss))
    first = float(step(params)[0])
    for _ in range(30):
        _, gradient = step(params)
        params = jax.tree.map(lambda p, g: p - 0.3 * g, params, gradient)
    assert float(step(params)[0]) < 0.5 * first
