"""Critics of bounded slope in float64 NumPy, slopes by complex steps, networks by hand.

Critics handed in are functions of a batch, in operators alone.
"""

import numpy as np

from tests.oracles import unet
from tests.oracles.gradients import gradient


def slopes(critic, x):
    """The gradient of each example's value by the example."""
    return np.stack([gradient(lambda v: critic(v[None])[0], row) for row in x])


def norms(critic, x):
    found = slopes(critic, x).reshape(len(x), -1)
    return np.sqrt((found**2).sum(1))


def normalize(critic, x, *, kind, eps, scale, **_):
    """d_hat, d and the norm of the slope."""
    d, g = critic(x), slopes(critic, x).reshape(len(x), -1)
    n = np.sqrt((g**2).sum(1))
    d_hat = {
        "gn": lambda: d / (n + np.abs(d)),
        "gran": lambda: d * n / (n**2 + eps),
        "gran_simple": lambda: d / (n + eps),
        "raw": lambda: d / n,
        "inner": lambda: (g / n[:, None] * x.reshape(len(x), -1)).sum(1),
    }[kind]()
    return scale * d_hat, d, n


def powered(excess, one_sided, p):
    return (np.maximum(excess, 0) if one_sided else np.abs(excess)) ** p


def penalty(critic, real, fake, *, target, one_sided, power, weight, where, draws=None):
    if where == "interp":
        u = draws.reshape(-1, *[1] * (real.ndim - 1))
        x = u * real + (1 - u) * fake
    else:
        x = real if where == "real" else fake
    excess = norms(critic, x) - target
    return weight * powered(excess, one_sided, power).mean()


def quotient_penalty(critic, a, b, *, target, one_sided, power, weight):
    distance = np.sqrt(((a - b).reshape(len(a), -1) ** 2).sum(1))
    quotient = np.abs(critic(a) - critic(b)) / distance
    return weight * powered(quotient - target, one_sided, power).mean()


def softplus(v):
    return np.log1p(np.exp(-np.abs(v))) + np.maximum(v, 0)


def losses(r, f, *, name):
    """The critic's loss and the generator's."""
    if name == "wasserstein":
        return f.mean() - r.mean(), -f.mean()
    if name == "hinge":
        d = np.maximum(1 - r, 0).mean() + np.maximum(1 + f, 0).mean()
        return d, -f.mean()
    if name == "bce01":
        p_r, p_f = (r + 1) / 2, (f + 1) / 2
        return -np.log(p_r).mean() - np.log(1 - p_f).mean(), -np.log(p_f).mean()
    d = softplus(-r).mean() + softplus(f).mean()
    return d, softplus(-f).mean() if name == "ns" else -softplus(f).mean()


def spectral(w, u, *, n_iter):
    """w over sigma, u, sigma."""
    matrix = w.reshape(-1, w.shape[-1])
    for _ in range(n_iter):
        v = matrix @ u
        v = v / np.sqrt(v @ v)
        u = matrix.T @ v
        u = u / np.sqrt(u @ u)
    sigma = v @ matrix @ u
    return w / sigma, u, sigma


def spectral_vector(w, *, n_iter, draws):
    return spectral(w, draws / np.sqrt(draws @ draws), n_iter=n_iter)[1]


def upper_bound(params, *, norm):
    """A product over the kernels of a flat dict."""
    total = 1.0
    for w in params.values():
        if w.ndim < 2:
            continue
        matrix = w.reshape(-1, w.shape[-1])
        total *= {
            "spectral": np.linalg.norm(matrix, 2),
            "frobenius": np.linalg.norm(matrix),
            "largest": np.abs(matrix).max() * np.sqrt(matrix.size),
        }[norm]
        total *= np.sqrt(np.prod(w.shape[:-2]))
    return total


def quotients(f, x, *, radius, draws, **_):
    """The largest over the draws, [num, B, *d] of normal noise."""
    rows = draws.reshape(*draws.shape[:2], -1)
    length = np.sqrt((rows**2).sum(-1))
    step = draws * (radius / length).reshape(*length.shape, *[1] * (x.ndim - 1))
    return np.max([np.abs(f(x + s) - f(x)) / radius for s in step], axis=0)


def consistency(critic, x, augmented, *, weight):
    return weight * ((critic(augmented) - critic(x)) ** 2).mean()


def flip_translate(x, *, share, draws):
    """Pixel by pixel."""
    flipped, downs, rights = draws
    out = np.zeros_like(x)
    _, height, width, _ = x.shape
    for b in range(len(x)):
        image = x[b, :, ::-1] if flipped[b] else x[b]
        for i in range(height):
            for j in range(width):
                row = min(max(i - int(downs[b]), 0), height - 1)
                # Moved behind the flip, which turns the way of the move around.
                column = min(max(j - int(rights[b]), 0), width - 1)
                out[b, i, j] = image[row, column]
    return out


def leaky(x, slope):
    return np.where(x >= 0, x, slope * x)


def dense(layer, x):
    return x @ layer["kernel"] + layer.get("bias", 0)


def layers_of(tree):
    return [tree[name] for name in sorted(tree, key=int)]


def perceptron(params, x, *, slope, tanh, **_):
    *hidden, last = layers_of(params["layers"])
    for layer in hidden:
        x = leaky(dense(layer, x), slope)
    x = dense(last, x)
    return np.tanh(x) if tanh else x


def conv(layer, x):
    return unet.conv(x, layer["kernel"]) + layer["bias"]


def critic(params, x, *, slope, **_):
    h = x.reshape(-1, *x.shape[-3:])
    for layer in layers_of(params["convs"]):
        h = unet.pool(leaky(conv(layer, h), slope))
    return dense(params["out"], h.reshape(len(h), -1)).reshape(x.shape[:-3])


def generator(params, z, *, sides, stages, slope, **_):
    h = dense(params["dense"], z.reshape(-1, z.shape[-1]))
    h = h.reshape(len(h), sides[0] >> stages, sides[1] >> stages, -1)
    for layer in layers_of(params["convs"]):
        h = leaky(conv(layer, h.repeat(2, axis=1).repeat(2, axis=2)), slope)
    images = np.tanh(conv(params["out"], h))
    return images.reshape(*z.shape[:-1], *images.shape[1:])
