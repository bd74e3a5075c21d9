"""Residual networks of state spaces in float64 NumPy, one sequence after the other."""

from types import SimpleNamespace

import numpy as np

from tests.oracles import state_space


def norm(p, x):
    centered = x - x.mean(-1, keepdims=True)
    scaled = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-5)
    return p["scale"] * scaled + p["offset"]


def gelu(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def dense(p, x):
    return x @ p["kernel"] + p.get("bias", 0.0)


def gate(p, y):
    y = gelu(y)
    return dense(p["value"], y) * sigmoid(dense(p["gate"], y))


def s4d(p, x):
    lam = -np.exp(p["modes"]["decay_log"]) + 1j * p["modes"]["frequency"]
    middle = np.log(1e-3 * 1e-1) / 2
    dt = np.exp(middle + p["steps"]["shift"])
    c = p["c_re"] + 1j * p["c_im"]
    y = state_space.s4d_conv(lam, np.ones_like(lam), c, dt, x)[1]
    return gate(p["out"], y + p["d"] * x)


def lru(p, x):
    return gate(p["out"], state_space.lru(SimpleNamespace(**p), x)[1])


MIXERS = {"s4d": s4d, "lru": lru}


def stack(params, inputs, *, mixer, head, **_):
    """Logits of tokens [..., n] or of vectors [..., n, channels]."""
    if "word" in params:
        x = params["word"][np.clip(inputs, 0, len(params["word"]) - 1)]
    else:
        x = dense(params["enter"], inputs)
    for number in range(len(params["blocks"])):
        p = params["blocks"][str(number)]
        x = x + MIXERS[mixer](p["mixer"], norm(p["norm"], x))
        if "wide" in p:
            hidden = gelu(dense(p["wide"], norm(p["feed_norm"], x)))
            x = x + dense(p["narrow"], hidden)
    x = norm(params["norm"], x)
    return dense(params["out"], x.mean(-2) if head == "pooled" else x)
