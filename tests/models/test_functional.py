import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from kexue_jax.models import Model, functional
from kexue_jax.models.functional import uniform_param

KEY = jax.random.key(0)


class Twice(nnx.Module):
    """Eleven layers in a list (so that "10" sorts before "2"), one with dropout."""

    def __init__(self, rngs, size=3, rate=0.5):
        self.layers = nnx.List([nnx.Linear(size, size, rngs=rngs) for _ in range(11)])
        self.named = nnx.Dict(last=nnx.Linear(size, 2, rngs=rngs))
        self.rate = rate

    def __call__(self, x, *, key=None):
        for layer in self.layers:
            x = jnp.tanh(layer(x))
        if key is not None:
            x = x * jax.random.bernoulli(key, 1 - self.rate, x.shape)
        return self.named["last"](x)


MODEL = functional(Twice)
X = jnp.linspace(-1, 1, 12, dtype=jnp.float32).reshape(4, 3)


def leaves_with_paths(tree):
    return jax.tree_util.tree_flatten_with_path(tree)[0]


def test_model_is_a_pair_of_functions():
    assert isinstance(MODEL, Model)
    init, apply = MODEL
    assert callable(init)
    assert callable(apply)


def test_params_are_plain_dicts_with_string_keys():
    params = MODEL.init(KEY)

    def walk(node):
        if isinstance(node, jax.Array):
            return
        assert type(node) is dict
        assert all(type(name) is str for name in node)
        for child in node.values():
            walk(child)

    walk(params)
    assert sorted(params["layers"], key=int) == [str(i) for i in range(11)]


def test_params_hold_floating_arrays_only():
    for _, leaf in leaves_with_paths(MODEL.init(KEY)):
        assert leaf.dtype == jnp.float32


def test_apply_is_the_module_itself():
    module = Twice(rngs=nnx.Rngs(KEY))
    np.testing.assert_array_equal(MODEL.apply(MODEL.init(KEY), X), module(X))


def test_list_order_survives_string_keys():
    params = MODEL.init(KEY)
    x = X
    for index in range(11):
        layer = params["layers"][str(index)]
        bias = layer["bias"].reshape(1, -1)
        x = jnp.tanh(x @ layer["kernel"] + bias)
    last = params["named"]["last"]
    x = x @ last["kernel"] + last["bias"].reshape(1, -1)
    np.testing.assert_allclose(MODEL.apply(params, X), x, rtol=1e-6, atol=1e-6)


def test_jit_and_grad():
    params = MODEL.init(KEY)

    def loss(params):
        return jnp.square(MODEL.apply(params, X)).sum()

    eager, compiled = jax.grad(loss)(params), jax.jit(jax.grad(loss))(params)
    assert jax.tree.structure(eager) == jax.tree.structure(params)
    for a, b in zip(jax.tree.leaves(eager), jax.tree.leaves(compiled), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_init_is_jittable_and_deterministic():
    for a, b in zip(
        jax.tree.leaves(MODEL.init(KEY)),
        jax.tree.leaves(jax.jit(MODEL.init)(KEY)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_vmapped_init_gives_an_ensemble():
    keys = jax.random.split(KEY, 3)
    ensemble = jax.vmap(MODEL.init)(keys)
    together = jax.vmap(MODEL.apply, in_axes=(0, None))(ensemble, X)
    for index, key in enumerate(keys):
        alone = MODEL.apply(MODEL.init(key), X)
        np.testing.assert_allclose(together[index], alone, rtol=1e-5, atol=1e-6)
    assert not np.allclose(together[0], together[1])


def test_per_example_gradients():
    params = MODEL.init(KEY)

    def loss(params, x):
        return MODEL.apply(params, x).sum()

    each = jax.vmap(jax.grad(loss), in_axes=(None, 0))(params, X)
    total = jax.grad(loss)(params, X)
    for a, b in zip(jax.tree.leaves(each), jax.tree.leaves(total), strict=True):
        np.testing.assert_allclose(a.sum(0), b, rtol=1e-4, atol=1e-5)


def test_key_reaches_the_module_and_is_reproducible():
    params = MODEL.init(KEY)
    one = MODEL.apply(params, X, key=jax.random.key(1))
    again = MODEL.apply(params, X, key=jax.random.key(1))
    other = MODEL.apply(params, X, key=jax.random.key(2))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)
    assert not np.allclose(one, MODEL.apply(params, X))


def test_key_is_ignored_by_a_module_without_one():
    model = functional(lambda rngs: nnx.Linear(3, 2, rngs=rngs))
    params = model.init(KEY)
    np.testing.assert_array_equal(
        model.apply(params, X, key=KEY), model.apply(params, X)
    )


def test_params_of_numpy_and_of_another_dtype():
    params = jax.tree.map(np.asarray, MODEL.init(KEY))
    np.testing.assert_array_equal(
        MODEL.apply(params, X), MODEL.apply(MODEL.init(KEY), X)
    )


def test_constructor_runs_once_per_functional_and_init():
    calls = []

    def constructor(rngs):
        calls.append(rngs)
        return nnx.Linear(3, 2, rngs=rngs)

    model = functional(constructor)
    assert len(calls) == 1
    params = model.init(KEY)
    assert len(calls) == 2
    model.apply(params, X)
    jax.jit(model.apply)(params, X)
    assert len(calls) == 2


def test_traced_once():
    traces = []

    @jax.jit
    def forward(params, x):
        traces.append(x)
        return MODEL.apply(params, x)

    params = MODEL.init(KEY)
    for _ in range(3):
        forward(params, X)
    assert len(traces) == 1


def test_shared_layers_are_stored_once():
    class Tied(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(3, 3, rngs=rngs)
            self.second = self.first

        def __call__(self, x):
            return self.second(self.first(x))

    model = functional(Tied)
    params = model.init(KEY)
    assert list(params) == ["first"]
    kernel = params["first"]["kernel"]
    np.testing.assert_allclose(
        model.apply(params, X), X @ kernel @ kernel, rtol=1e-5, atol=1e-6
    )


def test_state_other_than_params_is_refused():
    with pytest.raises(TypeError, match=r"nnx\.Param, got a BatchStat at mean"):
        functional(lambda rngs: nnx.BatchNorm(3, rngs=rngs))
    with pytest.raises(TypeError, match=r"got a Rng\w+ at rngs"):
        functional(lambda rngs: nnx.Dropout(0.5, rngs=rngs))


@pytest.mark.parametrize("constructor", [None, 3, "module"])
def test_constructor_must_be_callable(constructor):
    with pytest.raises(TypeError, match="functional: `constructor` must be a callable"):
        functional(constructor)


def test_constructor_must_return_a_module():
    with pytest.raises(
        TypeError, match="`constructor` must be a constructor of an nnx"
    ):
        functional(lambda rngs: 3)


def changed(path, value):
    params = MODEL.init(KEY)
    branch = params
    for name in path[:-1]:
        branch = branch.setdefault(name, {})
    if value is None:
        del branch[path[-1]]
    else:
        branch[path[-1]] = value
    return params


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (changed(("layers", "7", "bias"), None), "layers.7.bias .* got nothing there"),
        (
            changed(("layers", "7", "bias"), jnp.zeros(4)),
            r"layers.7.bias of shape \(3,\), got shape \(4,\)",
        ),
        (changed(("named",), None), "named.last.bias"),
        (changed(("layers", "11"), {"bias": jnp.zeros(3)}), "layers.11.bias too"),
        (changed(("layers", "2"), jnp.zeros(3)), "layers.2.bias .* got nothing there"),
        ({}, "layers.0.bias"),
    ],
)
def test_wrong_params_name_the_first_path(params, message):
    with pytest.raises(ValueError, match=message):
        MODEL.apply(params, X)
    with pytest.raises(ValueError, match=message):
        jax.jit(MODEL.apply)(params, X)


def test_params_and_keys_of_the_wrong_kind():
    with pytest.raises(TypeError, match="apply: `params` must be a nested dict"):
        MODEL.apply([1, 2], X)
    with pytest.raises(TypeError, match="init: `key` must be a typed key"):
        MODEL.init(0)
    with pytest.raises(TypeError, match="apply: `key` must be a typed key"):
        MODEL.apply(MODEL.init(KEY), X, key=3)


class Drawn(nnx.Module):
    """Layers of this house, whose numbers come from one call of the generator."""

    def __init__(self, rngs):
        self.first = uniform_param((100, 50), bound=0.5)
        self.second = uniform_param((40,), bound=2.0)
        self.zeros = uniform_param((3,), bound=0.0)
        self.linear = nnx.Linear(100, 50, use_bias=False, rngs=rngs)

    def __call__(self, x):
        return x


def test_uniform_params_are_drawn_by_init():
    """5,000 draws: the mean square is b^2 / 3 within 6.4 % at five deviations."""
    params = functional(Drawn).init(KEY)
    first, second = np.asarray(params["first"]), np.asarray(params["second"])
    assert 0.49 < first.max() < 0.5
    assert -0.5 <= first.min() < -0.49
    assert abs(np.square(first).mean() * 12 - 1) < 0.064
    assert 1 < np.abs(second).max() < 2
    assert not params["zeros"].any()
    assert len(np.unique(np.concatenate([first.ravel() * 4, second]))) > 5000


def test_uniform_params_are_independent_of_each_other_and_of_flax():
    """Correlations of 5,000 pairs stay within 5 / sqrt(5000) = 0.071."""
    draw = lambda key: functional(Drawn).init(key)  # noqa: E731
    params, other = draw(KEY), draw(jax.random.key(1))
    for a, b in (
        (params["first"], params["linear"]["kernel"]),
        (params["first"], other["first"]),
    ):
        assert abs(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]) < 0.071
