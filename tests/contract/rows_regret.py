"""Contract rows of regret and its bounds, of projected optimizers and their rates."""

import numpy as np
import optax

from kexue_jax.optim import linear_warmup, noam, projected, sqrt_decay
from kexue_jax.theory import online_sgd
from tests.contract.case import Bad, Case
from tests.contract.rows_optim import bad_trees, tree
from tests.oracles import regret as oracle

POSITIVE = "a rate is above 0 by definition: a bound divides by it"


def etas(rng, *shape):
    return rng.uniform(0.1, 1, shape)


def each_row(function):
    def call(etas, *more):
        flat = etas.reshape(-1, etas.shape[-1])
        return np.array([function(row, *more) for row in flat]).reshape(etas.shape)

    return call


BAD_NUMBERS = tuple(
    Bad(argument, args={place: wrong}, traced=False)
    for place, argument in ((1, "diameter"), (2, "gradient_bound"))
    for wrong in (-1.0, np.nan)
)
BAD_ETAS = (
    Bad("etas", args={0: np.ones(())}),
    Bad("etas", args={0: np.ones((2, 0))}),
)


def bound_row(name, wanted, bad):
    return Case(
        f"theory.{name}",
        lambda rng: (etas(rng, 2, 5), 1.5, 0.7),
        wanted,
        extremes=False,
        reason=POSITIVE,
        bad=(*BAD_ETAS, *bad),
    )


def trajectory_oracle(etas, distances, norms):
    parts = [a.reshape(-1, a.shape[-1]) for a in (etas, distances, norms)]
    found = [oracle.trajectory(*rows) for rows in zip(*parts, strict=True)]
    return np.array(found).reshape(etas.shape)


def loss(params, batch):
    """Convex near the origin, in operators alone, gentle however large it all is."""
    s = (params["w"] * batch["x"]).sum() - batch["y"]
    return s * s / (1 + 0.01 * s * s) + params["b"] * batch["y"] / (1 + batch["y"] ** 2)


def halved(params):
    """A projection in operators alone: onto nothing in particular."""
    return {name: p / (1 + 0.1 * p * p) for name, p in params.items()}


def rate_of(count):
    return 0.1 / (count + 1.0)


def stream(rng, length=2):
    return {"x": rng.normal(size=(length, 3)), "y": rng.normal(size=length)}


def point(rng):
    return {"w": rng.normal(size=3), "b": rng.normal(size=())}


def run(
    f, params, comparator, batches, *, schedule=rate_of, projection=halved, other=None
):
    """online_sgd with a comparator that is an argument too."""
    against = comparator if other is None else other
    return online_sgd(
        f, params, batches, schedule=schedule, projection=projection, comparator=against
    )


def run_oracle(f, params, comparator, batches):
    return oracle.online_sgd(f, params, batches, rate_of, halved, comparator)


def bad_points(argument, place):
    good = point(np.random.default_rng(0))
    return tuple(
        Bad(argument, args={place: wrong}, traced=False)
        for wrong in ({}, {**good, "b": 1.0}, {**good, "w": np.arange(3)}, "text")
    )


def bad_streams(place):
    return tuple(
        Bad("batches", args={place: wrong}, traced=False)
        for wrong in (
            {},
            {"x": np.ones((2, 3)), "y": np.ones(3)},
            {"x": np.ones((2, 3)), "y": np.ones(())},
            {"x": np.ones((2, 3)), "y": "text"},
            {"x": np.ones((2, 3)), "y": None},
        )
    )


ONLINE = Case(
    "theory.online_sgd",
    lambda rng: (loss, point(rng), point(rng), stream(rng)),
    run_oracle,
    call=run,
    follows=1,
    data=(3,),
    bad=(
        Bad("f", args={0: lambda p, _: p["w"]}),
        *bad_points("params", 1),
        *bad_streams(3),
        Bad("comparator", static={"other": {"w": np.ones(3)}}),
        Bad("comparator", static={"other": {"w": np.ones(2), "b": np.ones(())}}),
        Bad("schedule", static={"schedule": 0.1}),
        Bad("schedule", static={"schedule": lambda count: np.ones(2)}),
        Bad("projection", static={"projection": 3}),
        Bad("projection", static={"projection": lambda p: p["w"]}),
    ),
)


def two_steps(params, gradients, more, *, inner=None, projection=None):
    """The parameters after two projected updates."""
    inner = optax.sgd(0.1, momentum=0.5) if inner is None else inner
    optimizer = projected(inner, halved if projection is None else projection)
    state = optimizer.init(params)
    for step in (gradients, more):
        updates, state = optimizer.update(step, state, params)
        params = optax.apply_updates(params, updates)
    return params


def two_steps_oracle(params, gradients, more):
    velocity = {name: np.zeros_like(p) for name, p in params.items()}
    for step in (gradients, more):
        velocity = {name: step[name] + 0.5 * velocity[name] for name in params}
        params = halved({n: p - 0.1 * velocity[n] for n, p in params.items()})
    return params


PROJECTED = Case(
    "optim.projected",
    lambda rng: (tree(rng), tree(rng), tree(rng)),
    two_steps_oracle,
    call=two_steps,
    data=(0, 1, 2),
    bad=(
        *bad_trees("updates", 1),
        *bad_trees("params", 0)[-5:],
        Bad("params", args={0: None}),
        Bad("inner", static={"inner": 0.1}),
        Bad("projection", static={"projection": 0.1}),
        Bad("projection", static={"projection": lambda tree: tree["kernel"]}),
    ),
)


def falling(step, alpha):
    return sqrt_decay(alpha=alpha)(step)


def rising(step, base, *, steps, after=None):
    return linear_warmup(after, steps=steps, base=base)(step)


def both(step, base, *, width, steps):
    return noam(width=width, steps=steps, base=base)(step)


def noam_oracle(step, base, *, width, steps):
    t = step + 1
    return base / np.sqrt(width) * np.minimum(t**-0.5, t * steps**-1.5)


def rate_row(name, call, wanted, argument, static):
    return Case(
        f"optim.{name}",
        lambda rng: (rng.integers(0, 30, (3, 1)) + 0.5, 0.3),
        wanted,
        static,
        call=call,
        follows=None,
        extremes=False,
        reason="a step is at least 0",
        bad=(
            Bad(argument, args={1: -1.0}, traced=False),
            Bad(argument, args={1: np.nan}, traced=False),
            Bad(argument, args={1: np.ones(2)}),
            *(Bad(n, static={n: wrong}) for n in static for wrong in (0, True)),
        ),
    )


ROWS = (
    bound_row("regret_bound_curve", each_row(oracle.theorem), BAD_NUMBERS),
    bound_row(
        "regret_bound",
        lambda *a: each_row(oracle.theorem)(*a)[..., -1],
        BAD_NUMBERS,
    ),
    bound_row(
        "weighted_bound_curve",
        each_row(oracle.weighted),
        (
            Bad("distance", args={1: -1.0}, traced=False),
            Bad("gradient_bound", args={2: np.ones(2)}),
        ),
    ),
    bound_row(
        "last_iterate_bound",
        lambda etas, *more: np.array([oracle.last_iterate(e, *more) for e in etas]),
        (
            Bad("distance", args={1: -1.0}, traced=False),
            Bad("gradient_bound", args={2: np.ones(2)}),
        ),
    ),
    Case(
        "theory.trajectory_bound_curve",
        lambda rng: (etas(rng, 2, 4), rng.normal(size=(2, 5)), rng.normal(size=(2, 4))),
        trajectory_oracle,
        extremes=False,
        reason=POSITIVE,
        bad=(
            *BAD_ETAS,
            Bad("distances", args={1: np.ones((2, 4))}),
            Bad("gradient_norms", args={2: np.ones((2, 5))}),
        ),
    ),
    Case(
        "theory.optimal_constant_rate",
        lambda rng: (1.5, 0.7),
        lambda diameter, gradient_bound, *, steps: (
            diameter / (gradient_bound * np.sqrt(steps))
        ),
        {"steps": 7},
        extremes=False,
        reason="no gradient is no problem",
        bad=(
            Bad("diameter", args={0: -1.0}, traced=False),
            Bad("gradient_bound", args={1: 0.0}, traced=False),
            Bad("steps", static={"steps": 0}),
        ),
    ),
    Case(
        "theory.regret",
        lambda rng: (rng.normal(size=2), loss, point(rng), stream(rng)),
        oracle.regret,
        data=(3,),
        bad=(
            Bad("losses", args={0: np.ones((2, 1))}),
            Bad("batches", args={0: np.ones(3)}),
            Bad("f", args={1: lambda p, _: p["w"]}),
            *bad_points("comparator", 2),
            *bad_streams(3),
        ),
    ),
    ONLINE,
    PROJECTED,
    rate_row(
        "sqrt_decay",
        falling,
        lambda step, alpha: alpha / np.sqrt(step + 1),
        "alpha",
        {},
    ),
    rate_row(
        "linear_warmup",
        rising,
        lambda step, base, *, steps: base * np.minimum(1, step / steps),
        "base",
        {"steps": 9},
    ),
    rate_row("noam", both, noam_oracle, "base", {"width": 16, "steps": 9}),
)
