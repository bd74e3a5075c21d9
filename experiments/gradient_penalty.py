"""Gradients by the input and by the parameters (kexue.fm/archives/8796, 7787).

Both sides of the inequality, under three norms, for every example of real digits and
for networks of several activations and depths, at random and trained. Then networks
are trained to exactly one loss (the last step is cut short where it is reached) by
descent at several rates and by minibatches of several sizes: is the gradient by the
input smaller after larger rates and smaller batches, as implicit regularization has
it, and does the inequality hold for the mean loss? Last, the distance of descent from
two flows by the rate. About twelve minutes on one CPU core.

    python -m experiments.gradient_penalty
    python -m experiments.gradient_penalty --act=gelu --depth=3,6
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._harness import lists
from experiments._harness.config import BaseConfig, UserError, launch, setting
from experiments._harness.data import DATASETS, load_images
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import open_run
from experiments._penalty import claims, flow, networks, pictures
from experiments._penalty.networks import Rows
from experiments._penalty.training import Trained, Way, train


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    dataset: str = setting("digits", "labelled images", choices=DATASETS)
    data_dir: str = setting("none", "folder of the image files", shapes_run=False)
    act: str = setting("tanh,relu,gelu", "activations, commas between")
    depth: str = setting("2,4,8", "numbers of layers, commas between")
    width: int = setting(48, "units of a hidden layer", minimum=1, maximum=4096)
    train_size: int = setting(600, "rows to train on", minimum=10)
    networks: int = setting(12, "networks of each kind", minimum=1)
    rates: str = setting("0.05,0.1,0.2,0.4,0.8,1.2", "rates of descent on all rows")
    batch_sizes: str = setting("128,32,8", "sizes of minibatches")
    batch_rates: str = setting("0.1,0.4", "their rates")
    goal: float = setting(0.1, "training loss to reach", minimum=0, open_minimum=True)
    num_steps: int = setting(8000, "most steps of a training", minimum=20)
    flow_rates: str = setting("0.2,0.1,0.05,0.025", "rates beside the flows")
    flow_time: float = setting(4.0, "time of the flows", minimum=0, open_minimum=True)
    num_seeds: int = setting(6, "seeds, from --seed on", minimum=1, maximum=99)


PRESETS = {
    "smoke": {
        "act": "tanh",
        "depth": "2",
        "width": 8,
        "train_size": 64,
        "networks": 2,
        "rates": "0.1,0.4",
        "batch_sizes": "32,8",
        "batch_rates": "0.1",
        "goal": 2.0,
        "num_steps": 100,
        "flow_rates": "0.2,0.1",
        "flow_time": 1.0,
        "num_seeds": 2,
    }
}
EXAMPLES = 32  # rows whose ratios are taken of each network
STEPS = 300  # of Adam, for the trained networks of the ratios


def main(config: Config) -> None:
    """Measure, train, judge, draw, report."""
    kinds = config.act.split(",")
    if not set(kinds) <= set(networks.ACTIVATIONS):
        known = ", ".join(networks.ACTIVATIONS)
        raise UserError(f"flag --act={config.act}: wanted some of {known}")
    depths = lists.positive("depth", config.depth, below=1e9, whole=True)
    rates = lists.positive("rates", config.rates, below=1e9)
    batch_rates = lists.positive("batch_rates", config.batch_rates, below=1e9)
    batch_sizes = lists.positive(
        "batch_sizes", config.batch_sizes, below=1e9, whole=True
    )
    flow_rates = lists.positive("flow_rates", config.flow_rates, below=1e9)
    found = load_images(config.dataset, config.data_dir)
    data = networks.rows(found, config.train_size)
    if max(batch_sizes) > len(data.x):
        raise UserError(f"--batch_sizes: at most {len(data.x)}, the rows there are")
    run = open_run(config)
    seeds = lists.seeds(config)
    ratios = all_ratios(config, data, kinds, depths)
    ways = [Way(rate, 0) for rate in rates]
    sizes = sorted(batch_sizes)[::-1]
    ways += [Way(rate, size) for rate in batch_rates for size in sizes]
    trained: dict[Way, Trained] = {}
    for way in ways:
        widths = networks.sizes_of(data, config.width, 3)
        trained[way] = train(
            data, way, seeds, widths, "tanh", config.goal, config.num_steps
        )
        print(f"{way.name}: {trained[way].steps.mean():.0f} steps", flush=True)
    distances = [
        flow.distances(data, seed, flow_rates, config.flow_time) for seed in seeds
    ]
    report = claims.Report(ratios, trained, distances, flow_rates)
    pictures.draw(run, report)
    facts = {"data": found.source, "rows": f"{len(data.x)} of them to train on"}
    write_results(run, claims.all_claims(report), claims.tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def all_ratios(
    config: Config, data: Rows, kinds: Sequence[str], depths: Sequence[int]
) -> dict[tuple[str, str, int, str], np.ndarray]:
    """Ratios of random and of trained networks, of the first rows."""
    x, y = jnp.asarray(data.x), jnp.asarray(data.y)
    result: dict[tuple[str, str, int, str], np.ndarray] = {}
    keys = jax.random.split(jax.random.key(config.seed), config.networks)
    for kind in kinds:
        for depth in depths:
            sizes = networks.sizes_of(data, config.width, depth)
            start = jax.vmap(lambda key, s=sizes: networks.init(key, s))(keys)
            states = {"random": start, "trained": fitted(start, x, y, kind)}
            for state, params in states.items():
                found = networks.sides(params, x[:EXAMPLES], y[:EXAMPLES], kind)
                for norm, both in found.items():
                    result[state, kind, depth, norm] = networks.quotients(*both)
    return result


def fitted(params: Any, x: jax.Array, y: jax.Array, kind: str) -> Any:
    """The networks after some steps of Adam on all rows."""
    adam = optax.adam(3e-3)

    def total(params: Any) -> jax.Array:
        each = jax.vmap(lambda p: networks.mean_loss(p, x[:256], y[:256], kind))
        return each(params).sum()

    @jax.jit
    def run(params: Any) -> Any:
        def step(state: Any, _: Any) -> Any:
            params, moments = state
            updates, moments = adam.update(jax.grad(total)(params), moments)
            return (optax.apply_updates(params, updates), moments), None

        start = (params, adam.init(params))
        return jax.lax.scan(step, start, length=STEPS)[0][0]

    return run(params)


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
