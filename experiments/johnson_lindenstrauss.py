"""What random projections keep (kexue.fm/archives/8679 and 8706).

On real vectors (pixels of images and products of pixels): distortions of every family
of projections by dimension, against the exact law and the bounds; recall of nearest
neighbors under projections, sign hashes and PCA; low-rank approximations by the
article's recipe and by a sketch of the matrix; and whether heads of 8.33 log L
dimensions can make a given attention pattern, sparse or dense. With no flags: some
minutes on two CPU cores.

    python -m experiments.johnson_lindenstrauss
    python -m experiments.johnson_lindenstrauss --dataset=mnist --data_dir=FOLDER
"""

import dataclasses

import numpy as np

from experiments._harness import lists
from experiments._harness.config import BaseConfig, launch, setting
from experiments._harness.data import DATASETS, ImageData, load_images
from experiments._harness.data_types import order_of
from experiments._harness.grids import doubles
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import open_run
from experiments._johnson import capacity, distortions, search, sketches, views
from experiments._johnson.claims import Report, all_claims
from experiments._johnson.pictures import draw, tables
from kexue_jax import embeddings

FRACTIONS = (1.0, 0.5, 0.25, 0.125)
COUNTED = 64  # that in which the number of points is varied
MORE = 16  # times as many draws of it: the largest of few points varies most


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    dataset: str = setting("digits", "images as vectors", choices=DATASETS)
    data_dir: str = setting("none", "folder of the image files", shapes_run=False)
    points: int = setting(500, "vectors whose distances count", minimum=40)
    table: int = setting(1400, "vectors that are searched", minimum=20)
    queries: int = setting(300, "vectors that are searched for", minimum=5)
    most: int = setting(1024, "the largest dimension", minimum=32, maximum=65536)
    draws: int = setting(8, "projections of each kind", minimum=2, maximum=1000)
    eps: float = setting(0.5, "of the theorem", minimum=0.05, maximum=0.95)
    ranks: str = setting("5,20,50", "ranks of the approximations")
    lengths: str = setting("64,128,256,512", "lengths of the attention patterns")
    sizes: str = setting("8,16,32,64", "dimensions of heads, 8.33 log L beside them")
    num_steps: int = setting(120, "steps of a fit", minimum=1)
    learning_rate: float = setting(0.1, "Adam's", minimum=0, open_minimum=True)
    num_seeds: int = setting(3, "seeds of a pattern, from --seed on", minimum=1)


PRESETS = {
    "smoke": {
        "points": 40,
        "table": 60,
        "queries": 10,
        "most": 32,
        "draws": 2,
        "ranks": "2,3",
        "lengths": "8",
        "sizes": "2",
        "num_steps": 2,
        "num_seeds": 1,
    },
    "paper": {
        "points": 5000,
        "table": 60_000,
        "queries": 2000,
        "most": 4096,
        "ranks": "5,10,20,50,100,200",
        "lengths": "64,128,256,512,1024",
        "sizes": "4,8,16,32,64,128,256",
        "num_steps": 5000,
        "num_seeds": 5,
    },
}


def main(config: Config) -> None:
    """Measure, judge, draw, report."""
    ranks, lengths, sizes = (
        lists.positive(name, getattr(config, name), whole=True)
        for name in ("ranks", "lengths", "sizes")
    )
    data = load_images(config.dataset, config.data_dir)
    run = open_run(config)
    seeds = lists.seeds(config)
    points = rows(data.train_images, config.points)
    kinds = {"pixels": views.pixels(points), "products": views.products(points)}
    dims, families = doubles(16, config.most), distortions.FAMILIES
    draws = {"draws": config.draws, "seed": config.seed}
    spreads = {
        name: {f: distortions.spreads(x, f, dims, **draws) for f in families}
        for name, x in kinds.items()
    }
    print(f"distortions: {run.seconds():.0f} s", flush=True)
    pixels = kinds["pixels"]
    counts = doubles(20, len(points))
    hot = views.one_hot(len(points), kinds["products"].shape[1])
    report = Report(
        spreads,
        distortions.over_counts(
            pixels, counts, COUNTED, draws=MORE * config.draws, seed=config.seed
        ),
        {c: np.array([distortions.exact_max(c, COUNTED)]) for c in counts},
        theorem(config, pixels),
        {
            family: distortions.spreads(hot, family, dims, **draws)[distortions.ONE_HOT]
            for family in families
        },
        searched(config, data),
        sketches.errors(centered(kinds["products"]), ranks, **draws),
        {
            name: {
                length: capacity.left(
                    name,
                    length,
                    sorted({*sizes, capacity.mark(length)}),
                    seeds,
                    steps=config.num_steps,
                    rate=config.learning_rate,
                )
                for length in lengths
            }
            for name in capacity.PATTERNS
        },
    )
    print(f"measured: {run.seconds():.0f} s", flush=True)
    draw(run, report, len(points))
    facts = facts_of(config, data, kinds)
    write_results(run, all_claims(report, config.eps), tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def rows(images: np.ndarray, count: int) -> np.ndarray:
    """At most so many images, in a fixed random order."""
    return images[order_of(len(images), 1)[:count]]


def centered(x: np.ndarray) -> np.ndarray:
    """The rows less their mean."""
    return x - x.mean(0)


def theorem(config: Config, x: np.ndarray) -> dict[float, np.ndarray]:
    """The largest change, one a draw, at shares of the dimension of the theorem."""
    n = embeddings.jl_dim(num_points=len(x), eps=config.eps, rule="24")
    sizes = {share: max(1, round(share * n)) for share in FRACTIONS}
    draws = {"draws": config.draws, "seed": config.seed}
    found = distortions.spreads(x, "gaussian", list(sizes.values()), **draws)
    return {share: found[size].max for share, size in sizes.items()}


def searched(config: Config, data: ImageData) -> search.Search:
    """Recall on the pixels of held-out images."""
    table = views.pixels(rows(data.train_images, config.table))
    queries = views.pixels(rows(data.test_images, config.queries))
    sizes = [n for n in doubles(4, config.most) if n <= min(64, table.shape[1] // 2)]
    bits = doubles(16, config.most)
    draws = {"draws": config.draws, "seed": config.seed}
    return search.measure(queries, table, sizes, bits, **draws)


def facts_of(
    config: Config, data: ImageData, kinds: dict[str, np.ndarray]
) -> dict[str, str | int]:
    """Where the vectors are from, and the dimensions that each rule asks for."""
    found: dict[str, str | int] = {"data": data.source}
    for name, x in kinds.items():
        found[f"m, {name}"] = x.shape[1]
    for rule in ("24", "16", "dasgupta_gupta", "exact"):
        size = embeddings.jl_dim(num_points=config.points, eps=config.eps, rule=rule)
        found[f"n by rule {rule}, N = {config.points}, eps = {config.eps:g}"] = size
    return found


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
