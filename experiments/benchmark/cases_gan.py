"""The generator's step through a gradient-normalized critic, beside the plain one."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from experiments.benchmark.case import Case, Form, Peer
from experiments.benchmark.forms import jitted
from kexue_jax.generative import normalized_critic
from kexue_jax.models import gan_critic, gan_generator

SIDES, WIDTH, BATCH, NOISE = (16, 16), 32, 64, 64
CRITIC = gan_critic(sides=SIDES, width=WIDTH)
GENERATOR = gan_generator(sides=SIDES, noise=NOISE, width=WIDTH)


def players(seed: int) -> tuple[Any, Any, jax.Array]:
    """Parameters of generator and critic, and noise."""
    keys = jax.random.split(jax.random.key(seed))
    draw = np.random.default_rng(seed)
    z = draw.standard_normal((BATCH, NOISE)).astype(np.float32)
    return GENERATOR.init(keys[0]), CRITIC.init(keys[1]), jax.numpy.asarray(z)


def step(critic: Callable[..., Any]) -> Callable[..., Any]:
    """The gradient of the generator's loss by its parameters."""

    def run(generator: Any, params: Any, z: jax.Array) -> Any:
        def loss(generator: Any) -> jax.Array:
            return -critic(params, GENERATOR.apply(generator, z)).mean()

        return jax.grad(loss)(generator)

    return run


def plain(*inputs: Any) -> Form:
    """Through the critic as it is: other numbers, so that none are compared."""
    form = jitted(step(CRITIC.apply), *inputs)
    return form._replace(value=None)


CASES = (
    Case(
        "generative.gn_generator_step",
        players,
        step(normalized_critic(CRITIC.apply, piecewise_linear=True)),
        step(normalized_critic(CRITIC.apply)),
        (Peer("jax", plain, label="plain generator step"),),
        tolerance=1e-4,
        goal=1.1,
        about=f"generator's gradient through a GN critic, 16x16, batch {BATCH}, width "
        f"{WIDTH}, first-order form; twin: by autodiff",
    ),
)
