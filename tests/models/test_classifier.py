import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.models import ClassifierOutput, image_classifier
from tests.models.networks import KEY, check_gradients, random_params
from tests.oracles import unet as oracle

SIZES = {"num_classes": 3, "width": 4, "feature_width": 5, "groups": 2}
MODEL = image_classifier(**SIZES)


def forward(params, x):
    for _, stage in sorted(params["stages"].items()):
        for _, block in sorted(stage.items()):
            norm = block["norm"]
            x = oracle.conv(x, block["conv"]["kernel"])
            x = oracle.group_norm(x, norm["scale"], norm["offset"], 2)
            x = oracle.swish(x)
        x = x if x.shape[1] % 2 else oracle.pool(x)
    hidden, out = params["hidden"], params["out"]
    features = oracle.swish(x.mean((1, 2)) @ hidden["kernel"] + hidden["bias"])
    return features @ out["kernel"] + out["bias"], features


@pytest.mark.parametrize("side", [8, 7, 14])
def test_equals_the_oracle(side):
    params = random_params(MODEL)
    x = np.random.default_rng(0).normal(size=(3, side, side, 1))
    output = jax.jit(MODEL.apply)(params, x)
    assert isinstance(output, ClassifierOutput)
    logits, features = forward(params, x)
    np.testing.assert_allclose(output.logits, logits, atol=1e-10)
    np.testing.assert_allclose(output.features, features, atol=1e-10)


def test_gradients():
    params = random_params(MODEL)
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 1))
    check_gradients(MODEL.apply, (params, x))


def test_leading_axes_and_jit():
    params = random_params(MODEL)
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8, 1))
    square = jax.jit(MODEL.apply)(params, x)
    assert square.logits.shape == (2, 3, 3)
    assert square.features.shape == (2, 3, 5)
    one = MODEL.apply(params, x[1, 2])
    np.testing.assert_allclose(square.logits[1, 2], one.logits, atol=1e-10)


def test_dropout_acts_on_the_logits_only():
    model = image_classifier(**SIZES, dropout_rate=0.5)
    params = random_params(model)
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 1))
    still, dropped = model.apply(params, x), model.apply(params, x, key=KEY)
    np.testing.assert_array_equal(still.features, dropped.features)
    assert not np.allclose(still.logits, dropped.logits)


def test_dtypes():
    params = random_params(MODEL)
    for dtype in (jnp.bfloat16, jnp.float32):
        output = MODEL.apply(params, jnp.ones((1, 8, 8, 1), dtype))
        assert output.logits.dtype == output.features.dtype == dtype


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"num_classes": 0}, ValueError),
        ({"num_classes": None}, TypeError),
        ({"channels": 0}, ValueError),
        ({"width": 0}, ValueError),
        ({"multipliers": ()}, ValueError),
        ({"feature_width": 0}, ValueError),
        ({"groups": 0}, ValueError),
        ({"dropout_rate": -0.1}, ValueError),
    ],
)
def test_wrong_options(options, error):
    name = next(iter(options))
    with pytest.raises(error, match=f"image_classifier: `{name}` must be"):
        image_classifier(**{**SIZES, **options})


def test_wrong_images():
    params = random_params(MODEL)
    with pytest.raises(ValueError, match="`x` must be of shape"):
        MODEL.apply(params, jnp.ones((2, 8, 8, 3)))
    with pytest.raises(TypeError, match="`x` must be an array of floating dtype"):
        MODEL.apply(params, jnp.ones((2, 8, 8, 1), jnp.int32))
