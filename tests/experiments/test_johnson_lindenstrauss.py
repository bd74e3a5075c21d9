"""johnson_lindenstrauss: its measures against definitions, its verdicts."""

import math

import jax
import numpy as np
import pytest

from experiments._johnson import capacity, claims, distortions, search, sketches, views
from experiments._johnson.claims import Report
from experiments._johnson.distortions import Spread
from kexue_jax import embeddings

SIZES = (16, 32, 64)
EXACT = {n: distortions.exact_mean(n) for n in SIZES}


def test_views_are_pixels_and_all_products_of_pooled_pixels():
    images = np.random.default_rng(0).normal(size=(3, 28, 28, 1))
    assert views.pixels(images).shape == (3, 784)
    found = views.products(images)
    assert found.shape == (3, 49 * 50 // 2)
    first = images[:, :4, :4].mean((1, 2, 3))
    np.testing.assert_allclose(found[:, 0], first**2)
    assert views.one_hot(5, 3).shape == (3, 3)


def test_exact_values_are_those_of_the_law():
    draws = np.random.default_rng(1).chisquare(20, 200_000) / 20
    mean = abs(draws - 1).mean()
    assert distortions.exact_mean(20) == pytest.approx(mean, rel=0.01)
    eps = distortions.exact_max(50, 100)
    assert embeddings.jl_dim(num_points=50, eps=eps, rule="exact", delta=0.5) in (
        99,
        100,
        101,
    )


def test_spreads_are_nested_and_of_the_right_scale():
    x = np.random.default_rng(2).normal(size=(40, 20)).astype(np.float32)
    for family in ("gaussian", "orthonormal", "srht"):
        found = distortions.spreads(x, family, (4, 16, 64), draws=3, seed=0)
        assert set(found) == ({4, 16, 64} if family == "gaussian" else {4, 16})
        assert found[4].max.shape == (3,) and len(set(found[4].max)) == 3
        assert found[16].mean.mean() < found[4].mean.mean()
        assert 0.4 < found[4].mean.mean() / distortions.exact_mean(4) < 1.4


def test_recall_counts_what_is_found():
    truth = np.array([[0, 1, 2, 3], [4, 5, 6, 7]])
    found = np.array([[3, 0, 9, 8], [4, 5, 6, 7]])
    assert search.recall(found, truth) == 0.75


def test_the_fit_starts_at_the_best_factors_and_stays_within_d_columns():
    name, most = "dense", 6
    p = capacity.pattern(name, jax.random.key(0), 5)
    for d in (2, 4, 6):
        q, k = capacity.start(name, jax.random.key(1), p, most, np.float32(d))
        assert (
            q.shape == k.shape == (5, 6) and not q[:, d:].any() and not k[:, d:].any()
        )
        if d >= 4:
            assert float(embeddings.attention_divergence(p, q, k)) < 1e-5
    shares = capacity.left(name, 5, [2, 6], [0], steps=3, rate=0.01)
    assert shares[2][0, 0] > 1e-3 > shares[6][0, 0]
    row = capacity.pattern("sparse", jax.random.key(2), 9)
    assert ((row > 0).sum(-1) == capacity.PLACES).all()
    np.testing.assert_allclose(row.sum(-1), 1, rtol=1e-6)


def test_enough_is_between_sizes_on_a_logarithmic_scale():
    shares = {4: np.array([[1, 1.0]]), 16: np.array([[1, 0.01]])}
    assert capacity.enough(shares, 0.1) == pytest.approx([8.0])
    assert capacity.enough(shares, 1e-3) == [math.inf]
    assert capacity.enough(shares, 2.0) == [4.0]


def spread_of(factor=1.0, power=-0.5):
    """Three draws about the exact law."""
    shaken = np.array([0.99, 1.0, 1.01])
    return {
        n: Spread(*(factor * EXACT[64] * (n / 64) ** power * shaken,) * 3)
        for n in SIZES
    }


def view(**families):
    return {f: spread_of(families.get(f, 1.0)) for f in distortions.FAMILIES}


def made_up(**changes):
    """A report in which every claim of the articles holds, but for ``changes``."""
    shaken = np.array([0.999, 1.0, 1.001])
    pixels = view(orthonormal=0.5)
    recall = {"PCA": {4: 0.9 * shaken}, "Gaussian projection": {4: 0.5 * shaken}}
    names = ("sign hash, raw", "sign hash, corrected")
    recall |= {name: {32: 0.4 * shaken} for name in names}
    error = np.array([-1e-3, 0, 1e-3])
    ours = {
        name: {5: 0.5 * shaken}
        for name in (sketches.BEST, sketches.RAW, sketches.TURNED, sketches.correct(1))
    }
    mark = capacity.mark(64)
    fitted = {64: {mark: np.array([[0.1, 1e-4]] * 3)}}
    values = {
        "views": {"pixels": pixels, "products": pixels},
        "counts": {n: 0.3 * math.log(n) ** 0.5 * shaken for n in (20, 40, 80)},
        "counts_law": {n: np.array([0.4 * math.log(n) ** 0.5]) for n in (20, 40, 80)},
        "fractions": {1.0: 0.2 * shaken, 0.5: 0.3 * shaken, 0.25: 0.6 * shaken},
        "one_hot": {"gaussian": pixels["gaussian"][16]}
        | {"sparse root m": Spread(*(2 * v for v in pixels["gaussian"][16]))},
        "search": search.Search(recall, {name: {32: error} for name in names}),
        "sketches": ours,
        "capacity": dict.fromkeys(capacity.PATTERNS, fitted),
    }
    return Report(**{**values, **changes})


def verdicts(report):
    return {c.text: c.verdict for c in claims.all_claims(report, 0.5)}


def test_all_is_confirmed_where_all_holds():
    assert set(verdicts(made_up()).values()) == {"confirmed"}


def verdict(words, **changes):
    found = [v for text, v in verdicts(made_up(**changes)).items() if words in text]
    assert len(found) == 1
    return found[0]


def test_verdicts_follow_the_numbers():
    shaken = np.array([0.999, 1.0, 1.001])
    flat = {f: spread_of(1.0, 0.0) for f in distortions.FAMILIES}
    both = {"pixels": flat, "products": flat}
    assert verdict("falls as 1 / sqrt", views=both) == "refuted"
    assert verdict("each pair follows", views=both) == "refuted"
    worse = {"pixels": view(), "products": view(gaussian=1.3)}
    assert verdict("does not depend on the dimension m", views=worse) == "refuted"
    little = {"pixels": view(rademacher=1.1), "products": view()}
    assert verdict("as good as Gaussian", views=little) == "refuted"
    rough = {"pixels": view(rademacher=1.4), "products": view()}
    assert verdict("as good as Gaussian", views=rough) == "refuted"
    assert verdict("less as n nears m", views=rough) == "refuted"
    fractions = {1.0: 0.6 * shaken, 0.5: 0.7 * shaken}
    assert verdict("no squared distance moves", fractions=fractions) == "refuted"
    assert verdict("constant is loose", fractions=fractions) == "refuted"
    linear = {n: 0.3 * math.log(n) ** 0.9 * shaken for n in (20, 40, 80)}
    assert verdict("root of log N", counts=linear) == "qualified"
    law = {n: np.array([math.log(n) ** 0.9]) for n in (20, 40, 80)}
    assert verdict("root of log N", counts=linear, counts_law=law) == "confirmed"
    fixed = {n: math.log(n) ** -0.1 * shaken for n in (20, 40, 80)}
    assert verdict("root of log N", counts=fixed) == "refuted"
    report = made_up()
    same = {"gaussian": report.one_hot["gaussian"]}
    same["sparse root m"] = same["gaussian"]
    assert verdict("depend on the data", one_hot=same) == "refuted"


def test_verdicts_of_searches_sketches_and_heads_follow_the_numbers():
    report = made_up()
    recall, bias = report.search
    off = {name: {32: np.array([-0.2, -0.21, -0.19])} for name in bias}
    swapped = dict(recall, PCA=recall["Gaussian projection"])
    wrong = search.Search(swapped, off)
    assert verdict("PCA finds more", search=wrong) == "refuted"
    assert verdict("cosine of sign hashes", search=wrong) == "refuted"
    assert verdict("sin(pi s / 2)", search=wrong) == "refuted"
    far = dict(report.sketches)
    far[sketches.RAW] = {5: np.array([2.0, 2.1, 1.9])}
    far[sketches.correct(1)] = {5: np.array([0.55, 0.55, 0.55])}
    assert verdict("(article: Gaussian Q)", sketches=far) == "refuted"
    assert verdict("sketch of M", sketches=far) == "qualified"
    mark = capacity.mark(64)
    for share, wanted in ((0.05, "qualified"), (0.5, "refuted")):
        fitted = {64: {mark: np.array([[1, share]] * 3)}}
        heads = dict(report.capacity, dense=fitted)
        assert verdict("(dense rows)", capacity=heads) == wanted
        assert verdict("(sparse rows)", capacity=heads) == "confirmed"
