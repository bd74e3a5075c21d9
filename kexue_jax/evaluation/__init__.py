"""Honest measuring: means and ranks of benchmarks, generated data against real data."""

from kexue_jax.evaluation.coverage import (
    DensityCoverage,
    PrecisionRecall,
    density_coverage,
    precision_recall,
)
from kexue_jax.evaluation.discrepancy import (
    energy_distance,
    frechet_distance,
    polynomial_mmd,
)
from kexue_jax.evaluation.leaderboard import (
    Aggregation,
    LeaderboardResult,
    MetricTable,
    collapse_metrics,
    infer_aggregation,
    leaderboard,
)
from kexue_jax.evaluation.means import (
    arithmetic_mean,
    geometric_mean,
    harmonic_mean,
    power_mean,
)
from kexue_jax.evaluation.neighbors import (
    Neighbors,
    TwoSampleAccuracy,
    nearest_neighbors,
    two_sample_accuracy,
)
from kexue_jax.evaluation.ranking import (
    RankAgreement,
    RankSensitivity,
    bootstrap_ranks,
    kendall_tau,
    leave_one_out_ranks,
    rank,
    rank_sensitivity,
)
from kexue_jax.evaluation.score_tables import ScoreTable, score_table

__all__ = [
    # coverage
    "DensityCoverage",
    "PrecisionRecall",
    "density_coverage",
    "precision_recall",
    # discrepancy
    "energy_distance",
    "frechet_distance",
    "polynomial_mmd",
    # leaderboard
    "Aggregation",
    "LeaderboardResult",
    "MetricTable",
    "collapse_metrics",
    "infer_aggregation",
    "leaderboard",
    # means
    "arithmetic_mean",
    "geometric_mean",
    "harmonic_mean",
    "power_mean",
    # neighbors
    "Neighbors",
    "TwoSampleAccuracy",
    "nearest_neighbors",
    "two_sample_accuracy",
    # ranking
    "RankAgreement",
    "RankSensitivity",
    "bootstrap_ranks",
    "kendall_tau",
    "leave_one_out_ranks",
    "rank",
    "rank_sensitivity",
    # score_tables
    "ScoreTable",
    "score_table",
]
