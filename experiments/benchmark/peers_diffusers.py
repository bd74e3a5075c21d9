"""The schedulers and the U-Net of diffusers (PyTorch) as peers."""

from typing import Any

import numpy as np

from experiments._harness.devices import usable_cores
from experiments._harness.extras import need
from experiments.benchmark.case import Form


def to_torch(array: Any) -> Any:
    """Channels first, as PyTorch keeps images."""
    torch = need("torch", "bench")

    values = np.array(array)
    return torch.from_numpy(
        np.moveaxis(values, -1, 1).copy() if values.ndim == 4 else values
    )


def to_numpy(tensor: Any) -> np.ndarray:
    """Channels last again."""
    return np.moveaxis(tensor.numpy(), 1, -1)


def all_threads() -> None:
    """Let PyTorch use every core."""
    torch = need("torch", "bench")

    torch.set_num_threads(usable_cores())


def scheduler(kind: str, schedule: Any, **options: Any) -> Any:
    """A scheduler of diffusers with the rates of our schedule; its t is ours less 1."""
    diffusers = need("diffusers", "bench")

    betas = np.asarray(schedule.beta, np.float64)[1:] ** 2
    return getattr(diffusers, kind)(
        num_train_timesteps=len(betas),
        trained_betas=betas,
        clip_sample=False,
        **options,
    )


def add_noise(schedule: Any, x0: Any, t: Any, noise: Any) -> Form:
    """``DDPMScheduler.add_noise``."""
    all_threads()
    rates = scheduler("DDPMScheduler", schedule)
    data, steps, eps = to_torch(x0), to_torch(t).long() - 1, to_torch(noise)
    return Form(
        lambda: rates.add_noise(data, eps, steps),
        to_numpy(rates.add_noise(data, eps, steps)),
    )


def gaussian_eps(rates: Any) -> Any:
    """The exact eps of data from N(0, I)."""
    beta_bar = (1 - rates.alphas_cumprod) ** 0.5
    return lambda x, t: beta_bar[t] * x


def ddim(schedule: Any, x: Any, *_: Any) -> Form:
    """Fifty steps of ``DDIMScheduler``."""
    all_threads()
    rates = scheduler("DDIMScheduler", schedule, timestep_spacing="trailing")
    return chain(rates, 50, gaussian_eps(rates), to_torch(x), to_numpy)


def ancestral(schedule: Any, x: Any, *_: Any) -> Form:
    """A thousand updates of ``DDPMScheduler`` with sigma_t = beta_t."""
    all_threads()
    rates = scheduler("DDPMScheduler", schedule, variance_type="fixed_large")
    steps = len(rates.betas)
    return chain(rates, steps, gaussian_eps(rates), to_torch(x), lambda x: x.std())


def chain(rates: Any, steps: int, eps_fn: Any, x: Any, value: Any) -> Form:
    """The sampling loop that diffusers' documentation shows."""
    torch = need("torch", "bench")

    rates.set_timesteps(steps)

    def run() -> Any:
        with torch.inference_mode():
            y = x
            for t in rates.timesteps:
                y = rates.step(eps_fn(y, t), t, y).prev_sample
            return y

    return Form(run, np.asarray(value(run())))
