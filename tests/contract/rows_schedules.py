"""Contract rows of ``kexue_jax.diffusion.schedules``."""

import numpy as np

from kexue_jax.diffusion.schedules import PaperNotation, Schedule
from tests.contract.case import Bad, Case, Static

NO_ARRAYS = "takes no traced array: built in NumPy and cast at the end"


BAD_DTYPES = tuple(Bad("dtype", static={"dtype": d}) for d in ("int32", "text", None))

BAD_T = tuple(Bad("T", static={"T": T}) for T in (0, True, np.zeros(1)))
PART = np.linspace(0.1, 0.9, 5)
BAD_SCHEDULES = (
    (PART,) * 4,
    Schedule(PART, PART, PART, PART[1:]),
    Schedule(*(np.ones((2, 5)),) * 4),
    Schedule(*(np.arange(5),) * 4),
    Schedule(PART, PART, PART, 1.0),
)


def exact_schedule(beta_squared: np.ndarray) -> Schedule:
    """Schedule by the definitions, in float64, from beta_1^2 .. beta_T^2."""
    beta = np.sqrt(np.concatenate([[0.0], beta_squared]))
    alpha = np.sqrt(1 - beta**2)
    alpha_bar = np.cumprod(alpha)
    # 1 - alpha_bar^2 = sum_s beta_s^2 (alpha_bar_t / alpha_bar_s)^2: no cancellation.
    rests = [
        np.sum(beta[: t + 1] ** 2 * (alpha_bar[t] / alpha_bar[: t + 1]) ** 2)
        for t in range(beta.size)
    ]
    return Schedule(alpha, beta, alpha_bar, np.sqrt(rests))


def schedule_row(name: str, oracle, static, bad=(), inputs=lambda rng: (), **rest):
    return Case(
        f"diffusion.{name}",
        inputs,
        oracle,
        static,
        follows=None,
        takes_dtype=True,
        grad=False,
        vmap=False,
        jit=False,
        extremes=False,
        reason=NO_ARRAYS,
        bad=(*bad, *BAD_DTYPES),
        **rest,
    )


def cosine(T: int) -> Schedule:
    f = np.cos((np.arange(T + 1) / T + 0.008) / 1.008 * np.pi / 2) ** 2
    return exact_schedule(np.minimum(1 - f[1:] / f[:-1], 0.999))


def from_alpha_bar(alpha_bar: np.ndarray) -> Schedule:
    full = np.concatenate([[1.0], alpha_bar])
    return exact_schedule(1 - (full[1:] / full[:-1]) ** 2)


def notation(schedule: Schedule) -> PaperNotation:
    squared = schedule.alpha_bar[1:] ** 2
    return PaperNotation(
        schedule.beta[1:] ** 2, schedule.alpha[1:] ** 2, squared, squared
    )


ROWS = (
    schedule_row(
        "kexue_schedule",
        lambda T, rescale: exact_schedule(20 / T * np.arange(1, T + 1) / T),
        {"T": 37, "rescale": True},
        bad=[Bad("T", static={"T": 20}), Bad("T", static={"T": 0})],
    ),
    schedule_row(
        "kexue_schedule",
        lambda T, rescale: exact_schedule(0.02 * np.arange(1, T + 1) / T),
        {"T": 1000, "rescale": False},
        variant="literal",
    ),
    schedule_row(
        "linear_schedule",
        lambda T, rescale: exact_schedule(1000 / T * np.linspace(1e-4, 0.02, T)),
        {"T": 64, "rescale": True},
        bad=[Bad("T", static={"T": 20}), Bad("T", static={"T": True})],
    ),
    schedule_row("cosine_schedule", cosine, {"T": 3}, bad=BAD_T),
    schedule_row(
        "surrogate_schedule",
        lambda T: from_alpha_bar(np.exp(-5 * (np.arange(1, T + 1) / T) ** 2)),
        {"T": 5},
        bad=BAD_T,
    ),
    schedule_row(
        "schedule_from_alpha_bar",
        from_alpha_bar,
        {},
        inputs=lambda rng: (Static(np.sort(rng.uniform(0.1, 0.9, 6))[::-1].copy()),),
        bad=[
            Bad("alpha_bar", args={0: Static(None)}),
            Bad("alpha_bar", args={0: Static("text")}),
            Bad("alpha_bar", args={0: Static([])}),
            Bad("alpha_bar", args={0: Static([[0.5]])}),
            Bad("alpha_bar", args={0: Static([0.4, 0.5])}),
            Bad("alpha_bar", args={0: Static([1.0, 0.5])}),
            Bad("alpha_bar", args={0: Static([0.5, 0.0])}),
            Bad("alpha_bar", args={0: Static([0.5, float("nan")])}),
        ],
    ),
    schedule_row(
        "schedule_from_ddpm_betas",
        exact_schedule,
        {},
        inputs=lambda rng: (Static(rng.uniform(0.01, 0.9, 6)),),
        bad=[
            Bad("betas", args={0: Static(None)}),
            Bad("betas", args={0: Static([3, 4])}),
            Bad("betas", args={0: Static([])}),
            Bad("betas", args={0: Static([[0.5]])}),
            Bad("betas", args={0: Static([0.0, 0.5])}),
            Bad("betas", args={0: Static([0.5, 1.0])}),
            Bad("betas", args={0: Static([0.5, float("nan")])}),
        ],
    ),
    Case(
        "diffusion.paper_notation",
        lambda rng: (exact_schedule(rng.uniform(0.1, 0.5, 4)),),
        notation,
        bad=tuple(Bad("schedule", args={0: s}, traced=False) for s in BAD_SCHEDULES),
        follows=None,
        grad=False,
        vmap=False,
        jit=False,
        extremes=False,
        reason=NO_ARRAYS,
    ),
)
