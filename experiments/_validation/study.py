"""Candidates trained on one side of a shift, and what validation says of the other."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._validation.data import Data, Sizes, shifted
from kexue_jax import evaluation

# How a validation score is made of right and wrong answers.
RANDOM, OVERLAP, RATIO = "random split", "weights D", "weights D / (1 - D)"
RESAMPLED, SINGLE = "resampled", "resampled, duplicates removed"
INSIDE, KNOWN = "weights of a D fitted on the rows it scores", "the known ratio"
LOOSE = "the same with a thousandth of its penalty"
CALIBRATED = "weights D / (1 - D), calibrated"
SCORES = (RANDOM, OVERLAP, RATIO, CALIBRATED, RESAMPLED, SINGLE, INSIDE, LOOSE, KNOWN)
CUT = 0.99  # quantile of the weights


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is trained: shares of the features seen, penalties, checkpoints, width."""

    shares: tuple[float, ...] = (1.0, 0.5, 0.25, 0.12)
    penalties: tuple[float, ...] = (0.0, 1e-3, 1e-2)
    checkpoints: tuple[int, ...] = (15, 30, 60, 120, 240)
    width: int = 32
    learning_rate: float = 1e-2
    folds: int = 5
    repeats: int = 2
    l2: float = 0.1
    fit_steps: int = 80


class Outcome(NamedTuple):
    """One shift, a row a seed.

    truth [S, C] the candidates' accuracy on the test rows, scores [S, K, C] what each
    way to validate says of it (in the order of SCORES), auc, size (effective, over the
    validation rows) and agreement (correlation of log weights with the known ones,
    0 without a shift) [S], plain and weighted [S, M] test accuracy at the last
    checkpoint of training as it is and with weights.
    """

    truth: np.ndarray
    scores: np.ndarray
    auc: np.ndarray
    size: np.ndarray
    agreement: np.ndarray
    plain: np.ndarray
    weighted: np.ndarray


class _Rows(NamedTuple):
    """Features, labels and known log ratios of one part."""

    x: jax.Array
    y: jax.Array
    z: jax.Array


def study(
    data: Data, trait: str, strength: float, seeds: list[int], sizes: Sizes, plan: Plan
) -> Outcome:
    """All seeds of one shift, in one program."""
    parts = [shifted(data, trait, strength, seed, sizes) for seed in seeds]

    def rows(which: str) -> _Rows:
        numbers = np.stack([getattr(part, which) for part in parts])
        logs = strength * data.traits[trait][numbers]
        found = data.x[numbers], data.y[numbers], logs.astype(np.float32)
        return _Rows(*map(jnp.asarray, found))

    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    found = _program(plan, data.classes)(
        keys, rows("train"), rows("validation"), rows("test")
    )
    return Outcome(*(np.asarray(part, np.float64) for part in found))


@functools.lru_cache(maxsize=4)
def _program(plan: Plan, classes: int) -> Callable[..., Any]:
    """The compiled program of all seeds at once."""
    return jax.jit(jax.vmap(_one_seed(plan, classes)))


def _one_seed(plan: Plan, classes: int) -> Callable[..., Any]:
    """The program of a seed: keys and three parts to the fields of an Outcome."""

    def run(key: jax.Array, train: _Rows, valid: _Rows, test: _Rows) -> Any:
        folds, draw, models = jax.random.split(key, 3)
        both = jnp.concatenate([train.x, valid.x])
        logits = evaluation.cross_fit_logits(
            folds,
            both,
            test.x,
            fit_fn=lambda _, p, q: _fit(p, q, plan.l2, plan.fit_steps),
            apply_fn=evaluation.discriminator_logits,
            k=plan.folds,
            repeats=plan.repeats,
        )
        here, there = logits.train[: len(train.x)], logits.train[len(train.x) :]
        inside, loose = (
            evaluation.discriminator_logits(
                _fit(both, test.x, l2, plan.fit_steps), valid.x
            )
            for l2 in (plan.l2, plan.l2 / 1000)
        )
        weights = evaluation.density_ratio(there, quantile=CUT)
        factor = evaluation.calibration_scale(logits.train, logits.test)
        drawn = evaluation.resample_indices(draw, weights, n=len(weights)).counts
        kept = {
            RANDOM: jnp.ones_like(weights),
            OVERLAP: evaluation.overlap_weights(there),
            RATIO: weights,
            CALIBRATED: evaluation.density_ratio(factor * there, quantile=CUT),
            RESAMPLED: drawn.astype(weights.dtype),
            SINGLE: (drawn > 0).astype(weights.dtype),
            INSIDE: evaluation.density_ratio(inside, quantile=CUT),
            LOOSE: evaluation.density_ratio(loose, quantile=CUT),
            KNOWN: evaluation.density_ratio(valid.z),
        }
        of_train = evaluation.density_ratio(here, quantile=CUT)
        both_ways = jnp.stack([jnp.ones_like(of_train), of_train])
        masks, penalties = _candidates(models, plan, train.x.shape[-1])
        each = jax.vmap(
            _trainer(plan, classes, train, valid, test), in_axes=(0, 0, 0, None)
        )
        train_all = jax.vmap(each, in_axes=(None, None, None, 0))
        keys = jax.random.split(models, len(penalties))
        found = train_all(keys, masks, penalties, both_ways)
        plain, weighted = ([part[way] for part in found] for way in (0, 1))
        right = plain[0].reshape(-1, len(valid.y))
        scores = jnp.stack(
            [
                evaluation.importance_mean(right, kept[name].astype(right.dtype)).mean
                for name in SCORES
            ]
        )
        truth = plain[1].mean(-1).reshape(-1)
        last = [answers[1].mean(-1)[:, -1] for answers in (plain, weighted)]
        auc = evaluation.adversarial_auc(logits.train, logits.test)
        size = evaluation.effective_sample_size(weights) / len(weights)
        return truth, scores, auc, size, _correlation(there, valid.z), *last

    return run


def _fit(p: jax.Array, q: jax.Array, l2: float, steps: int) -> Any:
    return evaluation.fit_logistic_discriminator(p, q, l2=l2, steps=steps)


def _correlation(a: jax.Array, b: jax.Array) -> jax.Array:
    a, b = a - a.mean(), b - b.mean()
    scale = jnp.sqrt((a * a).sum() * (b * b).sum())
    return jnp.where(scale > 0, (a * b).sum() / jnp.where(scale > 0, scale, 1), 0)


def _candidates(key: jax.Array, plan: Plan, size: int) -> tuple[jax.Array, jax.Array]:
    """Masks [M, d] of the features seen, and penalties [M]."""
    masks, penalties = [], []
    for i, share in enumerate(plan.shares):
        order = jax.random.permutation(jax.random.fold_in(key, i), size)
        mask = (order < max(1, round(share * size))).astype(jnp.float32)
        for penalty in plan.penalties:
            masks.append(mask)
            penalties.append(penalty)
    return jnp.stack(masks), jnp.asarray(penalties)


def _trainer(
    plan: Plan, classes: int, train: _Rows, valid: _Rows, test: _Rows
) -> Callable[..., Any]:
    """(key, mask, penalty, row weights) to what is right on validation and test."""
    optimizer = optax.adam(plan.learning_rate)

    def logits(params: Any, x: jax.Array) -> jax.Array:
        hidden = jax.nn.relu(x @ params["in"] + params["shift"][None])
        return hidden @ params["out"] + params["bias"][None]

    def run(key: jax.Array, mask: jax.Array, penalty: jax.Array, w: jax.Array) -> Any:
        size = train.x.shape[-1]
        one, two = jax.random.split(key)
        params = {
            "in": jax.random.normal(one, (size, plan.width)) * (2 / mask.sum()) ** 0.5,
            "shift": jnp.zeros(plan.width),
            "out": jax.random.normal(two, (plan.width, classes)) / plan.width**0.5,
            "bias": jnp.zeros(classes),
        }

        def loss(params: Any) -> jax.Array:
            found = logits(params, train.x * mask[None])
            each = optax.softmax_cross_entropy_with_integer_labels(found, train.y)
            squares = (params["in"] ** 2).sum() + (params["out"] ** 2).sum()
            return jnp.mean(w * each) + penalty * squares / 2

        def step(_: Any, carry: Any) -> Any:
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state)
            return optax.apply_updates(params, updates), state

        def segment(carry: Any, ends: jax.Array) -> Any:
            carry = jax.lax.fori_loop(ends[0], ends[1], step, carry)
            right = [
                logits(carry[0], part.x * mask[None]).argmax(-1) == part.y
                for part in (valid, test)
            ]
            return carry, [part.astype(jnp.float32) for part in right]

        ends = jnp.asarray([0, *plan.checkpoints])
        start = params, optimizer.init(params)
        pairs = jnp.stack([ends[:-1], ends[1:]], -1)
        return jax.lax.scan(segment, start, pairs)[1]

    return run
