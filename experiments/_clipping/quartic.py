"""theta^4: how many steps each rule takes, and which bounds hold."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax import optim

START, END = 10.0, 1e-3
PAIRS = ((16.0, 1.0), (4.0, 2.0), (64.0, 0.5))
DRAWS = 200_000
OVERSHOOT = 0.005  # 2 / (4 START^2): from here on descent comes no nearer
RUNAWAY = 0.02  # a rate at which descent from 10 diverges


class Rule(NamedTuple):
    """A step size for a gradient of norm n, and the card's count of steps."""

    name: str
    wanted: int


RULES = (
    Rule("descent, 1 / (12 theta^2)", 37_789),
    Rule("descent, 1.9 times that", 19_883),
    Rule("inverse, (16, 1)", 509),
    Rule("log, (16, 1)", 514),
    Rule("hard clip, 1/16 and 16", 507),
    Rule("inverse, (4, 2)", 142),
)


def _steps() -> list:
    constant = 1 / (12 * START**2)
    return [
        lambda n: constant + 0 * n,
        lambda n: 1.9 * constant + 0 * n,
        lambda n: optim.relaxed_step_size(n, l0=16.0, l1=1.0),
        lambda n: optim.relaxed_step_size(n, l0=16.0, l1=1.0, rule="log"),
        lambda n: jnp.minimum(1, 16 / n) / 16,
        lambda n: optim.relaxed_step_size(n, l0=4.0, l1=2.0),
    ]


def counts() -> dict[str, int]:
    """Steps of each rule from theta = 10 to a gradient below 1e-3."""
    branches = _steps()

    def run(rule: jax.Array) -> jax.Array:
        def more(carry: tuple[jax.Array, jax.Array]) -> jax.Array:
            return jnp.abs(4 * carry[0] ** 3) >= END

        def move(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            theta, count = carry
            g = 4 * theta**3
            return theta - jax.lax.switch(rule, branches, jnp.abs(g)) * g, count + 1

        start = jnp.asarray(START), jnp.zeros((), jnp.int32)
        return jax.lax.while_loop(more, move, start)[1]

    program = jax.jit(run)
    return {rule.name: int(program(place)) for place, rule in enumerate(RULES)}


def descended(rate: float, steps: int = 5) -> float:
    """|theta| after a few steps of plain descent."""
    theta = START
    for _ in range(steps):
        theta -= rate * 4 * theta**3
    return abs(theta)


def violations(l0: float, l1: float) -> dict[str, float]:
    """Shares of random (theta, step) at which a bound on the value fails."""
    rng = np.random.default_rng(0)
    theta, step = 5 * rng.normal(size=DRAWS), 3 * rng.normal(size=DRAWS)
    norm, distance = jnp.asarray(np.abs(4 * theta**3)), jnp.asarray(np.abs(step))
    gap = (theta + step) ** 4 - theta**4 - 4 * theta**3 * step
    quadratic = np.asarray((l0 + l1 * norm) * distance**2 / 2, np.float64)
    exact = np.asarray(optim.value_bound(norm, distance, l0=l0, l1=l1), np.float64)
    room = 1 + 1e-4  # float32
    return {
        "quadratic": float((gap > quadratic * room + 1e-9).mean()),
        "exponential": float((gap > exact * room + 1e-9).mean()),
    }
