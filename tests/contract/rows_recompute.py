"""Contract rows of recomputation."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from kexue_jax.training import (
    memory_report,
    recompute_cost,
    remat,
    segment_length,
    unstack_params,
)
from tests.contract.case import Bad, Case
from tests.oracles import recompute as oracle

NUMBERS = "numbers about a program: there is nothing to differentiate or to map"


def layer(x, p):
    h = checkpoint_name(jnp.tanh(x @ p["w"] + p["b"][None]), "h")
    return x + h


def tree(rng, *lead):
    return {"w": rng.normal(size=(*lead, 3, 3)), "b": rng.normal(size=(*lead, 3))}


def one_layer(fn, inputs, *, policy, **options):
    return remat(fn, policy=policy, **options)(inputs["x"], inputs["p"])


def one_oracle(fn, inputs, *, policy, **options):
    single = {name: leaf[None] for name, leaf in inputs["p"].items()}
    return oracle.stack(single, inputs["x"])


def bad(argument, *values, **more):
    return tuple(Bad(argument, static={argument: value, **more}) for value in values)


def remat_row(policy):
    return Case(
        "training.remat",
        lambda rng: (layer, {"x": rng.normal(size=(2, 3)), "p": tree(rng)}),
        one_oracle,
        {"policy": policy, "prevent_cse": False},
        call=one_layer,
        variant=policy,
        follows=1,
        data=(1,),
        bad=(
            *bad("policy", "names", "names:", "names:h,", "dots:h", "names:H", "+"),
            *bad("policy", "dots+offload_dots", "dots+"),
            *bad("static_argnums", None, 1.0, ("x",), (True,)),
            *bad("static_argnames", None, 1, (1,), "no_such"),
            *bad("enabled", None, 1),
        ),
    )


def scan_row(variant, layers, **options):
    static = {"unroll": 1, "nested": False, "segment": 2, **options}
    return Case(
        "training.scan_layers",
        lambda rng: (layer, tree(rng, layers), rng.normal(size=(2, 3))),
        lambda block, params, x, **_: oracle.stack(params, x),
        static,
        variant=variant,
        follows=2,
        data=(1,),
        titles=("remat",),
        optional=("remat_policy",) if static["nested"] else ("segment",),
        complexes=("x",),
        bad=(
            Bad("x", args={2: {}}, traced=False),
            Bad("block", args={0: lambda x, p: x.sum()}),
            Bad("block", args={0: lambda x, p: (x, x)}),
            Bad("block", args={0: lambda x, p: x.astype(np.float16)}),
            Bad("stacked_params", args={1: {"w": np.ones((2, 3, 3)), "b": np.ones(3)}}),
            Bad("stacked_params", args={1: {"w": np.ones(()), "b": np.ones(3)}}),
            Bad("stacked_params", args={1: {"w": np.ones((0, 3, 3))}}),
            Bad("stacked_params", args={1: {}}, traced=False),
            Bad("stacked_params", args={1: {"w": "text"}}, traced=False),
            *bad("segment", (), (2, 0), 0, (1.5,), "2"),
            *bad("remat_policy", "no", 3, "names:no,", segment=None, nested=False),
            Bad(
                "policy",
                static={"remat_policy": "names:H", "segment": None, "nested": False},
            ),
            *bad("remat_policy", "dots", nested=False),
            *bad("nested", True, segment=None, remat_policy=None),
        ),
    )


def numbers(function):
    """The numbers that a function of sizes gives, as an array."""

    def call(**sizes):
        return jnp.asarray(function(**sizes))

    return call


def plain_row(name, function, wanted, static, bads, variant=""):
    return Case(
        f"training.{name}",
        lambda rng: (),
        wanted,
        static,
        call=numbers(function),
        variant=variant,
        titles=(name,),
        follows=None,
        vmap=False,
        grad=False,
        extremes=False,
        reason=NUMBERS,
        optional=("segment",) if static.get("segment", 1) is None else (),
        bad=bads,
    )


def cost_oracle(*, num_layers, layer_bytes, boundary_bytes, way, segment=None):
    found = oracle.cost(num_layers, layer_bytes, boundary_bytes, way, segment)
    return np.array(found, float)


def length_oracle(*, num_layers, layer_bytes, boundary_bytes):
    return np.array(oracle.best_segment(num_layers, layer_bytes, boundary_bytes))


SIZES = {"num_layers": 10, "layer_bytes": 3.5, "boundary_bytes": 0.5}
BAD_SIZES = (
    *bad("num_layers", 0, True),
    *bad("layer_bytes", 0.0, -1.0, True),
    *bad("boundary_bytes", 0.0, -1.0),
)


def report(*, gradient, argnums, args=None, fn=None):
    """Bytes of arguments and of residuals."""
    shapes = (jax.ShapeDtypeStruct((5, 3), jnp.float32),) * 2
    found = memory_report(
        (lambda x, y: jnp.sum(jnp.exp(x) * y)) if fn is None else fn,
        shapes if args is None else args,
        argnums=argnums,
        gradient=gradient,
    )
    return jnp.asarray([found.argument_bytes, found.residual_bytes])


def report_oracle(*, gradient, argnums):
    size = 4 * 3 * 5
    return np.array([2 * size, size * gradient])


def report_row(gradient):
    return Case(
        "training.memory_report",
        lambda rng: (),
        report_oracle,
        {"gradient": gradient, "argnums": 1},
        call=report,
        titles=("memory_report",),
        variant=f"gradient {gradient}",
        follows=None,
        vmap=False,
        grad=False,
        extremes=False,
        reason=NUMBERS,
        bad=(
            *bad("argnums", 2, (0, 2), (), "0", True),
            *bad("args", 3, {}, "text"),
            *bad("fn", 3, "text", ()),
            *bad("fn", lambda x, y: x, lambda x, y: None, gradient=True),
        ),
    )


LAYERS_BAD = (
    Bad("layers", args={0: []}, traced=False),
    Bad("layers", args={0: [{}]}, traced=False),
    Bad("layers", args={0: [{"w": np.ones(2)}, {"w": np.ones(3)}]}),
    Bad("layers", args={0: [{"w": np.ones(2)}, {"v": np.ones(2)}]}),
    Bad("layers", args={0: [{"w": np.ones(2)}, {"w": np.ones(2, int)}]}),
    Bad("layers", args={0: [{"w": np.ones(2)}, [np.ones(2)]]}),
)
STACK = Case(
    "training.stack_params",
    lambda rng: ([tree(rng) for _ in range(3)],),
    lambda layers: {n: np.stack([p[n] for p in layers]) for n in layers[0]},
    data=(0,),
    bad=LAYERS_BAD,
)
UNSTACK = Case(
    "training.unstack_params",
    lambda rng: (tree(rng, 3),),
    lambda stacked: [{n: v[i] for n, v in stacked.items()} for i in range(3)],
    call=lambda stacked: unstack_params(stacked),
    titles=("unstack_params",),
    data=(0,),
    bad=tuple(
        Bad("stacked", args={0: value}, traced=False)
        for value in (
            {},
            None,
            {"w": 1.0},
            {"w": "text"},
            {"w": None},
            {"w": np.ones(())},
            {"w": np.ones((0, 2))},
            {"w": np.ones((2, 2)), "b": np.ones(3)},
            {"w": object()},
        )
    ),
)

ROWS = (
    remat_row("nothing"),
    remat_row("dots+names:h"),
    scan_row("segments", 5),
    scan_row("nested, unrolled", 4, nested=True, unroll=2, remat_policy="names:h"),
    STACK,
    UNSTACK,
    plain_row(
        "recompute_cost",
        recompute_cost,
        cost_oracle,
        {**SIZES, "way": "nested", "segment": 4},
        (
            *BAD_SIZES,
            *bad("segment", 0, True, (4, 0), ()),
            *bad("segment", 3, way="layers"),
            *bad("way", "segment", "all"),
        ),
    ),
    plain_row("segment_length", segment_length, length_oracle, SIZES, BAD_SIZES),
    report_row(True),
    report_row(False),
)
