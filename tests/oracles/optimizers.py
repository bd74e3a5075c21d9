"""Optimizers in float64 NumPy, step by step: AdaX and its kin, clipping, decay.

A step is a function (k, gradients, params) -> updates of flat dicts of arrays, k = 1,
2, ..., that keeps its own state.
"""

import numpy as np


def history(step, params, gradients, rate=-1.0):
    """The parameters after each step: params += -rate * updates."""
    params = {n: np.array(p, np.float64) for n, p in params.items()}
    found = []
    for k, gradient in enumerate(gradients, 1):
        updates = step(k, gradient, params)
        params = {n: p - rate * updates[n] for n, p in params.items()}
        found.append(params)
    return found


def weight(t, kind, b2=None, exponent=0.8):
    """1 - beta of the moving average at step t, from its definition."""
    t = np.asarray(t, np.float64)
    if kind == "adam":
        b2 = 0.999 if b2 is None else b2
        return 1 - b2 * (1 - b2 ** (t - 1)) / (1 - b2**t)
    if kind == "adax":
        b2 = 1e-4 if b2 is None else b2
        with np.errstate(over="ignore"):
            return b2 / np.expm1(t * np.log1p(b2))
    return t**-exponent if kind == "adafactor" else 1 / t


def scheduled(weight, b1=0.9, eps=1e-8, eps_root=0.0, bias=False, first=False):
    """A momentum over the root of a second moment that is kept normalized."""
    m, v = {}, {}

    def step(k, gradients, params):
        updates, w = {}, weight(k)
        for name, g in gradients.items():
            v[name] = (1 - w) * v.get(name, 0.0) + w * g**2
            root = np.sqrt(v[name] + eps_root) + eps
            m[name] = b1 * m.get(name, 0.0) + (1 - b1) * (g / root if first else g)
            mean = m[name] / (1 - b1**k) if bias else m[name]
            updates[name] = mean if first else mean / root
        return updates

    return step


def adax(b1=0.9, b2=1e-4, eps=1e-8, eps_root=0.0, bias=False, first=False):
    """AdaX with the raw second moment, as article and paper write it."""
    m, v = {}, {}

    def step(k, gradients, params):
        updates = {}
        for name, g in gradients.items():
            v[name] = (1 + b2) * v.get(name, 0.0) + b2 * g**2
            root = np.sqrt(v[name] / ((1 + b2) ** k - 1) + eps_root) + eps
            m[name] = b1 * m.get(name, 0.0) + (1 - b1) * (g / root if first else g)
            mean = m[name] / (1 - b1**k) if bias else m[name]
            updates[name] = mean if first else mean / root
        return updates

    return step


def decayed(inner, rate, decay, decoupled=True, only=None):
    """``inner`` as an optimizer: -rate times it, with decay after it or before."""

    def step(k, gradients, params):
        pull = {
            n: decay * p if only is None or n in only else 0.0
            for n, p in params.items()
        }
        if not decoupled:
            gradients = {n: g + pull[n] for n, g in gradients.items()}
        found = inner(k, gradients, params)
        more = pull if decoupled else dict.fromkeys(pull, 0.0)
        return {n: -rate * (u + more[n]) for n, u in found.items()}

    return step


def norm(tree):
    return np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in tree.values()))


def scaled(factor):
    """The gradients times a function of their norm."""
    return lambda k, gradients, params: {
        n: factor(norm(gradients)) * g for n, g in gradients.items()
    }


def hard(limit):
    return scaled(lambda n: min(1.0, limit / n) if n > 0 else 1.0)


def soft(gamma):
    return scaled(lambda n: gamma / (n + gamma))


def relaxed_step(n, l0, l1, rule):
    """The step of relaxed smoothness for a gradient of norm n."""
    n = np.asarray(n, np.float64)
    if rule == "inverse":
        return 1 / (l0 + l1 * n)
    x = l1 * n
    some = np.where(x > 0, x, 1.0)
    return np.where(x > 0, np.log1p(some / (l0 + some)) / some, 1 / l0)


def by_loss_change(inner, threshold):
    def step(k, gradients, params):
        found = inner(k, gradients, params)
        change = abs(sum(np.sum(found[n] * gradients[n]) for n in found))
        factor = min(1.0, threshold / change) if change > 0 else 1.0
        return {n: factor * u for n, u in found.items()}

    return step


def masked(inner, masks, keep_prob=1.0, again=False):
    """``inner`` of the masked gradients; ``masks(k)`` gives a dict of booleans."""

    def step(k, gradients, params):
        chosen = masks(k)
        kept = {n: np.where(chosen[n], g, 0) / keep_prob for n, g in gradients.items()}
        found = inner(k, kept, params)
        if again:
            found = {n: np.where(chosen[n], u, 0) for n, u in found.items()}
        return found

    return step


def sgd(rate):
    return lambda k, gradients, params: {n: -rate * g for n, g in gradients.items()}


def kept(inner, lower, upper):
    """``inner`` where every parameter stays between two bounds."""

    def step(k, gradients, params):
        found = inner(k, gradients, params)
        return {
            n: np.clip(params[n] + u, lower, upper) - params[n]
            for n, u in found.items()
        }

    return step


def weissi_pull(w, log_coef, direction_coef, delta=1e-8):
    """The gradient of the penalty of one weight."""
    n = np.sqrt(np.sum(w**2) + delta**2)
    direction = np.sign(w) / n - np.sum(np.abs(w)) * w / n**3
    return log_coef * w / n**2 + direction_coef * direction


def weissi_decay(log_coef, direction_coef):
    """The gradients and the pull of the weights of two axes or more."""

    def step(k, gradients, params):
        return {
            n: g + weissi_pull(params[n], log_coef, direction_coef)
            if params[n].ndim > 1
            else g
            for n, g in gradients.items()
        }

    return step


def trusted(exclude):
    """The gradients, each tensor's with the length of its parameters."""

    def step(k, gradients, params):
        found = {}
        for n, g in gradients.items():
            lengths = np.sqrt(np.sum(params[n] ** 2)), np.sqrt(np.sum(g**2))
            kept = any(word in n for word in exclude) or 0 in lengths
            found[n] = g if kept else g * lengths[0] / lengths[1]
        return found

    return step


def keep_mask(words, shape, keep_prob):
    """The mask of uint32 words [2, ..., q]: True below keep_prob * 2^32."""
    words = np.asarray(words, np.uint64)
    turned = [(w << 8 * j | w >> (32 - 8 * j)) % 2**32 for w in words for j in range(4)]
    size = shape[-1] if shape else 1
    flat = np.concatenate(turned, axis=-1)[..., :size]
    return (flat < round(keep_prob * 2**32)).reshape(shape)
