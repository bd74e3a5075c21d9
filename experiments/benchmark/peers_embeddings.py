"""scikit-learn and NumPy as peers of projections, sketches, hashes and distances."""

from typing import Any

import numpy as np

from experiments._harness.extras import need
from experiments.benchmark.case import Form


def sklearn_projection(parts: Any, v: Any, matrix: Any) -> Form:
    """GaussianRandomProjection's transform, with our matrix as its components."""
    module = need("sklearn.random_projection", "bench")
    model = module.GaussianRandomProjection(matrix.shape[0])
    rows, components = np.asarray(v), np.asarray(matrix)
    model.n_features_in_, model.components_ = components.shape[1], components
    model.n_components_ = components.shape[0]
    return Form(lambda: model.transform(rows), model.transform(rows))


def sklearn_svd(k: int, oversample: int, power_iters: int) -> Any:
    """extmath.randomized_svd with as many columns and power steps; its values."""

    def build(matrix: Any, key: Any) -> Form:
        module = need("sklearn.utils.extmath", "bench")
        given = np.asarray(matrix)

        def call() -> Any:
            return module.randomized_svd(
                given,
                k,
                n_oversamples=oversample,
                n_iter=power_iters,
                power_iteration_normalizer="QR",
                random_state=0,
            )

        return Form(call, call()[1])

    return build


def sklearn_distances(x: Any) -> Form:
    """euclidean_distances of the rows, squared."""
    module = need("sklearn.metrics.pairwise", "bench")
    rows = np.asarray(x)

    def call() -> Any:
        return module.euclidean_distances(rows, squared=True)

    return Form(call, call())


def numpy_hamming(h1: Any, h2: Any) -> Form:
    """XOR and bitwise_count of 64 bits at a time, a row of the table at a time."""
    table, queries = (np.ascontiguousarray(h).view(np.uint64) for h in (h1, h2))

    def call() -> Any:
        rows = (np.bitwise_count(table ^ q).sum(-1, dtype=np.int32) for q in queries)
        return np.stack(list(rows))

    return Form(call, call())
