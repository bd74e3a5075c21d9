"""Honest measuring: means and ranks of benchmarks, generated data against real data."""

from kexue_jax.evaluation.coverage import (
    DensityCoverage,
    PrecisionRecall,
    density_coverage,
    precision_recall,
)
from kexue_jax.evaluation.density_ratio import (
    ImportanceMean,
    density_ratio,
    discriminator_loss,
    effective_sample_size,
    importance_mean,
    overlap_weights,
)
from kexue_jax.evaluation.discrepancy import (
    energy_distance,
    frechet_distance,
    polynomial_mmd,
)
from kexue_jax.evaluation.discriminator import (
    CrossFit,
    LogisticDiscriminator,
    calibration_scale,
    cross_fit_logits,
    discriminator_logits,
    fit_logistic_discriminator,
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
from kexue_jax.evaluation.resampling import (
    Resample,
    SplitLikeTest,
    resample_indices,
    split_like_test,
)
from kexue_jax.evaluation.score_tables import ScoreTable, score_table
from kexue_jax.evaluation.weighted_metrics import (
    adversarial_auc,
    label_shift_weights,
    weighted_accuracy,
    weighted_auc,
    weighted_f1,
)

__all__ = [
    # coverage
    "DensityCoverage",
    "PrecisionRecall",
    "density_coverage",
    "precision_recall",
    # density_ratio
    "ImportanceMean",
    "density_ratio",
    "discriminator_loss",
    "effective_sample_size",
    "importance_mean",
    "overlap_weights",
    # discrepancy
    "energy_distance",
    "frechet_distance",
    "polynomial_mmd",
    # discriminator
    "CrossFit",
    "LogisticDiscriminator",
    "calibration_scale",
    "cross_fit_logits",
    "discriminator_logits",
    "fit_logistic_discriminator",
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
    # resampling
    "Resample",
    "SplitLikeTest",
    "resample_indices",
    "split_like_test",
    # score_tables
    "ScoreTable",
    "score_table",
    # weighted_metrics
    "adversarial_auc",
    "label_shift_weights",
    "weighted_accuracy",
    "weighted_auc",
    "weighted_f1",
]
