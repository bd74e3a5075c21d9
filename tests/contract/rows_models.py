"""Contract rows of the networks, each through its functional form."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from kexue_jax.models import functional, image_classifier, unet_paper, unet_small
from tests.contract.case import Bad, Case
from tests.contract.chains import bad_arrays
from tests.oracles import classifier, unet


@functools.cache
def shapes_of(build, options):
    """The parameters of a network as shapes; nothing is compiled."""
    return jax.eval_shape(build(**dict(options)).init, jax.random.key(0))


def draw_params(rng, build, options):
    """Parameters of the size of an ordinary start, and no special zeros or ones."""

    def draw(leaf):
        return rng.normal(size=leaf.shape) / math.prod(leaf.shape[:-1]) ** 0.5

    return jax.tree.map(draw, shapes_of(build, tuple(options.items())))


def bad_params(shapes) -> tuple[Bad, ...]:
    """Parameters that lack or add a name, have a wrong shape, or are no dict."""
    good = jax.tree.map(lambda leaf: np.ones(leaf.shape), shapes)
    first, *rest = good
    wider = jax.tree.map(lambda leaf: leaf[None], good[first])
    wrong = (
        {name: good[name] for name in rest},
        {**good, "more": np.ones(2)},
        {**good, first: wider},
        {**good, first: jax.tree.map(lambda leaf: leaf.astype(int), good[first])},
        {**good, first: jax.tree.map(lambda leaf: leaf.tolist(), good[first])},
        {},
        [1.0],
        None,
    )
    return tuple(Bad("params", args={0: p}, traced=False) for p in wrong)


def bad_options(**options) -> tuple[Bad, ...]:
    """Each keyword with each of its malformed values."""
    return tuple(
        Bad(name, static={name: value})
        for name, values in options.items()
        for value in values
    )


BAD_SIZES = {
    "channels": (0,),
    "width": (0, True),
    "multipliers": (None, (), 2, "12", (1, 0), (1, 1.5)),
    "groups": (0,),
}
BAD_KEYS = tuple(Bad("key", static={"key": k}) for k in (0, np.zeros(2, np.uint32)))


def adapter(build):
    """``apply`` of the network that the keywords describe."""

    def call(params, x, t, y=None, *, key=None, **options):
        labels = () if y is None else (y,)
        return build(**options).apply(params, x, t, *labels, key=key)

    return call


def flat(f):
    """An oracle of [b, h, w, c] for images with any leading axes."""

    def oracle(params, x, t, y=None, **options):
        labels = None if y is None else y.reshape(-1)
        images = x.reshape(-1, *x.shape[-3:])
        return f(params, images, t.reshape(-1), labels, options).reshape(x.shape)

    return oracle


def small_oracle(params, x, t, y, options):
    # Odd sides are never pooled: the author's code, and the oracle, fail there.
    odd = x.shape[1] % 2 or x.shape[2] % 2
    side = 99 if odd else options["min_side"]
    return unet.unet_small(params, x, t, options["groups"], side, y)


def paper_oracle(params, x, t, y, options):
    return unet.unet_paper(params, x, t, options["groups"], options["width"], y)


def images(rng, build, options, *, lead, sides, floating=False):
    """Parameters, images, steps 1..5 (or between them), and labels if there are."""
    x = rng.normal(size=(*lead, *sides, options["channels"]))
    t = rng.integers(1, 6, lead).astype(np.int32)
    if floating:
        t = rng.uniform(1.1, 1.9, lead) + rng.integers(0, 3, lead)
    count = options.get("num_classes")
    labels = () if count is None else (rng.integers(0, count + 1, lead, np.int32),)
    return (draw_params(rng, build, options), x, t, *labels)


def bad_images(build, options, lead, sides) -> tuple[Bad, ...]:
    channels = options["channels"]
    return (
        *bad_params(shapes_of(build, tuple(options.items()))),
        *BAD_KEYS,
        *bad_arrays("x", 1, (*lead, *sides, channels + 1), (*lead, *sides), sides),
        Bad("t", args={2: np.ones(lead, bool)}),
        Bad("t", args={2: np.ones(lead, complex)}),
        Bad("t", args={2: 3}, traced=False),
    )


def network_row(build, oracle, options, variant, *, lead, sides, bad=(), **more):
    name = build.__name__
    return Case(
        f"models.{name}",
        functools.partial(
            images, build=build, options=options, lead=lead, sides=sides, **more
        ),
        flat(oracle),
        options,
        variant=variant,
        call=adapter(build),
        titles=("apply",),
        follows=1,
        optional=("num_classes",),
        bad=(*bad_images(build, options, lead, sides), *bad),
    )


SMALL = {
    "T": 5,
    "channels": 1,
    "width": 4,
    "multipliers": (1, 2),
    "blocks": 1,
    "min_side": 2,
    "groups": 2,
    "num_classes": 2,
}
PAPER = {
    "channels": 3,
    "width": 4,
    "multipliers": (1, 1),
    "blocks": 1,
    "middle_blocks": 1,
    "attention_stages": (1,),
    "middle_attention": True,
    "downsample": "conv",
    "upsample": "conv",
    "bias": True,
    "groups": 2,
    "zero_init": False,
    "num_classes": 2,
}


UNETS = (
    network_row(
        unet_small,
        small_oracle,
        SMALL,
        "labels",
        lead=(2, 1),
        sides=(4, 6),
        bad=(
            *bad_arrays("y", 3, (2,), (2, 1, 1)),
            *bad_options(**BAD_SIZES, T=(0,), blocks=(0,), min_side=(0,)),
            *bad_options(num_classes=(0,)),
        ),
    ),
    network_row(
        unet_small,
        small_oracle,
        {**SMALL, "multipliers": (2,), "num_classes": None},
        "odd sides, steps between",
        lead=(3,),
        sides=(3, 5),
        floating=True,
        bad=(
            Bad("y", static={"y": np.ones(3, np.int32)}),
            *bad_options(num_classes=(1.5, "text", True)),
        ),
    ),
    network_row(
        unet_paper,
        paper_oracle,
        PAPER,
        "labels, steps between",
        lead=(1, 2),
        sides=(2, 4),
        floating=True,
        bad=(
            *bad_arrays("y", 3, (1,), (1, 2, 1)),
            Bad("x", args={1: np.ones((1, 2, 3, 4, 3))}),
            *bad_options(
                **BAD_SIZES,
                blocks=(0,),
                attention_stages=(1, (2,), (-1,), (0.5,)),
                dropout_rate=(-0.1, 1.0, None, np.nan),
                middle_blocks=(0,),
                num_classes=(0,),
            ),
            *bad_options(width=(3,)),
        ),
    ),
)

TINY = {
    "num_classes": 3,
    "channels": 1,
    "width": 4,
    "multipliers": (1, 2),
    "feature_width": 5,
    "groups": 2,
    "dropout_rate": 0.0,
}


def classify(params, x, *, key=None, **options):
    """The classifier that the keywords describe."""
    return image_classifier(**options).apply(params, x, key=key)


def classifier_oracle(params, x, **options):
    flat = x.reshape(-1, *x.shape[-3:])
    results = classifier.image_classifier(params, flat, options["groups"])
    return tuple(r.reshape(*x.shape[:-3], r.shape[-1]) for r in results)


CLASSIFIER = Case(
    "models.image_classifier",
    lambda rng: (
        draw_params(rng, image_classifier, TINY),
        rng.normal(size=(2, 1, 2, 6, 1)),
    ),
    classifier_oracle,
    TINY,
    call=classify,
    titles=("apply",),
    follows=1,
    bad=(
        *bad_params(shapes_of(image_classifier, tuple(TINY.items()))),
        *BAD_KEYS,
        *bad_arrays("x", 1, (2, 1, 2, 6, 2), (6, 1)),
        *bad_options(**BAD_SIZES, num_classes=(0,), feature_width=(0,)),
        *bad_options(dropout_rate=(-0.1, 1.0)),
    ),
)


class Gate(nnx.Module):
    """``tanh(scale) * offset``, with the two under other names in a list."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.parts = nnx.List([nnx.Param(rngs.params.normal((3, 1))) for _ in "ab"])

    def __call__(self):
        scale, offset = self.parts
        return jnp.tanh(scale[...]) * offset[...]


class Stateful(nnx.Module):
    """A module that holds more than parameters."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.count = nnx.Variable(jnp.zeros(()))


def gate(rngs):
    return Gate(rngs=rngs)


def apply_built(constructor, params, *, key=None):
    """The call of the constructor's module with the parameters put in place."""
    return functional(constructor).apply(params, key=key)


def gate_params(rng):
    return {"parts": {"0": rng.normal(size=(3, 1)), "1": rng.normal(size=(3, 1))}}


def gate_oracle(constructor, params):
    return np.tanh(params["parts"]["0"]) * params["parts"]["1"]


FUNCTIONAL = Case(
    "models.functional",
    lambda rng: (gate, gate_params(rng)),
    gate_oracle,
    call=apply_built,
    titles=("apply",),
    follows=1,
    data=(1,),
    bad=(
        Bad("constructor", args={0: lambda rngs: 3}),
        Bad("constructor", args={0: lambda rngs: Stateful(rngs=rngs)}),
        *(
            Bad("params", args={1: bad.args[0]}, traced=False)
            for bad in bad_params(
                {"parts": {"0": np.ones((3, 1)), "1": np.ones((3, 1))}}
            )
        ),
        *BAD_KEYS,
    ),
)

ROWS = (*UNETS, CLASSIFIER, FUNCTIONAL)
