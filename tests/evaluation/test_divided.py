"""Means, ranks, weights and fits with batches divided by ``jax.shard_map``."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from kexue_jax import evaluation

AUTO = (AxisType.Auto,)


def inputs() -> dict[str, jax.Array]:
    rng = np.random.default_rng(0)
    return {
        "table": jnp.asarray(rng.uniform(20, 90, (2, 4, 3))),
        "logits": jnp.asarray(rng.normal(size=(2, 6))),
        "weights": jnp.asarray(rng.uniform(0.2, 2, (2, 6))),
        "rows": jnp.asarray(rng.normal(size=(2, 8, 2))),
    }


def fit(p, q):
    return evaluation.fit_logistic_discriminator(p, q, steps=3)


def folds(x):
    return evaluation.cross_fit_logits(
        jax.random.key(0),
        x,
        x + 1,
        fit_fn=lambda _, p, q: fit(p, q),
        apply_fn=evaluation.discriminator_logits,
        k=2,
    )


FORMS = {
    "power_mean": (lambda s: evaluation.power_mean(s, 0.3), ("table",)),
    "leave_one_out": (lambda s: evaluation.leave_one_out_ranks(s, 0), ("table",)),
    "importance_mean": (
        lambda f, w: evaluation.importance_mean(f, w),
        ("logits", "weights"),
    ),
    "calibration_scale": (evaluation.calibration_scale, ("logits", "weights")),
    "weighted_auc": (
        lambda s, w: evaluation.weighted_auc(s, w > 1, w),
        ("logits", "weights"),
    ),
    "resample": (
        jax.vmap(lambda w: evaluation.resample_indices(jax.random.key(0), w, n=4)),
        ("weights",),
    ),
    "fit": (jax.vmap(lambda x: fit(x, x + 1)), ("rows",)),
    "cross_fit": (jax.vmap(folds), ("rows",)),
}


@pytest.mark.parametrize("name", FORMS)
def test_rows_of_the_batch_may_be_divided(name) -> None:
    run, names = FORMS[name]
    given = [inputs()[part] for part in names]
    mesh, rows = (
        jax.make_mesh((1,), ("batch",), axis_types=AUTO),
        PartitionSpec("batch"),
    )
    divided = jax.shard_map(
        run, mesh=mesh, in_specs=(rows,) * len(given), out_specs=rows
    )
    got, wanted = jax.jit(divided)(*given), jax.jit(run)(*given)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
