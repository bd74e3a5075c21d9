"""Moments, norms and wirings of a network's start, in float64 NumPy."""

import math

import numpy as np

from tests.oracles.gradients import derivative, gradient

ERF = np.vectorize(math.erf, otypes=[float])

# The variance of N(0, 1) within [-2, 2], integrated.
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(60)
_MASS = _WEIGHTS * np.exp(-2 * _POINTS**2)
TRUNCATED = 4 * np.sum(_MASS * _POINTS**2) / np.sum(_MASS)


def normal_moments(phi):
    """E phi and E phi^2 under N(0, 1), on 240 cells of five points a side of 0."""
    found = np.zeros(2)
    for a, b in ((-12, 0), (0, 12)):
        points, weights = np.polynomial.legendre.leggauss(5)
        ends = np.linspace(a, b, 241)
        half = (ends[1:] - ends[:-1])[:, None] / 2
        z = ends[:-1, None] + half * (1 + points)
        mass = half * weights * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        found += np.sum(mass * phi(z)), np.sum(mass * phi(z) ** 2)
    return tuple(found)


def selu_constants():
    """The closed form of the fixed point (0, 1)."""
    e, root = math.exp(0.5), math.sqrt(0.5)
    c1, c2 = math.erfc(root), math.erfc(math.sqrt(2))
    alpha = -math.sqrt(2 / math.pi) / (c1 * e - 1)
    below = math.exp(2) * c2 / 2 - 2 * e * c1 / 2 + 0.5
    return 1 / math.sqrt(0.5 + alpha**2 * below), alpha


def layer_norm(x, scale=None, offset=None, eps=1e-6):
    centered = x - x.mean(-1, keepdims=True)
    y = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + eps)
    y = y if scale is None else y * scale
    return y if offset is None else y + offset


def rms_norm(x, scale=None, eps=1e-6):
    y = x / np.sqrt((x**2).mean(-1, keepdims=True) + eps)
    return y if scale is None else y * scale


def residual_block(x, branch, wiring, alpha, gain):
    if wiring == "pre":
        return alpha * x + gain * branch(layer_norm(x))
    moved = alpha * x + gain * branch(x)
    return layer_norm(moved) if wiring in ("post", "deepnorm") else moved


def stream_moments(branches, wiring, alpha):
    """Step by step: x_l = (weight of x_0) x_0 + rest."""
    variance, identity = [1.0], [1.0]
    for s in branches:
        if wiring == "pre":
            variance.append(variance[-1] + s)
            identity.append(1.0)
        elif wiring in ("post", "deepnorm"):
            a = alpha if wiring == "deepnorm" else 1.0
            variance.append(1.0)
            identity.append(identity[-1] * a / math.sqrt(a**2 + s))
        else:
            variance.append(variance[-1] * (1 + s))
            identity.append(1.0)
    return np.array(variance), np.array(identity)


def hadamard(m, n, gain):
    if n <= m:
        return np.eye(m, n)
    k = math.ceil(math.log2(n))
    h = np.ones((1, 1))
    for _ in range(k):
        h = np.block([[h, h], [h, -h]])
    return gain * h[:m, :n] / 2 ** (k / 2)


def mlm_logits(h, embedding, bias, layer, eps):
    t = h
    if layer is not None:
        kernel, b, scale, offset = layer
        z = t @ kernel + b
        t = layer_norm(z * (1 + ERF(z / math.sqrt(2))) / 2, scale, offset, eps)
    logits = t @ embedding.T
    return logits if bias is None else logits + bias


def profile(branches, params, x, f):
    """Of a network x + F(params, x) with elementwise branches: all Jacobians diagonal.

    The gradient by a number of ``params`` is taken by a complex step.
    """
    count, layers = len(branches), len(params[0])
    order = [(i, k) for i in range(layers) for k in range(count)]

    def run(params, x):
        streams, parts = [x], []
        for i, k in order:
            parts.append(branches[k](params[k][i], streams[-1]))
            streams.append(streams[-1] + parts[-1])
        return streams, parts

    streams, parts = run(params, x)
    last = gradient(f, streams[-1])
    grads = [last]
    for (i, k), h in reversed(list(zip(order, streams[:-1], strict=True))):
        slope = derivative(lambda z, i=i, k=k: branches[k](params[k][i], z), h)
        grads.insert(0, grads[0] * (1 + slope))

    def of_params(k):
        def moved(values):
            changed = [values if j == k else p for j, p in enumerate(params)]
            return f(run(changed, x)[0][-1])

        return np.abs(gradient(moved, params[k]))

    def rms(a):
        return np.sqrt(np.mean(a**2))

    norms = np.array([np.linalg.norm(g) for g in grads])
    identity = np.full(len(streams), np.linalg.norm(last))
    signals = [np.array([rms(a) for a in rows]) for rows in (streams, parts)]
    return (*signals, norms, identity, tuple(of_params(k) for k in range(count)))
