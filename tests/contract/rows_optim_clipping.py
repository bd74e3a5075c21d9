"""Contract rows of clipping and relaxed smoothness."""

import jax
import numpy as np
import optax

from kexue_jax.optim import (
    clip_by_global_norm,
    clip_by_loss_change,
    relaxed_gd,
    scale_by_relaxed_smoothness,
    soft_clip_by_global_norm,
)
from tests.contract.case import Bad, Case
from tests.contract.rows_optim import bad_trees, tree
from tests.oracles import optimizers as oracle
from tests.oracles import smoothness

BAD_LEAVES = tuple(bad for bad in bad_trees("updates", 0)[-5:])
NOT_TREES = (*BAD_LEAVES, Bad("updates", args={0: 3}, traced=False))
BAD_L = (
    Bad("l0", static={"l0": 0.0}),
    Bad("l0", static={"l0": -1.0}),
    Bad("l1", static={"l1": -1.0}),
)


def once(transformation, updates):
    # The state of none of them depends on the parameters.
    return transformation.update(updates, transformation.init({}))[0]


def hard(updates, *, max_norm):
    return once(clip_by_global_norm(max_norm), updates)


def soft(updates, *, gamma):
    return once(soft_clip_by_global_norm(gamma), updates)


def relaxed(updates, *, l0, l1, rule):
    return once(scale_by_relaxed_smoothness(l0, l1, rule=rule), updates)


def relaxed_oracle(updates, *, l0, l1, rule, scale=-1.0):
    step = oracle.scaled(lambda n: -scale * oracle.relaxed_step(n, l0, l1, rule))
    return step(1, updates, None)


def descent(updates, *, l0, l1, scale, rule):
    return once(relaxed_gd(l0, l1, scale=scale, rule=rule), updates)


def by_loss(updates, *, threshold, inner=None):
    inner = optax.sgd(0.1) if inner is None else inner
    return once(clip_by_loss_change(inner, threshold), updates)


def cubic(params):
    """The gradient of sum x^4 / 4."""
    return jax.tree.map(lambda x: x**3, params)


CURVES = np.array([[9.0, 1.0], [1.0, -3.0]])


def quartic(params):
    x = params["w"]
    return x @ CURVES.astype(x.dtype) @ x / 2 + (x**4).sum() / 40


def quartic_norm(loss, params, *, iters, draws):
    hessian = CURVES + np.diag(0.3 * params["w"] ** 2)
    return np.abs(np.linalg.eigvalsh(hessian)).max()


def bound_row(name, other, oracle_function):
    return Case(
        f"optim.{name}",
        lambda rng: (rng.uniform(0, 2, (2, 3)), rng.uniform(0, 1, (2, 1))),
        oracle_function,
        {"l0": 2.0, "l1": 1.5},
        extremes=False,
        reason="the bound grows like e to the length of the step",
        bad=(*BAD_L, Bad(other, args={1: np.ones((2, 2))})),
    )


ROWS = (
    Case(
        "optim.global_norm",
        lambda rng: (tree(rng),),
        oracle.norm,
        wide=True,
        data=(0,),
        bad=tuple(
            Bad("tree", args=bad.args, traced=bad.traced)
            for bad in (*NOT_TREES, Bad("updates", args={0: True}, traced=False))
        )
        + (Bad("tree", args={0: [1.0, 2.0]}, traced=False),),
    ),
    Case(
        "optim.clip_by_global_norm",
        lambda rng: (tree(rng),),
        lambda updates, *, max_norm: oracle.hard(max_norm)(1, updates, None),
        {"max_norm": 0.5},
        call=hard,
        data=(0,),
        bad=(*NOT_TREES, Bad("max_norm", static={"max_norm": -1.0})),
    ),
    Case(
        "optim.soft_clip_by_global_norm",
        lambda rng: (tree(rng),),
        lambda updates, *, gamma: oracle.soft(gamma)(1, updates, None),
        {"gamma": 0.5},
        call=soft,
        data=(0,),
        bad=(*NOT_TREES, Bad("gamma", static={"gamma": 0.0})),
    ),
    Case(
        "optim.scale_by_relaxed_smoothness",
        lambda rng: (tree(rng),),
        relaxed_oracle,
        {"l0": 2.0, "l1": 3.0, "rule": "log"},
        call=relaxed,
        data=(0,),
        bad=(*NOT_TREES, *BAD_L),
    ),
    Case(
        "optim.relaxed_gd",
        lambda rng: (tree(rng),),
        relaxed_oracle,
        {"l0": 2.0, "l1": 3.0, "scale": 0.5, "rule": "inverse"},
        call=descent,
        data=(0,),
        bad=(*NOT_TREES, *BAD_L, Bad("scale", static={"scale": -1.0})),
    ),
    Case(
        "optim.clip_by_loss_change",
        lambda rng: (tree(rng),),
        lambda updates, *, threshold: oracle.by_loss_change(oracle.sgd(0.1), threshold)(
            1, updates, None
        ),
        {"threshold": 0.05},
        call=by_loss,
        data=(0,),
        bad=(
            *NOT_TREES,
            Bad("threshold", static={"threshold": 0.0}),
            Bad("inner", static={"inner": 3}),
        ),
    ),
    *(
        Case(
            "optim.relaxed_step_size",
            lambda rng: (rng.uniform(0, 5, (2, 3)),),
            lambda n, *, l0, l1, rule: oracle.relaxed_step(n, l0, l1, rule),
            {"l0": 2.0, "l1": 3.0, "rule": rule},
            variant=rule,
            bad=BAD_L,
        )
        for rule in ("inverse", "log")
    ),
    bound_row("descent_bound", "step", smoothness.descent_bound),
    bound_row("value_bound", "distance", smoothness.value_bound),
    bound_row("gradient_bound", "distance", smoothness.gradient_bound),
    Case(
        "optim.trajectory_smoothness",
        lambda rng: (cubic, tree(rng), tree(rng)),
        smoothness.trajectory,
        {"num": 4},
        follows=1,
        wide=True,
        data=(1, 2),
        bad=(
            *bad_trees("next_params", 2),
            Bad("gradient", args={0: 3}, traced=False),
            Bad("gradient", args={0: lambda p: 3.0}, traced=False),
            Bad("num", static={"num": 0}),
        ),
    ),
    Case(
        "optim.hessian_norm",
        lambda rng: (quartic, {"w": rng.normal(size=2)}),
        quartic_norm,
        {"iters": 60},
        draws=lambda key, *_: np.zeros(()),
        follows=1,
        wide=True,
        data=(1,),
        bad=(
            Bad("loss", args={0: 3}, traced=False),
            Bad("params", args={1: {"w": "text"}}, traced=False),
            Bad("params", args={1: {"w": np.ones(2, np.int32)}}),
            Bad("params", args={1: {"w": np.ones(2, complex)}}),
            Bad("iters", static={"iters": 0}),
        ),
    ),
    Case(
        "optim.fit_relaxed_smoothness",
        lambda rng: (rng.uniform(0, 3, 7), rng.uniform(0, 3, 7)),
        smoothness.fit,
        {"envelope": True},
        bad=(
            Bad("smoothness", args={1: np.ones(6)}),
            Bad("grad_norms", args={0: np.ones((7, 1))}),
            Bad("grad_norms", args={0: np.ones(0), 1: np.ones(0)}),
        ),
    ),
    Case(
        "optim.fit_relaxed_smoothness",
        lambda rng: (rng.uniform(0, 3, 7), 1 + np.arange(7.0)),
        smoothness.fit,
        {"envelope": False},
        variant="least squares",
        extremes=False,
        reason="a line with l0 <= 0 or l1 < 0 is NaN by definition",
    ),
)
