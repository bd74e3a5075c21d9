"""Contract rows of the Taylor polynomials of exp and of their softmax."""

import functools

import jax.numpy as jnp
import numpy as np

from kexue_jax import numerics
from tests.contract.case import Bad, Case
from tests.oracles import taylor as oracle

BAD_ORDERS = tuple(
    Bad("order", static={"order": order}) for order in (0, 3, 26, True, -2, 2.0)
)
NO_SLOPE = "the gradient is that of softmax and not the derivative, by design"


def numbers(rng):
    """Entries on both sides of every stationary point and of every |x| = 2n."""
    return rng.normal(size=(3, 1, 5)) * np.array([1.0, 3, 9, 27, 60])


def minimum(*, order):
    """Both numbers as arrays."""
    return tuple(map(jnp.asarray, numerics.taylor_min(order=order)))


def softmax(x, where, **static):
    return numerics.taylor_softmax(x, where=where, **static)


def log_softmax(x, where, **static):
    """With the entries that are not kept, which are -inf, at 0."""
    logs = numerics.log_taylor_softmax(x, where=where, **static)
    return logs if where is None else jnp.where(where, logs, 0)


def log_softmax_oracle(x, where, **static):
    static.pop("grad_mode", None)
    p = oracle.softmax(x, where=where, **static)
    return np.log(np.where(p > 0, p, 1))


def kept(rng):
    """A mask with a row that keeps nothing and one that keeps one entry."""
    where = rng.uniform(size=(3, 2, 4)) < 0.7
    where[0, 0], where[1, 1] = False, [True, False, False, False]
    return where


BAD_AXES = tuple(Bad("axis", static={"axis": axis}) for axis in (3, -4, 1.5, None))
BAD_WHERE = (
    Bad("where", args={1: np.ones((3, 2, 4))}),
    Bad("where", args={1: np.ones((3, 2, 3), bool)}),
    Bad("where", args={1: np.ones((7, 3, 2, 4), bool)}),
)


def softmax_row(
    variant, order, *, name="taylor_softmax", masked=False, axis=-1, **static
):
    logs = name.startswith("log")
    return Case(
        f"numerics.{name}",
        lambda rng: (
            3 * rng.normal(size=(3, 2, 4)),
            kept(rng) if masked else None,
        ),
        functools.partial(log_softmax_oracle if logs else oracle.softmax, axis=axis),
        {"order": order, "monotone": False, **static},
        variant=variant,
        call=functools.partial(log_softmax if logs else softmax, axis=axis),
        optional=("where",),
        grad=static.get("grad_mode") != "infinite",
        bad=(*BAD_ORDERS, *BAD_AXES, *(BAD_WHERE if masked else ())),
        reason=NO_SLOPE if static.get("grad_mode") == "infinite" else "",
    )


ROWS = (
    *(
        Case(
            "numerics.taylor_exp",
            lambda rng: (numbers(rng),),
            oracle.taylor_exp,
            {"order": order, "monotone": monotone},
            variant=f"order {order}, monotone {monotone}",
            bad=BAD_ORDERS,
        )
        for order, monotone in ((2, False), (4, True), (8, False))
    ),
    *(
        Case(
            "numerics.log_taylor_exp",
            lambda rng: (numbers(rng),),
            lambda x, grad_mode, **static: oracle.log_taylor_exp(x, **static),
            {"order": order, "monotone": monotone, "grad_mode": "finite"},
            variant=f"order {order}, monotone {monotone}",
            bad=BAD_ORDERS,
        )
        for order, monotone in ((2, False), (4, True), (10, False))
    ),
    Case(
        "numerics.log_taylor_exp",
        lambda rng: (numbers(rng),),
        lambda x, grad_mode, **static: oracle.log_taylor_exp(x, **static),
        {"order": 4, "monotone": False, "grad_mode": "infinite"},
        variant="infinite",
        grad=False,
        reason=NO_SLOPE,
    ),
    *(
        Case(
            "numerics.taylor_min",
            lambda rng: (),
            lambda order: oracle.minimum(order),
            {"order": order},
            variant=f"order {order}",
            call=minimum,
            follows=None,
            grad=False,
            vmap=False,
            extremes=False,
            bad=(
                *(Bad("order", static={"order": o}) for o in (0, 1, 7, 1002, True)),
                Bad("order", static={"order": np.ones(1, int)}),
            ),
            reason="there is nothing but a static argument",
        )
        for order in (2, 6)
    ),
    softmax_row("order 2", 2),
    softmax_row("order 4, monotone, axis 0", 4, monotone=True, axis=0),
    softmax_row("order 6, masked", 6, masked=True),
    softmax_row("order 2", 2, name="log_taylor_softmax", grad_mode="finite"),
    softmax_row(
        "order 4, monotone, masked, axis 1",
        4,
        name="log_taylor_softmax",
        monotone=True,
        masked=True,
        axis=1,
        grad_mode="finite",
    ),
    softmax_row("infinite", 2, name="log_taylor_softmax", grad_mode="infinite"),
)
