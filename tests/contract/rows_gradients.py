"""Contract rows of the gradient bound, the penalties on gradients, and flooding."""

import numpy as np

from kexue_jax.training import implicit_gradient_loss
from tests.contract.case import Bad, Case
from tests.oracles import gradients as oracle


def bent(z):
    """An activation in operators alone, with a slope between 0.9 and 1.5."""
    return z + 0.5 * z / (1 + z * z)


def score(h):
    return (h + h / (1 + h * h)).sum()


def layers(rng, sizes=(3, 4, 2), biases=(True, False)):
    return [
        (rng.normal(size=(n, m)), rng.normal(size=n) if b else None)
        for m, n, b in zip(sizes, sizes[1:], biases, strict=False)
    ]


GOOD = layers(np.random.default_rng(0))
BAD_LAYERS = (
    *(
        Bad("params", args={0: params}, traced=False)
        for params in (
            [],
            {},
            [GOOD[0][0], GOOD[1][0]],
            [(GOOD[0][0],), GOOD[1]],
            [(None, GOOD[0][1]), GOOD[1]],
            [(GOOD[0][0], 1.0), GOOD[1]],
            [(GOOD[0][0].astype(int), None), GOOD[1]],
        )
    ),
    Bad("params", args={0: [GOOD[1], GOOD[0]]}),
    Bad("params", args={0: [(GOOD[0][0].T, None), GOOD[1]]}),
    Bad("params", args={0: [(GOOD[0][0], np.ones(3)), GOOD[1]]}),
    Bad("params", args={1: np.ones((2, 4))}),
    Bad("x", args={1: np.ones(())}),
    Bad("f", args={2: lambda h: h}),
    Bad("activation", args={3: lambda z: z[..., :1]}),
    Bad("activation", args={3: [bent]}, traced=False),
)


def rank_one_oracle(params, x, f, activation):
    flat = x.reshape(-1, x.shape[-1])
    found = [oracle.parameter_penalty(params, row, f, activation) for row in flat]
    return np.array(found).reshape(x.shape[:-1])


def bound_oracle(params, x, f, activation, **options):
    flat = x.reshape(-1, x.shape[-1])
    rows = [oracle.gradient_bound(params, v, f, activation, **options) for v in flat]
    parts = [np.stack(part) for part in zip(*rows, strict=True)]
    return tuple(p.reshape(x.shape[:-1] + p.shape[1:]) for p in parts)


def perceptron_row(name, wanted, options, variant, lead=(2, 1), bad=()):
    return Case(
        name,
        lambda rng: (layers(rng), rng.normal(size=(*lead, 3)), score, bent),
        wanted,
        options,
        variant=variant,
        follows=1,
        bad=(*BAD_LAYERS, *bad),
    )


BAD_TARGETS = (
    Bad("targets", static={"targets": 3}),
    Bad("targets", static={"targets": np.ones((3, 1, 2))}),
)


def small(params, example):
    """A function of a tree and of an example, gentle however large they are."""
    s = (params["w"] * example["x"]).sum() + params["b"]
    return s / (1 + s * s) + example["y"] * s / (2 + s * s)


def alone(params):
    s = params["w"].sum() * params["b"]
    return s / (1 + s * s) + params["b"]


def point(rng):
    return {"w": rng.normal(size=3), "b": rng.normal(size=())}


def batch(rng, n=4):
    return {"x": rng.normal(size=(n, 3)), "y": rng.normal(size=n)}


def mean_gradient(f, params, rows):
    """The gradient of the mean of f over some rows of a batch."""
    grads = [oracle.tree_gradient(lambda p, e=e: f(p, e), params) for e in rows]
    return {name: np.mean([g[name] for g in grads], axis=0) for name in params}


def group_oracle(f, params, batch, *, group):
    n = len(batch["y"])
    rows = [{k: v[i] for k, v in batch.items()} for i in range(n)]
    size = n if group is None else group
    parts = [rows[i : i + size] for i in range(0, n, size)]
    norms = [oracle.squared_norm(mean_gradient(f, params, p)) for p in parts]
    return np.mean(norms)


def implicit(f, params, data, *, learning_rate):
    """The loss of implicit_gradient_loss; the last argument is handed on."""
    return implicit_gradient_loss(f, learning_rate=learning_rate)(params, data)


def implicit_oracle(f, params, data, *, learning_rate):
    grads = oracle.tree_gradient(lambda p: f(p, data), params)
    return f(params, data) + learning_rate / 4 * oracle.squared_norm(grads)


def stepped_oracle(f, params, *, down, up):
    for rate in (-down, up):
        grads = oracle.tree_gradient(f, params)
        params = {name: params[name] + rate * grads[name] for name in params}
    return params


def bad_params(place):
    good = point(np.random.default_rng(0))
    return tuple(
        Bad("params", args={place: wrong}, traced=False)
        for wrong in (
            {},
            {**good, "b": 1.0},
            {**good, "w": np.arange(3)},
            {**good, "w": "text"},
        )
    )


BAD_BATCHES = tuple(
    Bad("batch", args={2: wrong}, traced=False)
    for wrong in (
        {},
        {"x": np.ones((4, 3)), "y": np.ones(3)},
        {"x": np.ones((4, 3)), "y": np.ones(())},
        {"x": np.ones((4, 3)), "y": None},
        {"x": np.ones((4, 3)), "y": "text"},
    )
)


def penalty_oracle(f, x):
    return np.array([np.sum(oracle.gradient(f, row) ** 2) for row in x])


def pair(x):
    """A function of an example to two numbers."""
    s = x.sum()
    return (x * x / (1 + x * x))[0] + s / (1 + s * s) * np.ones(2)


def energy_oracle(f, x):
    sizes = [
        sum(np.sum(oracle.gradient(lambda v, k=k: f(v)[k], row) ** 2) for k in range(2))
        for row in x
    ]
    return np.mean(sizes)


BAD_FUNCTION = Bad("f", args={0: lambda x: x})
BAD_BATCHED = (Bad("x", args={1: np.ones(())}), Bad("x", args={1: np.ones((0, 3))}))


def matrices(function):
    def call(a, *, iters=None, side="lower"):
        flat = a.reshape(-1, *a.shape[-2:])
        found = [function(m, iters) for m in flat]
        return np.array(found).reshape(a.shape[:-2])

    return call


def norm_row(wanted, options, variant, shape=(2, 1, 3, 4)):
    return Case(
        "theory.spectral_norm",
        lambda rng: (rng.normal(size=shape),),
        matrices(wanted),
        options,
        variant=variant,
        bad=(
            Bad("a", args={0: np.ones(3)}),
            Bad("a", args={0: np.ones((2, 0))}),
            Bad("iters", static={"iters": 0}),
        ),
        optional=("iters",),
    )


BOUNDS = tuple(
    perceptron_row(
        "theory.mlp_gradient_bound",
        bound_oracle,
        {"norm": norm},
        norm,
        lead=lead,
        bad=(*BAD_TARGETS[: len(lead)], Bad("iters", static={"iters": 0})),
    )
    for norm, lead in (("spectral", (2, 1)), ("frobenius", ()))
)
ROWS = (
    *BOUNDS,
    norm_row(lambda a, _: np.linalg.norm(a, 2), {"iters": None}, "exact"),
    norm_row(oracle.spectral_norm_below, {"iters": 3, "side": "lower"}, "below"),
    norm_row(
        oracle.spectral_norm_above, {"iters": 3, "side": "upper"}, "above", (4, 3)
    ),
    perceptron_row(
        "training.mlp_parameter_penalty",
        rank_one_oracle,
        {},
        "",
        bad=BAD_TARGETS,
    ),
    Case(
        "training.input_gradient_penalty",
        lambda rng: (score, rng.normal(size=(4, 2, 3))),
        penalty_oracle,
        follows=1,
        bad=(
            BAD_FUNCTION,
            *BAD_BATCHED,
            Bad("targets", static={"targets": np.ones(3)}),
            Bad("targets", static={"targets": "text"}),
        ),
    ),
    Case(
        "training.dirichlet_energy",
        lambda rng: (pair, rng.normal(size=(4, 3))),
        energy_oracle,
        follows=1,
        bad=(*BAD_BATCHED, Bad("f", args={0: lambda x: x > 0})),
    ),
    *(
        Case(
            "training.parameter_gradient_penalty",
            lambda rng: (small, point(rng), batch(rng)),
            group_oracle,
            {"group": group},
            variant=f"group {group}",
            follows=1,
            data=(2,),
            optional=("group",),
            bad=(
                Bad("f", args={0: lambda p, _: p["w"]}),
                *bad_params(1),
                *BAD_BATCHES,
                Bad("group", static={"group": 3}),
                Bad("group", static={"group": 0}),
            ),
        )
        for group in (None, 2)
    ),
    Case(
        "training.implicit_gradient_loss",
        lambda rng: (small, point(rng), {k: v[0] for k, v in batch(rng).items()}),
        implicit_oracle,
        {"learning_rate": 0.3},
        call=implicit,
        follows=1,
        data=(2,),
        bad=(
            Bad("f", args={0: lambda p, _: p["w"]}),
            *bad_params(1),
            Bad("learning_rate", static={"learning_rate": -0.1}),
        ),
    ),
    Case(
        "training.descent_ascent_step",
        lambda rng: (alone, point(rng)),
        stepped_oracle,
        {"down": 0.2, "up": 0.1},
        follows=1,
        data=(1,),
        bad=(Bad("f", args={0: lambda p: p["w"]}), *bad_params(1)[1:]),
    ),
    Case(
        "training.flooding",
        lambda rng: (rng.normal(size=(2, 3)),),
        lambda loss, *, level: np.abs(loss - level) + level,
        {"level": 0.25},
    ),
)
