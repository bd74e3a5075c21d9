"""Contract rows of gradient dropout, Child-Tuning and its Fisher masks."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kexue_jax.optim import (
    child_tuning_d,
    child_tuning_f,
    gradient_dropout,
    mask_updates,
)
from tests.contract.case import Bad, Case
from tests.contract.rows_optim import bad_trees, tree
from tests.contract.rows_optim_clipping import NOT_TREES, once
from tests.optim.dropout import words_of
from tests.oracles import fisher
from tests.oracles import optimizers as oracle

MASK = {
    "kernel": np.arange(6).reshape(3, 1, 2) % 3 > 0,
    "scalar": True,
    "norm_1": np.array([True, False, True]),
    "out_bias": np.array(False),
}
BAD_MASKS = tuple(
    Bad("mask", static={"mask": mask})
    for mask in (
        None,
        "text",
        {"kernel": np.ones(3)},
        {"kernel": MASK["kernel"]},
        {**MASK, "kernel": MASK["kernel"][0]},
        {**MASK, "norm_1": np.ones(2, bool)},
    )
)
BAD_SHARES = tuple(Bad("keep_prob", static={"keep_prob": p}) for p in (0.0, 1.5, -0.5))


def dropped(key, updates, *, keep_prob, rescale=True, mask=None):
    options = {"keep_prob": keep_prob, "rescale": rescale, "mask": mask}
    return once(gradient_dropout(key, **options), updates)


def words(key, *arguments):
    """The words of the first update of ``gradient_dropout``."""
    updates = arguments[-1]
    keys = jax.random.split(jax.random.split(key)[1], len(updates))
    names = sorted(updates)
    return {n: words_of(k, updates[n].shape) for n, k in zip(names, keys, strict=True)}


def dropped_oracle(updates, *, keep_prob, draws, rescale=True):
    def one(name, u):
        keep = oracle.keep_mask(draws[name], u.shape, keep_prob)
        return np.where(keep, u, 0) / (keep_prob if rescale else 1)

    return {n: one(n, u) for n, u in updates.items()}


def child_f(key, updates, *, keep_prob, where, inner=None):
    inner = optax.sgd(0.5) if inner is None else inner
    return once(child_tuning_f(key, inner, keep_prob=keep_prob, where=where), updates)


def child_f_oracle(updates, *, keep_prob, where, draws):
    found = dropped_oracle(updates, keep_prob=keep_prob, draws=draws)
    return {n: -0.5 * u for n, u in found.items()}


def masked(updates, *, keep_prob, mask=MASK):
    return once(mask_updates(mask, keep_prob=keep_prob), updates)


def masked_oracle(updates, *, keep_prob):
    def one(name, u):
        whole = np.ndim(MASK[name]) == 0 and u.ndim > 0
        return np.where(MASK[name], u, 0) / (1 if whole else keep_prob)

    return {n: one(n, u) for n, u in updates.items()}


def child_d(updates, *, keep_prob, mask_decay, mask=MASK, inner=None):
    inner = optax.sgd(0.5) if inner is None else inner
    options = {"keep_prob": keep_prob, "mask_decay": mask_decay}
    return once(child_tuning_d(inner, mask, **options), updates)


def child_d_oracle(updates, *, keep_prob, mask_decay):
    found = masked_oracle(updates, keep_prob=keep_prob)
    return {n: -0.5 * u for n, u in found.items()}


def logits(params, x):
    return x @ params["w"] + params["b"]


def row_logits(params, row):
    """The logits of an input that is a tree."""
    return logits(params, row["x"])


def cross_entropy(params, example):
    x, y = example["x"], example["y"]
    return -jax.nn.log_softmax(logits(params, x))[y]


def regression(rng):
    return {"w": rng.normal(size=(3, 4)), "b": rng.normal(size=4)}


def examples(rng):
    return {"x": rng.normal(size=(6, 3)), "y": rng.integers(0, 4, 6)}


def empirical_oracle(loss, params, examples, **options):
    return fisher.empirical(params, examples["x"], examples["y"], **options)


def labels(key, function, params, inputs):
    """The labels that ``sampled_fisher_diagonal`` draws."""
    wide = jnp.promote_types(inputs["x"].dtype, jnp.float32)
    keys = jax.random.split(key, len(inputs["x"]))
    found = jax.vmap(function, (None, 0))(params, inputs).astype(wide)
    return jax.vmap(jax.random.categorical)(keys, found)


def sampled_oracle(function, params, inputs, *, chunk, draws):
    return fisher.empirical(params, inputs["x"], draws, chunk=chunk)


BAD_PARAMS = (
    Bad("params", args={1: {"w": "text"}}, traced=False),
    Bad("params", args={1: {"w": 1.0}}, traced=False),
    Bad("params", args={1: {"w": np.ones(2, np.int32)}}),
    Bad("params", args={1: {"w": np.ones(2, complex)}}),
)
BAD_LOGITS = (
    *BAD_PARAMS,
    Bad("logits", args={0: 3}, traced=False),
    Bad("logits", args={0: lambda p, row: row["x"].sum()}, traced=False),
    Bad("inputs", args={2: {"x": np.ones(())}}),
    Bad("inputs", args={2: {"x": np.ones((0, 3))}}),
    Bad("inputs", args={2: {"x": "text"}}, traced=False),
    Bad("inputs", args={2: {}}, traced=False),
)
FISHER = {"bfloat16": 1e-1}
ROUNDED = "bfloat16 gradients of 8 bits are squared, which doubles their error"

ROWS = (
    *(
        Case(
            "optim.gradient_dropout",
            lambda rng: (tree(rng),),
            dropped_oracle,
            {"keep_prob": 0.3, "rescale": rescale},
            variant="" if rescale else "not rescaled",
            call=dropped,
            draws=words,
            data=(0,),
            bad=(
                *NOT_TREES,
                *BAD_SHARES,
                Bad("mask", static={"mask": "text"}),
                Bad("mask", static={"mask": {"kernel": 1}}),
            ),
        )
        for rescale in (True, False)
    ),
    Case(
        "optim.keep_mask",
        lambda rng: (),
        lambda *, shape, keep_prob, draws: oracle.keep_mask(draws, shape, keep_prob),
        {"shape": (3, 6), "keep_prob": 0.4},
        draws=lambda key: words_of(key, (3, 6)),
        follows=None,
        grad=False,
        extremes=False,
        reason="a mask has neither gradient nor floating inputs",
        bad=(
            *BAD_SHARES,
            Bad("shape", static={"shape": [3, 6]}),
            Bad("shape", static={"shape": (3, -6)}),
            Bad("shape", static={"shape": (3, 6.0)}),
        ),
    ),
    Case(
        "optim.mask_updates",
        lambda rng: (tree(rng),),
        masked_oracle,
        {"keep_prob": 0.5},
        call=masked,
        data=(0,),
        optional=("keep_prob",),
        bad=(*NOT_TREES, *BAD_SHARES, *BAD_MASKS),
    ),
    Case(
        "optim.child_tuning_f",
        lambda rng: (tree(rng),),
        child_f_oracle,
        {"keep_prob": 0.3, "where": "update"},
        call=child_f,
        draws=words,
        data=(0,),
        bad=(*NOT_TREES, *BAD_SHARES, Bad("inner", static={"inner": 3})),
    ),
    Case(
        "optim.child_tuning_d",
        lambda rng: (tree(rng),),
        child_d_oracle,
        {"keep_prob": 0.5, "mask_decay": True},
        call=child_d,
        data=(0,),
        optional=("keep_prob",),
        bad=(*NOT_TREES, *BAD_SHARES, *BAD_MASKS, Bad("inner", static={"inner": 3})),
    ),
    *(
        Case(
            "optim.empirical_fisher_diagonal",
            lambda rng: (cross_entropy, regression(rng), examples(rng)),
            empirical_oracle,
            {"chunk": chunk, "batch_gradients": batched},
            variant="batches" if batched else "",
            follows=1,
            wide=True,
            data=(1, 2),
            tolerance=FISHER,
            reason=ROUNDED,
            bad=(
                *BAD_PARAMS,
                Bad("loss", args={0: 3}, traced=False),
                Bad("loss", args={0: lambda p, e: e["x"]}, traced=False),
                Bad("examples", args={2: {"x": np.ones((2, 3)), "y": np.ones(3, int)}}),
                Bad("examples", args={2: {}}, traced=False),
                Bad("examples", args={2: {"x": 1.0}}, traced=False),
                *([Bad("chunk", static={"chunk": 4})] if batched else []),
            ),
        )
        for chunk, batched in ((4, False), (3, True))
    ),
    Case(
        "optim.true_fisher_diagonal",
        lambda rng: (row_logits, regression(rng), {"x": rng.normal(size=(6, 3))}),
        lambda f, params, inputs, *, chunk: fisher.true(params, inputs["x"]),
        {"chunk": 4},
        follows=1,
        wide=True,
        data=(1, 2),
        tolerance=FISHER,
        reason=ROUNDED,
        bad=BAD_LOGITS,
    ),
    Case(
        "optim.sampled_fisher_diagonal",
        lambda rng: (row_logits, regression(rng), {"x": rng.normal(size=(6, 3))}),
        sampled_oracle,
        {"chunk": 4},
        draws=labels,
        follows=1,
        wide=True,
        data=(1, 2),
        tolerance=FISHER,
        reason=ROUNDED,
        bad=BAD_LOGITS,
    ),
    *(
        Case(
            "optim.top_fraction_mask",
            lambda rng: (tree(rng),),
            lambda scores, *, fraction, method: fisher.top_fraction(scores, fraction),
            {"fraction": 0.4, "method": method},
            variant=method,
            follows=None,
            grad=False,
            reason="a mask has no gradient",
            data=(0,),
            bad=(
                *(
                    Bad("scores", args=bad.args, traced=bad.traced)
                    for bad in bad_trees("scores", 0)[-5:]
                ),
                Bad("scores", args={0: {"a": np.ones(2, complex)}}),
                Bad("fraction", static={"fraction": 1.5}),
                Bad("fraction", static={"fraction": -0.5}),
                Bad("include", static={"include": "text"}),
                Bad("include", static={"include": {"kernel": 3}}),
            ),
        )
        for method in ("search", "sort")
    ),
)
