"""Accuracy, F1 and AUC of weighted rows."""

from typing import Any

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.elimination import solved
from kexue_jax._base.masks import safe_divide
from kexue_jax._base.numerics import accumulation_dtype
from kexue_jax._base.weights import over_largest
from kexue_jax.evaluation.density_ratio import check_weights

AVERAGES = ("macro", "micro", "binary")


def weighted_accuracy(
    predictions: jax.Array, labels: jax.Array, weights: jax.Array
) -> jax.Array:
    """The share of the weight that lies on rows whose prediction is right.

    sum w [prediction = label] / sum w; 0 where all weights are 0.

    Shapes: predictions, labels [..., n] of integers, weights [..., n] -> [...].
    Article: kexue.fm/archives/7805.  Paper: none.
    Differs: no.
    Cost: O(n).
    Raises: TypeError or ValueError for bad kinds or shapes, and, where they are known,
    weights below 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import weighted_accuracy
        >>> a, b = jnp.array([0, 1]), jnp.array([0, 0])
        >>> print(f"{weighted_accuracy(a, b, jnp.array([3.0, 1.0])):.2f}")
        0.75
    """
    _check_labels("weighted_accuracy", predictions, labels, weights)
    w = over_largest(jnp.asarray(weights, accumulation_dtype(weights)))
    right = jnp.where(jnp.asarray(predictions) == jnp.asarray(labels), w, 0)
    found = safe_divide(jnp.sum(right, -1), jnp.sum(w, -1))
    return found.astype(weights.dtype)


def _check_labels(name: str, predictions: Any, labels: Any, weights: Any) -> None:
    check_weights(name, weights)
    checks.array(name, "predictions", predictions, "integer")
    checks.array(name, "labels", labels, "integer")
    checks.shapes(
        name,
        weights=(weights, "... n"),
        predictions=(predictions, "... n"),
        labels=(labels, "... n"),
    )


def weighted_f1(
    predictions: jax.Array,
    labels: jax.Array,
    weights: jax.Array,
    *,
    num_classes: int,
    average: str = "macro",
) -> jax.Array:
    """The F1 score of weighted rows, with the weights inside of TP, FP and FN.

    F1 = 2 TP / (2 TP + FP + FN) by class. "macro": the mean over classes that labels or
    predictions of positive weight have; "micro": of the sums over classes; "binary": of
    class 1. 0 where there is nothing.

    Shapes: predictions, labels [..., n] of integers in 0..num_classes - 1 (others are
    of no class), weights [..., n] -> [...].
    Article: kexue.fm/archives/7805.  Paper: none.
    Differs: no.
    Cost: O(n num_classes).
    Raises: TypeError or ValueError for bad kinds or shapes, fewer than two classes, an
    unknown average, and, where they are known, weights below 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import weighted_f1
        >>> a, b, w = jnp.array([1, 1, 0]), jnp.array([1, 0, 0]), jnp.array([2.0, 1, 1])
        >>> print(weighted_f1(a, b, w, num_classes=2, average="binary"))
        0.8
    """
    name = "weighted_f1"
    _check_labels(name, predictions, labels, weights)
    checks.count(name, "num_classes", num_classes, minimum=2)
    checks.choice(name, "average", average, AVERAGES)
    w = over_largest(jnp.asarray(weights, accumulation_dtype(weights)))[..., None]
    guessed, true = (
        jax.nn.one_hot(v, num_classes, dtype=w.dtype) for v in (predictions, labels)
    )
    hits = jnp.sum(w * guessed * true, -2)
    both = jnp.sum(w * (guessed + true), -2)  # 2 TP + FP + FN
    if average == "micro":
        hits, both = jnp.sum(hits, -1), jnp.sum(both, -1)
    elif average == "binary":
        hits, both = hits[..., 1], both[..., 1]
    found = safe_divide(2 * hits, both)
    if average == "macro":
        there = jnp.sum((both != 0).astype(w.dtype), -1)
        found = safe_divide(jnp.sum(found, -1), there)
    return found.astype(weights.dtype)


def weighted_auc(
    scores: jax.Array, positive: jax.Array, weights: jax.Array
) -> jax.Array:
    """The chance that a positive row has the higher score, by weight.

    sum w_i w_j ([s_i > s_j] + [s_i = s_j] / 2) / sum w_i w_j over positive i and other
    j. 1/2 where one of the two sides has no weight, NaN where a score is NaN.

    Shapes: scores [..., n], positive [..., n] of bool, weights [..., n] -> [...].
    Article: kexue.fm/archives/7805.  Paper: none.
    Differs: no.
    Cost: O(n log n); no gradient by the scores.
    Raises: TypeError or ValueError for bad kinds, shapes or dtypes, and, where they are
    known, weights below 0.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import weighted_auc
        >>> scores, weights = jnp.array([0.9, 0.5, 0.1]), jnp.array([3.0, 1.0, 1.0])
        >>> found = weighted_auc(scores, jnp.array([True, False, True]), weights)
        >>> print(f"{found:.2f}")
        0.75
    """
    name = "weighted_auc"
    check_weights(name, weights)
    checks.array(name, "scores", scores)
    checks.array(name, "positive", positive, "boolean")
    checks.shapes(
        name,
        scores=(scores, "... n"),
        positive=(positive, "... n"),
        weights=(weights, "... n"),
    )
    checks.same_dtype(name, scores=scores, weights=weights)
    w = over_largest(jnp.asarray(weights, accumulation_dtype(weights)))
    return _auc(scores, jnp.asarray(positive), w).astype(scores.dtype)


def adversarial_auc(scores_train: jax.Array, scores_test: jax.Array) -> jax.Array:
    """The chance that a test row scores higher than a training row.

    mean_ij ([t_j > s_i] + [t_j = s_i] / 2). At 1/2 inputs have not shifted as far as
    the discriminator can tell, and its weights are of no use; at 1 the sets do not
    overlap, and no weights can help. NaN where a score is NaN.

    Shapes: scores_train [..., n], scores_test [..., m] -> [...].
    Article: kexue.fm/archives/7805.  Paper: arXiv 2004.03045.
    Differs: scores of rows that the discriminator was fitted on say nothing: take
    those of ``cross_fit_logits``.
    Cost: O((n + m) log(n + m)); no gradient.
    Raises: TypeError or ValueError for bad kinds, shapes or dtypes.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import adversarial_auc
        >>> print(adversarial_auc(jnp.array([0.0, 1.0]), jnp.array([1.0, 2.0])))
        0.875
    """
    name = "adversarial_auc"
    sets = {"scores_train": scores_train, "scores_test": scores_test}
    for argument, value in sets.items():
        checks.array(name, argument, value)
    checks.shapes(
        name, scores_train=(scores_train, "... n"), scores_test=(scores_test, "... m")
    )
    checks.same_dtype(name, **sets)
    for argument, value in sets.items():
        if value.shape[-1] == 0:
            got, wanted = f"shape {value.shape}", "of at least one row"
            raise checks.fail(name, argument, got, wanted)
    scores = jnp.concatenate([jnp.asarray(v) for v in sets.values()], -1)
    positive = jnp.arange(scores.shape[-1]) >= scores_train.shape[-1]
    ones = jnp.ones_like(scores, accumulation_dtype(scores))
    every = jnp.broadcast_to(
        positive.reshape((1,) * (scores.ndim - 1) + positive.shape), scores.shape
    )
    return _auc(scores, every, ones).astype(scores.dtype)


def _auc(scores: jax.Array, positive: jax.Array, w: jax.Array) -> jax.Array:
    """The weighted AUC in the dtype of w, by sorting each row."""
    # Equal scores lie next to each other: the weight below a run is taken at its start,
    # the weight below or equal at its end.
    order = jnp.argsort(jax.lax.stop_gradient(scores), axis=-1)
    s, up, w = (jnp.take_along_axis(v, order, -1) for v in (scores, positive, w))
    ups, downs = jnp.where(up, w, 0), jnp.where(up, 0, w)
    total = jnp.cumsum(downs, -1)
    count, axis = s.shape[-1], s.ndim - 1
    place = jnp.broadcast_to(jnp.arange(count), s.shape)
    opens = jnp.concatenate(
        [jnp.ones_like(s[..., :1], bool), s[..., 1:] != s[..., :-1]], -1
    )
    closes = jnp.concatenate([opens[..., 1:], jnp.ones_like(opens[..., :1])], -1)
    start = jax.lax.cummax(jnp.where(opens, place, 0), axis)
    end = jax.lax.cummin(jnp.where(closes, place, count - 1), axis, reverse=True)
    below = jnp.take_along_axis(total - downs, start, -1)
    upto = jnp.take_along_axis(total, end, -1)
    won = jnp.sum(ups * (below + upto) / 2, -1)
    pairs = jnp.sum(ups, -1) * jnp.sum(downs, -1)
    found = jnp.where(pairs == 0, 0.5, safe_divide(won, pairs))
    # NaN sorts last and would count as the highest score.
    return jnp.where(jnp.any(jnp.isnan(scores), -1), jnp.nan, found)


def label_shift_weights(
    predictions: jax.Array,
    labels: jax.Array,
    predictions_test: jax.Array,
    *,
    num_classes: int,
) -> jax.Array:
    """The weights q(y) / p(y) by class where labels have shifted and p(x | y) has not.

    C w = mu with C_ij = mean [prediction = i, label = j] on held-out training rows and
    mu_i = mean [prediction = i] on test rows; what comes out below 0 is 0. Another
    correction than ``density_ratio``: w hangs on the label, not on the input.

    Shapes: predictions, labels [n], predictions_test [m] of integers in
    0..num_classes - 1 -> [num_classes] in the default float dtype.
    Article: kexue.fm/archives/7805 (whose method does not cover it).  Paper: arXiv
    1802.03916.
    Differs: no. A classifier that never tells two classes apart makes C singular and
    the answer NaN or infinite.
    Cost: O((n + m) num_classes + num_classes^3); no gradient.
    Raises: TypeError or ValueError for bad kinds or shapes, or fewer than two classes.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.evaluation import label_shift_weights
        >>> y, test = jnp.array([0, 0, 1, 1]), jnp.array([0, 1, 1, 1])
        >>> print(label_shift_weights(y, y, test, num_classes=2))
        [0.5 1.5]
    """
    name = "label_shift_weights"
    given = {
        "predictions": (predictions, "n"),
        "labels": (labels, "n"),
        "predictions_test": (predictions_test, "m"),
    }
    for argument, (value, _) in given.items():
        checks.array(name, argument, value, "integer")
    checks.shapes(name, **given)
    checks.count(name, "num_classes", num_classes, minimum=2)
    for argument, (value, _) in given.items():
        if len(value) == 0:
            raise checks.fail(name, argument, "no rows", "of at least one row")
    guessed, true, test = (
        jax.nn.one_hot(value, num_classes) for value, _ in given.values()
    )
    joint = jnp.mean(guessed[:, :, None] * true[:, None, :], 0)
    found = solved(joint, jnp.mean(test, 0)[:, None])[:, 0]
    return jnp.maximum(found, 0)
