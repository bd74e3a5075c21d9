"""The figures of a diffusion run."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments._diffusion.sampling import Method, Sampler, noise
from experiments._harness import figures, metrics
from experiments._harness.data import ImageData
from experiments._harness.workdir import Run
from kexue_jax import diffusion, evaluation

DDIM50 = Method("DDIM 50", steps=50)


def samples_grid(run: Run, samples: np.ndarray, name: str = "samples.png") -> None:
    """The first 100 samples as a grid, ten to a row."""
    figures.image_grid(run.path(name), samples[:100], columns=10)


def denoising_strip(
    run: Run, sampler: Sampler, images: ImageData, seed: int, count: int = 5
) -> None:
    """Chains from noise to image: what is there, and the image that is expected."""
    key, x_T = jax.random.key(seed), noise(seed, count, images.shape)
    rows = []
    frames = min(10, sampler.schedule.T)
    for shown in ("x", "x0"):
        sample = sampler(key, x_T, Method("beta"), frames=frames, frames_of=shown)
        rows.append(np.asarray(sample.frames).swapaxes(0, 1))
    strips = np.stack(rows, axis=1).reshape(-1, *rows[0].shape[1:])
    labels = [name for _ in range(count) for name in ("x_t", "expected x_0")]
    ends = [round(sampler.schedule.T * (1 - (i + 1) / frames)) for i in range(frames)]
    columns = [f"t={t}" for t in ends]
    figures.image_strip(
        run.path("denoising.png"), strips, row_labels=labels, column_labels=columns
    )


def interpolations(
    run: Run, sampler: Sampler, images: ImageData, seed: int, count: int = 9
) -> None:
    """Between pairs: on the sphere of latents, on the line, and from real images."""
    steps = min(50, sampler.schedule.T)
    method = DDIM50._replace(steps=steps)
    z = noise(seed, 6, images.shape)
    lam = jnp.linspace(0, 1, count, dtype=jnp.float32)
    key, rows, labels = jax.random.key(seed), [], []

    def spread(a: jax.Array) -> jax.Array:
        return jnp.broadcast_to(a, (count, *a.shape))

    for pair in range(2):
        a, b = spread(z[2 * pair]), spread(z[2 * pair + 1])
        weights = lam.reshape(-1, *[1] * (a.ndim - 1))
        line = (1 - weights) * a + weights * b
        for label, start in (("sphere", diffusion.slerp(a, b, lam)), ("line", line)):
            rows.append(np.asarray(sampler(key, start, method).x))
            labels.append(f"{label} {pair + 1}")
    ends = images.test_images[:2]
    codes = sampler.encode(ends, steps)
    start = diffusion.slerp(spread(codes[0]), spread(codes[1]), lam)
    rows.append(np.asarray(sampler(key, start, method).x))
    labels.append("encoded, sphere")
    eps = sampler.eps(sampler.params, sampler.no_labels(count), None)
    mixed = jax.jit(
        lambda a, b: diffusion.interpolate_images(
            key, eps, sampler.schedule, a, b, lam, t0=sampler.schedule.T // 2
        )
    )(spread(ends[0]), spread(ends[1]))
    rows.append(np.asarray(mixed))
    labels.append("images, noised")
    figures.image_strip(
        run.path("interpolation.png"),
        np.stack(rows),
        row_labels=labels,
        column_labels=[f"{v:.2f}" for v in lam],
    )


def neighbors_panel(
    run: Run, images: ImageData, samples: np.ndarray, count: int = 12
) -> dict[str, float]:
    """Samples above their nearest training images; the distances, as facts."""

    def flat(x: np.ndarray) -> jax.Array:
        return jnp.asarray(x).reshape(len(x), -1)

    train = flat(images.train_images)
    found = evaluation.nearest_neighbors(flat(samples), train, k=3)
    held = evaluation.nearest_neighbors(flat(images.test_images), train, k=1)
    nearest = images.train_images[np.asarray(found.index[:count])].swapaxes(0, 1)
    strips = np.concatenate([np.asarray(samples)[None, :count], nearest])
    figures.image_strip(
        run.path("nearest_training.png"),
        strips,
        row_labels=["sample", "nearest", "second", "third"],
    )
    return {
        "median distance, sample to nearest training image": float(
            np.median(found.distance[:, 0])
        ),
        "median distance, test image to nearest training image": float(
            np.median(held.distance[:, 0])
        ),
    }


def loss_curve(run: Run, parts: list[str]) -> None:
    """The training loss of every seed, per pixel."""
    lines = {}
    for part in parts:
        path = run.path(f"metrics_{part}.jsonl" if part else "metrics.jsonl")
        rows = metrics.read_metrics(path)
        lines[f"loss {part}".strip()] = metrics.series(rows, ["loss"])["loss"]
    figures.curves(run.path("loss.png"), lines, ylabel="loss a pixel", log_y=True)
