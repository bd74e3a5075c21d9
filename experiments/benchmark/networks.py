"""Networks that the U-Net cases share: sizes, our forms, and the train step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._harness.devices import data_mesh, jit_step, replicate, shard_batch
from experiments.benchmark.case import Form
from experiments.benchmark.cost import contraction_flops
from experiments.benchmark.forms import jitted, stepping
from kexue_jax import diffusion, models

T, DDIM_STEPS, LEARNING_RATE = 1000, 10, 1e-4


class Size(NamedTuple):
    """Images and widths of a network; ``groups`` of its norms."""

    batch: int
    side: int
    channels: int
    width: int
    multipliers: tuple[int, ...]
    blocks: int
    groups: int = 32

    def __str__(self) -> str:
        return (
            f"{self.side}x{self.side}x{self.channels}, batch {self.batch}, width "
            f"{self.width}, multipliers {self.multipliers}, blocks {self.blocks}"
        )

    def inputs(self, seed: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Noised images, their steps, the noise to find."""
        draw = np.random.default_rng(seed)
        shape = (self.batch, self.side, self.side, self.channels)
        x, noise = (
            jnp.asarray(draw.standard_normal(shape), jnp.float32) for _ in range(2)
        )
        return x, jnp.asarray(draw.integers(1, T + 1, self.batch), jnp.int32), noise

    def model(self) -> models.Model:
        """Our U-Net, layer by layer that of diffusers' UNet2DModel without attention.

        Which channels a group norm puts together differs, which costs nothing.
        """
        return models.unet_paper(
            channels=self.channels,
            width=self.width,
            multipliers=self.multipliers,
            blocks=self.blocks,
            middle_blocks=2,
            downsample="conv",
            upsample="conv",
            bias=True,
            groups=self.groups,
            zero_init=False,
        )


def train(size: Size, *, spread: bool) -> Any:
    """``build(x, t, noise)``: forward, backward, Adam, with the state donated.

    ``spread`` divides the batch over all devices; else one device does all. The value
    is the loss and the gradient of the first step (Adam's first moment is a tenth).
    """

    def build(x: jax.Array, t: jax.Array, noise: jax.Array) -> Form:
        model, optimizer = size.model(), optax.adam(LEARNING_RATE)

        def step(state: Any, x: Any, t: Any, noise: Any) -> tuple[Any, jax.Array]:
            def loss(params: Any) -> jax.Array:
                return jnp.square(model.apply(params, x, t) - noise).mean()

            value, gradient = jax.value_and_grad(loss)(state["params"])
            updates, moments = optimizer.update(gradient, state["optimizer"])
            params = optax.apply_updates(state["params"], updates)
            return {"params": params, "optimizer": moments}, value

        params = jax.jit(model.init)(jax.random.key(0))
        state = {"params": params, "optimizer": optimizer.init(params)}
        mesh = data_mesh(size.batch, devices=None if spread else 1)
        state, batch = replicate(mesh, state), shard_batch(mesh, (x, t, noise))
        form = stepping(jit_step(step, state), state, *batch, gate=_loss_and_gradient)
        return form._replace(work=_work(model, params, x, t))

    return build


def _loss_and_gradient(state: Any, loss: Any) -> Any:
    """The gradient is one vector: some of its parts, such as that of a bias before a
    norm of one channel, are zero but for rounding, and have no scale of their own."""
    moments = jax.tree.leaves(state["optimizer"][0].mu)
    return loss, jnp.concatenate([10 * jnp.ravel(m) for m in moments])


def sample(size: Size, *, spread: bool) -> Any:
    """``build(x, ...)``: ten steps of DDIM from x, the whole loop in one program."""

    def build(x: jax.Array, t: jax.Array, noise: jax.Array) -> Form:
        model, schedule = size.model(), diffusion.kexue_schedule(T=T)
        taus = diffusion.ddim_taus(T=T, S=DDIM_STEPS)
        params = jax.jit(model.init)(jax.random.key(0))

        def draw(params: Any, x: Any) -> jax.Array:
            eps_fn = lambda x, t: model.apply(params, x, t)  # noqa: E731
            return diffusion.ddim_sample(None, eps_fn, schedule, x, taus).x

        mesh = data_mesh(size.batch, devices=None if spread else 1)
        form = jitted(draw, replicate(mesh, params), shard_batch(mesh, x))
        return form._replace(work=_work(model, params, x, t))

    return build


def _work(model: models.Model, params: Any, x: Any, t: Any) -> dict[str, float]:
    """Parameters, and the flops of one forward pass by the definition of the layers."""
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "flops": contraction_flops(model.apply, params, x, t),
    }
