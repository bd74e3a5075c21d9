"""Rational transfer functions in float64 NumPy, importing nothing of ours."""

import numpy as np


def companion(a):
    """The matrix with the characteristic polynomial s^d + a_1 s^(d-1) + ... + a_d."""
    d = len(a)
    matrix = np.zeros((d, d))
    matrix[0] = -a
    for i in range(1, d):
        matrix[i, i - 1] = 1.0
    return matrix


def readout(a, b, length):
    """c with c (I - A^length) = b."""
    matrix = companion(a)
    rest = np.eye(len(a)) - np.linalg.matrix_power(matrix, length)
    return np.linalg.solve(rest.T, b)


def kernel(a, b, *, length):
    """c A^l e_0 by powers, for one or many pairs."""
    if a.ndim > 1:
        pairs = zip(a, b, strict=True)
        return np.stack([kernel(*pair, length=length) for pair in pairs])
    matrix, state = companion(a), np.eye(len(a))[0]
    c, out = readout(a, b, length), []
    for _ in range(length):
        out.append(c @ state)
        state = matrix @ state
    return np.array(out)


def to_companion(a, b, *, length=None):
    if a.ndim > 1:
        parts = [to_companion(p, q, length=length) for p, q in zip(a, b, strict=True)]
        return tuple(np.stack(part) for part in zip(*parts, strict=True))
    c = b if length is None else readout(a, b, length)
    return companion(a), np.eye(len(a))[0], c


def step(state, a, c, u):
    """(out, state) of one more input."""
    first = u - (state * a).sum(-1)
    state = np.concatenate([first[..., None], state[..., :-1]], -1)
    return (state * c).sum(-1), state


def scan(a, c, u, *, state=None):
    state = np.zeros((*u.shape[:-2], *a.shape)) if state is None else state
    out = []
    for t in range(u.shape[-2]):
        y, state = step(state, a, c, u[..., t, :])
        out.append(y)
    return np.stack(out, -2), state


def from_matrices(a, b, c):
    """Coefficients by eigenvalues."""
    if a.ndim > 2:
        parts = [from_matrices(*x) for x in zip(a, b, c, strict=True)]
        return tuple(np.stack(part) for part in zip(*parts, strict=True))
    bottom = np.poly(a).real
    return bottom[1:], (np.poly(a - np.outer(b, c)).real - bottom)[1:]


def from_reflection(theta, *, limit=1.0):
    if theta.ndim > 1:
        return np.stack([from_reflection(t, limit=limit) for t in theta])
    a = np.ones(1)
    for k in limit * np.tanh(theta):
        longer = np.append(a, 0.0)
        a = longer + k * longer[::-1]
    return a[1:]


def reflection(a):
    if a.ndim > 1:
        return np.stack([reflection(x) for x in a])
    a, found = np.concatenate([[1.0], a]), []
    while len(a) > 1:
        k = a[-1]
        found.append(k)
        a = ((a - k * a[::-1]) / (1 - k * k))[:-1]
    return np.array(found[::-1])
