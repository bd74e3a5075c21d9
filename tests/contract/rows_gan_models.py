"""Contract rows of the networks of GANs, and of weights kept small."""

import numpy as np
import optax

from kexue_jax.models import gan_critic, gan_generator, leaky_perceptron
from kexue_jax.optim import clip_weights
from tests.contract.case import Bad, Case
from tests.contract.chains import bad_arrays
from tests.contract.rows_models import (
    BAD_KEYS,
    bad_options,
    bad_params,
    draw_params,
    shapes_of,
)
from tests.contract.rows_optim import bad_trees, tree
from tests.oracles import gan as oracle


def network_row(build, wanted, options, shape, wrong, variant="", bad=()):
    def of_images(params, x, *, key=None, **options):
        return build(**options).apply(params, x, key=key)

    def of_noise(params, z, *, key=None, **options):
        return of_images(params, z, key=key, **options)

    argument = "z" if build is gan_generator else "x"
    return Case(
        f"models.{build.__name__}",
        lambda rng: (draw_params(rng, build, options), rng.normal(size=shape)),
        wanted,
        options,
        variant=variant,
        call=of_noise if argument == "z" else of_images,
        titles=("apply",),
        follows=1,
        bad=(
            *bad_params(shapes_of(build, tuple(options.items()))),
            *BAD_KEYS,
            *(Bad(argument, args=b.args) for b in bad_arrays(argument, 1, *wrong)),
            *bad_options(slope=(-0.1, 1.1)),
            *bad,
        ),
    )


PERCEPTRON = {"sizes": (3, 5, 4, 2), "slope": 0.2, "bias": True, "tanh": False}
BAD_SIZES = bad_options(sizes=(None, 3, (3,), (3, 0), (3, 1.5), "32"))
IMAGES = {"sides": (4, 8), "channels": 2, "width": 2, "stages": 2, "slope": 0.2}
BAD_IMAGES = bad_options(
    sides=(None, 4, (4,), (4, 6), (0, 4), (4, 8.0)),
    channels=(0,),
    width=(0,),
    stages=(0,),
)


def limited(params, updates, more, *, max_weight):
    """The parameters after two updates, kept within the bound."""
    transformation = clip_weights(max_weight)
    state = transformation.init(params)
    for step in (updates, more):
        moves, state = transformation.update(step, state, params)
        params = optax.apply_updates(params, moves)
    return params


def limited_oracle(params, updates, more, *, max_weight):
    for step in (updates, more):
        params = {
            n: np.clip(p + step[n], -max_weight, max_weight) for n, p in params.items()
        }
    return params


ROWS = (
    network_row(
        leaky_perceptron,
        oracle.perceptron,
        PERCEPTRON,
        (2, 1, 3),
        ((2, 4), ()),
        bad=BAD_SIZES,
    ),
    network_row(
        leaky_perceptron,
        oracle.perceptron,
        {**PERCEPTRON, "bias": False, "tanh": True},
        (3,),
        ((2, 4), ()),
        "images",
    ),
    network_row(
        gan_critic,
        oracle.critic,
        IMAGES,
        (2, 1, 4, 8, 2),
        ((4, 8), (3, 4, 8, 1), (3, 8, 4, 2)),
        bad=BAD_IMAGES,
    ),
    network_row(
        gan_generator,
        oracle.generator,
        {**IMAGES, "noise": 3},
        (2, 1, 3),
        ((2, 4), ()),
        bad=(*BAD_IMAGES, *bad_options(noise=(0,))),
    ),
    Case(
        "optim.clip_weights",
        lambda rng: (tree(rng), tree(rng), tree(rng)),
        limited_oracle,
        {"max_weight": 0.3},
        call=limited,
        data=(0, 1, 2),
        bad=(
            *bad_trees("updates", 1),
            Bad("params", args={0: None}),
            *bad_options(max_weight=(0.0, -1.0)),
        ),
    ),
)
