import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.models import unet_small
from tests.models.networks import KEY, SMALL, random_params
from tests.oracles import unet as oracle


def count(model):
    shapes = jax.eval_shape(model.init, KEY)
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize(("blocks", "millions"), [(2, 50.51), (1, 25.28)])
def test_parameters_of_the_author(blocks, millions):
    model = unet_small(blocks=blocks)
    assert round(count(model) / 1e6, 2) == millions
    shapes = jax.eval_shape(model.init, KEY)
    x = jax.ShapeDtypeStruct((2, 128, 128, 3), jnp.float32)
    t = jax.ShapeDtypeStruct((2,), jnp.int32)
    assert jax.eval_shape(model.apply, shapes, x, t).shape == x.shape


@pytest.mark.parametrize("side", [4, 6, 7, 9, 14, 16])
def test_every_side(side):
    """Pooling stops at min_side or at the first odd side, in step with the mirror."""
    model = unet_small(**{**SMALL, "multipliers": (1, 2, 1)}, blocks=1)
    params = random_params(model)
    x = np.random.default_rng(0).normal(size=(2, side, side, 1))
    t = np.array([1, 10])
    got = jax.jit(model.apply)(params, x, t)
    # 6 -> 3: the oracle stops below its min_side, so tell it where pooling ended.
    stop = side
    while stop > 4 and stop % 2 == 0:
        stop //= 2
    want = oracle.unet_small(params, x, t * 1.0, groups=2, min_side=stop)
    np.testing.assert_allclose(got, want, atol=1e-10)


def test_min_side():
    deep = unet_small(**SMALL, min_side=2)
    params = random_params(deep)
    x, t = np.random.default_rng(0).normal(size=(2, 8, 8, 1)), np.array([1, 10])
    want = oracle.unet_small(params, x, t * 1.0, groups=2, min_side=2)
    got = jax.jit(deep.apply)(params, x, t)
    np.testing.assert_allclose(got, want, atol=1e-10)


def test_steps_are_clipped_to_the_table():
    model = unet_small(**SMALL)
    params = random_params(model)
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 1))
    forward = jax.jit(model.apply)
    run = lambda t: forward(params, x, jnp.asarray([t]))  # noqa: E731
    for outside, inside in ((0, 1), (-5, 1), (11, 10), (0.2, 1.0), (99.0, 10.0)):
        np.testing.assert_array_equal(run(outside), run(inside))


@pytest.mark.parametrize("width", [8, 12, 48])
def test_widths_that_groups_do_not_divide(width):
    model = unet_small(channels=1, width=width, multipliers=(1,), blocks=1)
    params = random_params(model)
    y = jax.jit(model.apply)(params, jnp.ones((1, 4, 4, 1)), jnp.array([1]))
    assert np.isfinite(y).all()


def test_convolutions_start_smaller_inside_blocks():
    """Variance scale 1 / sqrt(2 len(multipliers) + 1) inside, 1 at stem and head."""
    model = unet_small(channels=1, width=32, multipliers=(1, 1), blocks=1)
    params = jax.jit(model.init)(KEY)
    inside = np.abs(params["down"]["0"]["0"]["conv1"]["kernel"]).max()
    head = np.abs(params["head"]["kernel"]).max()
    np.testing.assert_allclose(inside, np.sqrt(3 * 5**-0.5 / (9 * 32)), rtol=0.01)
    np.testing.assert_allclose(head, np.sqrt(3 / (9 * 33 / 2)), rtol=0.02)
    assert np.abs(params["step"]["table"]).max() <= 0.05


def test_no_bias_anywhere():
    params = unet_small(**SMALL).init(KEY)
    names = {
        str(path[-1]) for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]
    }
    assert names == {"['kernel']", "['table']", "['scale']", "['offset']"}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"T": 0}, ValueError),
        ({"T": 10.0}, TypeError),
        ({"channels": 0}, ValueError),
        ({"width": -8}, ValueError),
        ({"width": True}, TypeError),
        ({"multipliers": ()}, ValueError),
        ({"multipliers": 2}, TypeError),
        ({"multipliers": (1, 0)}, ValueError),
        ({"blocks": 0}, ValueError),
        ({"min_side": 0}, ValueError),
        ({"groups": 0}, ValueError),
        ({"num_classes": 0}, ValueError),
        ({"num_classes": "ten"}, TypeError),
    ],
)
def test_wrong_options(options, error):
    name = next(iter(options))
    with pytest.raises(error, match=f"unet_small: `{name}` must be"):
        unet_small(**options)
