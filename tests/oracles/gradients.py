"""Gradients of small networks in float64 NumPy: backward by hand, derivatives exact.

Functions handed in must be written in operators alone; their derivatives are taken by
a complex step, which rounds but does not truncate.
"""

import numpy as np

STEP = 1e-40


def derivative(f, z):
    """f'(z) of an elementwise f."""
    return np.imag(f(z + 1j * STEP)) / STEP


def gradient(f, x):
    """The gradient of a scalar f at an array x."""
    x = np.asarray(x, float)
    found = np.zeros(x.size)
    for place in range(x.size):
        moved = x.astype(complex).ravel()
        moved[place] += 1j * STEP
        found[place] = np.imag(f(moved.reshape(x.shape))) / STEP
    return found.reshape(x.shape)


def tree_gradient(f, tree):
    """The gradient of f(tree) for a dict of arrays."""
    return {
        name: gradient(lambda v, name=name: f({**tree, name: v}), tree[name])
        for name in tree
    }


def squared_norm(tree):
    return sum(np.sum(np.square(leaf)) for leaf in tree.values())


def perceptron(params, x, f, phi):
    """h_t, J_t, delta_t of one example, and its gradient by x."""
    hidden, jacobians, slopes = [x], [np.eye(len(x))], []
    for w, b in params:
        z = w @ hidden[-1] + (0 if b is None else b)
        slopes.append(derivative(phi, z))
        hidden.append(phi(z))
        jacobians.append(slopes[-1][:, None] * (w @ jacobians[-1]))
    back, deltas = gradient(f, hidden[-1]), []
    for (w, _), slope in zip(params[::-1], slopes[::-1], strict=True):
        deltas.insert(0, slope * back)
        back = w.T @ deltas[0]
    return hidden[:-1], jacobians[:-1], deltas, back


def gradient_bound(params, x, f, phi, norm):
    """lhs, rhs, terms, weights, biases, inputs of one example."""
    hidden, jacobians, deltas, back = perceptron(params, x, f, phi)
    rows = []
    for (w, b), h, jacobian, delta in zip(
        params, hidden, jacobians, deltas, strict=True
    ):
        if norm == "jacobian":
            divisor = np.linalg.norm(w @ jacobian, 2)
        else:
            order = {"spectral": 2, "frobenius": "fro"}[norm]
            divisor = np.linalg.norm(w, order) * np.linalg.norm(jacobian, order)
        bias, d = float(b is not None), np.sum(delta**2)
        rows.append(((np.sum(h**2) + bias) / divisor**2, d * np.sum(h**2), d * bias))
    terms, weights, biases = np.array(rows).T
    inputs = np.sum(back**2)
    rhs = np.sum(weights + biases)
    return inputs * np.sum(terms), rhs, terms, weights, biases, inputs


def parameter_penalty(params, x, f, phi):
    """|grad_params L|^2 of one example, from the outer products themselves."""
    hidden, _, deltas, _ = perceptron(params, x, f, phi)
    total = 0.0
    for (_, b), h, delta in zip(params, hidden, deltas, strict=True):
        total += np.sum(np.outer(delta, h) ** 2)
        total += 0.0 if b is None else np.sum(delta**2)
    return total


def spectral_norm_below(a, iters):
    v = 1 + np.cos(np.arange(1, a.shape[1] + 1) ** 2)
    for _ in range(iters):
        v = a.T @ (a @ v)
        v = v / np.linalg.norm(v)
    return np.linalg.norm(a @ v) / np.linalg.norm(v)


def spectral_norm_above(a, iters):
    values = np.linalg.svd(a, compute_uv=False)
    top = values.max()
    return top * np.sum((values / top) ** 2 ** (iters + 1)) ** (0.5 ** (iters + 1))
