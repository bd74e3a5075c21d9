"""The language model: what a token sees, what plugs in, where it starts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.models import transformer
from tests.contract.rows_language import SIZES, softmax_attention
from tests.models.networks import KEY, random_params
from tests.oracles import language

TOKENS = np.random.default_rng(0).integers(0, 7, (3, 6)).astype(np.int32)


def everywhere(q, k, v, layer):
    """Bidirectional softmax attention."""
    return jax.nn.softmax(q @ jnp.swapaxes(k, -1, -2) / q.shape[-1] ** 0.5, -1) @ v


@pytest.mark.parametrize("causal", [True, False])
def test_equals_the_oracle_with_either_attention(causal):
    attend = softmax_attention if causal else everywhere
    model = transformer(**{**SIZES, "attend": attend}, length=8)
    params = random_params(model)
    found = jax.jit(model.apply)(params, TOKENS)
    wanted = [language.transformer(params, row, 2, causal) for row in TOKENS]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_a_causal_attention_makes_a_causal_model():
    model = transformer(**SIZES, length=8)
    params = random_params(model)
    changed = TOKENS.copy()
    changed[:, 4] = (changed[:, 4] + 1) % 7
    one, other = (np.asarray(model.apply(params, t)) for t in (TOKENS, changed))
    np.testing.assert_array_equal(one[:, :4], other[:, :4])
    assert (np.abs(one[:, 4:] - other[:, 4:]).max((0, 2)) > 1e-3).all()


def test_one_set_of_parameters_serves_every_attention_and_any_length():
    models = [
        transformer(**{**SIZES, "attend": a}) for a in (softmax_attention, everywhere)
    ]
    params = random_params(models[0])
    for model in models:
        for n in (1, 5, 40):
            assert model.apply(params, np.zeros((2, n), np.int32)).shape == (2, n, 7)


def test_attend_sees_each_layer_once_and_in_order():
    seen = []

    def attend(q, k, v, layer):
        seen.append((layer, q.shape))
        return v

    model = transformer(**{**SIZES, "attend": attend, "layers": 3})
    params = random_params(model)
    seen.clear()
    model.apply(params, TOKENS)
    assert seen == [(i, (3, 2, 6, 2)) for i in range(3)]


def test_rows_of_the_table_are_read_by_the_function_given():
    backwards = transformer(**SIZES, length=8, rows=lambda table, n: table[:n][::-1])
    plain = transformer(**SIZES, length=8)
    params = random_params(plain)
    turned = {**params, "position": params["position"][:6][::-1]}
    turned["position"] = np.concatenate([turned["position"], params["position"][6:]])
    np.testing.assert_allclose(
        backwards.apply(params, TOKENS), plain.apply(turned, TOKENS), atol=1e-12
    )


def test_the_start_is_near_the_uniform_guess():
    model = transformer(vocabulary=256, attend=softmax_attention, length=64)
    params = jax.jit(model.init)(KEY)
    tokens = np.random.default_rng(1).integers(0, 256, (2, 64)).astype(np.int32)
    logits = model.apply(params, tokens)
    assert logits.dtype == jnp.float32
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[..., None], -1)
    assert abs(float(-chosen.mean()) - np.log(256)) < 0.7


def test_dropout_needs_a_key_and_keeps_the_mean():
    model = transformer(**SIZES, dropout_rate=0.3)
    params = random_params(model)
    still = model.apply(params, TOKENS)
    np.testing.assert_array_equal(still, model.apply(params, TOKENS))
    dropped = [model.apply(params, TOKENS, key=jax.random.key(i)) for i in range(2)]
    assert not np.allclose(dropped[0], dropped[1])
    assert not np.allclose(dropped[0], still)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_logits_have_the_dtype_of_the_parameters(dtype):
    model = transformer(**SIZES, length=8)
    params = jax.tree.map(lambda p: jnp.asarray(p, dtype), random_params(model))
    found = model.apply(params, TOKENS)
    assert found.dtype == dtype
    wanted = model.apply(random_params(model), TOKENS)
    scale = float(jnp.abs(wanted).max())
    bound = {"bfloat16": 6e-2, "float32": 2e-5, "float64": 1e-12}[dtype.dtype.name]
    assert float(jnp.abs(found.astype(jnp.float64) - wanted).max()) < bound * scale


def test_every_product_of_weights_is_the_dot_general_that_is_given():
    model = transformer(**SIZES)
    params = random_params(model)
    shapes = []

    def negative(x, y, dimension_numbers):
        shapes.append(y.shape)
        return -jax.lax.dot_general(x, y, dimension_numbers)

    flipped = transformer(**SIZES, dot_general=negative)
    # Weights of the other sign make of it the same function.
    turned = jax.tree.map(lambda w: -w if w.ndim == 2 else w, params)
    turned["word"] = params["word"]
    found = flipped.apply(turned, TOKENS)
    np.testing.assert_allclose(found, model.apply(params, TOKENS), atol=1e-12)
    assert len(shapes) == 6 * SIZES["layers"] + 1
