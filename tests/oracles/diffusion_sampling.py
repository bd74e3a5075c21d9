"""Samplers of diffusion models as plain float64 NumPy loops, and their exact moments.

Written from the method card: ancestral sampling, DDIM on a sub-sequence, encoding, the
flow ODE in its two forms, the reverse SDE, and the linear recursion of mean and
variance on Gaussian data. A schedule is any object with the arrays alpha, beta,
alpha_bar, beta_bar of shape [T + 1]; ``noises[t]`` is the noise of the step leaving t.
"""

from types import SimpleNamespace

import numpy as np


def schedule_of(beta_squared):
    """The four arrays from beta_1^2 .. beta_T^2, without cancellation."""
    log_alpha = np.concatenate([[0.0], 0.5 * np.log1p(-np.asarray(beta_squared))])
    log_alpha_bar = np.cumsum(log_alpha)
    return SimpleNamespace(
        alpha=np.exp(log_alpha),
        beta=np.sqrt(-np.expm1(2 * log_alpha)),
        alpha_bar=np.exp(log_alpha_bar),
        beta_bar=np.sqrt(-np.expm1(2 * log_alpha_bar)),
    )


def kexue(T=1000):
    """The blog's schedule, alpha_t = sqrt(1 - 0.02 t / T) at T = 1000."""
    return schedule_of(20 / T * np.arange(1, T + 1) / T)


def clipped(x, eps, alpha_bar, beta_bar):
    """The eps that belongs to the estimate of x_0 cut to [-1, 1]."""
    x0 = np.clip((x - beta_bar * eps) / alpha_bar, -1, 1)
    return (x - alpha_bar * x0) / beta_bar


def ancestral(
    eps_fn,
    schedule,
    x,
    noises,
    *,
    sigma,
    start=None,
    variance=None,
    clip_x0=False,
    last_noise=False,
):
    """Algorithm 2 of the card, for t = start..1; all states, the last one x_0."""
    states = []
    for t in range(start or schedule.alpha.size - 1, 0, -1):
        alpha, beta = schedule.alpha[t], schedule.beta[t]
        bar, before = schedule.beta_bar[t], schedule.beta_bar[t - 1]
        eps = eps_fn(x, t)
        if clip_x0:
            eps = clipped(x, eps, schedule.alpha_bar[t], bar)
        gamma = schedule.alpha_bar[t - 1] * beta**2 / bar**2
        posterior = before * beta / bar
        std = {"beta": beta, "posterior": posterior, "zero": 0.0}.get(sigma)
        if sigma == "analytic":
            std = np.sqrt(posterior**2 + gamma**2 * variance[t])
        x = (x - beta**2 / bar * eps) / alpha
        if t > 1 or last_noise:
            x = x + std * noises[t]
        states.append(x)
    return states


def ddim(
    eps_fn,
    schedule,
    x,
    taus,
    noises,
    *,
    eta,
    sigma_hat=False,
    variance=None,
    clip_x0=False,
    last_noise=False,
):
    """Algorithms 3, 4 and 8 of the card; all states, the last one x_0."""
    levels = [0, *taus]
    states = []
    for t, s in zip(levels[:0:-1], levels[-2::-1], strict=True):
        a = schedule.alpha_bar[t] / schedule.alpha_bar[s]
        bar, before = schedule.beta_bar[t], schedule.beta_bar[s]
        # 1 - a^2, in the form that loses no digits.
        b = np.sqrt(bar**2 - a**2 * before**2)
        sigma = min((1.0 if sigma_hat else eta) * before / bar * b, before)
        root = np.sqrt(before**2 - sigma**2)
        eps = eps_fn(x, t)
        if clip_x0:
            eps = clipped(x, eps, schedule.alpha_bar[t], bar)
        x = (x - (bar - a * root) * eps) / a
        std = b if sigma_hat else sigma
        if variance is not None:
            gamma = schedule.alpha_bar[s] - schedule.alpha_bar[t] * root / bar
            std = np.sqrt(sigma**2 + gamma**2 * variance[t])
        if std > 0 and (s > 0 or last_noise):
            x = x + std * noises[t]
        states.append(x)
    return states


def encode(eps_fn, schedule, x, taus):
    """Algorithm 5 of the card; the first step asks eps_fn at t = 1."""
    for s, t in zip([0, *taus[:-1]], taus, strict=True):
        eps = eps_fn(x, max(s, 1))
        x0 = (x - schedule.beta_bar[s] * eps) / schedule.alpha_bar[s]
        x = schedule.alpha_bar[t] * x0 + schedule.beta_bar[t] * eps
    return x


def flow_drift(eps_fn, x, s, T):
    """dx/ds = 10 s (eps / sqrt(1 - e^(-10 s^2)) - x), by its limit at s = 0."""
    eps = eps_fn(x, s * T)
    if s == 0:
        return np.sqrt(10) * eps
    return 10 * s * (eps / np.sqrt(-np.expm1(-10 * s**2)) - x)


def squared_drift(eps_fn, x, u, T):
    """dx/du = 5 (eps / sqrt(1 - e^(-10 u)) - x), u = s^2, taken at u >= 1 / T^2."""
    u = max(u, 1 / T**2)
    return 5 * (eps_fn(x, np.sqrt(u) * T) / np.sqrt(-np.expm1(-10 * u)) - x)


def flow(eps_fn, x, *, T, n, method, time="s", encode=False):
    """The flow ODE in n equal steps of s or of s^2, from 1 to 0 (or 0 to 1)."""
    form = {"s": flow_drift, "s^2": squared_drift}[time]

    def drift(x, r):
        return form(eps_fn, x, r, T)

    for i in range(n):
        r, end = (i / n, (i + 1) / n) if encode else (1 - i / n, 1 - (i + 1) / n)
        h = end - r
        if method == "exponential":
            s, s_end = (r, end) if time == "s" else (np.sqrt(r), np.sqrt(end))
            here, there = np.exp(-5 * s**2), np.exp(-5 * s_end**2)
            eps = eps_fn(x, s * T)
            x0 = (x - np.sqrt(-np.expm1(-10 * s**2)) * eps) / here
            x = there * x0 + np.sqrt(-np.expm1(-10 * s_end**2)) * eps
            continue
        k1 = drift(x, r)
        if method == "euler":
            x = x + h * k1
        elif method == "heun":
            x = x + h / 2 * (k1 + drift(x + h * k1, end))
        else:
            k2 = drift(x + h / 2 * k1, r + h / 2)
            k3 = drift(x + h / 2 * k2, r + h / 2)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + drift(x + h * k3, end))
    return x


def reverse_sde(eps_fn, x, noises, *, T, n, noise_scale, last_noise):
    """Euler-Maruyama for dx = (f x - (g^2 + sigma^2) / 2 score) ds + sigma dw."""
    for i in range(n, 0, -1):
        s = i / n
        f, g_squared = -10 * s, 20 * s
        sigma_squared = noise_scale**2 * g_squared
        score = -eps_fn(x, s * T) / np.sqrt(-np.expm1(-10 * s**2))
        drift = f * x - 0.5 * (g_squared + sigma_squared) * score
        x = x - drift / n
        if i > 1 or last_noise:
            x = x + np.sqrt(sigma_squared / n) * noises[i]
    return x


def gaussian_eps(x, alpha_bar, beta_bar, mean, variance):
    """E[eps | x_t = x] for x_0 ~ N(mean, variance)."""
    total = alpha_bar**2 * variance + beta_bar**2
    return beta_bar * (x - alpha_bar * mean) / total


def mixture_eps(x, alpha_bar, beta_bar, means, variances, weights):
    """E[eps | x_t = x] of a mixture, x [d], from the densities themselves."""
    score, density = 0.0, 0.0
    for mean, variance, weight in zip(means, variances, weights, strict=True):
        v = alpha_bar**2 * variance + beta_bar**2
        distance = x - alpha_bar * mean
        part = weight * v ** (-distance.size / 2)
        part = part * np.exp(-(distance**2).sum() / (2 * v))
        density = density + part
        score = score - part * distance / v
    return -beta_bar * score / density


def moments(
    schedule,
    taus,
    *,
    mean,
    variance,
    sigma,
    eta=0.0,
    last_noise=False,
    start="noise",
):
    """Mean and variance of a sampler's output on N(mean, variance), by recursion."""
    top = taus[-1]
    m, v = 0.0, 1.0
    if start == "marginal":
        m = schedule.alpha_bar[top] * mean
        v = schedule.alpha_bar[top] ** 2 * variance + schedule.beta_bar[top] ** 2
    levels = [0, *taus]
    for t, s in zip(levels[:0:-1], levels[-2::-1], strict=True):
        bar, before = schedule.beta_bar[t], schedule.beta_bar[s]
        alpha_bar = schedule.alpha_bar[t]
        a = alpha_bar / schedule.alpha_bar[s]
        b = np.sqrt(bar**2 - a**2 * before**2)
        rule = eta if sigma in ("eta", "analytic") else 1.0
        std = rule * before / bar * b
        root = np.sqrt(before**2 - std**2)
        total = alpha_bar**2 * variance + bar**2
        # x -> (x - c eps) / a with eps = bar (x - alpha_bar mean) / total.
        c = bar - a * root
        m = (m - c * bar * (m - alpha_bar * mean) / total) / a
        v = ((1 - c * bar / total) / a) ** 2 * v
        noise = {"beta": b**2, "zero": 0.0}.get(sigma, std**2)
        if sigma == "analytic":
            gamma = schedule.alpha_bar[s] - alpha_bar * root / bar
            noise += gamma**2 * bar**2 * variance / total
        if s > 0 or last_noise:
            v += noise
    return m, v
