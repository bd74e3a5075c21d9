"""Linear recurrences in float64 NumPy, one step after the other.

Written from the method card, importing nothing of the library.
"""

import numpy as np


def linear_scan(a, b, *, h0=None, axis=-2, reverse=False):
    """h_t = a_t h_{t-1} + b_t, or h_t = a_t h_{t+1} + b_t from the end."""
    a, b = np.asarray(a), np.asarray(b)
    h0 = np.asarray(0.0 if h0 is None else h0)
    states = np.zeros(b.shape, np.result_type(a, b, h0))
    a = np.moveaxis(np.broadcast_to(a, b.shape), axis, 0)
    b, out = np.moveaxis(b, axis, 0), np.moveaxis(states, axis, 0)
    h = np.broadcast_to(h0, b.shape[1:])
    steps = range(len(b))
    for t in reversed(steps) if reverse else steps:
        h = a[t] * h + b[t]
        out[t] = h
    return states


def ssm_recurrent(a, b, c, u, *, state=None):
    """x_t = a x_{t-1} + b u_t, y_t = c x_t: the last state, and outputs."""
    shape = (*u.shape[:-2], a.shape[0])
    x = np.zeros(shape) if state is None else np.broadcast_to(state, shape)
    outs = []
    for t in range(u.shape[-2]):
        x = np.einsum("ij,...j->...i", a, x) + np.einsum(
            "ij,...j->...i", b, u[..., t, :]
        )
        outs.append(x @ c.T)
    return x, np.stack(outs, -2)


def causal_conv(u, kernel):
    """y_t = sum_{j <= t} kernel_j u_{t-j}, by the double sum."""
    y = np.zeros(u.shape, np.result_type(u, kernel))
    for t in range(u.shape[-2]):
        for j in range(min(t + 1, kernel.shape[-2])):
            y[..., t, :] += kernel[..., j, :] * u[..., t - j, :]
    return y
