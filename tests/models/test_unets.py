"""What holds for every network of diffusion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.networks import (
    KEY,
    NETWORKS,
    TRACES,
    apply_of,
    check_gradients,
    inputs,
    params_of,
)
from tests.oracles import unet as oracle

every_network = pytest.mark.parametrize("name", NETWORKS)
one_of_each_kind = pytest.mark.parametrize("name", ["small", "paper_classes"])


def forward(name, params, x, t, y=None):
    arrays = [np.asarray(v, np.float64) for v in (x, t)]
    label = None if y is None else np.asarray(y)
    if name.startswith("small"):
        return oracle.unet_small(params, *arrays, groups=2, y=label)
    return oracle.unet_paper(params, *arrays, groups=2, width=4, y=label)


@every_network
@pytest.mark.parametrize("step", [0.0, 0.5])
def test_equals_the_oracle_on_oblong_images(name, step):
    """At integer steps, and at floating ones, where the table is interpolated."""
    x, t, *label = inputs(name)
    x = jnp.concatenate([x, x[:, ::-1, :4] / 2], 2)
    t = t - step if step else t
    got = apply_of(name)(params_of(name), x, t, *label)
    want = forward(name, params_of(name), x, t, *label)
    np.testing.assert_allclose(got, want, atol=1e-10)


@one_of_each_kind
def test_jit_equals_eager(name):
    params, given = params_of(name), inputs(name)
    np.testing.assert_allclose(
        apply_of(name)(params, *given),
        NETWORKS[name].apply(params, *given),
        rtol=1e-10,
        atol=1e-10,
    )


@one_of_each_kind
def test_vmap_equals_batch_and_leading_axes_are_free(name):
    params, given = params_of(name), inputs(name, batch=4)
    batch = apply_of(name)(params, *given)
    alone = jax.jit(jax.vmap(NETWORKS[name].apply, (None,) + (0,) * len(given)))
    np.testing.assert_allclose(alone(params, *given), batch, rtol=1e-9, atol=1e-10)
    square = apply_of(name)(params, *(v.reshape(2, 2, *v.shape[1:]) for v in given))
    np.testing.assert_allclose(square.reshape(batch.shape), batch, atol=1e-10)


@one_of_each_kind
def test_gradients(name):
    """The whole network by its parameters and its images, both modes, order 1."""
    x, *rest = inputs(name, batch=1)
    check_gradients(
        lambda params, x: NETWORKS[name].apply(params, x, *rest) / 8,
        (params_of(name), x),
    )


@every_network
def test_every_parameter_matters(name):
    params = params_of(name)
    x, _, *label = inputs(name, batch=20)
    t = jnp.arange(20) % 10 + 1
    label = [jnp.arange(20) % 4] * len(label)
    run = NETWORKS[name].apply
    loss = lambda params: jnp.square(run(params, x, t, *label)).sum()  # noqa: E731
    for path, leaf in jax.tree_util.tree_leaves_with_path(
        jax.jit(jax.grad(loss))(params)
    ):
        names = [entry.key for entry in path]
        # A bias of the keys shifts all scores of a row alike.
        if names[-2:] != ["key", "bias"]:
            assert np.abs(leaf).max() > 1e-9, names


@one_of_each_kind
def test_float32_and_bfloat16_against_float64(name):
    params = jax.tree.map(np.float32, params_of(name))
    x, *rest = inputs(name, dtype=jnp.float32)
    exact = apply_of(name)(params, x.astype(jnp.float64), *rest)
    for dtype, tolerance in ((jnp.float32, 2e-5), (jnp.bfloat16, 1e-1)):
        # Forty roundings to 8 bits in a row: 1e-1 instead of the 3e-2 of one function.
        got = apply_of(name)(params, x.astype(dtype), *rest)
        assert got.dtype == dtype
        error = np.abs(np.asarray(got, np.float64) - exact).max()
        assert error < tolerance * np.abs(exact).max()


@every_network
def test_traced_once_for_each_shape(name):
    apply_of(name)(params_of(name), *inputs(name))
    before = TRACES[name]
    for scale in (1, 2):
        params = jax.tree.map(lambda leaf, by=scale: leaf * by, params_of(name))
        apply_of(name)(params, *inputs(name))
    assert TRACES[name] == before > 0


@one_of_each_kind
def test_ensembles(name):
    """Under vmap, init and apply give the members that they give one by one."""
    keys = jax.random.split(KEY, 2)
    init = jax.jit(NETWORKS[name].init)
    ensemble = jax.jit(jax.vmap(NETWORKS[name].init))(keys)
    members = [init(key) for key in keys]
    for index, member in enumerate(members):
        jax.tree.map(
            lambda one, all_, i=index: np.testing.assert_allclose(all_[i], one),
            member,
            ensemble,
        )
    given = inputs(name, dtype=jnp.float32)
    together = jax.jit(jax.vmap(lambda p: NETWORKS[name].apply(p, *given)))(ensemble)
    alone = [apply_of(name)(member, *given) for member in members]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-4, atol=1e-4)
    assert not np.allclose(*alone)


@pytest.mark.parametrize("name", ["small_classes", "paper_classes"])
def test_labels_change_the_answer_and_the_last_is_no_label(name):
    params = params_of(name)
    x, t, _ = inputs(name)
    assert params["label"]["table"].shape[0] == 4
    outputs = [
        apply_of(name)(params, x, t, jnp.full(3, y, jnp.int32)) for y in range(4)
    ]
    for a in range(4):
        for b in range(a):
            assert not np.allclose(outputs[a], outputs[b])


@every_network
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x, t: (x[..., 0], t), ValueError, r"`x` must be of shape \[..., h, w"),
        (lambda x, t: (x, t[:2]), ValueError, "`x` must be of shape"),
        (lambda x, t: (jnp.repeat(x, 3, -1), t), ValueError, "`x` must be of shape"),
        (lambda x, t: (x.astype(jnp.int32), t), TypeError, "`x` must be an array of"),
        (lambda x, t: (x, 3), TypeError, "`t` must be a jax or NumPy array"),
        (lambda x, t: (x, t > 3), TypeError, "`t` must be an array of number dtype"),
    ],
)
def test_wrong_inputs(name, change, error, message):
    x, t, *label = inputs(name)
    with pytest.raises(error, match=message):
        NETWORKS[name].apply(params_of(name), *change(x, t), *label)


@pytest.mark.parametrize("name", ["small", "paper"])
def test_a_label_without_classes(name):
    x, t = inputs(name)
    with pytest.raises(ValueError, match="`y` must be left out"):
        NETWORKS[name].apply(params_of(name), x, t, t)


@pytest.mark.parametrize("name", ["small_classes", "paper_classes"])
@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda y: (), TypeError),
        (lambda y: (y[:2],), ValueError),
        (lambda y: (y * 1.0,), TypeError),
    ],
)
def test_wrong_labels(name, change, error):
    x, t, y = inputs(name)
    with pytest.raises(error, match="`y` must be"):
        NETWORKS[name].apply(params_of(name), x, t, *change(y))
