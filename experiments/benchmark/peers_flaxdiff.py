"""The U-Net of flaxdiff (JAX, flax.linen) as a peer, as its own trainer runs it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments._harness.extras import need
from experiments.benchmark.case import Form
from experiments.benchmark.cost import contraction_flops
from experiments.benchmark.forms import stepping
from experiments.benchmark.networks import DDIM_STEPS, LEARNING_RATE, Size, T
from kexue_jax import diffusion


def network(size: Size) -> tuple[Callable[[jax.Array], Any], Callable[..., jax.Array]]:
    """``init(key)`` and ``apply(params, x, t)`` of its U-Net without attention."""
    unet = need("flaxdiff.models.simple_unet", "bench")

    stages = len(size.multipliers)
    module = unet.Unet(
        output_channels=size.channels,
        emb_features=4 * size.width,
        feature_depths=[size.width * m for m in size.multipliers],
        attention_configs=[None] * stages,
        num_res_blocks=size.blocks,
        norm_groups=min(8, size.groups),
    )
    shape = (size.batch, size.side, size.side, size.channels)
    text = jnp.zeros((size.batch, 1, 1), jnp.float32)

    def init(key: jax.Array) -> Any:
        x, t = jnp.zeros(shape, jnp.float32), jnp.ones(size.batch, jnp.float32)
        return module.init(key, x, t, text)

    def apply(params: Any, x: jax.Array, t: jax.Array) -> jax.Array:
        return module.apply(params, x, t.astype(jnp.float32), text[: len(x)])

    return init, apply


def flaxdiff_train(size: Size) -> Callable[..., Form]:
    """``build(x, t, noise)``: forward, backward and Adam on one device."""

    def build(x: jax.Array, t: jax.Array, noise: jax.Array) -> Form:
        (init, apply), optimizer = network(size), optax.adam(LEARNING_RATE)

        def step(state: Any, x: Any, t: Any, noise: Any) -> tuple[Any, jax.Array]:
            def loss(params: Any) -> jax.Array:
                return jnp.square(apply(params, x, t) - noise).mean()

            value, gradient = jax.value_and_grad(loss)(state["params"])
            updates, moments = optimizer.update(gradient, state["optimizer"])
            params = optax.apply_updates(state["params"], updates)
            return {"params": params, "optimizer": moments}, value

        params = jax.jit(init)(jax.random.key(0))
        state = {"params": params, "optimizer": optimizer.init(params)}
        form = stepping(step, state, x, t, noise)
        return form._replace(value=None, work=_work(apply, params, x, t))

    return build


def flaxdiff_sample(size: Size) -> Callable[..., Form]:
    """``build(x, t, noise)``: a Python loop of DDIM steps, each one compiled."""

    def build(x: jax.Array, t: jax.Array, noise: jax.Array) -> Form:
        init, apply = network(size)
        params = jax.jit(init)(jax.random.key(0))
        schedule = diffusion.kexue_schedule(T=T)
        taus = [0, *map(int, diffusion.ddim_taus(T=T, S=DDIM_STEPS))]

        def step(params: Any, x: Any, now: Any, then: Any) -> jax.Array:
            eps = apply(params, x, jnp.full(x.shape[:1], now))
            now, then = (jnp.full(x.shape[:1], value) for value in (now, then))
            return diffusion.ddim_step(schedule, x, eps, now, then, 0.0, None)

        compiled = jax.jit(step)

        def run() -> None:
            y = x
            for i in range(DDIM_STEPS, 0, -1):
                y = compiled(params, y, taus[i], taus[i - 1])
            y.block_until_ready()

        run()
        return Form(run, work=_work(apply, params, x, t))

    return build


def _work(apply: Any, params: Any, x: Any, t: Any) -> dict[str, float]:
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "flops": contraction_flops(apply, params, x, t),
    }
