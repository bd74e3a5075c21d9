"""Guidance with exact predictors: two overlapping classes, N(-0.5, 1/4), N(0.5, 1/4).

The class of x_t has a known probability at every noise level, so that classifier
guidance, classifier-free guidance and the true conditional chain can be compared.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._diffusion.sampling import noise
from experiments._harness.results import Claim, Table, judge
from experiments._oracle import draws
from kexue_jax import diffusion

CENTERS = (-0.5, 0.5)
VARIANCE = 0.25
WEIGHTS = (0.0, 1.0, 3.0, 7.0)
ASKED, NULL = 1, 2


class Law(NamedTuple):
    """Of samples, one entry a seed: share of the class asked for, mean, spread."""

    share: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray


class Report(NamedTuple):
    """Laws by (sampler, w), identities of the predictions, samples for the figure."""

    S: int
    laws: dict[tuple[str, float], Law]
    tilted: dict[float, tuple[float, float]]
    identities: dict[str, float]
    samples: dict[float, np.ndarray]


def log_share(x: jax.Array, alpha_bar: Any, beta_bar: Any) -> jax.Array:
    """ln p(class 1 | x_t): the classes have equal weight and spread."""
    total = alpha_bar**2 * VARIANCE + beta_bar**2
    return jax.nn.log_sigmoid(alpha_bar * (CENTERS[1] - CENTERS[0]) * x / total)


def slope(x: jax.Array, alpha_bar: Any, beta_bar: Any) -> jax.Array:
    """Its gradient at x_t [B, 1], by differentiation."""
    return jax.grad(lambda x: log_share(x, alpha_bar, beta_bar).sum())(x)


def network(schedule: diffusion.Schedule) -> Any:
    """The perfect eps(x, t, label), label NULL for both classes together."""
    dtype = schedule.beta.dtype
    centers = jnp.asarray(CENTERS, dtype)

    def eps(x: jax.Array, t: jax.Array, labels: jax.Array) -> jax.Array:
        level = schedule.alpha_bar[t], schedule.beta_bar[t]
        spread, weights = jnp.full(2, VARIANCE, dtype), jnp.ones(2, dtype)
        blind = diffusion.mixture_eps(x, *level, centers[:, None], spread, weights)
        center = centers[jnp.minimum(labels, 1)][:, None]
        moved = x - level[0][:, None] * center
        seeing = diffusion.gaussian_eps(moved, *level, 0.0, VARIANCE)
        return jnp.where((labels == NULL)[:, None], blind, seeing)

    return eps


def guided_by_classifier(schedule: diffusion.Schedule, scale: Any) -> Any:
    """eps(x, t), moved along the classifier's gradient by ``scale``."""
    eps_fn = network(schedule)

    def eps(x: jax.Array, t: jax.Array) -> jax.Array:
        level = schedule.alpha_bar[t][:, None], schedule.beta_bar[t][:, None]
        blind = eps_fn(x, t, jnp.full(t.shape, NULL, t.dtype))
        grad = slope(x, *level)
        return diffusion.classifier_guided_eps(schedule, blind, t, grad, scale)

    return eps


def guided_without(schedule: diffusion.Schedule, count: int, w: Any) -> Any:
    """eps(x, t) of classifier-free guidance."""
    labels = jnp.full(count, ASKED, jnp.int32)
    return diffusion.guided_eps_fn(network(schedule), labels, w, null_label=NULL)


def ancestral_by_mean(
    key: jax.Array, schedule: diffusion.Schedule, x_T: jax.Array, scale: Any
) -> jax.Array:
    """The chain of sigma = beta whose means a classifier moves."""
    eps_fn = network(schedule)

    def move(x: jax.Array, t: jax.Array) -> tuple[jax.Array, None]:
        at = jnp.full(x.shape[:1], t)
        eps = eps_fn(x, at, jnp.full_like(at, NULL))
        mean = diffusion.ddpm_step(schedule, x, eps, at, None)
        grad = slope(x, schedule.alpha_bar[t], schedule.beta_bar[t])
        sigma = jnp.where(t > 1, schedule.beta[t], 0)
        mean = diffusion.classifier_guided_mean(mean, sigma, grad, scale)
        drawn = jax.random.normal(jax.random.fold_in(key, t), x.shape, x.dtype)
        return mean + sigma * drawn, None

    steps = jnp.arange(schedule.T, 0, -1, dtype=jnp.int32)
    return jax.lax.scan(move, x_T, steps)[0]


def measure(T: int, count: int, seeds: list[int]) -> Report:
    """Samples by both guidances and several w, and the identities behind them."""
    schedule = diffusion.kexue_schedule(T=T, dtype=jnp.float32)
    S = min(200, T)
    taus = diffusion.ddim_taus(T=T, S=S)

    @jax.jit
    def run(key: jax.Array, x: jax.Array, w: jax.Array) -> dict[str, jax.Array]:
        free = guided_without(schedule, count, w)
        by_classifier = guided_by_classifier(schedule, 1 + w)
        return {
            _FREE: diffusion.ddim_sample(None, free, schedule, x, taus).x,
            _BY_EPS: diffusion.ddim_sample(None, by_classifier, schedule, x, taus).x,
            _BY_MEAN: ancestral_by_mean(key, schedule, x, 1 + w),
        }

    found: dict[tuple[str, float], list[Any]] = {}
    samples: dict[float, np.ndarray] = {}
    for seed in seeds:
        # On one device: guided_eps_fn joins two batches, which would move halves of
        # them between devices at every step.
        x_T = noise(9000 + seed, count, (1,))
        for w in WEIGHTS:
            drawn = run(jax.random.key(9000 + seed), x_T, jnp.asarray(w, jnp.float32))
            for name, x in drawn.items():
                values = draws.rows(x)[:, 0]
                law = float((values > 0).mean()), values.mean(), values.std()
                found.setdefault((name, w), []).append(law)
            samples.setdefault(w, draws.rows(drawn[_FREE])[:, 0])
    laws = {
        cell: Law(*(np.array(v) for v in zip(*parts, strict=True)))
        for cell, parts in found.items()
    }
    wanted = {w: tilted(w) for w in WEIGHTS}
    return Report(S, laws, wanted, _identities(T), samples)


_FREE = "classifier-free, DDIM"
_BY_EPS = "classifier, DDIM"
_BY_MEAN = "classifier, ancestral means"


def tilted(w: float) -> tuple[float, float]:
    """Mean and standard deviation of p(x | y) p(y | x)^w, by the trapezoid rule."""
    x = np.linspace(-8, 8, 20001)
    logits = (CENTERS[1] - CENTERS[0]) * x / VARIANCE
    log_density = -((x - CENTERS[1]) ** 2) / (2 * VARIANCE)
    density = np.exp(log_density - w * np.logaddexp(0, -logits))
    density /= density.sum()
    mean = (x * density).sum()
    return float(mean), float(np.sqrt(((x - mean) ** 2 * density).sum()))


def _identities(T: int) -> dict[str, float]:
    """Largest differences of predictions that are equal on paper, in float64."""
    with jax.enable_x64(True):
        schedule = diffusion.kexue_schedule(T=T, dtype=jnp.float64)
        x = jnp.linspace(-4, 4, 161, dtype=jnp.float64)[:, None]
        gaps = {"scale 1": 0.0, "scale 1 + w": 0.0}

        @jax.jit
        def compare(t: jax.Array) -> tuple[jax.Array, jax.Array]:
            at = jnp.full(len(x), t)
            asked = jnp.full_like(at, ASKED)
            once = guided_by_classifier(schedule, 1.0)(x, at)
            true = network(schedule)(x, at, asked)
            more = guided_by_classifier(schedule, 4.0)(x, at)
            free = guided_without(schedule, len(x), 3.0)(x, at)
            return jnp.abs(once - true).max(), jnp.abs(more - free).max()

        for t in (1, T // 10, T // 2, T):
            found = compare(jnp.asarray(t, jnp.int32))
            for name, gap in zip(gaps, found, strict=True):
                gaps[name] = max(gaps[name], float(gap))
    return gaps


def claims(report: Report) -> list[Claim]:
    """The two guidances are one; what they do to the samples."""
    return [_identity(report), _stronger(report), _tilts(report)]


def _identity(report: Report) -> Claim:
    return judge(
        "classifier guidance of scale 1 + w is classifier-free guidance of weight w",
        {
            "largest difference of eps, scale 1 and the true conditional": (
                report.identities["scale 1"]
            ),
            "largest difference of eps, scale 4 and w=3": (
                report.identities["scale 1 + w"]
            ),
        },
        rule="on 161 points at four steps, float64; confirmed if at most 1e-10",
        confirmed=lambda m: max(m.values()) <= 1e-10,
        reported="equal by Bayes' rule",
        source="kexue.fm/archives/9257",
    )


def _stronger(report: Report) -> Claim:
    laws = {w: report.laws[_FREE, w] for w in WEIGHTS}
    measured: dict[str, Any] = {
        **{f"share asked for, w={w:g}": law.share for w, law in laws.items()},
        **{f"standard deviation, w={w:g}": law.deviation for w, law in laws.items()},
    }
    return judge(
        "stronger guidance follows the label better and is less diverse",
        measured,
        rule=f"classifier-free, DDIM S={report.S}; confirmed if with w the share of "
        "samples nearer to the class asked for rises and their standard deviation "
        "falls, for every seed",
        confirmed=lambda m: _monotone(m, "share", 1) and _monotone(m, "standard", -1),
        reported="more relevant, less diverse",
        source="kexue.fm/archives/9257",
    )


def _monotone(measured: Any, prefix: str, sign: int) -> bool:
    lines = [v for name, v in measured.items() if name.startswith(prefix)]
    return bool((sign * np.diff(np.stack(lines), axis=0) >= 0).all())


def _tilts(report: Report) -> Claim:
    measured: dict[str, Any] = {}
    for w in WEIGHTS:
        mean, deviation = report.tilted[w]
        law = report.laws[_FREE, w]
        measured[f"mean - tilted mean, w={w:g}"] = law.mean - mean
        measured[f"deviation / tilted deviation, w={w:g}"] = law.deviation / deviation
    return judge(
        "guided samples have the law p(x | y) p(y | x)^w, tilted at the data",
        measured,
        rule=f"classifier-free, DDIM S={report.S}; confirmed if for every w the mean "
        "is within 0.02 and the deviation within 5 % of the tilted law's (at w=0 "
        "nothing is tilted: it shows the error of the sampler)",
        confirmed=lambda m: all(_within(m, w) for w in WEIGHTS),
    )


def _within(measured: Any, w: float) -> bool:
    mean = np.abs(measured[f"mean - tilted mean, w={w:g}"]).max()
    ratio = measured[f"deviation / tilted deviation, w={w:g}"]
    return bool(mean <= 0.02 and np.abs(ratio - 1).max() <= 0.05)


def table(report: Report) -> Table:
    """Laws of the samples by guidance."""
    rows = [
        [name, w, *[float(part.mean()) for part in law], *report.tilted[w]]
        for (name, w), law in sorted(report.laws.items())
    ]
    columns = ["sampler", "w", "share asked for", "mean", "deviation"]
    columns += ["tilted mean", "tilted deviation"]
    return Table("Guidance towards N(0.5, 1/4) against N(-0.5, 1/4)", columns, rows)
