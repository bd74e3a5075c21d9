"""Contract rows of normalized critics, of penalties on them, and of GAN losses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.generative import gan_losses, gradient_penalty, normalized_critic
from tests.contract.case import Bad, Case
from tests.contract.chains import bad_arrays
from tests.oracles import gan as oracle


def project(x, phase):
    """A linear function of each example."""
    shape = (1, *x.shape[1:])
    w = np.cos(phase + np.arange(1, np.prod(shape) + 1)).reshape(shape)
    return (x * np.asarray(w, x.dtype)).sum(axis=tuple(range(1, x.ndim)))


def smooth(x):
    s = project(x, 0)
    return s + 1.5 * s / (1 + s * s) + 0.5


def bent(x):
    """Piecewise linear: 0.25 s + |t + 0.5| + 0.75."""
    t = project(x, 2) + 0.5
    return 0.25 * project(x, 1) + (t * t) ** 0.5 + 0.75


def gentle(x):
    s = project(x, 0) + 0.5
    return 3 * s / (1 + s * s)


PLACES = np.array([1.0, -1.0, 0.5, 2.0])


def scored(params, x, places):
    """A critic with parameters and a condition a row."""
    s = (x * params["w"]).sum(-1) + params["b"] + places.astype(x.dtype)
    return s + s / (1 + s * s) + 1


BAD_CRITICS = tuple(
    Bad("critic", args={0: wrong}, traced=False)
    for wrong in (
        None,
        3,
        lambda x: x,
        lambda x: x.sum(),
        lambda x: x.sum(-1).astype(int),
        lambda x: (smooth(x), smooth(x)),
        lambda x: None,
    )
)


def bad_batches(argument, place):
    return tuple(
        Bad(argument, args={place: wrong}, traced=wrong.ndim > 0)
        for wrong in (np.ones(()), np.ones((0, 3)), np.ones((4, 3), np.int32))
    )


def batch(rng, *shape):
    return rng.normal(size=shape)


OPTIONS = {"eps": 0.1, "scale": 1.5, "piecewise_linear": False, "detach_norm": False}
BAD_OPTIONS = (
    Bad("eps", static={"eps": 0.0}),
    Bad("eps", static={"eps": -1.0}),
    Bad("kind", static={"kind": "none"}),
)


def normalize_row(kind, critic, variant="", **options):
    return Case(
        "generative.gradient_normalize",
        lambda rng: (critic, batch(rng, 4, 2, 3)),
        oracle.normalize,
        {"kind": kind, **OPTIONS, **options},
        variant=f"{kind}{variant}",
        follows=1,
        bad=(*BAD_CRITICS, *bad_batches("x", 1), *BAD_OPTIONS),
    )


def apply_normalized(params, x, **options):
    return normalized_critic(scored, **options)(params, x, PLACES)


def apply_oracle(params, x, **options):
    """Row by row: each has a condition of its own."""

    def one(row, place):
        critic = functools.partial(scored, params, places=place)
        return oracle.normalize(critic, row[None], **options)[0]

    return np.concatenate(list(map(one, x, PLACES)))


NORMALIZED = Case(
    "generative.normalized_critic",
    lambda rng: (
        {"w": rng.normal(size=(1, 3)), "b": rng.normal(size=1)},
        batch(rng, 4, 3),
    ),
    apply_oracle,
    {"kind": "gn", **OPTIONS},
    call=apply_normalized,
    follows=1,
    bad=(*bad_batches("x", 1), *BAD_OPTIONS),
)


GP = {
    "target": 1.0,
    "one_sided": False,
    "power": 2.0,
    "weight": 10.0,
    "where": "interp",
}
BAD_PENALTY = (
    Bad("target", static={"target": -1.0}),
    Bad("power", static={"power": 0.5}),
    Bad("weight", static={"weight": -1.0}),
)


def uniform(key, critic, real, fake):
    dtype = jnp.promote_types(real.dtype, jnp.float32)
    return jax.random.uniform(key, real.shape[:1], dtype).astype(real.dtype)


def penalty_row(variant, shape=(4, 2, 3), unused=(), **options):
    interp = options.get("where", "interp") == "interp"
    return Case(
        "generative.gradient_penalty",
        lambda rng: (smooth, batch(rng, *shape), batch(rng, *shape)),
        oracle.penalty,
        {**GP, **options},
        variant=variant,
        draws=uniform if interp else None,
        call=None if interp else call_unkeyed,
        optional=unused,
        follows=1,
        bad=(
            *BAD_CRITICS,
            *bad_batches("x_real", 1),
            *bad_batches("x_fake", 2),
            *BAD_PENALTY,
            *((Bad("x_fake", args={2: np.ones((3, *shape[1:]))}),) if interp else ()),
            Bad("where", static={"where": "between"}),
        ),
    )


def call_unkeyed(critic, x_real, x_fake, **options):
    return gradient_penalty(None, critic, x_real, x_fake, **options)


PAIRS = Case(
    "generative.difference_quotient_penalty",
    lambda rng: (gentle, batch(rng, 4, 2, 3), batch(rng, 4, 2, 3)),
    oracle.quotient_penalty,
    {"target": 0.5, "one_sided": True, "power": 3.0, "weight": 2.0},
    follows=1,
    bad=(
        *BAD_CRITICS,
        *bad_batches("x_1", 1),
        *bad_arrays("x_2", 2, (3, 2, 3), (4, 3)),
        *BAD_PENALTY,
    ),
)


def losses(r, f, *, name):
    d_loss, g_loss = gan_losses(name)
    return d_loss(r, f), g_loss(f)


def loss_row(name):
    return Case(
        "generative.gan_losses",
        lambda rng: (rng.uniform(-0.9, 0.9, (5, 1)), rng.uniform(-0.9, 0.9, 4)),
        oracle.losses,
        {"name": name},
        variant=name,
        call=losses,
        titles=("d_loss", "g_loss"),
        bad=(
            *bad_arrays("r", 0, (0,)),
            *bad_arrays("f", 1, (0,)),
            Bad("f", args={1: np.ones(4, np.float16)}),
        ),
    )


STOPPED = "u and v, and what is made of them, carry no gradient by definition"
BAD_WEIGHTS = bad_arrays("w", 0, (3,), (), (0, 3), (2, 0))


def spectral_row(shape, n_iter):
    return Case(
        "generative.spectral_normalize",
        lambda rng: (rng.normal(size=shape), rng.normal(size=shape[-1])),
        oracle.spectral,
        {"n_iter": n_iter},
        variant=f"{len(shape)} axes",
        grad=False,
        reason=STOPPED,
        bad=(
            *BAD_WEIGHTS,
            *bad_arrays("u", 1, (5,), (1, shape[-1]), ()),
            Bad("u", args={1: np.ones(shape[-1], np.float16)}),
            Bad("n_iter", static={"n_iter": 0}),
        ),
    )


VECTOR = Case(
    "generative.spectral_vector",
    lambda rng: (rng.normal(size=(2, 4, 3)),),
    oracle.spectral_vector,
    {"n_iter": 2},
    draws=lambda key, w: jax.random.normal(
        key, w.shape[-1:], jnp.promote_types(w.dtype, jnp.float32)
    ),
    grad=False,
    reason=STOPPED,
    bad=(*BAD_WEIGHTS, Bad("n_iter", static={"n_iter": 0})),
)


def kernels(rng):
    return {
        "dense": rng.normal(size=(3, 4)),
        "conv": rng.normal(size=(2, 3, 2, 3)),
        "bias": rng.normal(size=3),
    }


def bound_row(norm):
    good = kernels(np.random.default_rng(0))
    wrong = (
        {},
        {"bias": good["bias"]},
        {**good, "bias": "text"},
        {**good, "bias": 1.0},
        {**good, "dense": good["dense"].astype(int)},
        {**good, "dense": np.ones((0, 3))},
        "text",
        None,
    )
    return Case(
        "generative.lipschitz_upper_bound",
        lambda rng: (kernels(rng),),
        oracle.upper_bound,
        {"norm": norm},
        variant=norm,
        data=(0,),
        extreme_grads=norm == "largest",
        reason="at 0 a norm has no gradient, and huge ones are products of them",
        bad=tuple(Bad("params", args={0: p}, traced=False) for p in wrong),
    )


def noise(key, f, x):
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    keys = jax.random.split(key, 2)
    return jnp.stack([jax.random.normal(k, (x.size,), dtype) for k in keys]).reshape(
        2, *x.shape
    )


QUOTIENTS = Case(
    "generative.empirical_lipschitz",
    lambda rng: (gentle, batch(rng, 4, 2, 3)),
    oracle.quotients,
    {"radius": 3.0, "num": 2},
    draws=noise,
    follows=1,
    bad=(
        *(Bad("f", args=bad.args, traced=False) for bad in BAD_CRITICS),
        *bad_batches("x", 1),
        Bad("radius", static={"radius": 0.0}),
        Bad("radius", static={"radius": -1.0}),
        Bad("num", static={"num": 0}),
    ),
)
CONSISTENCY = Case(
    "generative.consistency_penalty",
    lambda rng: (gentle, batch(rng, 4, 2, 3), batch(rng, 4, 2, 3)),
    oracle.consistency,
    {"weight": 3.0},
    follows=1,
    bad=(
        *BAD_CRITICS,
        *bad_batches("x", 1),
        *bad_arrays("augmented", 2, (3, 2, 3), (4, 3)),
        Bad("weight", static={"weight": -1.0}),
    ),
)


def moves(key, x):
    flip, down, right = jax.random.split(key, 3)
    most = [int(0.3 * side) for side in x.shape[1:3]]
    return (
        jax.random.bernoulli(flip, shape=x.shape[:1]),
        jax.random.randint(down, x.shape[:1], -most[0], most[0] + 1),
        jax.random.randint(right, x.shape[:1], -most[1], most[1] + 1),
    )


MOVED = Case(
    "generative.flip_translate",
    lambda rng: (batch(rng, 5, 4, 7, 2),),
    oracle.flip_translate,
    {"share": 0.3},
    draws=moves,
    bad=(
        *bad_arrays("x", 0, (4, 7, 2), (2, 5, 4, 7, 2)),
        Bad("share", static={"share": 1.0}),
        Bad("share", static={"share": -0.1}),
    ),
)

ROWS = (
    *(normalize_row(k, smooth) for k in ("gn", "gran", "gran_simple", "raw", "inner")),
    normalize_row("gn", bent, ", piecewise linear", piecewise_linear=True),
    NORMALIZED,
    Case(
        "generative.input_gradient_norm",
        lambda rng: (smooth, batch(rng, 4, 2, 3)),
        oracle.norms,
        follows=1,
        bad=(*BAD_CRITICS, *bad_batches("x", 1)),
    ),
    penalty_row("WGAN-GP"),
    penalty_row("WGAN-div", target=0.0, power=6.0, weight=2.0),
    penalty_row("R1", unused=("x_fake",), target=0.0, weight=0.5, where="real"),
    penalty_row("one-sided", unused=("x_real",), one_sided=True, where="fake"),
    PAIRS,
    *map(loss_row, ("wasserstein", "hinge", "ns", "minimax", "bce01")),
    spectral_row((4, 3), 1),
    spectral_row((2, 3, 2, 4), 3),
    VECTOR,
    *map(bound_row, ("spectral", "frobenius", "largest")),
    QUOTIENTS,
    CONSISTENCY,
    MOVED,
)
