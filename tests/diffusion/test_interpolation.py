"""Interpolation: of latents without loss of variance, of images by a noised chain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.diffusion import (
    ddim_sample,
    ddim_taus,
    interpolate_images,
    kexue_schedule,
    slerp,
)
from tests.diffusion.chains import draws, eps_fn, eps_numpy, normals, relative
from tests.oracles import diffusion_sampling as oracle

T = 60
SCHEDULE = kexue_schedule(T=T, dtype=jnp.float64)
KEY = jax.random.key(4)
SHAPE = (3, 2, 2)
X1, X2 = normals(8, 2, *SHAPE)


def test_slerp_is_its_formula_with_a_number_a_scalar_or_one_an_example() -> None:
    lam = np.array([0.0, 0.3, 1.0])
    angle = lam[:, None, None] * np.pi / 2
    wanted = np.asarray(X1) * np.cos(angle) + np.asarray(X2) * np.sin(angle)
    assert relative(slerp(X1, X2, jnp.asarray(lam)), wanted) < 1e-15
    for i, weight in enumerate(lam):
        assert relative(slerp(X1, X2, float(weight))[i], wanted[i]) < 1e-15
        assert relative(slerp(X1, X2, jnp.asarray(weight))[i], wanted[i]) < 1e-15


def test_slerp_keeps_the_variance_where_the_straight_line_loses_it() -> None:
    z1, z2 = normals(9, 2, 1 << 16)
    for lam in (0.2, 0.5, 0.8):
        arc = np.asarray(slerp(z1, z2, lam))
        line = np.asarray((1 - lam) * z1 + lam * z2)
        five = 5 * np.sqrt(2 / arc.size)  # false alarm 6e-7
        assert abs(arc.var() - 1) < five
        assert abs(line.var() / (lam**2 + (1 - lam) ** 2) - 1) < five
        assert abs(line.var() - 1) > five


def test_slerp_of_a_latent_with_itself_is_longer_as_the_formula_says() -> None:
    # The angle is pi / 2 whatever the latents: at lam = 1/2 twice the cosine.
    assert relative(slerp(X1, X1, 0.5), np.sqrt(2) * np.asarray(X1)) < 1e-15


def test_slerp_then_ddim_has_the_ends_of_both_chains() -> None:
    taus = ddim_taus(T=T, S=6)

    def decode(z):
        return ddim_sample(None, eps_fn, SCHEDULE, z, taus).x

    assert relative(decode(slerp(X1, X2, 0.0)), decode(X1)) < 1e-12
    assert relative(decode(slerp(X1, X2, 1.0)), decode(X2)) < 1e-12


@pytest.mark.parametrize("kind", ["author", "paper"])
@pytest.mark.parametrize("t0", [1, 20, T])
def test_images_equal_the_numpy_loop_from_t0(kind: str, t0: int) -> None:
    lam = np.array([0.0, 0.35, 1.0])
    got = interpolate_images(
        KEY, eps_fn, SCHEDULE, X1, X2, jnp.asarray(lam), t0=t0, kind=kind
    )
    schedule = jax.tree.map(np.asarray, SCHEDULE)
    noises, w = draws(KEY, T + 1, SHAPE), lam[:, None, None]
    mixed = (1 - w) * np.asarray(X1) + w * np.asarray(X2)
    noise = noises[0] if kind == "author" else (1 - w) * noises[0] + w * noises[T + 1]
    x = schedule.alpha_bar[t0] * mixed + schedule.beta_bar[t0] * noise
    wanted = oracle.ancestral(eps_numpy, schedule, x, noises, sigma="beta", start=t0)
    assert relative(got, wanted[-1]) < 1e-12


def test_images_come_back_where_hardly_any_noise_is_added() -> None:
    # The right index: started at T - t0 the chain would run through the whole schedule.
    schedule = kexue_schedule(T=1000, dtype=jnp.float64)
    options = {"t0": 2, "sigma": "posterior"}
    for lam, image in ((0.0, X1), (1.0, X2)):
        got = interpolate_images(KEY, eps_fn, schedule, X1, X2, lam, **options)
        assert np.abs(got - image).max() < 0.05


def test_images_keep_bfloat16_and_compile_once() -> None:
    traces = []

    @jax.jit
    def run(key, x1, lam):
        traces.append(1)
        return interpolate_images(key, eps_fn, SCHEDULE, x1, x1, lam, t0=9)

    low = X1.astype(jnp.bfloat16)
    for i in range(3):
        got = run(jax.random.key(i), low, jnp.asarray(0.1 * i, jnp.bfloat16))
    assert got.dtype == jnp.bfloat16 and len(traces) == 1


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("key", {"key": None}),
        ("eps_fn", {"eps_fn": None}),
        ("schedule", {"schedule": 1}),
        ("x1", {"x1": [1.0]}),
        ("x1", {"x1": jnp.ones(()), "x2": jnp.ones(())}),
        ("x2", {"x2": X1[:2]}),
        ("x2", {"x2": X1.astype(jnp.float32)}),
        ("lam", {"lam": "half"}),
        ("lam", {"lam": jnp.ones(2)}),
        ("lam", {"lam": float("inf")}),
        ("t0", {"t0": 0}),
        ("t0", {"t0": T + 1}),
        ("t0", {"t0": 5.0}),
        ("kind", {"kind": "blog"}),
        ("sigma", {"sigma": "analytic"}),
        ("clip_x0", {"clip_x0": 1}),
    ],
)
def test_bad_input_is_refused_by_name(argument: str, changes: dict) -> None:
    call = {"key": KEY, "eps_fn": eps_fn, "schedule": SCHEDULE, "x1": X1, "x2": X2}
    call |= {"lam": 0.5, "t0": 5, **changes}
    message = rf"interpolate_images: `{argument}"
    with pytest.raises((ValueError, TypeError), match=message):
        interpolate_images(**call)
