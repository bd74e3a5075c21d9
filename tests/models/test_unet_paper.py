import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.models import unet_paper
from tests.models.networks import FULL, KEY, PAPER, inputs, random_params

CIFAR = {
    "multipliers": (1, 2, 2, 2),
    "middle_blocks": 2,
    "attention_stages": (1,),
    "middle_attention": True,
    "downsample": "conv",
    "upsample": "conv",
    "bias": True,
    "dropout_rate": 0.1,
}


def count(model):
    shapes = jax.eval_shape(model.init, KEY)
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def test_parameters_of_the_paper_on_cifar10():
    """35.7 million; 35,746,307 is what the published weights count."""
    model = unet_paper(**CIFAR)
    assert count(model) == 35_746_307
    shapes = jax.eval_shape(model.init, KEY)
    x = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    t = jax.ShapeDtypeStruct((2,), jnp.int32)
    assert jax.eval_shape(model.apply, shapes, x, t).shape == x.shape


def test_blocks_start_as_the_identity():
    """With zero last convolutions the inner blocks of the down path do nothing."""
    model = unet_paper(**PAPER)
    params = model.init(KEY)
    changed = jax.tree.map(jnp.array, params)
    changed["down"]["0"]["blocks"]["1"]["conv1"]["kernel"] += 1.0
    x, t = inputs("paper")
    np.testing.assert_array_equal(model.apply(params, x, t), model.apply(changed, x, t))
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        if "conv2" in str(path):
            assert not leaf.any()


def test_dropout_by_key():
    model = unet_paper(**PAPER, **FULL, blocks=1, dropout_rate=0.5)
    without = unet_paper(**PAPER, **FULL, blocks=1)
    params, given = random_params(model), inputs("paper")
    run = jax.jit(model.apply)
    one, again, other = (
        run(params, *given, key=jax.random.key(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)
    np.testing.assert_array_equal(
        run(params, *given), jax.jit(without.apply)(params, *given, key=KEY)
    )


def test_middle_attention_lies_between_the_blocks():
    for blocks, attending in ((1, ["0"]), (2, ["0"]), (3, ["0", "1"])):
        model = unet_paper(**PAPER, middle_blocks=blocks, middle_attention=True)
        middle = jax.eval_shape(model.init, KEY)["middle"]["blocks"]
        assert [i for i in middle if "attention" in middle[i]] == attending


@pytest.mark.parametrize("side", [7, 9, 1])
def test_odd_sides(side):
    model = unet_paper(**PAPER)
    params = random_params(model)
    with pytest.raises(ValueError, match="of sides divisible by 2, got shape"):
        model.apply(params, jnp.ones((1, side, side, 1)), jnp.array([1]))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"width": 9}, ValueError),
        ({"width": 8.0}, TypeError),
        ({"multipliers": "12"}, TypeError),
        ({"middle_blocks": 0}, ValueError),
        ({"attention_stages": 1}, TypeError),
        ({"attention_stages": (9,)}, ValueError),
        ({"attention_stages": (-1,)}, ValueError),
        ({"middle_attention": 1}, TypeError),
        ({"downsample": "stride"}, ValueError),
        ({"upsample": None}, TypeError),
        ({"bias": "yes"}, TypeError),
        ({"dropout_rate": 1.0}, ValueError),
        ({"dropout_rate": float("nan")}, ValueError),
        ({"zero_init": 0}, TypeError),
        ({"num_classes": -1}, ValueError),
    ],
)
def test_wrong_options(options, error):
    name = next(iter(options))
    with pytest.raises(error, match=f"unet_paper: `{name}` must be"):
        unet_paper(**options)
