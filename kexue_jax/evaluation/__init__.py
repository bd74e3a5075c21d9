"""How near generated data is to real data, measured on feature vectors."""

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
from kexue_jax.evaluation.neighbors import (
    Neighbors,
    TwoSampleAccuracy,
    nearest_neighbors,
    two_sample_accuracy,
)

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
    # neighbors
    "Neighbors",
    "TwoSampleAccuracy",
    "nearest_neighbors",
    "two_sample_accuracy",
]
