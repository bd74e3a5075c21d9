"""S4, S4D, S5 and LRU in float64 NumPy by dense matrices and loops over time."""

import numpy as np


def whole(half, *parts):
    """The modes and their conjugates, from half of them."""
    return tuple(np.concatenate([x, x.conj()], 0) for x in parts) if half else parts


def bilinear(lam, p, b, dt):
    """The bilinear step of diag(lam) - p p^H and b."""
    n = len(lam)
    a = np.diag(lam) - p @ p.conj().T
    left = np.eye(n) - dt / 2 * a
    return np.linalg.solve(left, np.eye(n) + dt / 2 * a), np.linalg.solve(left, dt * b)


def truncate(lam, p, c, dt, *, length, half=False, damping=0.5, inverse=False):
    if lam.ndim > 1:
        options = {"length": length, "half": half, "damping": damping}
        rows = zip(lam, p, c, dt, strict=True)
        return np.stack([truncate(*r, inverse=inverse, **options) for r in rows])
    n = len(lam)
    lam, p, c = whole(half, lam, p, c)
    a, _ = bilinear(lam, p, c, dt)
    rest = np.eye(len(lam)) - damping * np.linalg.matrix_power(a, length)
    return (c @ (np.linalg.inv(rest) if inverse else rest))[:n]


def s4_kernel(lam, p, b, c, dt, *, length, half=False, damping=0.5):
    """c A^l B by powers, c recovered from the truncated row."""
    options = {"length": length, "half": half, "damping": damping}
    if lam.ndim > 1:
        rows = zip(lam, p, b, c, dt, strict=True)
        return np.stack([s4_kernel(*row, **options) for row in rows])
    c = truncate(lam, p, c, dt, inverse=True, **options)
    lam, p, b, c = whole(half, lam, p, b, c)
    a, x = bilinear(lam, p, b, dt)
    out = []
    for _ in range(length):
        out.append((c @ x).real)
        x = a @ x
    return np.array(out)


def s4_step_matrices(lam, p, b, dt, *, half=False):
    """The factors d, e, p, q, b, of a system with all its modes, cut to the given."""
    if lam.ndim > 1:
        rows = zip(lam, p, b, dt, strict=True)
        parts = [s4_step_matrices(*row, half=half) for row in rows]
        return tuple(np.stack(part) for part in zip(*parts, strict=True))
    n = len(lam)
    lam, p, b = whole(half, lam, p, b)
    d = 1 / (2 / dt - lam)
    q = (
        d[:, None]
        * p
        @ np.linalg.inv(np.eye(p.shape[1]) + p.conj().T @ (d[:, None] * p))
    )
    _, new = bilinear(lam, p, b, dt)
    return d[:n], 2 / dt + lam[:n], p[:n], q[:n], new[:n]


def s4_step(state, factors, c, u, *, half=False):
    """The output alone."""
    d, e, p, q, b = factors
    out = np.zeros(u.shape)
    for h in range(c.shape[0]):
        modes = whole(half, d[h], e[h], p[h], q[h], b[h], c[h])
        d1, e1, p1, q1, b1, c1 = modes
        first = np.diag(e1) - p1 @ p1.conj().T
        second = np.diag(d1) - q1 @ p1.conj().T @ np.diag(d1)
        for place in np.ndindex(u.shape[:-1]):
            (x,) = whole(half, state[(*place, h)])
            x = second @ first @ x + b1 * u[(*place, h)]
            out[(*place, h)] = (c1 @ x).real
    return out


def held(lam, b, dt):
    """Zero-order hold: e^(lam dt) and (e^(lam dt) - 1) / lam b."""
    z = lam * dt
    small = np.abs(z) < 1e-6
    ratio = np.where(small, 1 + z / 2, np.expm1(z) / np.where(small, 1, z))
    return np.exp(z), dt * ratio * b


def stepped(lam, b, dt, method="zoh"):
    """A and B of one step of the diagonal system."""
    if method == "zoh":
        return held(lam, b, dt)
    bottom = 1 - lam * dt / 2
    return (1 + lam * dt / 2) / bottom, dt * b / bottom


def s4d_kernel(lam, b, c, dt, *, length, method="zoh"):
    a, b = stepped(lam, b, np.asarray(dt)[..., None], method)
    times = np.arange(length)
    return 2 * np.einsum("...n,...nl->...l", c * b, a[..., None] ** times).real


def dss_kernel(lam, w, dt, *, length):
    """Re sum_n w_n / lam_n softmax_l(lam_n dt l)."""
    powers = np.exp(
        lam[..., None] * np.asarray(dt)[..., None, None] * np.arange(length)
    )
    share = powers / powers.sum(-1, keepdims=True)
    return np.einsum("...n,...nl->...l", w / lam, share).real


def s4d_conv(lam, b, c, dt, u, *, state=None, method="zoh"):
    """(state, out) by steps; dt a number or [h]."""
    a, b = stepped(lam, b, np.broadcast_to(dt, lam.shape[:1])[:, None], method)
    x = np.zeros((*u.shape[:-2], *lam.shape), complex) if state is None else state
    out = []
    for t in range(u.shape[-2]):
        x = a * x + b * u[..., t, :, None]
        out.append(2 * (c * x).sum(-1).real)
    return x, np.stack(out, -2)


def mimo(a, b, c, d, u, state=None):
    """(state, out) of x_t = a x_{t-1} + b u_t, y_t = Re(c x_t) + d u_t."""
    x = np.zeros((*u.shape[:-2], len(a)), a.dtype) if state is None else state
    out = []
    for t in range(u.shape[-2]):
        x = a * x + u[..., t, :] @ b.T
        out.append((x @ c.T).real + d * u[..., t, :])
    return x, np.stack(out, -2)


def lru(params, u, *, state=None):
    a = np.exp(-np.exp(params.nu_log) + 1j * np.exp(params.theta_log))
    b = np.exp(params.gamma_log)[:, None] * (params.b_re + 1j * params.b_im)
    return mimo(a, b, params.c_re + 1j * params.c_im, params.d, u, state)


def slru(params, u, *, state=None):
    a = np.exp(-np.exp(params.nu_log))
    b = np.exp(params.gamma_log)[:, None] * params.b
    return mimo(a, b, params.c, params.d, u, state)


def s5(params, u, *, state=None):
    lam, dt = -np.exp(params.decay_log) + 1j * params.frequency, np.exp(params.dt_log)
    a, one = held(lam, 1.0, dt)
    b = one[:, None] * (params.b_re + 1j * params.b_im)
    return mimo(a, b, 2 * (params.c_re + 1j * params.c_im), params.d, u, state)


def legs_modes(n):
    """lam, P, B and V of LegS, one mode of each pair, in the hippo norm."""
    r = np.sqrt(2 * np.arange(n) + 1)
    a = -np.tril(np.outer(r, r), -1) - np.diag(np.arange(n) + 1.0)
    values, v = np.linalg.eigh(-1j * (a + np.outer(r, r) / 2 + np.eye(n) / 2))
    v = v[:, n // 2 :]
    p = v.conj().T @ r / np.sqrt(2)
    return -0.5 + 1j * values[n // 2 :], p, v.conj().T @ r, v


def nplr(*, measure, n, norm="hippo", half=False):
    """lam and the products that no choice of phases changes, LegS and LegT alone."""
    r = np.sqrt(2 * np.arange(n) + 1)
    i, k = np.arange(n)[:, None], np.arange(n)
    if measure == "legs":
        a = -np.where(i > k, np.outer(r, r), 0) - np.diag(np.arange(n) + 1.0)
        rank, shift = r[:, None] / np.sqrt(2), 0.5
    else:
        a = -np.outer(r, r) * np.where(k < i, 1.0, (-1.0) ** (i - k))
        rank = r[:, None] * (i % 2 == np.arange(2))
        shift = 0.0
    skew = a + rank @ rank.T + shift * np.eye(n)
    values, v = np.linalg.eigh(-1j * skew)
    kept = slice(n // 2, None) if half else slice(None)
    lam, v = -shift + 1j * values[kept], v[:, kept]
    b = r if norm == "hippo" else np.sqrt(2) * r
    p, b = v.conj().T @ rank, v.conj().T @ b
    return lam, (abs(p) ** 2).sum(-1), p.conj() * b[:, None], v * b
