"""All losses and seeds of one method in one program; samples and slopes on the way."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._gan import players
from experiments._gan.players import LOSSES, Plan, Task
from experiments._harness.devices import data_mesh, replicate, shard_batch
from kexue_jax import evaluation, generative
from kexue_jax.optim import clip_weights, ema

AVERAGE = ema(0.995)
POINTS, SAMPLES, PROBES = 8, 1000, 512
RADII = (0.02, 0.2)
# The comparisons of ``apart``, by precision.
PATHS = ("float64", "float64, rounding alone", "float32", "float32, rounding alone")
WORST = 1e3  # what stands for a run that is no longer finite, and bounds all others
State = dict[str, Any]


class Cell(NamedTuple):
    """One game of a method."""

    loss: str
    seed: int


class Outcome(NamedTuple):
    """Of each cell: samples [n, size], energy distances [POINTS] on the way.

    Norms of the normalized critic's gradient [2, n], at real points and between real
    and fake ones; difference quotients [radii, n] between. Of the method: CPU seconds
    a step of all cells, bytes of temporary memory.
    """

    samples: dict[Cell, np.ndarray]
    energy: dict[Cell, np.ndarray]
    norms: dict[Cell, np.ndarray]
    quotients: dict[Cell, np.ndarray]
    seconds: float
    memory: float


def optimizers(plan: Plan) -> tuple[Any, Any]:
    """Of generator and critic."""
    g, d = (optax.adam(rate, b1=0.5, b2=0.9) for rate in plan.rates)
    return g, optax.chain(d, clip_weights(plan.clip)) if plan.method == "clip" else d


def start(plan: Plan, task: Task, seed: jax.Array) -> State:
    """The state of a cell: the same networks for all methods and losses of a seed."""
    key = jax.random.key(seed)
    g_key, d_key, u_key, key = jax.random.split(key, 4)
    g, d = plan.generator(task).init(g_key), plan.critic(task).init(d_key)
    for_g, for_d = optimizers(plan)
    return {
        "g": g,
        "d": d,
        "u": players.spectral_start(plan.method, u_key, d),
        "for_g": for_g.init(g),
        "for_d": for_d.init(d),
        "average": AVERAGE.init(g),
        "key": jax.random.key_data(key),
        "step": jnp.zeros((), jnp.int32),
    }


def like(params: Any, x: jax.Array) -> jax.Array:
    """Examples in the precision of parameters, which that of a layer follows."""
    return x.astype(jax.tree.leaves(params)[0].dtype)


def noise(plan: Plan, key: jax.Array, count: int) -> jax.Array:
    """What generators start from."""
    return jax.random.normal(key, (count, plan.noise), jnp.float32)


def critic_step(
    plan: Plan, task: Task, rows: Any, weights: Any, state: State, key: jax.Array
) -> State:
    """The critic a step further."""
    real_key, noise_key, between = jax.random.split(key, 3)
    real = like(state["d"], task.draw(rows, real_key, plan.batch_size))
    z = like(state["g"], noise(plan, noise_key, plan.batch_size))
    fake = plan.generator(task).apply(state["g"], z)
    judge = plan.judge(task)

    def loss(d: Any) -> tuple[jax.Array, Any]:
        params, u = players.divided(d, state["u"])
        r, f = jnp.split(judge(params, jnp.concatenate([real, fake])), 2)
        each = jnp.stack([generative.gan_losses(n).d_loss(r, f) for n in LOSSES])

        def critic(x: jax.Array) -> jax.Array:
            return judge(params, x)

        paid = players.penalty(plan.method, between, critic, real, fake)
        return jnp.sum(weights * each) + paid, u

    slope, u = jax.grad(loss, has_aux=True)(state["d"])
    updates, for_d = optimizers(plan)[1].update(slope, state["for_d"], state["d"])
    d = optax.apply_updates(state["d"], updates)
    return {**state, "d": d, "u": u, "for_d": for_d}


def generator_step(
    plan: Plan, task: Task, weights: Any, state: State, key: jax.Array
) -> State:
    """The generator a step further, and its average."""
    z = like(state["g"], noise(plan, key, plan.batch_size))
    judge, model = plan.judge(task), plan.generator(task)
    params, _ = players.divided(state["d"], state["u"])

    def loss(g: Any) -> jax.Array:
        f = judge(params, model.apply(g, z))
        each = jnp.stack([generative.gan_losses(n).g_loss(f) for n in LOSSES])
        return jnp.sum(weights * each)

    updates, for_g = optimizers(plan)[0].update(
        jax.grad(loss)(state["g"]), state["for_g"]
    )
    g = optax.apply_updates(state["g"], updates)
    return {
        **state,
        "g": g,
        "for_g": for_g,
        "average": AVERAGE.update(state["average"], g),
        "step": state["step"] + 1,
    }


def advance(
    plan: Plan, task: Task, steps: int, rows: Any, weights: Any, state: State
) -> State:
    """A cell by so many steps of the generator."""

    def turn(state: State, _: Any) -> tuple[State, None]:
        key = jax.random.fold_in(jax.random.wrap_key_data(state["key"]), state["step"])
        *keys, last = jax.random.split(key, plan.critic_steps + 1)

        def inner(state: State, key: jax.Array) -> tuple[State, None]:
            return critic_step(plan, task, rows, weights, state, key), None

        state, _ = jax.lax.scan(inner, state, jnp.stack(keys))
        return generator_step(plan, task, weights, state, last), None

    return jax.lax.scan(turn, state, length=steps)[0]


def looked_at(plan: Plan, task: Task, rows: Any, state: State) -> dict[str, Any]:
    """Samples of the averaged generator, their distance, slopes of the critic."""
    keys = jax.random.split(jax.random.wrap_key_data(state["key"]), 6)
    params = AVERAGE.read(state["average"], state["g"])
    model = plan.generator(task)
    samples = model.apply(params, noise(plan, keys[0], SAMPLES))
    real = task.draw(rows, keys[1], SAMPLES)
    fake = model.apply(state["g"], noise(plan, keys[2], PROBES))
    share = jax.random.uniform(keys[3], (PROBES, 1), jnp.float32)
    between = share * real[:PROBES] + (1 - share) * fake
    judge = plan.judge(task)
    critic_params, _ = players.divided(state["d"], state["u"])

    def critic(x: jax.Array) -> jax.Array:
        return judge(critic_params, x)

    places = real[:PROBES], between
    return {
        "samples": samples,
        "energy": evaluation.energy_distance(real, samples),
        "norms": jnp.stack([generative.input_gradient_norm(critic, x) for x in places]),
        "quotients": jnp.stack(
            [
                generative.empirical_lipschitz(keys[4], critic, between, radius=r)
                for r in RADII
            ]
        ),
    }


def train(plan: Plan, task: Task, cells: Sequence[Cell], num_steps: int) -> Outcome:
    """Every cell's game."""
    mesh = data_mesh(len(cells))
    weights = [[float(cell.loss == name) for name in LOSSES] for cell in cells]
    seeds = np.array([cell.seed for cell in cells], np.uint32)
    state = jax.jit(jax.vmap(lambda seed: start(plan, task, seed)))(seeds)
    state = shard_batch(mesh, state)
    chosen = shard_batch(mesh, np.array(weights, np.float32))
    rows = replicate(mesh, np.asarray(task.rows, np.float32))
    each = max(1, num_steps // POINTS)
    further = jax.vmap(lambda r, w, s: advance(plan, task, each, r, w, s), (None, 0, 0))
    look = jax.jit(jax.vmap(lambda r, s: looked_at(plan, task, r, s), (None, 0)))
    program = jax.jit(further).lower(rows, chosen, state).compile()
    seconds, energy = [], []
    found: Any = {}
    for _ in range(POINTS):
        begun = time.process_time()
        state = jax.block_until_ready(program(rows, chosen, state))
        seconds.append((time.process_time() - begun) / each)
        found = jax.tree.map(np.asarray, look(rows, state))
        energy.append(bounded(found["energy"]))
    return Outcome(
        dict(zip(cells, found["samples"], strict=True)),
        dict(zip(cells, np.stack(energy, 1), strict=True)),
        dict(zip(cells, bounded(found["norms"]), strict=True)),
        dict(zip(cells, bounded(found["quotients"]), strict=True)),
        float(np.median(seconds)),
        float(getattr(program.memory_analysis(), "temp_size_in_bytes", 0)),
    )


def bounded(values: np.ndarray) -> np.ndarray:
    """Values up to WORST, which also stands for what is not finite."""
    return np.minimum(np.where(np.isfinite(values), values, WORST), WORST)


def apart(
    plan: Plan, task: Task, cells: Sequence[Cell], steps: int
) -> dict[str, np.ndarray]:
    """The largest difference of a parameter between games that ought to be one.

    [cells, steps] each, of cells of one loss, with GN, in double and in single
    precision: both generator steps; and the exact step twice, once from parameters
    larger by a rounding, for what rounding does by itself.
    """
    with jax.enable_x64(True):
        double = _gaps(plan, task, cells, steps, jnp.float64)
    single = _gaps(plan, task, cells, steps, jnp.float32)
    return dict(zip(PATHS, (*double, *single), strict=True))


def _gaps(
    plan: Plan, task: Task, cells: Sequence[Cell], steps: int, dtype: Any
) -> np.ndarray:
    """[2, cells, steps]: between both steps, and between a game and its neighbor."""
    weights = jnp.asarray([float(cells[0].loss == n) for n in LOSSES], jnp.float32)
    rows = jnp.asarray(task.rows, jnp.float32)
    unit = float(jnp.finfo(dtype).eps)

    def first(seed: jax.Array, scale: float) -> State:
        def cast(leaf: jax.Array) -> jax.Array:
            real = jnp.issubdtype(leaf.dtype, jnp.floating)
            return leaf.astype(dtype) * scale if real else leaf

        return jax.tree.map(cast, start(plan, task, seed))

    def further(plan: Plan, state: State) -> State:
        return advance(plan, task, 1, rows, weights, state)

    @jax.jit
    @jax.vmap
    def run(seed: jax.Array) -> jax.Array:
        def turn(states: Any, _: Any) -> Any:
            linear, exact = states
            linear = further(plan, linear)
            exact = jax.vmap(lambda s: further(plan._replace(pieces=False), s))(exact)

            def largest(a: jax.Array, pair: jax.Array) -> jax.Array:
                gaps = a - pair[0], pair[0] - pair[1]
                return jnp.stack([jnp.max(jnp.abs(gap)) for gap in gaps])

            players = ([s["g"], s["d"]] for s in (linear, exact))
            gaps = jax.tree.map(largest, *players)
            return (linear, exact), jnp.max(jnp.stack(jax.tree.leaves(gaps)), 0)

        starts = first(seed, 1.0), first(seed, 1 + unit)
        pair = jax.tree.map(lambda a, b: jnp.stack([a, b]), *starts)
        return jax.lax.scan(turn, (starts[0], pair), length=steps)[1]

    seeds = np.array([cell.seed for cell in cells], np.uint32)
    return np.moveaxis(np.asarray(run(seeds), np.float64), -1, 0)
