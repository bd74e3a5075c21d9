"""Contract rows of initializers, moments of activations, norms, wirings, profile."""

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax import theory
from tests.contract.case import Bad, Case
from tests.contract.rows_gradients import bent
from tests.oracles import initialization as oracle

CONSTANT = "a random matrix has no argument to differentiate"
SHAPE = (4, 3)
BAD_CALLS = (
    Bad("shape", static={"shape": 3}),
    Bad("shape", static={"shape": (2.0, 3)}),
    Bad("dtype", static={"dtype": jnp.int32}),
    Bad("dtype", static={"dtype": "text"}),
)


def drawn(build):
    """An initializer built and called, in float64 whatever the dtype of the row."""

    def call(key, *, dtype=jnp.float32, shape=SHAPE, **options):
        floating = isinstance(dtype, np.dtype) and jnp.issubdtype(dtype, jnp.floating)
        exact = jnp.float64 if floating else dtype
        return build(**options)(key, shape, exact).astype(dtype)

    return call


def cut(key):
    return jax.random.truncated_normal(key, -2, 2, SHAPE, jnp.float64)


def drawn_row(name, draws, wanted, options, variant="", bad=()):
    return Case(
        f"theory.{name}",
        lambda rng: (),
        wanted,
        options,
        variant=variant,
        draws=draws,
        call=drawn(getattr(theory, name)),
        takes_dtype=True,
        follows=None,
        grad=False,
        reason=CONSTANT,
        bad=(*BAD_CALLS, *bad),
    )


def truncated_oracle(*, draws, stddev, corrected):
    return stddev * draws / (np.sqrt(oracle.TRUNCATED) if corrected else 1)


def scaling_oracle(*, draws, scale, mode, distribution):
    count = {"fan_in": 4, "fan_out": 3, "fan_avg": 3.5}[mode]
    if distribution == "uniform":
        return draws * np.sqrt(3 * scale / count)
    return draws * np.sqrt(scale / count / oracle.TRUNCATED)


def unit(key):
    return jax.random.uniform(key, SHAPE, jnp.float64, -1)


BAD_AXES = tuple(
    Bad(axis, static={axis: wrong})
    for axis in ("in_axis", "out_axis", "batch_axis")
    for wrong in ("text", 1.5)
)


def uneven(z):
    """An activation in operators alone whose mean is not 0."""
    return bent(z) + z * z / (1 + z * z)


def moments(phi, weight, **options):
    """activation_moments of an activation with a weight that can be differentiated."""
    if callable(phi):
        return theory.activation_moments(lambda z: weight["a"] * phi(z), **options)
    return theory.activation_moments(phi, **options)


def moments_oracle(phi, weight, **_):
    return oracle.normal_moments(lambda z: weight["a"] * phi(z))


def rescaled(phi, z, **options):
    return theory.rescale_activation(phi, **options)(z["z"])


def rescaled_oracle(phi, z, **_):
    return phi(z["z"]) / np.sqrt(oracle.normal_moments(phi)[1])


BAD_RULES = (
    Bad("nodes", static={"nodes": 1}),
    *(
        Bad("kinks", static={"kinks": wrong})
        for wrong in (None, 0.0, (1.0, 0.0), (13.0,), ("text",))
    ),
)
NO_ARRAYS = "numbers in, numbers out: nothing to map over"


def numbers(function):
    def call(**options):
        return tuple(map(jnp.asarray, function(**options)))

    return call


def number_row(name, wanted, options, bad, variant=""):
    return Case(
        f"theory.{name}",
        lambda rng: (),
        wanted,
        options,
        variant=variant,
        call=numbers(getattr(theory, name)),
        follows=None,
        grad=False,
        vmap=False,
        reason=NO_ARRAYS,
        bad=bad,
    )


def deepnorm_oracle(*, num_layers, optimizer):
    n = num_layers
    return {
        "paper": ((2 * n) ** 0.25, (8 * n) ** -0.25),
        "sgd": ((2 * n) ** 0.25, (2 * n) ** -0.25),
        "adam": ((2 * n) ** 0.5, (2 * n) ** -0.5),
        "lamb": (1.0, (2 * n) ** -0.5),
    }[optimizer]


def branch(x):
    return x / (1 + x * x)


def wiring_row(wiring, alpha, gain):
    return Case(
        "theory.residual_block",
        lambda rng: (rng.normal(size=(2, 1, 5)), branch),
        lambda x, f, **o: oracle.residual_block(x, f, **o),
        {"wiring": wiring, "alpha": alpha, "gain": gain},
        variant=wiring,
        bad=(
            Bad("x", args={0: np.ones(())}),
            Bad("branch", args={1: lambda x: x[..., :2]}),
            Bad("norm", static={"norm": 3}),
        ),
    )


def moments_row(wiring):
    def wanted(branches, *, wiring, alpha):
        rows = [oracle.stream_moments(row, wiring, alpha) for row in branches]
        return tuple(np.stack(part) for part in zip(*rows, strict=True))

    return Case(
        "theory.stream_moments",
        lambda rng: (rng.uniform(0, 1, (2, 4)),),
        wanted,
        {"wiring": wiring, "alpha": 1.3},
        variant=wiring,
        extremes=False,
        reason="a variance is at least 0",
        bad=(Bad("branches", args={0: np.ones(())}),),
    )


def sublayers(branches):
    return tuple(lambda p, x, tap, b=b: x + tap(b(p, x)) for b in branches)


BRANCHES = (lambda p, x: p * x, lambda p, x: x / (1 + p * p * x * x))


def score(x):
    return (x / (1 + x * x)).sum()


def profile_oracle(params, x, f):
    return oracle.profile(BRANCHES, params, x, f)


GOOD = sublayers(BRANCHES)


def profiled(params, x, f, *, sublayers=GOOD):
    return theory.signal_gradient_profile(sublayers, params, x, f)


PROFILE = Case(
    "theory.signal_gradient_profile",
    lambda rng: (
        [rng.uniform(0.2, 0.8, 3), rng.uniform(0.2, 0.8, 3)],
        rng.normal(size=4),
        score,
    ),
    profile_oracle,
    call=profiled,
    follows=1,
    grad=False,
    extreme_grads=False,
    tolerance={"bfloat16": 6e-2},
    reason="what is behind stop_gradient has no second derivative; in bfloat16 the "
    "gradients come through six sublayers in bfloat16",
    bad=(
        *(
            Bad("sublayers", static={"sublayers": wrong})
            for wrong in (
                None,
                (),
                (GOOD[0], 3),
                (lambda p, x, tap: x, GOOD[1]),
                (lambda p, x, tap: x[:1] + tap(x[:1]), GOOD[1]),
            )
        ),
        Bad("params", args={0: [np.ones(3)]}, traced=False),
        Bad("params", args={0: [np.ones(3), np.ones(2)]}),
        Bad("params", args={0: [np.ones(3), np.ones(())]}),
        Bad("f", args={2: lambda x: x}),
    ),
)


def head(rng, d=3):
    vectors = rng.normal(size=(3, d))
    return theory.HeadParams(rng.normal(size=(d, d)), *vectors)


def head_row(layer, variant):
    return Case(
        "theory.mlm_logits",
        lambda rng: (
            rng.normal(size=(2, 1, 3)),
            rng.normal(size=(4, 3)),
            rng.normal(size=4),
            head(rng) if layer else None,
        ),
        oracle.mlm_logits,
        {"eps": 1e-3},
        variant=variant,
        optional=("bias", "layer"),
        bad=(
            Bad("embedding", args={1: np.ones((4, 2))}),
            Bad("bias", args={2: np.ones(3)}),
            Bad("layer", args={3: tuple(np.ones((4, 3)))}, traced=False),
            Bad("layer.kernel", args={3: head(np.random.default_rng(0), 4)}),
        ),
    )


def norm_bad(*names):
    return (
        Bad("eps", static={"eps": -1.0}),
        *(Bad(name, args={k: np.ones(3)}) for k, name in enumerate(names, 1)),
    )


ROWS = (
    *(
        drawn_row(
            "truncated_normal",
            cut,
            truncated_oracle,
            {"stddev": 0.5, "corrected": corrected},
            f"corrected {corrected}",
        )
        for corrected in (True, False)
    ),
    *(
        drawn_row(
            "variance_scaling",
            draws,
            scaling_oracle,
            {"scale": 2.0, "mode": mode, "distribution": distribution},
            f"{distribution}, {mode}",
            BAD_AXES,
        )
        for draws, mode, distribution in (
            (cut, "fan_in", "truncated_normal"),
            (unit, "fan_avg", "uniform"),
        )
    ),
    *(
        drawn_row(
            "zero_hadamard",
            lambda key: (),
            lambda *, draws, gain, shape: oracle.hadamard(*shape, gain),
            {"gain": 1.5, "shape": shape},
            f"{shape}",
            (Bad("shape", static={"shape": (3,)}),),
        )
        for shape in ((4, 3), (3, 5))
    ),
    Case(
        "theory.activation_moments",
        lambda rng: (uneven, {"a": rng.normal(size=())}),
        moments_oracle,
        {"nodes": 64},
        call=moments,
        follows=None,
        bad=(*BAD_RULES, Bad("phi", args={0: lambda z: z[:1]})),
    ),
    Case(
        "theory.rescale_activation",
        lambda rng: (bent, {"z": rng.normal(size=(2, 3))}),
        rescaled_oracle,
        {"nodes": 64},
        call=rescaled,
        follows=1,
        bad=BAD_RULES,
    ),
    number_row(
        "selu_constants",
        lambda **_: oracle.selu_constants(),
        {"mean": 0.0, "variance": 1.0},
        (Bad("variance", static={"variance": 0.0}),),
    ),
    *(
        number_row(
            "deepnorm_constants",
            deepnorm_oracle,
            {"num_layers": 6, "optimizer": optimizer},
            (Bad("num_layers", static={"num_layers": 0}),),
            optimizer,
        )
        for optimizer in ("paper", "sgd", "adam", "lamb")
    ),
    Case(
        "theory.layer_norm",
        lambda rng: (rng.normal(size=(2, 1, 5)), *rng.normal(size=(2, 5))),
        oracle.layer_norm,
        {"eps": 1e-3},
        optional=("scale", "offset"),
        bad=norm_bad("scale", "offset"),
    ),
    Case(
        "theory.rms_norm",
        lambda rng: (rng.normal(size=(2, 1, 5)), rng.normal(size=5)),
        oracle.rms_norm,
        {"eps": 1e-3},
        optional=("scale",),
        bad=norm_bad("scale"),
    ),
    Case(
        "theory.ntk_dense",
        lambda rng: (
            rng.normal(size=(2, 1, 4)),
            rng.normal(size=(4, 3)),
            rng.normal(size=3),
        ),
        lambda x, w, b: x @ w / 2 + b,
        optional=("b",),
        bad=(
            Bad("w", args={1: np.ones((3, 4))}),
            Bad("b", args={2: np.ones(4)}),
        ),
    ),
    wiring_row("post", 1.0, 1.0),
    wiring_row("pre", 1.0, 0.7),
    wiring_row("none", 1.0, 1.0),
    wiring_row("rezero", 1.0, 0.1),
    wiring_row("deepnorm", 1.6, 1.0),
    *(moments_row(wiring) for wiring in theory.residual.WIRINGS[:3]),
    moments_row("deepnorm"),
    head_row(True, "with its layer"),
    head_row(False, "without"),
    PROFILE,
)
