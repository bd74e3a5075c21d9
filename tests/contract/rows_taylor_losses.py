"""Contract rows of the cross entropies around Taylor expansions."""

import numpy as np

from tests.contract.case import Bad, Case
from tests.contract.rows_taylor import BAD_ORDERS, NO_SLOPE
from tests.oracles import taylor as oracle

SHAPE = (3, 1)


def examples(rng):
    """Logits of five classes on both sides of every stationary point, and labels."""
    return 3 * rng.normal(size=(*SHAPE, 5)), rng.integers(0, 5, SHAPE).astype(np.int32)


BAD_LABELS = (
    Bad("labels", args={1: np.zeros(SHAPE)}),
    Bad("labels", args={1: np.zeros(SHAPE, bool)}),
    Bad("labels", args={1: np.full(SHAPE, 5)}, traced=False),
    Bad("labels", args={1: np.full(SHAPE, -1)}, traced=False),
    Bad("logits", args={0: np.zeros((3, 2, 5))}),
    Bad("logits", args={0: np.zeros((3, 1))}),
    Bad("logits", args={0: np.zeros((3, 1, 0))}),
    Bad("logits", args={0: np.zeros(())}),
)
BAD_MARGINS = (
    Bad("margin", static={"margin": -0.5}),
    Bad("margin", static={"margin": True}),
)


def taylor_loss(logits, labels, *, grad_mode, margin, **static):
    return oracle.taylor_cross_entropy(logits, labels, margin, **static)


ROWS = (
    *(
        Case(
            "losses.taylor_cross_entropy",
            examples,
            taylor_loss,
            {
                "order": order,
                "margin": margin,
                "monotone": monotone,
                "grad_mode": mode,
            },
            variant=f"order {order}, margin {margin}, monotone {monotone}, {mode}",
            grad=mode == "finite",
            bad=(*BAD_LABELS, *BAD_MARGINS, *BAD_ORDERS),
            reason="" if mode == "finite" else NO_SLOPE,
        )
        for order, margin, monotone, mode in (
            (2, 0.0, False, "finite"),
            (4, 1.5, False, "finite"),
            (6, 0.5, True, "finite"),
            (2, 0.5, False, "infinite"),
        )
    ),
    Case(
        "losses.soft_margin_cross_entropy",
        examples,
        oracle.soft_margin_cross_entropy,
        {"margin": 1.5},
        bad=(*BAD_LABELS, *BAD_MARGINS),
    ),
    *(
        Case(
            "losses.truncated_cross_entropy",
            examples,
            oracle.truncated_cross_entropy,
            {"terms": terms},
            variant=f"{terms} terms",
            bad=(*BAD_LABELS, *(Bad("terms", static={"terms": t}) for t in (0, True))),
        )
        for terms in (1, 6)
    ),
)
