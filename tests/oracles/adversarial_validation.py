"""Discriminators, density ratios and weighted metrics by definition, in NumPy."""

import itertools
import math

import numpy as np


def softplus(x):
    return np.logaddexp(0, x)


def sigmoid(x):
    return np.exp(-softplus(-x))


def discriminator_loss(logits_train, logits_test):
    """-E_p log(1 - D) - E_q log D."""
    return softplus(logits_train).mean(-1) + softplus(-logits_test).mean(-1)


def density_ratio(
    logits, *, n_train, n_test, quantile=1.0, clip=None, temper=1.0, normalize=True
):
    """Corrected, cut, tempered and scaled, on the weights themselves."""
    w = n_train / n_test * np.exp(logits)
    if quantile < 1:
        top = np.quantile(np.log(w), quantile, axis=-1, keepdims=True)
        w = np.minimum(w, np.exp(top))
    if clip is not None:
        w = np.minimum(w, clip)
    w = w**temper
    return w / w.mean(-1, keepdims=True) if normalize else w


def overlap_weights(logits, *, normalize):
    w = sigmoid(logits)
    return w / w.mean(-1, keepdims=True) if normalize else w


def effective_sample_size(weights):
    return weights.sum(-1) ** 2 / (weights**2).sum(-1)


def importance_mean(values, weights, *, self_normalized):
    """The mean and its standard error."""
    w = np.broadcast_to(weights, values.shape)
    n = values.shape[-1]
    if self_normalized:
        w = w / w.sum(-1, keepdims=True)
        mean = (w * values).sum(-1)
        return mean, np.sqrt((w**2 * (values - mean[..., None]) ** 2).sum(-1))
    return (w * values).mean(-1), (w * values).std(-1, ddof=1) / math.sqrt(n)


def fit_logistic(x_train, x_test, *, l2, steps=None):
    """Newton's method on scaled features, with halved steps."""
    mean = (x_train.mean(0) + x_test.mean(0)) / 2
    p, q = x_train - mean, x_test - mean
    scale = np.sqrt(((p**2).mean(0) + (q**2).mean(0)) / 2)
    p, q = (np.c_[x / scale, np.ones(len(x))] for x in (p, q))
    ridge = l2 * np.r_[np.ones(p.shape[1] - 1), 0]

    def loss(theta):
        return discriminator_loss(p @ theta, q @ theta) + (ridge * theta**2).sum() / 2

    theta = np.zeros(p.shape[1])
    for _ in range(60):
        up, down = sigmoid(p @ theta), sigmoid(-(q @ theta))
        slope = up @ p / len(p) - down @ q / len(q) + ridge * theta
        curvature = (p.T * (up * (1 - up))) @ p / len(p) + np.diag(ridge)
        curvature += (q.T * (down * (1 - down))) @ q / len(q)
        step = np.linalg.solve(curvature, slope)
        size = 1.0
        while size > 1e-6 and loss(theta - size * step) > loss(theta):
            size /= 2
        theta = theta - size * step
    v = theta[:-1] / scale
    return v, theta[-1] - v @ mean


def cross_fit(x_train, x_test, *, fit_fn, apply_fn, k, repeats, draws):
    """Every row's mean logit over the folds that hold it."""
    sets = (x_train, x_test)
    sums, counts = ([np.zeros(len(x)) for x in sets] for _ in range(2))
    for orders in draws:
        for fold in range(k):
            inside = []
            for x, order in zip(sets, orders, strict=True):
                width = math.ceil(len(x) / k)
                start = fold * (len(x) - width) // (k - 1)
                inside.append(order[start : start + width])
            rest = [
                x[_others(order, held)]
                for x, order, held in zip(sets, orders, inside, strict=True)
            ]
            params = fit_fn(None, *rest)
            for x, rows, total, count in zip(sets, inside, sums, counts, strict=True):
                total[rows] += apply_fn(params, x[rows])
                count[rows] += 1
    return tuple(t / c for t, c in zip(sums, counts, strict=True))


def _others(order, held):
    """The rows behind the held ones in the order, then those before them."""
    after = order.tolist().index(held[-1]) + 1
    return np.concatenate([order[after:], order])[: len(order) - len(held)]


def calibration_scale(logits_train, logits_test):
    """Where the slope of the loss changes its sign, by halving."""

    def row(p, q):
        low, high = math.log(1e-3), math.log(1e3)
        for _ in range(200):
            middle = (low + high) / 2
            a = math.exp(middle)
            slope = (sigmoid(a * p) * p).mean() - (sigmoid(-a * q) * q).mean()
            low, high = (low, middle) if slope > 0 else (middle, high)
        return math.exp((low + high) / 2)

    p = logits_train.reshape(-1, logits_train.shape[-1])
    q = logits_test.reshape(-1, logits_test.shape[-1])
    found = [row(a, b) for a, b in zip(p, q, strict=True)]
    return np.array(found).reshape(logits_train.shape[:-1])


def resample(weights, *, n, method, draws):
    """Each draw by walking along the weights."""
    u = draws if method == "multinomial" else (np.arange(n) + draws) / n
    tops = [weights[: i + 1].sum() / weights.sum() for i in range(len(weights))]
    indices = [next(i for i, top in enumerate(tops) if value < top) for value in u]
    indices = np.array(indices, np.int32)
    return indices, np.bincount(indices, minlength=len(weights)).astype(np.int32)


def accuracy(predictions, labels, weights):
    return (weights * (predictions == labels)).sum(-1) / weights.sum(-1)


def auc(scores, positive, weights):
    """By all pairs."""

    def row(s, up, w):
        won = total = 0.0
        for i, j in itertools.product(np.flatnonzero(up), np.flatnonzero(~up)):
            won += w[i] * w[j] * ((s[i] > s[j]) + (s[i] == s[j]) / 2)
            total += w[i] * w[j]
        return won / total if total else 0.5

    n = scores.shape[-1]
    parts = [x.reshape(-1, n) for x in (scores, positive, weights)]
    found = [row(*rows) for rows in zip(*parts, strict=True)]
    return np.array(found).reshape(scores.shape[:-1])


def adversarial_auc(scores_train, scores_test):
    scores = np.concatenate([scores_train, scores_test], -1)
    up = np.arange(scores.shape[-1]) >= scores_train.shape[-1]
    return auc(scores, np.broadcast_to(up, scores.shape), np.ones(scores.shape))


def f1(predictions, labels, weights, *, num_classes, average):
    """By counting class after class."""

    def row(guessed, true, w):
        tp, fp, fn = (np.zeros(num_classes) for _ in range(3))
        for g, t, weight in zip(guessed, true, w, strict=True):
            if g == t:
                tp[t] += weight
            else:
                fp[g] += weight
                fn[t] += weight
        if average == "micro":
            tp, fp, fn = (v.sum(keepdims=True) for v in (tp, fp, fn))
        if average == "binary":
            tp, fp, fn = (v[1:2] for v in (tp, fp, fn))
        there = tp + fp + fn > 0
        each = 2 * tp[there] / (2 * tp[there] + fp[there] + fn[there])
        return each.mean() if there.any() else 0.0

    n = weights.shape[-1]
    parts = [x.reshape(-1, n) for x in (predictions, labels, weights)]
    found = [row(*rows) for rows in zip(*parts, strict=True)]
    return np.array(found).reshape(weights.shape[:-1])


def label_shift_weights(predictions, labels, predictions_test, *, num_classes):
    joint = np.zeros((num_classes, num_classes))
    for g, t in zip(predictions, labels, strict=True):
        joint[g, t] += 1 / len(labels)
    test = np.bincount(predictions_test, minlength=num_classes) / len(predictions_test)
    return np.maximum(np.linalg.solve(joint, test), 0)
