"""Diffusion in float64 NumPy, from the method card: chains, posteriors, losses, bounds.

A chain here is anything with the fields alpha, beta, alpha_bar, beta_bar, all [T + 1].
Where the card gives a simplified formula (a weight, a bound) the oracle computes what
it was simplified from: a conditional of joint normals, a KL divergence, an integral.
"""

from typing import Any, NamedTuple

import numpy as np


class Chain(NamedTuple):
    alpha: np.ndarray
    beta: np.ndarray
    alpha_bar: np.ndarray
    beta_bar: np.ndarray


class Normal(NamedTuple):
    mean: np.ndarray
    variance: np.ndarray


class Loss(NamedTuple):
    loss: np.ndarray
    per_example: np.ndarray
    squared_error: np.ndarray
    t: np.ndarray


class Bound(NamedTuple):
    bits_per_dim: np.ndarray
    prior: np.ndarray
    diffusion: np.ndarray
    reconstruction: np.ndarray


def chain(beta_squared: np.ndarray) -> Chain:
    """x_t = alpha_t x_{t-1} + beta_t eps_t, from beta_1^2 .. beta_T^2."""
    squared = np.concatenate([[0.0], beta_squared])
    alpha_bar = np.cumprod(np.sqrt(1 - squared))
    variance = np.zeros_like(squared)
    for t in range(1, squared.size):
        variance[t] = (1 - squared[t]) * variance[t - 1] + squared[t]
    return Chain(np.sqrt(1 - squared), np.sqrt(squared), alpha_bar, np.sqrt(variance))


def kexue(T: int = 1000) -> Chain:
    """The literal default, alpha_t = sqrt(1 - 0.02 t / T)."""
    return chain(0.02 * np.arange(1, T + 1) / T)


def linear(T: int = 1000) -> Chain:
    """The paper's literal linear schedule."""
    return chain(np.linspace(1e-4, 0.02, T))


def cosine(T: int = 1000) -> Chain:
    f = np.cos((np.arange(T + 1) / T + 0.008) / 1.008 * np.pi / 2) ** 2
    return chain(np.minimum(1 - f[1:] / f[:-1], 0.999))


def at(values: np.ndarray, t: Any, like: Any) -> np.ndarray:
    """values[t], with trailing axes to meet ``like``."""
    picked = np.asarray(values)[np.asarray(t)]
    return picked.reshape(picked.shape + (1,) * (np.ndim(like) - picked.ndim))


def q_sample(c: Any, x0: np.ndarray, t: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return at(c.alpha_bar, t, x0) * x0 + at(c.beta_bar, t, x0) * noise


def conditional(
    prior: Normal, slope: np.ndarray, noise_variance: np.ndarray, seen: np.ndarray
) -> Normal:
    """Of z ~ prior given seen = slope z + noise: covariances of the joint normal."""
    total = slope**2 * prior.variance + noise_variance
    gain = slope * prior.variance / total
    return Normal(
        prior.mean + gain * (seen - slope * prior.mean),
        prior.variance * noise_variance / total,
    )


def posterior(c: Any, x0: np.ndarray, x_t: np.ndarray, t: np.ndarray) -> Normal:
    """p(x_{t-1} | x_t, x_0), as x_{t-1} ~ p(. | x_0) seen through one step."""
    before = np.asarray(t) - 1
    prior = Normal(at(c.alpha_bar, before, x0) * x0, at(c.beta_bar, before, x0) ** 2)
    return conditional(prior, at(c.alpha, t, x0), at(c.beta, t, x0) ** 2, x_t)


def ddim_posterior(
    c: Any,
    x0: np.ndarray,
    x_t: np.ndarray,
    t: np.ndarray,
    sigma: Any,
    s: Any = None,
) -> Normal:
    """The family of 9181, with sigma no more than beta_bar_s."""
    s = np.asarray(t) - 1 if s is None else s
    sigma = np.broadcast_to(sigma, np.shape(t))
    std = np.minimum(sigma.reshape(at(c.beta, t, x0).shape), at(c.beta_bar, s, x0))
    slope = np.sqrt(at(c.beta_bar, s, x0) ** 2 - std**2) / at(c.beta_bar, t, x0)
    rest = at(c.alpha_bar, s, x0) - at(c.alpha_bar, t, x0) * slope
    return Normal(slope * x_t + rest * x0, std**2)


def to_eps(
    c: Any, x_t: np.ndarray, t: np.ndarray, out: np.ndarray, param: str
) -> np.ndarray:
    a, b, beta = (at(v, t, x_t) for v in (c.alpha_bar, c.beta_bar, c.beta))
    return {
        "eps": lambda: out,
        "eps1": lambda: b / beta * out,
        "x0": lambda: (x_t - a * out) / b,
        # v = a eps - b x0 beside x_t = a x0 + b eps, solved for eps
        "v": lambda: (b * x_t + a * out) / (a**2 + b**2),
        "score": lambda: -b * out,
    }[param]()


def from_eps(
    c: Any, x_t: np.ndarray, t: np.ndarray, eps: np.ndarray, param: str
) -> np.ndarray:
    a, b, beta = (at(v, t, x_t) for v in (c.alpha_bar, c.beta_bar, c.beta))
    x0 = (x_t - b * eps) / a
    return {
        "eps": lambda: eps,
        "eps1": lambda: beta / b * eps,
        "x0": lambda: x0,
        "v": lambda: a * eps - b * x0,
        "score": lambda: -eps / b,
    }[param]()


def convert(
    c: Any, x_t: np.ndarray, t: np.ndarray, out: np.ndarray, from_: str, to: str
) -> np.ndarray:
    return from_eps(c, x_t, t, to_eps(c, x_t, t, out, from_), to)


def predict_x0(c, x_t, t, out, param="eps") -> np.ndarray:
    return convert(c, x_t, t, out, param, "x0")


def predict_eps(c, x_t, t, out, param) -> np.ndarray:
    return to_eps(c, x_t, t, out, param)


def reverse_sigma(c: Any, t: np.ndarray, kind: str) -> np.ndarray:
    t = np.asarray(t)
    return {
        "beta": c.beta[t],
        "posterior": c.beta_bar[t - 1] * c.beta[t] / c.beta_bar[t],
        "zero": np.zeros(t.shape),
    }[kind]


def loss_weight(
    c: Any,
    t: np.ndarray,
    kind: str,
    sigma: str = "posterior",
    gamma: float = 5.0,
) -> np.ndarray:
    """The card's table of weights."""
    t = np.asarray(t)
    alpha, beta, a, b = (v[t] for v in (c.alpha, c.beta, c.alpha_bar, c.beta_bar))
    snr = (a / b) ** 2
    if kind == "vae":
        with np.errstate(divide="ignore"):
            return beta**4 / (2 * b**2 * alpha**2 * reverse_sigma(c, t, sigma) ** 2)
    return {
        "simple": np.ones(t.shape),
        "regression": beta**4 / (alpha**2 * b**2),
        "x0": b**2 / a**2,
        "score": 1 / b**2,
        "min_snr": np.minimum(snr, gamma) / snr,
    }[kind]


def _reduce(values: np.ndarray, reduction: str) -> np.ndarray:
    flat = values.reshape(values.shape[0], -1)
    return flat.sum(1) if reduction == "sum" else flat.mean(1)


def ddpm_loss_at(
    eps_fn: Any,
    c: Any,
    x0: np.ndarray,
    t: np.ndarray,
    noise: np.ndarray,
    param: str = "eps",
    weight: str = "simple",
    sigma: str = "posterior",
    gamma: float = 5.0,
    reduction: str = "sum",
) -> Loss:
    x_t = q_sample(c, x0, t, noise)
    eps = to_eps(c, x_t, t, np.asarray(eps_fn(x_t, t)), param)
    error = _reduce((noise - eps) ** 2, reduction)
    w = loss_weight(c, t, weight, sigma, gamma)
    if weight == "vae" and sigma == "posterior":
        w = np.where(t == 1, loss_weight(c, t, weight, "beta"), w)
    return Loss(np.mean(w * error), w * error, error, np.asarray(t))


def four_variable_loss_at(
    eps_fn: Any,
    c: Any,
    x0: np.ndarray,
    t: np.ndarray,
    eps_bar: np.ndarray,
    eps: np.ndarray,
    param: str = "eps1",
    reduction: str = "sum",
) -> Loss:
    """One step forward from x_{t-1}, and the noise of that step asked for."""
    earlier = q_sample(c, x0, np.asarray(t) - 1, eps_bar)
    x_t = at(c.alpha, t, x0) * earlier + at(c.beta, t, x0) * eps
    eps1 = convert(c, x_t, t, np.asarray(eps_fn(x_t, t)), param, "eps1")
    error = _reduce((eps - eps1) ** 2, reduction)
    return Loss(error.mean(), error, error, np.asarray(t))


def reduced_variance_loss_at(
    eps_fn: Any,
    c: Any,
    x0: np.ndarray,
    t: np.ndarray,
    noise: np.ndarray,
    param: str = "eps1",
    reduction: str = "sum",
) -> Loss:
    """(beta_t / beta_bar_t)^2 E||eps - eps_hat||^2 and the card's constant."""
    x_t = q_sample(c, x0, t, noise)
    eps = to_eps(c, x_t, t, np.asarray(eps_fn(x_t, t)), param)
    ratio = (at(c.beta, t, x0) / at(c.beta_bar, t, x0)) ** 2
    error = _reduce(ratio * (noise - eps) ** 2, reduction)
    rest = (at(c.alpha, t, x0) * at(c.beta_bar, t - 1, x0)) ** 2
    rest = rest / at(c.beta_bar, t, x0) ** 2
    terms = error + _reduce(np.broadcast_to(rest, x0.shape), reduction)
    return Loss(terms.mean(), terms, error, np.asarray(t))


def normal_kl(p: Normal, q: Normal) -> np.ndarray:
    """KL(p || q), entry by entry, in nats."""
    ratio = p.variance / q.variance
    distance = (p.mean - q.mean) ** 2 / q.variance
    return 0.5 * (ratio - 1 - np.log(ratio) + distance)


def log_interval(middle: np.ndarray, half: np.ndarray) -> np.ndarray:
    """ln of the mass of N(0, 1) within ``half`` of ``middle``, by quadrature.

    Folded to the left side, and cut where the density has fallen by e^-45.
    """
    middle = -np.abs(middle)
    low, high = middle - half, middle + half
    peak = np.minimum(high, 0)  # the largest density
    reach = 90 / (np.abs(peak) + np.sqrt(peak**2 + 90))
    cut = (low < peak - reach) | (high > peak + reach)
    low, high = np.maximum(low, peak - reach), np.minimum(high, peak + reach)
    half = np.where(cut, (high - low) / 2, half)
    nodes, weights = np.polynomial.legendre.leggauss(120)
    x = (low + high)[..., None] / 2 + half[..., None] * nodes
    # relative to the density at the peak: exponent -(x - peak)(x + peak) / 2
    exponent = -(x - peak[..., None]) * (x + peak[..., None]) / 2
    mass = (weights * np.exp(exponent)).sum(-1) * half
    return np.log(mass) - peak**2 / 2 - 0.5 * np.log(2 * np.pi)


def discretized_log_likelihood(
    x: np.ndarray, mean: np.ndarray, sigma: Any, levels: int
) -> np.ndarray:
    sigma = np.asarray(sigma, np.float64)
    sigma = sigma.reshape(sigma.shape + (1,) * (x.ndim - sigma.ndim))
    level = np.rint((x + 1) / 2 * (levels - 1))
    middle = (x - mean) / sigma
    half = np.broadcast_to(1 / (levels - 1) / sigma, x.shape)
    # The outer levels reach out to infinity: 100 standard deviations beyond.
    far = half + np.abs(middle) + 100
    middle = np.where(level <= 0, middle + half - far, middle)
    middle = np.where(level >= levels - 1, middle - half + far, middle)
    outer = (level <= 0) | (level >= levels - 1)
    return log_interval(middle, np.where(outer, far, half))


def elbo_bits_per_dim(
    eps_fn: Any,
    c: Any,
    x0: np.ndarray,
    noises: np.ndarray,
    levels: int = 256,
    sigma: Any = "posterior",
    param: str = "eps",
) -> Bound:
    """The bound with noises[t], from KL divergences of the chain's own normals."""
    T = c.alpha.size - 1
    if isinstance(sigma, str):
        std = np.concatenate([[0.0], reverse_sigma(c, np.arange(1, T + 1), sigma)])
        std[1] = c.beta[1]
    else:
        std = np.asarray(sigma)
    size = x0[0].size

    def model_x0(t: int) -> tuple[np.ndarray, np.ndarray]:
        steps = np.full(x0.shape[0], t)
        x_t = q_sample(c, x0, steps, noises[t])
        out = np.asarray(eps_fn(x_t, steps))
        return x_t, predict_x0(c, x_t, steps, out, param)

    last = Normal(c.alpha_bar[T] * x0, np.float64(c.beta_bar[T] ** 2))
    prior = _reduce(normal_kl(last, Normal(0.0, 1.0)), "sum")
    diffusion = np.zeros(x0.shape[0])
    for t in range(2, T + 1):
        steps = np.full(x0.shape[0], t)
        x_t, x0_hat = model_x0(t)
        model = posterior(c, x0_hat, x_t, steps)._replace(variance=std[t] ** 2)
        true = posterior(c, x0, x_t, steps)
        diffusion += _reduce(normal_kl(true, model), "sum")
    log_prob = discretized_log_likelihood(x0, model_x0(1)[1], std[1], levels)
    parts = [prior, diffusion, -_reduce(log_prob, "sum")]
    parts = [part / (size * np.log(2)) for part in parts]
    return Bound(parts[0] + parts[1] + parts[2], *parts)


def analytic_variance(
    eps_fn: Any,
    c: Any,
    data: np.ndarray,
    noises: np.ndarray,
    param: str = "eps",
    bounds: tuple[float, float] | None = (-1.0, 1.0),
) -> np.ndarray:
    """(beta_bar^2 / alpha_bar^2) (1 - c_t) with noises[t], cut to its range."""
    T = c.alpha.size - 1
    variance = np.zeros(T + 1)
    for t in range(1, T + 1):
        steps = np.full(data.shape[0], t)
        x_t = q_sample(c, data, steps, noises[t])
        eps = to_eps(c, x_t, steps, np.asarray(eps_fn(x_t, steps)), param)
        variance[t] = (c.beta_bar[t] / c.alpha_bar[t]) ** 2 * (1 - np.mean(eps**2))
    top = np.inf if bounds is None else ((bounds[1] - bounds[0]) / 2) ** 2
    return np.clip(variance, 0, top)
