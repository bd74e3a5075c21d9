"""Bounds, weights and densities of latent-variable models in float64 NumPy."""

import itertools

import numpy as np

from tests.oracles.gradients import gradient

LOG_2PI = np.log(2 * np.pi)


def log_sum(a, axis=0):
    top = a.max(axis, keepdims=True)
    return np.log(np.exp(a - top).sum(axis)) + np.squeeze(top, axis)


def iwae_bound(log_w, *, axis=0):
    return log_sum(log_w, axis) - np.log(log_w.shape[axis])


def elbo(log_w, *, axis=0):
    return log_w.mean(axis)


def miwae(log_w, *, groups, axis=0):
    parts = np.split(log_w, groups, axis)
    return np.mean([iwae_bound(part, axis=axis) for part in parts], axis=0)


def ciwae(log_w, *, beta, axis=0):
    return beta * elbo(log_w, axis=axis) + (1 - beta) * iwae_bound(log_w, axis=axis)


def jackknife_bound(log_w, *, order=1, axis=0):
    """By its definition: all subsets of M, M - 1, .. weights."""
    log_w = np.moveaxis(log_w, axis, 0)
    m, total = len(log_w), 0.0
    factorial = [1, 1, 2]
    for j in range(order + 1):
        subsets = list(itertools.combinations(range(m), m - j))
        mean = np.mean([iwae_bound(log_w[list(s)]) for s in subsets], axis=0)
        weight = (-1) ** j * (m - j) ** order
        total = total + weight / (factorial[order - j] * factorial[j]) * mean
    return total


def delta_corrected(log_w, *, axis=0):
    bound = iwae_bound(log_w, axis=axis)
    ratio = np.exp(log_w - np.expand_dims(bound, axis))
    return bound + ratio.var(axis, ddof=1) / (2 * log_w.shape[axis])


def effective_sample_size(log_w, *, axis=0):
    return np.exp(2 * log_sum(log_w, axis) - log_sum(2 * log_w, axis))


def gaussian_log_prob(x, mean, log_scale):
    unit = (x - mean) / np.exp(log_scale)
    return -(unit**2 / 2 + log_scale + LOG_2PI / 2).sum(-1)


def bernoulli_log_prob(x, logits):
    return -(np.logaddexp(0, -logits) * x + np.logaddexp(0, logits) * (1 - x)).sum(-1)


def gaussian_kl(mean, log_scale):
    return (mean**2 + np.exp(2 * log_scale) - 1 - 2 * log_scale).sum(-1) / 2


def bits_per_dim(log_prob, *, dims, levels):
    return (-log_prob - dims * np.log(1 / levels)) / dims / np.log(2)


def active_units(means, *, tol):
    return np.array([np.var(column) > tol for column in means.T])


def standard(z):
    return -(z * z / 2 + LOG_2PI / 2).sum(-1)


def weights(x, z, proposal, log_lik, log_prior=None, share=0.0):
    """log w of samples z [M, ..., k]."""
    mean, log_scale = proposal
    joint = np.stack([log_lik(x, one) + (log_prior or standard)(one) for one in z])
    log_p = gaussian_log_prob(z, mean, log_scale)
    if share:
        parts = np.log1p(-share) + log_p, np.log(share) + standard(z)
        log_p = np.logaddexp(*parts)
    return joint - log_p


def log_weights(x, encode, log_lik, draws, log_prior=None):
    mean, log_scale = encode(x)
    return weights(
        x, mean + np.exp(log_scale) * draws, (mean, log_scale), log_lik, log_prior
    )


def estimate(log_w):
    """log_prob, elbo, ess, bias estimate, largest share of all weights at once."""
    m = len(log_w)
    ratio = np.exp(log_w - iwae_bound(log_w))
    spread = ratio.var(0, ddof=1) if m > 1 else 0 * ratio[0]
    return (
        iwae_bound(log_w),
        elbo(log_w),
        effective_sample_size(log_w),
        spread / (2 * m),
        ratio.max(0) / m,
    )


def hierarchical(x, encoders, priors, log_lik, draws):
    """log w of several layers, one sample after the other."""
    found = []
    for sample in zip(*draws, strict=True):
        z, layers, total = x, [], 0.0
        for encode, eps in zip(encoders, sample, strict=True):
            mean, log_scale = encode(z)
            z = mean + np.exp(log_scale) * eps
            total = total - gaussian_log_prob(z, mean, log_scale)
            layers.append(z)
        total = total + log_lik(x, layers[0]) + standard(layers[-1])
        for prior, low, high in zip(priors, layers, layers[1:], strict=False):
            total = total + gaussian_log_prob(low, *prior(high))
        found.append(total)
    return np.stack(found)


def refined(x, encode, log_lik, draws, rate, log_prior=None):
    """Adam's ascent with the gradient along the path of z."""
    params = [np.array(part, float) for part in encode(x)]
    prior = log_prior or standard

    def joint(z):
        return sum((log_lik(x, one) + prior(one)).sum() for one in z)

    moments = [(0 * p, 0 * p) for p in params]
    for t, eps in enumerate(draws, 1):
        mean, log_scale = params
        z = mean + np.exp(log_scale) * eps
        slope = gradient(joint, z) + eps / np.exp(log_scale)
        grads = -slope.mean(0), -(slope * eps * np.exp(log_scale)).mean(0)
        for place, g in enumerate(grads):
            first, second = moments[place]
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
            moments[place] = first, second
            step = first / (1 - 0.9**t)
            size = np.sqrt(second / (1 - 0.999**t)) + 1e-8
            params[place] = params[place] - rate * step / size
    return tuple(params)


def gauss_hermite(x, log_joint, mean, scale, nodes):
    """A loop over all nodes."""
    t, w = np.polynomial.hermite.hermgauss(nodes)
    values = []
    for place in itertools.product(range(nodes), repeat=mean.shape[-1]):
        place = list(place)
        z = mean + np.sqrt(2) * scale * t[place]
        extra = (np.log(w[place]) + t[place] ** 2 + np.log(2) / 2).sum()
        values.append(log_joint(x, z) + extra + np.log(scale).sum(-1))
    return log_sum(np.stack(values))


def linear_gaussian(w, b, s2, x):
    """log q(x), posterior mean and covariance, from the covariance of x."""
    cov = w @ w.T + s2 * np.eye(len(b))
    gap = x - b
    inverse = np.linalg.inv(cov)
    square = np.einsum("...i,ij,...j->...", gap, inverse, gap)
    log_prob = -(square + np.linalg.slogdet(cov)[1] + len(b) * LOG_2PI) / 2
    # As in regression: the other form of the posterior.
    gain = w.T @ inverse
    return log_prob, gap @ gain.T, np.eye(w.shape[1]) - gain @ w


def annealed(z, log_start, log_end, draws, betas, step, leaps):
    """Chain by chain what the docstring says; ``draws`` are momenta and uniforms."""
    log_w, accepted = 0.0, 0.0
    for before, after, (momentum, uniform) in zip(
        betas[:-1], betas[1:], draws, strict=True
    ):

        def path(z, after=after):
            return (1 - after) * log_start(z) + after * log_end(z)

        log_w = log_w + (after - before) * (log_end(z) - log_start(z))
        new, p = z, momentum
        for _ in range(leaps):
            p = p + step / 2 * gradient(lambda z: path(z).sum(), new)
            new = new + step * p
            p = p + step / 2 * gradient(lambda z: path(z).sum(), new)
        change = path(new) - path(z) + (momentum**2 - p**2).sum(-1) / 2
        taken = np.log(uniform) < change
        z = np.where(taken[..., None], new, z)
        accepted = accepted + taken
    return log_w, z, accepted / (len(betas) - 1)


def perceptron(layers, x):
    """Dense layers by number, tanh between them."""
    for place in range(len(layers)):
        layer = layers[str(place)]
        x = x @ layer["kernel"] + layer["bias"]
        x = np.tanh(x) if place < len(layers) - 1 else x
    return x


def vae(params, x, z):
    """Mean and log_scale of the encoder, and what the decoder makes of z."""
    both = perceptron(params["encoder"]["layers"], x)
    half = both.shape[-1] // 2
    decoded = perceptron(params["decoder"]["layers"], z)
    return both[..., :half], both[..., half:], decoded
