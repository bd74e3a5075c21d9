"""Starts, wirings and warm-up of encoders (kexue.fm/archives/7180, 8620, 8747, 8978).

At the start, on a batch of real text: the root mean square of the stream and the
gradient at every sublayer, whole and along the identity path, by wiring (Post-LN,
Pre-LN, no norm, ReZero, DeepNorm), start (BERT's 0.02, LeCun, Xavier) and depth (at
48 layers without a norm the stream is 1e9 and more from the larger starts, and its
gradients, in float32, are noise or 0). Then
small encoders learn to fill in hidden bytes by Adam with and without warm-up, and with
and without the layer between encoder and embedding; a training succeeds if it ends well
below the entropy of single bytes. That part is a toy: six narrow layers and some
hundred steps can show who leaves the plateau of byte frequencies first, not that a
start or wiring fails where the articles say so, in deep networks after long training.
--preset=paper has 24 layers and 2000 steps, for accelerators. About 12 minutes on one
CPU core.

    python -m experiments.initialization
    python -m experiments.initialization --wiring=post,pre --depth=12,48
"""

import dataclasses
import itertools

from experiments._harness import lists
from experiments._harness.config import BaseConfig, UserError, launch, setting
from experiments._harness.data_text import TEXTS, load_text
from experiments._harness.report import write_report
from experiments._harness.results import write_results
from experiments._harness.workdir import open_run
from experiments._initialization import claims, pictures
from experiments._initialization.encoder import STARTS, WIRINGS, Encoder
from experiments._initialization.signal import measure
from experiments._initialization.training import Plan, Way, train, unigram


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    dataset: str = setting("stdlib", "text as bytes", choices=TEXTS)
    data_dir: str = setting("none", "folder of the text files", shapes_run=False)
    wiring: str = setting("post,pre,none,rezero,deepnorm", "wirings to measure")
    std: str = setting("0.02,lecun,xavier", "starts to measure: 0.02, lecun, xavier")
    depth: str = setting("6,12,24,48", "numbers of layers to measure")
    width: int = setting(128, "width of measured encoders", minimum=8, maximum=4096)
    heads: int = setting(4, "heads, a divisor of both widths", minimum=1, maximum=64)
    train_width: int = setting(32, "width of trained encoders", minimum=8, maximum=4096)
    train_depth: int = setting(6, "layers of trained encoders", minimum=1)
    head_depth: int = setting(2, "layers of those with two heads", minimum=1)
    length: int = setting(16, "bytes of a row", minimum=4, maximum=4096)
    batch_size: int = setting(16, "rows a step", minimum=1)
    num_steps: int = setting(700, "steps of a training", minimum=10)
    head_steps: int = setting(2000, "steps of those with two heads", minimum=10)
    head_rates: str = setting("2e-3,5e-3", "their rates")
    warmup: int = setting(150, "steps of warm-up", minimum=1)
    learning_rate: float = setting(5e-3, "Adam's", minimum=0, open_minimum=True)
    num_seeds: int = setting(3, "seeds, from --seed on", minimum=1, maximum=99)


PRESETS = {
    "smoke": {
        "wiring": "post,pre,deepnorm",
        "std": "lecun",
        "depth": "2",
        "width": 16,
        "heads": 2,
        "train_width": 8,
        "train_depth": 1,
        "head_depth": 1,
        "length": 8,
        "batch_size": 2,
        "num_steps": 10,
        "head_steps": 10,
        "warmup": 4,
        "num_seeds": 1,
    },
    "paper": {
        "width": 256,
        "train_width": 256,
        "train_depth": 24,
        "head_depth": 12,
        "length": 128,
        "batch_size": 64,
        "num_steps": 2000,
        "warmup": 500,
        "learning_rate": 1e-3,
        "head_rates": "5e-4,1e-3",
    },
}


def main(config: Config) -> None:
    """Measure, train, judge, draw, report."""
    wirings = parts("wiring", config.wiring, WIRINGS)
    starts = parts("std", config.std, STARTS)
    depths = sorted(map(int, parts("depth", config.depth, None)))
    rates = lists.positive("head_rates", config.head_rates)
    if not {"post", "pre", "deepnorm"} <= set(wirings):
        raise UserError("flag --wiring: post, pre and deepnorm are to be among them")
    if config.width % config.heads or config.train_width % config.heads:
        raise UserError(f"flag --heads={config.heads}: wanted a divisor of the widths")
    text = load_text(config.dataset, config.data_dir)
    run = open_run(config)
    seeds = lists.seeds(config)
    tokens = text.test_rows(config.length, 4).astype(int)
    sizes = config.width, config.heads
    encoders = [
        Encoder(*sizes, depth, wiring, start)
        for wiring in wirings
        for start in starts
        for depth in depths
    ]
    signals = measure(encoders, tokens, seeds)
    print(f"measured: {run.seconds():.0f} s", flush=True)
    plan = Plan(
        config.num_steps,
        config.batch_size,
        config.length,
        config.learning_rate,
        config.warmup,
    )
    outcomes = {way: train(text, way, plan, seeds) for way in ways(config)}
    print(f"trained: {run.seconds():.0f} s", flush=True)
    small = Encoder(config.train_width, config.heads, config.head_depth, "post", "0.02")
    longer = plan._replace(steps=config.head_steps)
    heads = {}
    for rate, head in itertools.product(rates, (True, False)):
        way = Way(small, "rate", head, rate)
        heads[way] = train(text, way, longer._replace(rate=rate), seeds)
    level, head_level = (unigram(text, p, seeds) for p in (plan, longer))
    start = start_only(config)
    report = claims.Report(signals, outcomes, heads, level, head_level, start)
    pictures.draw(run, report)
    facts = {
        "data": text.source,
        "hidden": "15 % of the bytes",
        "trainings": report.start,
        "trainings with two heads": f"{config.head_depth} layers of the same width, "
        f"{config.head_steps} steps at {config.head_rates}",
    }
    write_results(run, claims.all_claims(report), claims.tables(report), facts)
    print(f"report: {write_report(run.folder)}")


def start_only(config: Config) -> str:
    """What the trainings that are compared are."""
    return (
        f"{config.train_depth} layers of width {config.train_width}, "
        f"{config.num_steps} steps of Adam at {config.learning_rate:g}: a start of "
        "learning only"
    )


def ways(config: Config) -> list[Way]:
    """The trainings that the article compares."""

    def encoder(wiring: str, start: str) -> Encoder:
        sizes = config.train_width, config.heads, config.train_depth
        return Encoder(*sizes, wiring, start)

    return [
        Way(encoder("post", "lecun")),
        Way(encoder("post", "lecun"), "rate"),
        Way(encoder("post", "0.02")),
        Way(encoder("post", "lecun"), "alpha"),
        Way(encoder("pre", "lecun")),
    ]


def parts(flag: str, text: str, known: tuple[str, ...] | None) -> list[str]:
    """The entries of a comma list; UserError for one that is not known."""
    found = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for part in found:
        fits = part.isdigit() and int(part) > 0 if known is None else part in known
        if not fits:
            names = "positive integers" if known is None else ", ".join(known)
            raise UserError(f"flag --{flag}={text}: wanted some of {names}")
    return found


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
