"""Child-Tuning D: what stays where it is, and what masks do to norms and rates."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kexue_jax.optim import (
    child_tuning_d,
    child_tuning_f,
    empirical_fisher_diagonal,
    global_norm,
    gradient_dropout,
    mask_updates,
    sampled_fisher_diagonal,
    top_fraction_mask,
    true_fisher_diagonal,
)

MASK = {"w": np.array([True, False, True, False])}


def trained(opt, params, steps=20):
    rng = np.random.default_rng(0)
    grads = {n: rng.normal(size=(steps, *p.shape)) for n, p in params.items()}

    def step(carry, g):
        params, state = carry
        updates, state = opt.update(g, state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, state), _ = jax.lax.scan(step, (params, opt.init(params)), grads)
    return params, state


def test_masked_components_stay_exactly_iff_their_decay_is_masked() -> None:
    params = {"w": jnp.array([1.0, 2.0, 3.0, 4.0])}
    inner = optax.adamw(1e-2, weight_decay=0.1)
    still, state = trained(child_tuning_d(inner, MASK), params)
    np.testing.assert_array_equal(still["w"][1::2], params["w"][1::2])
    assert (np.asarray(still["w"][::2]) != np.asarray(params["w"][::2])).all()
    for moment in ("mu", "nu"):
        assert (np.asarray(optax.tree.get(state, moment)["w"][1::2]) == 0).all()
    drifting, _ = trained(child_tuning_d(inner, MASK, mask_decay=False), params)
    expected = np.asarray(params["w"])[1::2] * (1 - 1e-3) ** 20
    np.testing.assert_allclose(drifting["w"][1::2], expected, rtol=1e-12)
    np.testing.assert_array_equal(drifting["w"][::2], still["w"][::2])
    no_decay = child_tuning_d(optax.adam(1e-2), MASK, mask_decay=False)
    np.testing.assert_array_equal(trained(no_decay, params)[0]["w"][1::2], [2.0, 4.0])


def test_division_by_p_is_nothing_to_adam_and_a_rate_to_sgd() -> None:
    params = {"w": jnp.array([1.0, 2.0, 3.0, 4.0])}
    for inner, same in ((optax.adam(1e-2), True), (optax.sgd(1e-2), False)):
        plain, _ = trained(child_tuning_d(inner, MASK), params)
        divided, _ = trained(child_tuning_d(inner, MASK, keep_prob=0.5), params)
        moved = [np.asarray(x["w"] - params["w"])[::2] for x in (plain, divided)]
        ratio = moved[1] / moved[0]
        np.testing.assert_allclose(ratio, 1 if same else 2, rtol=1e-5)


def test_where_the_decay_sits_decides_whether_it_is_dropped() -> None:
    p, zero = {"w": jnp.ones(1000)}, {"w": jnp.zeros(1000)}
    drop = gradient_dropout(jax.random.key(0), keep_prob=0.5)
    decay = optax.add_decayed_weights(0.1)
    for parts, dense in (((drop, decay), True), ((decay, drop), False)):
        opt = optax.chain(*parts)
        found = np.asarray(opt.update(zero, opt.init(p), p)[0]["w"])
        assert (found != 0).all() == dense
    wrapped = child_tuning_f(jax.random.key(0), decay, keep_prob=0.5, where="update")
    found = np.asarray(wrapped.update(zero, wrapped.init(p), p)[0]["w"])
    assert 0.3 < (found == 0).mean() < 0.7


def test_clipping_before_the_mask_lets_the_norm_grow() -> None:
    p, limit = 0.25, 1.0
    rng = np.random.default_rng(1)
    g = jnp.asarray(rng.normal(size=10_000))
    mask = jnp.asarray(rng.uniform(size=10_000) < p)
    first = optax.chain(
        optax.clip_by_global_norm(limit), mask_updates(mask, keep_prob=p)
    )
    last = optax.chain(
        mask_updates(mask, keep_prob=p), optax.clip_by_global_norm(limit)
    )
    grown, held = (float(global_norm(o.update(g, o.init(g))[0])) for o in (first, last))
    assert grown == pytest.approx(1 / np.sqrt(p), rel=0.05)
    assert held == pytest.approx(1)
    worst = jnp.zeros(4).at[0].set(5.0)
    alone = jnp.arange(4) == 0
    opt = optax.chain(
        optax.clip_by_global_norm(limit), mask_updates(alone, keep_prob=p)
    )
    assert float(opt.update(worst, opt.init(worst))[0][0]) == pytest.approx(1 / p)


def test_a_single_true_lets_a_tensor_pass_and_is_not_divided() -> None:
    updates = {"head": jnp.ones(3), "layer": jnp.ones(4)}
    scores = {"head": jnp.ones(3), "layer": jnp.array([4.0, 1.0, 3.0, 2.0])}
    mask = top_fraction_mask(
        scores, fraction=0.5, include={"head": False, "layer": True}
    )
    assert mask["head"].shape == () and bool(mask["head"])
    opt = mask_updates(mask, keep_prob=0.5)
    found = opt.update(updates, opt.init(updates))[0]
    np.testing.assert_array_equal(found["head"], 1)
    np.testing.assert_array_equal(found["layer"], [2, 0, 2, 0])


def scores_of(batch: int) -> np.ndarray:
    """The Fisher of batch means of g = mean + deviation * noise, by ours."""
    rng = np.random.default_rng(2)
    noise = jnp.asarray(rng.normal(size=(40_000, 2)))
    mean, deviation = jnp.array([0.5, 0.1]), jnp.array([0.1, 0.8])

    def loss(w, x):
        return jnp.sum(w * (mean + deviation * x))

    found = empirical_fisher_diagonal(
        loss, jnp.zeros(2), noise, chunk=batch, batch_gradients=True
    )
    return np.asarray(found)


def test_the_batch_fisher_depends_on_the_batch_and_so_does_its_ranking() -> None:
    one, many = scores_of(1), scores_of(40)
    np.testing.assert_allclose(one, [0.25 + 0.01, 0.01 + 0.64], rtol=0.03)
    np.testing.assert_allclose(many, [0.25 + 0.01 / 40, 0.01 + 0.64 / 40], rtol=0.03)
    assert one[1] > one[0] and many[0] > many[1]


def test_the_three_fishers_of_softmax_regression() -> None:
    rng = np.random.default_rng(3)
    params = {"w": jnp.asarray(rng.normal(size=(3, 4)))}
    x = jnp.asarray(rng.normal(size=(50, 3)))
    logits = lambda p, x: x @ p["w"]  # noqa: E731
    true = np.asarray(true_fisher_diagonal(logits, params, x, chunk=50)["w"])
    p = np.asarray(jax.nn.softmax(x @ params["w"]))
    # sum_y p_y (p_c - 1[y = c])^2 = p_c (1 - p_c)
    wanted = np.einsum("nc,nk->kc", p * (1 - p), np.asarray(x) ** 2) / 50
    np.testing.assert_allclose(true, wanted, rtol=1e-12)
    keys = jax.random.split(jax.random.key(0), 2000)
    draw = jax.jit(
        jax.vmap(lambda k: sampled_fisher_diagonal(k, logits, params, x, chunk=50)["w"])
    )
    drawn = np.asarray(draw(keys))
    error = drawn.std(0) / np.sqrt(len(keys))
    assert (np.abs(drawn.mean(0) - true) < 5.5 * error).all()
    # With observed labels that the model did not draw it is another matrix.
    y = jnp.zeros(50, int)

    def loss(params, row):
        return -jax.nn.log_softmax(logits(params, row[0]))[row[1]]

    observed = empirical_fisher_diagonal(loss, params, (x, y), chunk=50)["w"]
    assert np.abs(np.asarray(observed) / true - 1).max() > 0.3


def test_chunks_do_not_change_the_fisher() -> None:
    rng = np.random.default_rng(4)
    x = jnp.asarray(rng.normal(size=(7, 3)))
    loss = lambda w, x: jnp.sum(jnp.tanh(w * x) ** 2)  # noqa: E731
    whole = empirical_fisher_diagonal(loss, jnp.ones(3), x, chunk=7)
    for chunk in (1, 3, 100):
        part = empirical_fisher_diagonal(loss, jnp.ones(3), x, chunk=chunk)
        np.testing.assert_allclose(part, whole, rtol=1e-13)


def test_child_tuning_d_from_end_to_end() -> None:
    rng = np.random.default_rng(5)
    params = {"w": jnp.asarray(rng.normal(size=(4, 3))), "head": jnp.zeros(3)}
    x, y = jnp.asarray(rng.normal(size=(30, 4))), jnp.asarray(rng.integers(0, 3, 30))

    def loss(params, row):
        return -jax.nn.log_softmax(row[0] @ params["w"] + params["head"])[row[1]]

    scores = empirical_fisher_diagonal(loss, params, (x, y), chunk=30)
    mask = top_fraction_mask(scores, fraction=0.25, include={"w": True, "head": False})
    assert int(mask["w"].sum()) == 3
    opt = child_tuning_d(optax.adamw(1e-2, weight_decay=0.1), mask)
    after, _ = trained(opt, params, 5)
    moved = np.asarray(after["w"] != params["w"])
    np.testing.assert_array_equal(moved, mask["w"])
    assert (np.asarray(after["head"]) != 0).all()


def test_inside_of_multi_steps_dropout_acts_once_a_step() -> None:
    g, drop = jnp.ones(20_000), gradient_dropout(jax.random.key(0), keep_prob=0.5)

    def many(opt):
        return optax.MultiSteps(opt, 4).gradient_transformation()

    inside = many(optax.chain(drop, optax.sgd(1.0)))
    outside = optax.chain(drop, many(optax.sgd(1.0)))
    for opt, zeros in ((inside, 0.5), (outside, 0.5**4)):
        state = opt.init(g)
        for _ in range(4):
            u, state = opt.update(g, state, g)
        assert float(jnp.mean(u == 0)) == pytest.approx(zeros, abs=0.03)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_probability_1_is_the_identity(k) -> None:
    opt, g = mask_updates(jnp.ones(3, bool), keep_prob=1.0), jnp.array([0.1, -3.0, k])
    np.testing.assert_array_equal(opt.update(g, opt.init(g))[0], g)
