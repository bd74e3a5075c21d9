"""What is claimed of Taylor softmax, each claim with the rule that decides."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments._harness import spread
from experiments._harness.results import Claim, judge
from experiments._taylor.judgment import Scores
from experiments._taylor.training import Head
from kexue_jax import numerics

PAPER = "arXiv 2011.11538, abstract"
SOFTMAX = Head(0, False)
# The article's table: stationary point and minimum, six digits.
ARTICLE = {
    2: (-1.0, 0.5),
    4: (-1.59607, 0.270395),
    6: (-2.18061, 0.149325),
    8: (-2.759, 0.0832715),
    10: (-3.33355, 0.0466991),
}


class Gain(NamedTuple):
    """A difference, one value a seed, and its standard error over the test rows."""

    values: np.ndarray
    rows_error: float

    def exceeds(self, errors: float) -> bool:
        """Whether the mean lies above so many standard errors of both kinds."""
        both = np.hypot(spread.standard_error(self.values), self.rows_error)
        mean = self.values.mean()
        return bool(mean > 0 and mean > errors * both)

    @property
    def sure(self) -> bool:
        """Whether the mean exceeds two standard errors of both kinds together."""
        return self.exceeds(2)


COMBINED = "(over seeds and over test rows, added in squares)"
SURELY = f"two standard errors {COMBINED}"


def all_claims(
    scores: Scores, orders: Sequence[int], margins: Sequence[float], noise: float
) -> list[Claim]:
    """The rows, in the order of the report."""
    found = [
        _minima(),
        _confidence(scores, orders, 0.0),
        _confidence(scores, orders, noise),
        _robust(scores, orders, noise),
        _falling(scores, orders, noise),
        _monotone(scores, orders, noise),
        _dead(scores, orders),
        _calibrated(scores, orders, 0.0),
        _clean(scores, orders),
    ]
    if margins:
        found += [_always_better(scores, orders, margins, n) for n in (0.0, noise)]
    return found


def _minima() -> Claim:
    worst = max(
        abs(mine / theirs - 1)
        for order, row in ARTICLE.items()
        for mine, theirs in zip(numerics.taylor_min(order=order), row, strict=True)
    )
    return judge(
        "even orders have one stationary point, a positive minimum, where the article "
        "says",
        {"largest relative difference": worst},
        rule="confirmed if points and minima of orders 2 to 10 agree to six digits",
        confirmed=lambda m: m["largest relative difference"] < 5e-6,
        reported="-1, -1.59607, -2.18061, -2.759, -3.33355",
        source="kexue.fm/archives/7919",
    )


def _data(noise: float) -> str:
    return f"with {noise:.0%} wrong labels" if noise else "on clean labels"


def _by_order(orders: Sequence[int]) -> list[Head]:
    """The plain heads from the lowest order to softmax."""
    return [*(Head(n, False) for n in sorted(orders)), SOFTMAX]


def _rises(
    scores: Scores, what: str, heads: Sequence[Head], noise: float
) -> dict[str, np.ndarray]:
    """What each head has above the one before it, one a seed."""
    found = {}
    for low, high in itertools.pairwise(heads):
        above = scores.of(what, high, noise) - scores.of(what, low, noise)
        found[f"{what}, {high.name} - {low.name}"] = above
    return found


def _confidence(scores: Scores, orders: Sequence[int], noise: float) -> Claim:
    heads = _by_order(orders)
    steps = _rises(scores, "confidence", heads, noise)
    top = scores.of("confidence", SOFTMAX, noise)
    below = [top - scores.of("confidence", head, noise) for head in heads[:-1]]
    return judge(
        f"Taylor softmax is less confident than softmax, the less the lower its order, "
        f"{_data(noise)}",
        steps,
        rule="confirmed if the mean confidence rises from each order to the next and "
        "from the last to softmax, each time by two standard errors over the seeds, "
        "qualified if it is lower than softmax's at every order by as much",
        confirmed=lambda m: spread.everywhere(m.values()),
        qualified=lambda _: spread.everywhere(below),
    )


def _difference(claim: str, gains: dict[str, Gain], **source: Any) -> Claim:
    """Each difference must be above 0 by two standard errors."""
    return judge(
        claim,
        _shown(gains),
        rule=f"confirmed if each mean difference exceeds {SURELY}, qualified if each "
        "exceeds one, else refuted",
        confirmed=lambda _: all(g.sure for g in gains.values()),
        qualified=lambda _: all(g.exceeds(1) for g in gains.values()),
        **source,
    )


def _shown(gains: dict[str, Gain]) -> dict[str, Any]:
    """The differences, and their errors over the test rows."""
    shown: dict[str, Any] = {}
    for name, gain in gains.items():
        shown[name] = gain.values
        if gain.rows_error:
            shown[f"error over rows of {name}"] = gain.rows_error
    return shown


def _gain(
    scores: Scores,
    head: Head,
    other: Head,
    noise: float,
    margins: tuple[float, float] = (0.0, 0.0),
) -> Gain:
    """In accuracy, on the same rows."""
    pair = zip((head, other), margins, strict=True)
    mine, theirs = (scores.right(h, noise, m).astype(float) for h, m in pair)
    by_row = (mine - theirs).mean(0)
    error = by_row.std(ddof=1) / np.sqrt(by_row.size)
    return Gain((mine - theirs).mean(1), float(error))


def _robust(scores: Scores, orders: Sequence[int], noise: float) -> Claim:
    low = Head(min(orders), False)
    return _difference(
        f"order {low.order} names more test rows right than softmax {_data(noise)}",
        {f"accuracy, {low.name} - softmax": _gain(scores, low, SOFTMAX, noise)},
    )


def _falling(scores: Scores, orders: Sequence[int], noise: float) -> Claim:
    heads = _by_order(orders)
    steps = _rises(scores, "accuracy", heads[::-1], noise)
    top = scores.of("accuracy", heads[0], noise)
    above = [top - scores.of("accuracy", head, noise) for head in heads[1:]]
    return judge(
        f"the lower the order, the higher the accuracy {_data(noise)}",
        steps,
        rule="confirmed if the mean accuracy falls from each order to the next and to "
        "softmax, each time by two standard errors over the seeds, qualified if that "
        "of the lowest order exceeds each other by as much",
        confirmed=lambda m: spread.everywhere(m.values()),
        qualified=lambda _: spread.everywhere(above),
    )


def _monotone(scores: Scores, orders: Sequence[int], noise: float) -> Claim:
    order = min(orders)
    clipped, plain = Head(order, True), Head(order, False)
    above = _gain(scores, clipped, SOFTMAX, noise)
    below = _gain(scores, plain, clipped, noise)
    return judge(
        f"the monotone form of order {order} keeps the gain {_data(noise)}",
        _shown(
            {"accuracy, monotone - softmax": above, "accuracy, plain - monotone": below}
        ),
        rule=f"confirmed if it exceeds softmax by {SURELY} and plain does not exceed "
        "it by as much, qualified if it exceeds softmax so",
        confirmed=lambda _: above.sure and not below.sure,
        qualified=lambda _: above.sure,
    )


def _dead(scores: Scores, orders: Sequence[int]) -> Claim:
    head = Head(min(orders), True)
    measured = {
        h.name: scores.of("accuracy", h, 0.0) for h in (head, head._replace(large=True))
    }
    small, large = measured
    return judge(
        f"where logits start at unit size the monotone form of order {head.order} "
        "loses classes: a logit below x* has no gradient",
        measured,
        rule="confirmed if some seed loses more than 5 % of the test rows against the "
        "small start on clean labels, and none does with it against the best seed",
        confirmed=lambda m: bool(
            (m[large] < m[small] - 0.05).any()
            and (m[small] > m[small].max() - 0.05).all()
        ),
    )


def _calibrated(scores: Scores, orders: Sequence[int], noise: float) -> Claim:
    low = Head(min(orders), False)
    gain = scores.of("ece", SOFTMAX, noise) - scores.of("ece", low, noise)
    return _difference(
        f"order {low.order} is better calibrated than softmax {_data(noise)}",
        {f"ECE, softmax - {low.name}": Gain(gain, 0.0)},
    )


def _clean(scores: Scores, orders: Sequence[int]) -> Claim:
    choices = [(Head(n, m), 0.0) for n in orders for m in (False, True)]
    head, _ = scores.best(choices, 0.0)
    return _difference(
        "Taylor softmax of the best order (by validation rows) is more accurate than "
        "softmax on clean labels",
        {f"accuracy, {head.name} - softmax": _gain(scores, head, SOFTMAX, 0.0)},
    )


def _always_better(
    scores: Scores, orders: Sequence[int], margins: Sequence[float], noise: float
) -> Claim:
    chosen = scores.best([(Head(n, False), m) for n in orders for m in margins], noise)
    rivals: dict[str, list[tuple[Head, float]]] = {
        "softmax": [(SOFTMAX, 0.0)],
        "Taylor": [(Head(n, False), 0.0) for n in orders],
        "SM-softmax": [(SOFTMAX, m) for m in margins],
    }
    gains = {}
    for name, choices in rivals.items():
        head, margin = scores.best(choices, noise)
        gains[f"accuracy, SM-Taylor - {name}"] = _gain(
            scores, chosen[0], head, noise, (chosen[1], margin)
        )
    reported: dict[str, Any] = {}
    if not noise:
        reported = {
            "reported": "always a configuration of SM-Taylor that beats the others",
            "source": PAPER,
        }
    return _difference(
        "the best SM-Taylor softmax beats softmax and the best Taylor and SM-softmax "
        f"(each chosen by validation rows) {_data(noise)}",
        gains,
        **reported,
    )
