"""Contract rows of importance weights, the densities and losses made of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.generative import (
    hierarchical_log_weights,
    linear_gaussian,
)
from kexue_jax.models import vae
from tests.contract.case import Bad, Case
from tests.contract.chains import bad_arrays
from tests.contract.rows_models import bad_options
from tests.oracles import vae as oracle

M, B, K, D = 5, 3, 2, 4


def encode(x):
    """Mean and log_scale in operators alone, for NumPy and JAX."""
    a, b = x[..., :K], x[..., K : 2 * K]
    return 0.5 * a - 0.2 * b, 0.1 * a * b / (1 + a * a + b * b) - 0.3


def log_lik(x, z):
    a, b = z[..., :1], z[..., 1:]
    return -((x - 0.7 * a) ** 2 + 0.5 * (x + 0.4 * b) ** 2 + b / (1 + b * b)).sum(-1)


def log_prior(z):
    return -(z * z + z / (1 + z * z)).sum(-1)


def data(rng):
    return rng.normal(size=(B, 2 * K))


def normal(key, *shape, dtype):
    return jax.random.normal(key, shape, jnp.promote_types(dtype, jnp.float32))


BAD_ENCODERS = tuple(
    Bad("encode", args={1: f})
    for f in (
        lambda x: x,
        lambda x: (x, x, x),
        lambda x: (x[..., :2], x[..., :1]),
        lambda x: (1.0, 2.0),
        lambda x: (x > 0, x > 0),
    )
)
BAD_LIKELIHOODS = tuple(
    Bad("log_lik", args={2: f})
    for f in (lambda x, z: z, lambda x, z: 1.0, lambda x, z: z[..., 0] > 0)
)
BAD_PRIORS = (
    Bad("log_prior", static={"log_prior": 3}),
    Bad("log_prior", static={"log_prior": lambda z: z}),
)
BAD_MODELS = (*BAD_ENCODERS, *BAD_LIKELIHOODS, *BAD_PRIORS)


def one_draw(key, x, *_):
    return normal(key, M, B, K, dtype=x.dtype)


WEIGHTS = tuple(
    Case(
        "generative.log_weights",
        lambda rng: (data(rng), encode, log_lik),
        lambda x, e, f, draws, num_samples, estimator, prior=prior, **_: (
            oracle.log_weights(x, e, f, draws, prior)
        ),
        {"num_samples": M, "estimator": estimator, **more},
        variant=estimator,
        draws=one_draw,
        grad=estimator == "plain",
        reason="" if estimator == "plain" else "half of the gradient is left out",
        wide=True,
        bad=(*BAD_MODELS, Bad("num_samples", static={"num_samples": 0})),
    )
    for estimator, prior, more in (
        ("plain", None, {}),
        ("stl", log_prior, {"log_prior": log_prior}),
    )
)


def top(z):
    return 0.3 * z, 0.1 * z / (1 + z * z)


def below(z):
    return z / (1 + z * z), 0.2 * z / (1 + z * z)


def layered(key, x, encoders, priors, log_lik, *, num_samples):
    """Two layers, of which the contract varies the first functions."""
    lists = [encoders, top], [priors]
    return hierarchical_log_weights(key, x, *lists, log_lik, num_samples=num_samples)


LAYERS = Case(
    "generative.hierarchical_log_weights",
    lambda rng: (data(rng), encode, below, log_lik),
    lambda x, e, p, f, draws, num_samples: oracle.hierarchical(
        x, [e, top], [p], f, draws
    ),
    {"num_samples": M},
    draws=lambda key, x, *_: [
        normal(jax.random.fold_in(key, i), M, B, K, dtype=x.dtype) for i in (1, 2)
    ],
    call=layered,
    wide=True,
    bad=(
        *(Bad("encoders", args=bad.args) for bad in BAD_ENCODERS),
        *(Bad("log_lik", args={3: bad.args[2]}) for bad in BAD_LIKELIHOODS),
        Bad("priors", args={2: lambda z: z}),
        Bad("priors", args={2: lambda z: (z[..., :1], z[..., :1])}),
        Bad("num_samples", static={"num_samples": 0}),
    ),
)


def chunks(key, x, *_, m, chunk, share):
    """The noise of every chunk, and which samples are the prior's."""
    found = []
    for place, start in enumerate(range(0, m, chunk)):
        size = min(chunk, m - start)
        eps = normal(jax.random.fold_in(key, place), size, B, K, dtype=x.dtype)
        own = jax.random.fold_in(key, np.uint32(2**31 + place))
        u = jax.random.uniform(own, (size, B), eps.dtype)
        found.append((eps, u < share))
    return [jnp.concatenate(part) for part in zip(*found, strict=True)]


def estimate_oracle(x, encode, log_lik, draws, prior_share, **_):
    eps, from_prior = draws
    mean, log_scale = encode(x)
    z = np.where(from_prior[..., None], eps, mean + np.exp(log_scale) * eps)
    proposal = mean, log_scale
    return oracle.estimate(oracle.weights(x, z, proposal, log_lik, share=prior_share))


ESTIMATES = tuple(
    Case(
        "generative.estimate_log_prob",
        lambda rng: (data(rng), encode, log_lik),
        estimate_oracle,
        {"num_samples": m, "chunk": chunk, "prior_share": share},
        variant=f"{m} by {chunk}, share {share}",
        draws=functools.partial(chunks, m=m, chunk=chunk, share=share),
        wide=True,
        tolerance={"bfloat16": 1e-1},
        reason="ratios of exponentials of log-densities from rounded data",
        bad=(
            *BAD_MODELS,
            *bad_options(chunk=(0,), num_samples=(0,), prior_share=(1.0, -0.1)),
        ),
    )
    for m, chunk, share in ((4, 2, 0.3), (5, 9, 0.0))
)

REFINED = Case(
    "generative.refined_proposal",
    lambda rng: (data(rng), encode, log_lik),
    lambda x, e, f, draws, num_steps, num_samples, learning_rate: oracle.refined(
        x, e, f, draws, learning_rate
    ),
    {"num_steps": 3, "num_samples": 2, "learning_rate": 0.1},
    draws=lambda key, x, *_: [
        normal(jax.random.fold_in(key, t), 2, B, K, dtype=x.dtype) for t in range(3)
    ],
    wide=True,
    bad=(*BAD_MODELS, *bad_options(learning_rate=(0.0,), num_steps=(0,))),
)


def joint(x, z):
    return log_lik(x, z) + log_prior(z)


QUADRATURE = Case(
    "generative.gauss_hermite_log_prob",
    lambda rng: (
        data(rng),
        joint,
        rng.normal(size=(B, K)),
        rng.uniform(0.3, 0.8, (B, K)),
    ),
    oracle.gauss_hermite,
    {"nodes": 4},
    wide=True,
    extremes=False,
    reason="a scale of 0 or below has no nodes",
    bad=(
        Bad("log_joint", args={1: lambda x, z: z}),
        *bad_arrays("mean", 2, (B, 3), ()),
        *bad_arrays("scale", 3, (B, 1), (K,)),
        *bad_options(nodes=(0, 129)),
    ),
)


def linear(w, b, s2, x):
    """All that the model of ``linear_gaussian`` knows of x."""
    model = linear_gaussian(w, b, s2)
    return (model.log_prob(x), *model.posterior(x))


LINEAR = Case(
    "generative.linear_gaussian",
    lambda rng: (
        rng.normal(size=(D, K)),
        rng.normal(size=D),
        np.array(rng.uniform(0.5, 1)),
        rng.normal(size=(B, D)),
    ),
    oracle.linear_gaussian,
    call=linear,
    titles=("log_prob", "posterior"),
    wide=True,
    extremes=False,
    reason="a variance of 0 or below has no density",
    bad=(
        *bad_arrays("w", 0, (D,), (D, K, 1)),
        *bad_arrays("b", 1, (K,), (D, 1)),
        *bad_arrays("x", 3, (B, K), ()),
        Bad("s2", args={2: np.ones(1)}),
        Bad("s2", args={2: 0.0}, traced=False),
    ),
)


def tuned_encode(params, x):
    mean, log_scale = encode(x)
    return mean * params["m"], log_scale + params["s"]


def tuned_lik(params, x, z):
    return log_lik(x, z * params["a"])


def loss_oracle(params, x, encode, log_lik, draws, num_samples, **_):
    log_w = oracle.log_weights(
        x, lambda x: encode(params, x), lambda x, z: log_lik(params, x, z), draws
    )
    bound = oracle.iwae_bound(log_w)
    return (
        -bound.mean(),
        bound,
        oracle.elbo(log_w),
        oracle.effective_sample_size(log_w),
    )


def tuned(rng):
    return {name: np.array(rng.uniform(0.5, 1)) for name in "msa"}


LOSSES = tuple(
    Case(
        "generative.iwae_loss",
        lambda rng: (tuned(rng), data(rng), tuned_encode, tuned_lik),
        loss_oracle,
        {"num_samples": 6, "estimator": estimator, "encoder_groups": groups},
        variant=f"{estimator}, {groups}",
        draws=lambda key, params, x, *_: normal(key, 6, B, K, dtype=x.dtype),
        grad=False,
        reason="what is reported has no gradient; that of the loss, which is an "
        "estimator's, is checked in tests/generative",
        follows=1,
        wide=True,
        tolerance={"bfloat16": 1e-1},
        bad=(
            *(
                Bad("encode", args={2: lambda p, x, f=b.args[1]: f(x)})
                for b in BAD_ENCODERS
            ),
            *(
                Bad("log_lik", args={3: lambda p, x, z, f=b.args[2]: f(x, z)})
                for b in BAD_LIKELIHOODS
            ),
            Bad("log_prior", static={"log_prior": 3}),
            Bad("log_prior", static={"log_prior": lambda p, z: z}),
            *bad_options(num_samples=(0,), encoder_groups=(0, 4)),
        ),
    )
    for estimator, groups in (("plain", 1), ("dreg", 2))
)


def log_start(z):
    return -(z * z).sum(-1) / 2


def log_end(z):
    return -((z - 1) ** 2).sum(-1) - 0.2 * (z / (1 + z * z)).sum(-1)


BETAS = (0.0, 0.3, 1.0)


def moves(key, z, *_):
    dtype = jnp.promote_types(z.dtype, jnp.float32)
    return [
        (
            jax.random.normal(jax.random.fold_in(key, 2 * t), z.shape, dtype),
            jax.random.uniform(jax.random.fold_in(key, 2 * t + 1), z.shape[:-1], dtype),
        )
        for t in range(1, len(BETAS))
    ]


ANNEALED = Case(
    "generative.annealed_log_weights",
    lambda rng: (rng.normal(size=(B, K)), log_start, log_end),
    lambda z, a, b, draws, betas, step_size, leapfrog_steps: oracle.annealed(
        z, a, b, draws, betas, step_size, leapfrog_steps
    ),
    {"betas": BETAS, "step_size": 0.3, "leapfrog_steps": 2},
    draws=moves,
    wide=True,
    bad=(
        *bad_arrays("z", 0, ()),
        Bad("log_start", args={1: lambda z: z}),
        Bad("log_end", args={2: lambda z: z}),
        *bad_options(
            betas=((0.0, 0.5), (0.1, 1.0), (1.0,), (0.0, 0.6, 0.5, 1.0), "text", None),
            step_size=(0.0,),
            leapfrog_steps=(0,),
        ),
    ),
)

SMALL = {"features": 5, "latent": 2, "hidden": (4, 3)}


def both_ways(params, x, z, **options):
    """The encoder of x and the decoder of z."""
    model = vae(**options)
    return (*model.encode(params, x), model.decode(params, z))


def vae_inputs(rng):
    shapes = jax.eval_shape(vae(**SMALL).init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape) / 2, shapes)
    return params, rng.normal(size=(B, 1, 5)), rng.normal(size=(B, 2))


GOOD = vae_inputs(np.random.default_rng(0))[0]
NETWORK = Case(
    "models.vae",
    vae_inputs,
    lambda params, x, z, **_: oracle.vae(params, x, z),
    SMALL,
    call=both_ways,
    titles=("encode", "decode", "apply"),
    follows=1,
    bad=(
        *(
            Bad("params", args={0: wrong}, traced=False)
            for wrong in (
                {},
                [1.0],
                None,
                {"encoder": GOOD["encoder"]},
                {**GOOD, "more": np.ones(2)},
                {**GOOD, "encoder": GOOD["decoder"]},
            )
        ),
        *bad_arrays("x", 1, (B, 4), ()),
        *bad_arrays("z", 2, (B, 3), ()),
        *bad_options(
            features=(0,), latent=(0,), hidden=(None, (), "12", (0,), (1.5,), 3)
        ),
    ),
)

ROWS = (
    *WEIGHTS,
    LAYERS,
    *ESTIMATES,
    REFINED,
    QUADRATURE,
    LINEAR,
    *LOSSES,
    ANNEALED,
    NETWORK,
)
