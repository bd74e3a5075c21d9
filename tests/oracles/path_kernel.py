"""A tanh perceptron, its tangent kernel and what training adds, in float64 NumPy.

The derivative by all parameters is a flat row: layer by layer the kernel, the bias.
"""

import numpy as np


def jacobian(params, x):
    """Outputs [k] and their derivative [k, P] of one input."""
    hidden = [x]
    for number, layer in enumerate(params):
        z = hidden[-1] @ layer["kernel"] + layer["bias"]
        hidden.append(z if number == len(params) - 1 else np.tanh(z))
    out = hidden.pop()
    signal, rows = np.eye(len(out)), []
    for number in range(len(params) - 1, -1, -1):
        h = hidden[number]
        kernel = signal[:, None, :] * h[None, :, None]
        rows = [kernel.reshape(len(out), -1), signal, *rows]
        signal = signal @ params[number]["kernel"].T * (1 - h**2)[None]
    return out, np.concatenate(rows, -1)


def ravel(params):
    return np.concatenate(
        [layer[name].ravel() for layer in params for name in ("kernel", "bias")]
    )


def unravel(flat, like):
    made, start = [], 0
    for layer in like:
        parts = {}
        for name in ("kernel", "bias"):
            size = layer[name].size
            parts[name] = flat[start : start + size].reshape(layer[name].shape)
            start += size
        made.append(parts)
    return made


def kernel(params, xa, xb):
    """[a, b, k, k]."""
    a, b = (np.stack([jacobian(params, x)[1] for x in xs]) for xs in (xa, xb))
    return np.einsum("akp,blp->abkl", a, b)


def displacements(params, x, y, weights):
    """[b, P] for the loss sum (f - y)^2 / 2."""
    rows = []
    for point, target, weight in zip(x, y, weights, strict=True):
        out, derivative = jacobian(params, point)
        rows.append(weight * (target - out) @ derivative)
    return np.stack(rows)


def mean_jacobian(params, next_params, x, nodes):
    """[k, P], averaged along the step."""
    if not nodes:
        return jacobian(params, x)[1]
    start, end = ravel(params), ravel(next_params)
    places, weights = np.polynomial.legendre.leggauss(nodes)
    total = 0
    for u, weight in zip((places + 1) / 2, weights / 2, strict=True):
        point = unravel(start + u * (end - start), params)
        total = total + weight * jacobian(point, x)[1]
    return total


def attribute(params, next_params, steps, x_test, nodes):
    """[a, b, k] of displacements [b, P]."""
    means = [mean_jacobian(params, next_params, x, nodes) for x in x_test]
    return np.stack([steps @ mean.T for mean in means])


def train(params, x, y, order, rates, x_test, nodes, every=1):
    """Last parameters, attributions, first and last predictions."""
    out = np.zeros((len(x_test), len(x), y.shape[-1]))

    def predict(p):
        return np.stack([jacobian(p, row)[0] for row in x_test])

    def descend(p, ids, rate):
        steps = displacements(p, x[ids], y[ids], np.full(len(ids), rate))
        return steps, unravel(ravel(p) + steps.sum(0), p)

    first = predict(params)
    for start in range(0, len(order), every):
        before, visits = params, np.zeros(len(x))
        for ids, rate in zip(
            order[start : start + every], rates[start : start + every], strict=True
        ):
            steps, after = descend(params, ids, rate)
            if every == 1:
                added = attribute(params, after, steps, x_test, nodes)
                for place, i in enumerate(ids):
                    out[:, i] += added[:, place]
            np.add.at(visits, ids, rate)
            params = after
        if every > 1:
            for point in (before, params):
                steps = displacements(point, x, y, visits / 2)
                out += attribute(point, point, steps, x_test, 0)
    return params, out, first, predict(params)
