"""The bound of a chain estimated from few of its steps, in float64 NumPy."""

from typing import Any

import numpy as np

from tests.oracles import diffusion
from tests.oracles.diffusion import Bound


def elbo_from_few_steps(
    eps_fn: Any,
    c: Any,
    x0: np.ndarray,
    u: np.ndarray,
    noises: Any,
    levels: int,
    sigma: str,
    param: str,
) -> Bound:
    """Example b's i-th step is the first whose weights, summed from t = 2 on and over
    all of them, exceed (i + u_ib) / num_t; it stands for 1 / num_t of the whole sum.

    ``u`` [num_t, B] in [0, 1). noises[1] is the decoder's, noises[2 + i] of step i.
    """
    T, size = c.alpha.size - 1, x0[0].size
    t = np.arange(2, T + 1)
    std = diffusion.reverse_sigma(c, t, sigma)
    weight = c.beta[t] ** 4 / (2 * std**2 * c.alpha[t] ** 2 * c.beta_bar[t] ** 2)
    ratio = (diffusion.reverse_sigma(c, t, "posterior") / std) ** 2
    nats = np.full(x0.shape[0], size * ((ratio - 1 - np.log(ratio)) / 2).sum())
    for i, row in enumerate(u):
        share = (i + row[:, None]) / len(u)
        reached = np.cumsum(weight)[None, :] / weight.sum() > share
        steps = t[np.argmax(reached, axis=1)].astype(np.int32)
        at = (eps_fn, c, x0, steps, noises[2 + i], param)
        nats += weight.sum() / len(u) * diffusion.ddpm_loss_at(*at).squared_error
    ends = diffusion.elbo_bits_per_dim(
        eps_fn, c, x0, [noises[1]] * (T + 1), levels, sigma, param
    )
    middle = nats / (size * np.log(2))
    whole = ends.prior + middle + ends.reconstruction
    return Bound(whole, ends.prior, middle, ends.reconstruction)
