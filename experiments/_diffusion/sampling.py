"""Samples of a trained model, spread over the devices, each method compiled once."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._diffusion.settings import DiffusionConfig, eps_function
from experiments._diffusion.training import Trained
from experiments._harness.devices import data_mesh, replicate, shard_batch
from kexue_jax import diffusion


class Method(NamedTuple):
    """How to sample. ``steps`` = 0: the ancestral chain over all T steps."""

    name: str
    steps: int = 0
    eta: float = 0.0
    sigma: str = "beta"
    sigma_hat: bool = False


class Sampler:
    """Draws from a trained model; keeps one compiled program a method and shape."""

    def __init__(self, config: DiffusionConfig, trained: Trained, null: int) -> None:
        self.config, self.null = config, null
        self.model, self.schedule, self.params = trained
        self._compiled: dict[Any, Any] = {}

    def eps(self, params: Any, labels: jax.Array | None, w: Any) -> Any:
        """The function of (x, t) that a sampler takes, guided where w is given."""
        eps = eps_function(self.config, self.model, self.schedule, params)
        if not self.config.conditional:
            return eps
        if labels is None:
            raise ValueError("Sampler.eps: a conditional model needs `labels`.")
        if w is None:
            return lambda x, t: eps(x, t, labels)
        return diffusion.guided_eps_fn(eps, labels, w, null_label=self.null)

    def __call__(
        self,
        key: jax.Array,
        x_T: Any,
        method: Method,
        *,
        labels: Any = None,
        guidance: float | None = None,
        frames: int = 0,
        frames_of: str = "x",
    ) -> diffusion.Sample:
        """Samples from the noise x_T [n, h, w, c], clipped to [-1, 1]."""
        if self.config.conditional and labels is None:
            labels = np.full(len(x_T), self.null, np.int32)
        guided = guidance or None
        static = (method._replace(name="", eta=0.0), frames, frames_of, guided is None)
        draw = self._compiled.setdefault(
            static, jax.jit(functools.partial(self._draw, static))
        )
        mesh = data_mesh(len(x_T))
        batch = shard_batch(mesh, {"x": jnp.asarray(x_T), "labels": labels})
        everywhere = replicate(mesh, {"params": self.params, "key": key})
        return draw(everywhere, batch, method.eta, guided)

    def _draw(
        self, static: Any, everywhere: Any, batch: Any, eta: Any, w: Any
    ) -> diffusion.Sample:
        method, frames, frames_of, _ = static
        eps = self.eps(everywhere["params"], batch["labels"], w)
        common: Any = {"frames": frames, "frames_of": frames_of}
        key, x_T = everywhere["key"], batch["x"]
        if not method.steps:
            return diffusion.ddpm_sample(
                key,
                eps,
                self.schedule,
                x_T,
                sigma=method.sigma,
                clip_final=True,
                **common,
            )
        taus = diffusion.ddim_taus(T=self.schedule.T, S=method.steps, kind="trailing")
        sample = diffusion.ddim_sample(
            key,
            eps,
            self.schedule,
            x_T,
            taus,
            eta=eta,
            sigma_hat=method.sigma_hat,
            **common,
        )
        return sample._replace(x=jnp.clip(sample.x, -1, 1))

    def encode(self, x0: Any, steps: int) -> jax.Array:
        """The DDIM latents of images x0."""
        taus = diffusion.ddim_taus(T=self.schedule.T, S=steps, kind="trailing")
        eps = self.eps(self.params, self.no_labels(len(x0)), None)
        return jax.jit(lambda x: diffusion.ddim_encode(eps, self.schedule, x, taus))(
            jnp.asarray(x0)
        )

    def elbo(self, key: jax.Array, images: Any, levels: int, num_t: int) -> Any:
        """The likelihood bound of images; ``num_t`` steps of the T are drawn."""
        eps = self.eps(self.params, self.no_labels(len(images)), None)
        mesh = data_mesh(len(images))
        count = min(num_t, self.schedule.T - 1)
        bound = lambda x: diffusion.elbo_bits_per_dim(  # noqa: E731
            key, eps, self.schedule, x, levels=levels, sigma="posterior", num_t=count
        )
        return jax.jit(bound)(shard_batch(mesh, jnp.asarray(images)))

    def no_labels(self, count: int) -> jax.Array:
        return jnp.full((count,), self.null, jnp.int32)


def noise(seed: int, count: int, shape: tuple[int, ...]) -> jax.Array:
    """The start of ``count`` chains."""
    return jax.random.normal(jax.random.key(seed), (count, *shape), jnp.float32)
