"""The claims that a diffusion run decides, each verdict by its rule, and the tables."""

from typing import Any

import numpy as np

from experiments._diffusion.judgment import COLUMNS, Assessment, Jury
from experiments._harness.data import ImageData
from experiments._harness.results import Claim, Table, judge


def _values(reports: list[Assessment], method: str, score: str) -> np.ndarray:
    return np.array([s[score] for r in reports for s in r.scores[method]])


def conclude(
    config: Any, jury: Jury, reports: list[Assessment]
) -> tuple[list[Claim], list[Table]]:
    """Claims with verdicts, and the tables behind them."""
    claims = [
        _recognizable(config, reports),
        _near_real(config, jury, reports),
        _compresses(jury, reports),
    ]
    if config.T > 50:
        claims += [
            _deterministic_at_ten(reports),
            _fewer_steps_smoother(reports, 0),
            _fewer_steps_smoother(reports, 1),
            _smaller_sigma_livelier(reports),
            _sigma_hat_short(reports),
        ]
    if config.conditional:
        claims.append(_guidance_obeyed(reports))
    return claims, _tables(jury, reports)


def _first(reports: list[Assessment]) -> str:
    return next(iter(reports[0].scores))


def _recognizable(config: Any, reports: list[Assessment]) -> Claim:
    name = _first(reports)
    return judge(
        f"samples are recognizable ({name})",
        {
            "agreement of two classifiers": _values(reports, name, "agreement"),
            "mean confidence": _values(reports, name, "confidence"),
        },
        rule="confirmed if the two agree on at least 90 % of the samples with a mean "
        "confidence of at least 0.8, qualified from 75 %",
        confirmed=lambda m: bool(
            m["agreement of two classifiers"].mean() >= 0.9
            and m["mean confidence"].mean() >= 0.8
        ),
        qualified=lambda m: bool(m["agreement of two classifiers"].mean() >= 0.75),
        reported="recognizable after half a day on one GPU, no metric (faces, 128x128)",
        source="kexue.fm/archives/9152",
    )


def _near_real(config: Any, jury: Jury, reports: list[Assessment]) -> Claim:
    name = _first(reports)
    low, high = jury.floor["frechet"], jury.ceiling["frechet"]
    distance = _values(reports, name, "frechet")
    return judge(
        "samples lie near the real images in feature Frechet distance",
        {
            "distance": distance,
            "floor": low,
            "ceiling": high,
            "place between them": (distance - low) / (high - low),
        },
        rule="place = (distance - floor) / (ceiling - floor), floor: training against "
        "held-out images, ceiling: noise; confirmed if at most 0.1, qualified to 0.3",
        confirmed=lambda m: bool(np.mean(m["place between them"]) <= 0.1),
        qualified=lambda m: bool(np.mean(m["place between them"]) <= 0.3),
    )


def _compresses(jury: Jury, reports: list[Assessment]) -> Claim:
    return judge(
        "the bound on held-out images beats independent pixels",
        {
            "model, bits a dimension": [r.bits["bits_per_dim"] for r in reports],
            "independent pixels, bits a dimension": independent_bits(jury.images),
        },
        rule="confirmed if the model's bound is below the cross entropy of the "
        "held-out pixels under the training histogram of each pixel (add-one)",
        confirmed=lambda m: bool(
            np.max(m["model, bits a dimension"])
            < m["independent pixels, bits a dimension"]
        ),
    )


def independent_bits(images: ImageData) -> float:
    """Bits a dimension of the held-out images under one histogram a pixel."""
    top = images.levels - 1

    def grid(x: np.ndarray) -> np.ndarray:
        return np.rint((x + 1) / 2 * top).astype(int).reshape(len(x), -1)

    train, test = grid(images.train_images), grid(images.test_images)
    bits = []
    for pixel in range(train.shape[1]):
        counts = np.bincount(train[:, pixel], minlength=images.levels) + 1.0
        bits.append(-np.log2(counts / counts.sum())[test[:, pixel]].mean())
    return float(np.mean(bits))


def _deterministic_at_ten(reports: list[Assessment]) -> Claim:
    measured = {
        f"eta={eta}": _values(reports, f"DDIM S=10, eta={eta}", "frechet")
        for eta in (0, 1)
    }
    return judge(
        "at 10 steps DDIM (eta=0) beats the noisy chain (eta=1)",
        {f"feature Frechet distance, {name}": v for name, v in measured.items()},
        rule="confirmed if eta=0 is nearer for every model and draw, qualified if it "
        "is on average",
        confirmed=lambda m: bool(np.all(np.subtract(*m.values()) < 0)),
        qualified=lambda m: bool(np.mean(np.subtract(*m.values())) < 0),
        reported="FID 13.36 against 41.07 (CIFAR-10)",
        source="arXiv 2010.02502",
    )


def _fewer_steps_smoother(reports: list[Assessment], eta: int) -> Claim:
    measured = {
        f"S={s}": _values(reports, f"DDIM S={s}, eta={eta}", "spread")
        for s in (10, 20, 50)
    }
    return judge(
        f"fewer steps give smoother, less diverse images (eta={eta})",
        {f"summed pixel variance, {name}": v for name, v in measured.items()},
        rule="confirmed if the variance rises from S=10 to 20 to 50 for every model "
        "and draw, qualified if its means do",
        confirmed=lambda m: bool((np.diff(list(m.values()), axis=0) > 0).all()),
        qualified=lambda m: bool((np.diff([v.mean() for v in m.values()]) > 0).all()),
        reported="smoother and less diverse, by eye",
        source="kexue.fm/archives/9181",
    )


def _smaller_sigma_livelier(reports: list[Assessment]) -> Claim:
    measured = {
        f"eta={eta}": _values(reports, f"DDIM S=50, eta={eta}", "spread")
        for eta in (0, 1)
    }
    return judge(
        "smaller sigma gives noisier, more diverse images",
        {f"summed pixel variance at S=50, {name}": v for name, v in measured.items()},
        rule="confirmed if the variance at eta=0 exceeds that at eta=1 for every model "
        "and draw, qualified if it does on average",
        confirmed=lambda m: bool(np.all(np.subtract(*m.values()) > 0)),
        qualified=lambda m: bool(np.mean(np.subtract(*m.values())) > 0),
        reported="noisier and more diverse, by eye",
        source="kexue.fm/archives/9181",
    )


def _sigma_hat_short(reports: list[Assessment]) -> Claim:
    measured = {
        "sigma_hat, S=50": _values(reports, "sigma_hat S=50", "frechet"),
        "eta=1, S=50": _values(reports, "DDIM S=50, eta=1", "frechet"),
    }
    return judge(
        "the large variance sigma_hat hurts a short chain",
        {f"feature Frechet distance, {name}": v for name, v in measured.items()},
        rule="confirmed if sigma_hat is farther than eta=1 for every model and draw, "
        "qualified if it is on average",
        confirmed=lambda m: bool(np.all(np.subtract(*m.values()) > 0)),
        qualified=lambda m: bool(np.mean(np.subtract(*m.values())) > 0),
        reported="FID 32.72 against 8.01 at 50 steps (CIFAR-10)",
        source="arXiv 2010.02502",
    )


def _guidance_obeyed(reports: list[Assessment]) -> Claim:
    shares = {
        f"share drawn as asked, w={w:g}": [r.obedience[i][1] for r in reports]
        for i, (w, _, _) in enumerate(reports[0].obedience)
    }
    w0, w1 = (lambda m, name=name: float(np.mean(m[name])) for name in list(shares)[:2])
    return judge(
        "guidance makes the samples follow the label",
        shares,
        rule="confirmed if at least 90 % at w=0 are what was asked and w=1 is no "
        "worse, qualified if only the second holds",
        confirmed=lambda m: bool(w0(m) >= 0.9 and w1(m) >= w0(m)),
        qualified=lambda m: bool(w1(m) >= w0(m)),
    )


def _tables(jury: Jury, reports: list[Assessment]) -> list[Table]:
    rows: list[list[Any]] = [
        ["training images (floor)", *[jury.floor[c] for c in COLUMNS]],
        ["noise (ceiling)", *[jury.ceiling[c] for c in COLUMNS]],
    ]
    for method in reports[0].scores:
        means = [float(_values(reports, method, c).mean()) for c in COLUMNS]
        rows.append([method, *means])
    bits = [
        [name, float(np.mean([r.bits[name] for r in reports]))]
        for name in reports[0].bits
    ]
    tables = [
        Table("Samplers against held-out images", ["method", *COLUMNS], rows),
        Table("Bits a dimension on held-out images", ["part", "mean"], bits),
    ]
    if reports[0].obedience:
        columns = ["w", "share drawn as asked", "pixel variance within a class"]
        tables.append(Table("Guidance", columns, reports[0].obedience))
    return tables
