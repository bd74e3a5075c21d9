"""Contract rows of the optimizers, the learning rates and the averages of weights."""

import numpy as np
import optax

from kexue_jax.optim import (
    ema,
    lamb_layerwise,
    piecewise_linear,
    scale_by_layerwise_trust,
)
from tests.contract.case import Bad, Case
from tests.oracles import lamb as oracle

WORDS = ("Norm", "bias")


def tree(rng):
    """A tree with an adapted tensor, one of a single number, and two excluded ones."""
    return {
        "kernel": rng.normal(size=(3, 1, 2)),
        "scalar": rng.normal(size=(1,)),
        "norm_1": rng.normal(size=3),
        "out_bias": rng.normal(size=()),
    }


def bad_trees(argument: str, place: int) -> tuple[Bad, ...]:
    """Trees that lack or add a name, with a wrong shape, dtype or kind of leaf."""
    good = tree(np.random.default_rng(0))
    wrong = (
        {**good, "more": good["kernel"]},
        {name: good[name] for name in ("kernel", "scalar")},
        {**good, "kernel": good["kernel"][:1]},
        {**good, "scalar": np.ones(())},
        {**good, "kernel": good["kernel"].astype(np.int32)},
        {**good, "kernel": good["kernel"] > 0},
    )
    python = ({**good, "out_bias": "text"}, {**good, "out_bias": 1.0}, "text")
    return (
        *(Bad(argument, args={place: value}) for value in wrong),
        *(Bad(argument, args={place: value}, traced=False) for value in python),
    )


BAD_WORDS = tuple(
    Bad("exclude", static={"exclude": words})
    for words in (None, "norm", 3, ("norm", 1), ("norm", ""), {"norm"})
)


def two_steps(params, gradients, more, *, learning_rate, **options):
    """The parameters after two updates."""
    optimizer = lamb_layerwise(learning_rate, **options)
    state = optimizer.init(params)
    for step in (gradients, more):
        updates, state = optimizer.update(step, state, params)
        params = optax.apply_updates(params, updates)
    return params


def two_steps_oracle(params, gradients, more, *, learning_rate, **options):
    rates = [learning_rate] * 2
    return oracle.lamb(params, [gradients, more], rates, **options)[-1]


def trust(updates, params, **options):
    """The update of the transformation alone."""
    transformation = scale_by_layerwise_trust(**options)
    return transformation.update(updates, transformation.init(params), params)[0]


def trust_oracle(updates, params, *, exclude):
    def scale(name):
        if any(word.lower() in name for word in exclude):
            return updates[name]
        lengths = [np.sqrt(np.sum(t[name] ** 2)) for t in (params, updates)]
        return updates[name] * lengths[0] / lengths[1]

    return {name: scale(name) for name in updates}


def averaged(params, first, second, *, average=None, like=None, **options):
    """What is read of the average after two updates."""
    averaging = ema(options.pop("decay"), **options)
    state = averaging.init(params) if average is None else average
    for value in (first, second):
        state = averaging.update(state, value)
    return averaging.read(state, params if like is None else like)


def averaged_oracle(params, first, second, *, decay, convention):
    def one(name):
        values = [first[name], second[name]]
        if convention == "initial":
            return oracle.ema_initial(params[name], values, decay)[-1]
        return oracle.ema_zero_debias(values, decay)[-1]

    return {name: one(name) for name in params}


POINTS = {4: 1.0, 0: 0.0, 20: 0.25}


def rate(step, base, *, multipliers):
    """The rate at a step, of a base that may be traced."""
    return piecewise_linear(multipliers, base=base)(step)


def rate_oracle(step, base, *, multipliers):
    values = [oracle.piecewise_linear(s, multipliers) for s in np.ravel(step)]
    return base * np.reshape(values, np.shape(step))


def rate_row(steps, variant, bad=()):
    return Case(
        "optim.piecewise_linear",
        lambda rng: (steps(rng), 0.1),
        rate_oracle,
        {"multipliers": POINTS},
        call=rate,
        variant=variant,
        follows=None,
        bad=bad,
    )


ROWS = (
    Case(
        "optim.lamb_layerwise",
        lambda rng: (tree(rng), tree(rng), tree(rng)),
        two_steps_oracle,
        {"learning_rate": 0.1, "exclude": WORDS, "b1": 0.8, "b2": 0.9, "eps": 1e-3},
        call=two_steps,
        data=(0, 1, 2),
        extreme_grads=False,
        reason="Adam's root of v has no derivative at a gradient of 0 (optax's choice)",
        bad=(
            *bad_trees("updates", 1),
            *bad_trees("params", 0)[-5:],
            Bad("params", args={0: None}),
            Bad("learning_rate", static={"learning_rate": -0.1}),
            Bad("b1", static={"b1": 1.0}),
            Bad("b2", static={"b2": -0.1}),
            Bad("eps", static={"eps": -1e-8}),
            *BAD_WORDS,
        ),
    ),
    Case(
        "optim.scale_by_layerwise_trust",
        lambda rng: (tree(rng), tree(rng)),
        trust_oracle,
        {"exclude": WORDS},
        call=trust,
        data=(0, 1),
        bad=(
            *bad_trees("updates", 0),
            *bad_trees("params", 1)[-5:],
            Bad("params", args={1: None}),
            *BAD_WORDS,
        ),
    ),
    *(
        Case(
            "optim.ema",
            lambda rng: (tree(rng), tree(rng), tree(rng)),
            averaged_oracle,
            {"decay": decay, "convention": convention},
            call=averaged,
            variant=f"{convention}, decay {decay}",
            data=(0, 1, 2),
            bad=(
                *bad_trees("params", 1),
                *bad_trees("params", 0)[-5:],
                Bad("decay", static={"decay": 1.0}),
                Bad("decay", static={"decay": -0.1}),
                Bad("average", static={"average": {}}),
                Bad("average", static={"average": 3}),
                Bad("like", static={"like": {}}),
            ),
        )
        for decay, convention in (
            (0.9, "zero_debias"),
            (0.0, "zero_debias"),
            (0.9, "initial"),
        )
    ),
    rate_row(
        lambda rng: rng.uniform(-1, 25, (3, 1, 5)),
        "floating steps",
        bad=(
            Bad("base", args={1: -1.0}, traced=False),
            Bad("base", args={1: np.ones(2)}),
            *(
                Bad("multipliers", static={"multipliers": m})
                for m in (
                    None,
                    {},
                    ((0, 1.0),),
                    {0.5: 1.0},
                    {-1: 1.0},
                    {0: -1.0},
                    {0: np.nan},
                    {0: "text"},
                    {"0": 1.0},
                )
            ),
        ),
    ),
    rate_row(lambda rng: np.array(rng.integers(0, 25), np.int32), "one integer step"),
)
