"""Recurrent cells, their scalar derivatives and profiles in float64 NumPy."""

import numpy as np

BLOCKS = {"simple": 1, "relu": 1, "lstm": 4, "gru": 3, "gru_after": 3}
BLOCKS |= {"merged_gate_gru": 2, "reset_last": 3}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def cell(kind, params, state, x):
    """(c, h) or (None, h) of the next step; state the same."""
    c, h = state
    d = h.shape[-1]
    w, u, b = (
        [params[n][..., k * d : (k + 1) * d] for k in range(BLOCKS[kind])]
        for n in "wub"
    )

    def gate(k, shown=h):
        return x @ w[k] + shown @ u[k] + b[k].reshape((1,) * (h.ndim - 1) + (d,))

    if kind == "simple":
        return None, np.tanh(gate(0))
    if kind == "relu":
        return None, np.maximum(gate(0), 0)
    if kind == "lstm":
        c = sigmoid(gate(0)) * c + sigmoid(gate(1)) * np.tanh(gate(3))
        return c, sigmoid(gate(2)) * np.tanh(c)
    if kind == "reset_last":
        z = sigmoid(gate(0))
        c = (1 - z) * c + z * np.tanh(gate(2))
        return c, sigmoid(gate(1)) * c
    if kind == "merged_gate_gru":
        r = sigmoid(gate(0))
        return None, (1 - r) * h + r * np.tanh(gate(1, r * h))
    z, r = sigmoid(gate(0)), sigmoid(gate(1))
    if kind == "gru":
        new = np.tanh(gate(2, r * h))
    else:
        again = h @ u[2] + params["v"].reshape((1,) * (h.ndim - 1) + (d,))
        new = np.tanh(gate(2, 0 * h) + r * again)
    return None, (1 - z) * h + z * new


def scan(kind, params, state, xs, mask=None):
    """The last (c, h) and all outputs [..., n, d]."""
    c, h = state
    out = []
    for t in range(xs.shape[-2]):
        new_c, new_h = cell(kind, params, (c, h), xs[..., t, :])
        shown = new_h
        if mask is not None:
            keep = mask[..., t, None]
            new_h, shown = np.where(keep, new_h, h), np.where(keep, new_h, 0)
            new_c = None if c is None else np.where(keep, new_c, c)
        c, h = new_c, new_h
        out.append(shown)
    return (c, h), np.stack(out, -2)


def terms(kind, params, c, h, x, gate):
    """The addends of the derivative of one unit, d = 1: everything is a number."""
    names = {
        "lstm": "fioc",
        "gru": "zrh",
        "gru_after": "zrh",
        "merged_gate_gru": "rh",
        "reset_last": "zrh",
        "simple": "h",
        "relu": "h",
    }[kind]
    u = dict(zip(names, params["u"][0], strict=True))
    pre = dict(
        zip(names, x @ params["w"] + params["b"] + h * params["u"][0], strict=True)
    )
    if kind == "simple":
        return [(1 - np.tanh(pre["h"]) ** 2) * u["h"]]
    if kind == "relu":
        return [float(pre["h"] > 0) * u["h"]]
    if kind == "lstm":
        f, i, new = sigmoid(pre["f"]), sigmoid(pre["i"]), np.tanh(pre["c"])
        q = gate * (1 - np.tanh(c) ** 2)
        return [
            f,
            f * (1 - f) * q * c * u["f"],
            i * (1 - i) * q * new * u["i"],
            (1 - new**2) * q * i * u["c"],
        ]
    if kind == "reset_last":
        z, new = sigmoid(pre["z"]), np.tanh(pre["h"])
        return [
            1 - z,
            -gate * c * z * (1 - z) * u["z"],
            gate * new * z * (1 - z) * u["z"],
            gate * z * (1 - new**2) * u["h"],
        ]
    u.setdefault("z", u["r"])
    r = sigmoid(pre["r"])
    z = sigmoid(pre.get("z", pre["r"]))
    bare = pre["h"] - h * u["h"]
    if kind == "gru_after":
        again = h * u["h"] + params["v"][0]
        new = np.tanh(bare + r * again)
        inner = r * (u["h"] + (1 - r) * again * u["r"])
    else:
        new = np.tanh(bare + r * h * u["h"])
        inner = r * (1 + (1 - r) * h * u["r"]) * u["h"]
    return [
        1 - z,
        -z * (1 - z) * h * u["z"],
        z * (1 - z) * new * u["z"],
        (1 - new**2) * inner * z,
    ]


def profile(kind, params, state, xs, mask=None):
    """log norms of M_k for one sequence, its Jacobians by complex steps."""
    two = state[0] is not None
    d = state[1].shape[-1]

    def flat(s):
        return np.concatenate(s) if two else s[1]

    def parts(v):
        return (v[:d], v[d:]) if two else (None, v)

    jacobians, current = [], flat(state)
    for t, x in enumerate(xs):
        size = len(current)
        if mask is not None and not mask[t]:
            jacobians.append(np.eye(size))
            continue
        # Complex steps: no cancellation, so exact to rounding.
        columns = [
            flat(cell(kind, params, parts(current + 1e-30j * e), x)).imag / 1e-30
            for e in np.eye(size)
        ]
        jacobians.append(np.stack(columns, -1))
        current = flat(cell(kind, params, parts(current), x))
    product = np.eye(len(current))
    frobenius, spectral = [], []
    for jacobian in jacobians[::-1]:
        product = product @ jacobian
        norm = np.linalg.norm(product) / np.sqrt(len(product))
        frobenius.append(np.log(norm))
        spectral.append(np.log(np.linalg.norm(product, 2)))
    return np.array(frobenius), np.array(spectral)
