"""Contract rows of tangent kernels, path kernels and kernel machines."""

import numpy as np

from kexue_jax.theory import train_with_path_kernel
from tests.contract.case import Bad, Case
from tests.oracles import path_kernel as oracle
from tests.theory.perceptrons import apply, drawn, square

INPUTS, OUTPUTS = 3, 2
DIVERGES = "training of huge data diverges at any fixed rate"
BF16 = {"bfloat16": 8e-2}
ROUNDED = "products of several rounded layers, subtracted from each other"


def network(rng, lead=()):
    return drawn(INPUTS, 2, OUTPUTS, lead=lead, seed=int(rng.integers(99)))


def moved(params):
    """The same perceptron a step further on."""
    return [
        {name: 0.9 * leaf + 0.1 for name, leaf in layer.items()} for layer in params
    ]


def rows_of(rng, n, width=INPUTS):
    return rng.normal(size=(n, width))


def bad_x(argument, place):
    return (
        Bad(argument, args={place: np.ones(())}),
        Bad(argument, args={place: np.ones((0, INPUTS))}),
        Bad(argument, args={place: np.ones((2, INPUTS), int)}),
    )


BAD_APPLY = (
    Bad("apply_fn", args={0: lambda params, x: x[None]}),
    Bad("apply_fn", args={0: lambda params, x: (x, x)}),
)
BAD_SAMPLES = tuple(
    Bad("loss", args={1: bad}, traced=not isinstance(bad, str))
    for bad in (lambda f, y: f, lambda f, y: (f.sum(), 1.0), "square", None)
)


def displaced(rng, b):
    return network(rng, (b,))


def flat(tree, b):
    """[b, P] of a list of layers with leading axes [b]."""
    return np.concatenate(
        [layer[name].reshape(b, -1) for layer in tree for name in ("kernel", "bias")],
        -1,
    )


def tangent_row(method, chunk):
    return Case(
        "theory.tangent_kernel",
        lambda rng: (apply, network(rng), rows_of(rng, 3), rows_of(rng, 2)),
        lambda apply_fn, params, xa, xb, **_: oracle.kernel(params, xa, xb),
        {"method": method, "chunk": chunk},
        variant=f"{method}, chunk {chunk}",
        follows=2,
        data=(1,),
        optional=("chunk",) if chunk else (),
        tolerance=BF16,
        reason=ROUNDED,
        bad=(
            *bad_x("xa", 2),
            *bad_x("xb", 3),
            Bad("xb", args={3: np.ones((2, INPUTS + 1))}),
            *BAD_APPLY,
            *(Bad("chunk", static={"chunk": c}) for c in (0, 1.5, "2", True)),
        ),
    )


MLP = Case(
    "theory.mlp_tangent_kernel",
    lambda rng: (network(rng), rows_of(rng, 3), rows_of(rng, 2)),
    oracle.kernel,
    follows=1,
    data=(0,),
    tolerance=BF16,
    reason=ROUNDED,
    bad=(
        *bad_x("xa", 1),
        *bad_x("xb", 2),
        Bad("xb", args={2: np.ones((2, INPUTS + 1))}),
        Bad("activation", static={"activation": "tanh"}),
        *(
            Bad("params", args={0: p}, traced=False)
            for p in (
                [],
                {},
                [{"kernel": np.ones((3, 2))}],
                [{"kernel": np.ones((2, 2)), "bias": np.ones(2)}],
                [{"kernel": np.ones((3, 2)), "bias": np.ones(3)}],
                [{"kernel": np.ones(3), "bias": np.ones(3)}],
                [{"kernel": np.ones((3, 2), int), "bias": np.ones(2)}],
            )
        ),
    ),
)


def samples(rng, b):
    return rows_of(rng, b), rng.normal(size=(b, OUTPUTS)), rng.uniform(0, 1, b)


def unflat(rows, like):
    """The tree with leading axes [b] of [b, P]."""
    trees = [oracle.unravel(row, like) for row in rows]
    return [
        {name: np.stack([tree[n][name] for tree in trees]) for name in layer}
        for n, layer in enumerate(like)
    ]


DISPLACEMENTS = Case(
    "theory.sample_displacements",
    lambda rng: (apply, square, network(rng), *samples(rng, 3)),
    lambda apply_fn, loss, params, x, y, weights: unflat(
        oracle.displacements(params, x, y, weights), params
    ),
    follows=3,
    data=(2,),
    tolerance=BF16,
    reason=ROUNDED,
    bad=(
        *bad_x("x", 3),
        *BAD_APPLY,
        *BAD_SAMPLES,
        Bad("y", args={4: np.ones((2, OUTPUTS))}),
        Bad("y", args={4: np.ones(())}),
        Bad("weights", args={5: np.ones(2)}),
        Bad("weights", args={5: np.ones(3, int)}),
    ),
)


def bad_next(place, b=None):
    good = network(np.random.default_rng(0), () if b is None else (b,))
    argument = "next_params" if b is None else "displacements"
    wrong = ([good[0]], [good[1], good[0]], [good[0], {**good[1], "bias": np.ones(9)}])
    return tuple(Bad(argument, args={place: w}, traced=False) for w in wrong)


def attribute_row(nodes):
    def inputs(rng):
        params = network(rng)
        return apply, params, moved(params), displaced(rng, 2), rows_of(rng, 3)

    return Case(
        "theory.attribute_step",
        inputs,
        lambda apply_fn, p, q, steps, x, *, nodes: oracle.attribute(
            p, q, flat(steps, 2), x, nodes
        ),
        {"nodes": nodes},
        variant=f"{nodes} nodes",
        follows=4,
        data=(1, 2, 3),
        tolerance=BF16,
        reason=ROUNDED,
        bad=(
            *bad_x("x_test", 4),
            *BAD_APPLY,
            *bad_next(2),
            *bad_next(3, 2),
            Bad("chunk", static={"chunk": 0}),
        ),
    )


def path_step_inputs(rng):
    params = network(rng)
    return (apply, square, params, moved(params), rows_of(rng, 3), *samples(rng, 2))


def path_step_oracle(apply_fn, loss, p, q, x_test, x, y, weights, *, nodes, chunk):
    return oracle.attribute(p, q, oracle.displacements(p, x, y, weights), x_test, nodes)


def path_step_row(nodes, chunk):
    return Case(
        "theory.path_step",
        path_step_inputs,
        path_step_oracle,
        {"nodes": nodes, "chunk": chunk},
        variant=f"{nodes} nodes, chunk {chunk}",
        follows=4,
        data=(2, 3),
        optional=("chunk",) if chunk else (),
        tolerance=BF16,
        reason=ROUNDED,
        bad=(
            *bad_x("x_test", 4),
            *bad_x("x", 5),
            Bad("x", args={5: np.ones((2, INPUTS + 1))}),
            *BAD_APPLY,
            *BAD_SAMPLES,
            *bad_next(3),
            Bad("y", args={6: np.ones((3, OUTPUTS))}),
            Bad("weights", args={7: np.ones((2, 1))}),
        ),
    )


def change_inputs(rng):
    params = network(rng)
    return apply, params, moved(params), rows_of(rng, 3)


def change_oracle(apply_fn, p, q, x, *, nodes):
    step = oracle.ravel(q) - oracle.ravel(p)
    return oracle.attribute(p, q, step[None], x, nodes)[:, 0]


CHANGE = Case(
    "theory.path_change",
    change_inputs,
    change_oracle,
    {"nodes": 3},
    follows=3,
    data=(1, 2),
    tolerance=BF16,
    reason=ROUNDED,
    bad=(*bad_x("x_test", 3), *BAD_APPLY, *bad_next(2)),
)


def path_oracle(apply_fn, path, times, xa, xb):
    points = [
        [{name: leaf[s] for name, leaf in layer.items()} for layer in path]
        for s in range(len(times))
    ]
    kernels = np.stack([oracle.kernel(p, xa, xb) for p in points])
    steps = np.diff(times)[:, None, None, None, None]
    return ((kernels[1:] + kernels[:-1]) / 2 * steps).sum(0)


PATH = Case(
    "theory.path_kernel",
    lambda rng: (
        apply,
        network(rng, (3,)),
        np.cumsum(rng.uniform(0.1, 1, 3)),
        rows_of(rng, 3),
        rows_of(rng, 2),
    ),
    path_oracle,
    follows=3,
    data=(1,),
    tolerance=BF16,
    reason=ROUNDED,
    bad=(
        *bad_x("xa", 3),
        *bad_x("xb", 4),
        *BAD_APPLY,
        Bad("times", args={2: np.ones(1)}),
        Bad("times", args={2: np.ones((3, 1))}),
        Bad("path", args={2: np.ones(4)}),
        Bad("xb", args={4: np.ones((2, INPUTS + 1))}),
    ),
)


def training_row(every, nodes, reduction):
    def inputs(rng):
        order = rng.integers(0, 3, (4, 2)).astype(np.int32)
        x, y, _ = samples(rng, 3)
        return apply, square, network(rng), x, y, order, 0.2, rows_of(rng, 2)

    def wanted(apply_fn, loss, params, x, y, order, rate, x_test, **options):
        rates = np.broadcast_to(rate / (2 if reduction == "mean" else 1), 4)
        last, out, first, final = oracle.train(
            params, x, y, order, rates, x_test, nodes, every
        )
        return last, out, first, final

    def call(apply_fn, loss, params, x, y, order, learning_rate, x_test, **options):
        args = (apply_fn, loss, params, x, y, order, learning_rate, x_test)
        return train_with_path_kernel(*args, **options)[:4]

    return Case(
        "theory.train_with_path_kernel",
        inputs,
        wanted,
        {"reduction": reduction, "nodes": nodes, "record_every": every, "chunk": None},
        call=call,
        titles=("train_with_path_kernel",),
        variant=f"every {every}, {nodes} nodes, {reduction}",
        follows=3,
        data=(2,),
        optional=("chunk",),
        extremes=False,
        tolerance=BF16,
        reason=f"{DIVERGES}; {ROUNDED}",
        bad=(
            *bad_x("x", 3),
            *bad_x("x_test", 7),
            Bad("x_test", args={7: np.ones((2, INPUTS + 1))}),
            *BAD_APPLY,
            *BAD_SAMPLES,
            Bad("y", args={4: np.ones((2, OUTPUTS))}),
            Bad("order", args={5: np.ones(4, int)}),
            Bad("order", args={5: np.ones((0, 2), int)}),
            Bad("order", args={5: np.ones((4, 2))}),
            Bad("learning_rate", args={6: np.ones(3)}),
            Bad("learning_rate", args={6: np.ones((4, 1))}),
            Bad("record_every", static={"record_every": 3, "nodes": 0}),
            Bad("record_every", static={"record_every": 2, "nodes": 1}),
            Bad("record_every", static={"record_every": 0}),
        ),
    )


ROWS = (
    tangent_row("jacobian", 2),
    tangent_row("products", None),
    MLP,
    DISPLACEMENTS,
    attribute_row(0),
    attribute_row(3),
    path_step_row(0, None),
    path_step_row(2, 2),
    CHANGE,
    PATH,
    training_row(1, 2, "sum"),
    training_row(2, 0, "mean"),
)
