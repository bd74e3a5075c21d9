"""What the articles say of random projections, each claim with its rule."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments._harness import spread
from experiments._harness.results import Claim, judge
from experiments._johnson import capacity, sketches
from experiments._johnson.distortions import Spread, exact_mean
from experiments._johnson.search import Search

THEORY, USES = "kexue.fm/archives/8679", "kexue.fm/archives/8706"
Spreads = Mapping[str, Mapping[int, Spread]]


class Report(NamedTuple):
    """All that was measured.

    ``views`` has spreads by view, family and n; ``counts`` the largest change by number
    of points, ``counts_law`` [1] what a union bound has in its place; ``fractions`` it
    by the share of the dimension of the theorem;
    ``one_hot`` spreads by family; ``capacity`` shares of KL by pattern, length and d.
    """

    views: Mapping[str, Spreads]
    counts: Mapping[int, np.ndarray]
    counts_law: Mapping[int, np.ndarray]
    fractions: Mapping[float, np.ndarray]
    one_hot: Mapping[str, Spread]
    search: Search
    sketches: Mapping[str, Mapping[int, np.ndarray]]
    capacity: Mapping[str, Mapping[int, Mapping[int, np.ndarray]]]


def all_claims(report: Report, eps: float) -> list[Claim]:
    """The rows, in the order of the report."""
    return [
        *_theorem(report, eps),
        *_law(report),
        _count(report),
        *_families(report),
        *_search(report),
        *_sketches(report),
        *_capacity(report),
    ]


def exponents(rows: Mapping[Any, np.ndarray]) -> np.ndarray:
    """The power of n by which the values go, a log-log fit a draw."""
    sizes, values = np.log(list(rows)), np.log(np.array(list(rows.values())))
    return np.polyfit(sizes, values, 1)[0]


def _means(rows: Mapping[int, Spread]) -> dict[int, np.ndarray]:
    return {n: found.mean for n, found in rows.items()}


def _against(rows: Mapping[int, Spread], other: Mapping[int, Spread]) -> np.ndarray:
    """The mean logarithm of the ratio of mean distortions over common n, one a draw."""
    logs = [np.log(found.mean / other[n].mean) for n, found in rows.items()]
    return np.mean(logs, 0)


def _theorem(report: Report, eps: float) -> list[Claim]:
    named = {
        f"largest |r - 1| at {fraction:g} of 24 log N / eps^2": found
        for fraction, found in report.fractions.items()
    }
    whole, half, *_ = named
    reported = "all pairs, with probability 1 - 1/N"
    return [
        judge(
            f"with n = 24 log N / eps^2 no squared distance moves by more than {eps:g}",
            {whole: named[whole]},
            rule="Gaussian projections of the pixels; confirmed if so in every draw",
            confirmed=lambda m: bool((m[whole] <= eps).all()),
            reported=reported,
            source=THEORY,
        ),
        judge(
            "the constant is loose: half of it does",
            named,
            rule="confirmed if at half of n no distance moves by more than "
            f"{eps:g} in any draw",
            confirmed=lambda m: bool((m[half] <= eps).all()),
            reported="of no practical use at eps = 0.1 (1600 log N)",
            source=THEORY,
        ),
    ]


def _law(report: Report) -> list[Claim]:
    rows = {name: view["gaussian"] for name, view in report.views.items()}
    powers = {f"{name}: power of n": exponents(_means(r)) for name, r in rows.items()}
    excess = {
        f"{name}: mean |r - 1| / E |chi^2_n / n - 1| - 1": np.mean(
            [found.mean / exact_mean(n) - 1 for n, found in r.items()], 0
        )
        for name, r in rows.items()
    }
    narrow, wide = rows.values()
    return [
        judge(
            "the distortion falls as 1 / sqrt(n)",
            powers,
            rule="mean |r - 1| of Gaussian projections, log-log fit a draw; confirmed "
            "if shown to be within 0.05 of -1/2 on both kinds of vectors (two standard "
            "errors)",
            confirmed=lambda m: all(spread.within(v + 0.5, 0.05) for v in m.values()),
            reported="n ~ 1 / eps^2",
            source=THEORY,
        ),
        judge(
            "each pair follows chi^2_n / n, whatever the data",
            excess,
            rule="mean over n; confirmed if shown to be within 0.1 of 0 on both kinds "
            "of vectors",
            confirmed=lambda m: all(spread.within(v, 0.1) for v in m.values()),
        ),
        judge(
            "the distortion does not depend on the dimension m of the vectors",
            {"log of the ratio, products over pixels": _against(wide, narrow)},
            rule="mean |r - 1|, mean over n; confirmed if shown to be within 0.1 of 0",
            confirmed=lambda m: spread.within(next(iter(m.values())), 0.1),
            reported="n does not depend on m",
            source=THEORY,
        ),
    ]


def _count(report: Report) -> Claim:
    found, law = (
        exponents({float(np.log(count)): v for count, v in rows.items()})
        for rows in (report.counts, report.counts_law)
    )
    return judge(
        "the largest distortion grows with N as a union bound over pairs has it (as "
        "the root of log N, once it is small)",
        {"power of log N": found, "that of the union bound, exact law": law},
        rule="the first N rows under the same projections, log-log fit a draw; the "
        "bound: failure 1/2 at the same n and N; confirmed if shown to be within 0.15 "
        "of its power, qualified if above 0 (two standard errors)",
        confirmed=lambda _: spread.within(found - law, 0.15),
        qualified=lambda _: spread.exceeds(found),
        reported="n ~ log N",
        source=THEORY,
    )


def _families(report: Report) -> list[Claim]:
    logs: dict[str, np.ndarray] = {}
    turned: dict[str, np.ndarray] = {}
    for name, view in report.views.items():
        gauss = view["gaussian"]
        for family in ("rademacher", "sparse 3"):
            logs[f"{family}, {name}"] = _against(view[family], gauss)
        rows = view["orthonormal"]
        last = max(rows)
        turned[f"{name}, n = {last}"] = _against({last: rows[last]}, gauss)
    pixels = next(iter(report.views.values()))
    data = {
        "pixels": _against(pixels["sparse root m"], pixels["gaussian"]),
        "one-hot": np.log(
            report.one_hot["sparse root m"].mean / report.one_hot["gaussian"].mean
        ),
    }
    return [
        judge(
            "signs and sparse signs (s = 3) are as good as Gaussian entries",
            logs,
            rule="log of the ratio of mean |r - 1|, mean over n; confirmed if none is "
            "above 0 by two standard errors and all are shown to be at most 0.15",
            confirmed=lambda m: (
                _at_most(m.values(), 0.15) and not any(map(spread.exceeds, m.values()))
            ),
            reported="the proof carries over",
            source=f"{USES}, comments",
        ),
        judge(
            "very sparse signs (s = sqrt m) depend on the data",
            data,
            rule="log of the ratio to Gaussian entries; confirmed if on one-hot points "
            "it exceeds that on pixels by 0.5 (two standard errors)",
            confirmed=lambda m: spread.exceeds(m["one-hot"] - m["pixels"] - 0.5),
        ),
        judge(
            "orthonormal rows distort less as n nears m",
            turned,
            rule="log of the ratio to Gaussian entries at the largest n; confirmed if "
            "below 0 on both kinds of vectors by two standard errors",
            confirmed=lambda m: spread.everywhere(-v for v in m.values()),
            qualified=lambda m: spread.somewhere(-v for v in m.values()),
        ),
    ]


def _search(report: Report) -> list[Claim]:
    recall, bias = report.search.recall, report.search.bias
    ours, pca = recall["Gaussian projection"], recall["PCA"]
    ahead = {f"n = {n}: PCA less projection": pca[n] - ours[n] for n in ours}
    raw, right = (rows[max(rows)] for rows in bias.values())
    both = [recall[name] for name in bias]
    apart = {f"{n} bits": both[1][n] - both[0][n] for n in both[0]}
    return [
        judge(
            "PCA finds more of the 10 nearest than a random projection of equal size",
            ahead,
            rule="recall on held-out queries; confirmed if for every n by two standard "
            "errors, qualified if for some and for none the other way",
            confirmed=lambda m: spread.everywhere(m.values()),
            qualified=lambda m: spread.somewhere(m.values()),
        ),
        judge(
            "the cosine of sign hashes is the cosine of the vectors",
            {"mean error, cosines 0.5 to 0.95": raw},
            rule="at the most bits; confirmed if shown to be within 0.02 of 0",
            confirmed=lambda m: spread.within(next(iter(m.values())), 0.02),
            reported="cos(v, w) is about cos(sign Av, sign Aw)",
            source=USES,
        ),
        judge(
            "sin(pi s / 2) of that is",
            {"mean error, cosines 0.5 to 0.95": right},
            rule="at the most bits; confirmed if shown to be within 0.02 of 0",
            confirmed=lambda m: spread.within(next(iter(m.values())), 0.02),
        ),
        judge(
            "for rankings the correction changes nothing",
            apart,
            rule="recall of the 10 of largest cosine, corrected less raw; confirmed if "
            "no draw differs by more than 0.001",
            confirmed=lambda m: all(bool((abs(v) <= 1e-3).all()) for v in m.values()),
        ),
    ]


def _over_best(report: Report, name: str) -> dict[str, np.ndarray]:
    best = report.sketches[sketches.BEST]
    return {
        f"k = {k}: error / best error": v / best[k]
        for k, v in report.sketches[name].items()
    }


def _sketches(report: Report) -> list[Claim]:
    rows = []
    for name in (sketches.RAW, sketches.TURNED):
        rows.append(
            judge(
                f"M Q Q^T with a random Q is near M ({name})",
                _over_best(report, name),
                rule="confirmed if at every k the error is at most twice the best in "
                "every draw",
                confirmed=lambda m: all(bool((v <= 2).all()) for v in m.values()),
                reported="Q Q^T is about I, so M is about M Q Q^T",
                source=USES,
            )
        )
    name = sketches.correct(1)
    rows.append(
        judge(
            "with Q from a sketch of M and one power step it is near the best",
            _over_best(report, name),
            rule="confirmed if at every k the error is at most 1.05 of the best in "
            "every draw, qualified if at most 1.2",
            confirmed=lambda m: all(bool((v <= 1.05).all()) for v in m.values()),
            qualified=lambda m: all(bool((v <= 1.2).all()) for v in m.values()),
            reported="(1 + small) of the best",
            source="arXiv 0909.4061",
        )
    )
    return rows


def _capacity(report: Report) -> list[Claim]:
    rows = []
    for name, lengths in report.capacity.items():
        shares = {
            f"L = {length}, d = {capacity.mark(length)}": sizes[capacity.mark(length)][
                :, 1
            ]
            for length, sizes in lengths.items()
        }
        rows.append(
            judge(
                f"heads of 8.33 log L dimensions can make any attention ({name} rows)",
                shares,
                rule="KL left by the best fit found over KL of uniform attention; "
                "confirmed if shown to be at most 0.01 at every length, qualified if "
                "at most 0.1 (two standard errors)",
                confirmed=lambda m: _at_most(m.values(), 0.01),
                qualified=lambda m: _at_most(m.values(), 0.1),
                reported="d > 8.33 log L is enough",
                source=USES,
            )
        )
    return rows


def _at_most(several: Any, margin: float) -> bool:
    values: Sequence[np.ndarray] = list(several)
    return all(spread.not_below(-v, margin) for v in values)
