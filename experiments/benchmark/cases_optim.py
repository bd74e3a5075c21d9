"""Optimizers on large trees: AdaX's step, clipping, dropout, Fisher and its mask."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmark.case import Case, Form, Peer, Prepared
from experiments.benchmark.forms import in_turn, jitted, stepping
from experiments.benchmark.peers_optim import (
    torch_adamw,
    torch_clip,
    torch_dropout,
)
from kexue_jax import optim

# Twelve matrices and twelve vectors: 50.3 million parameters, and a light copy.
SIZES = {"50m": (1024, 4096), "light": (64, 256)}
COUNT, RATE, DECAY, SHARE = 12, 1e-3, 1e-2, 0.3
Tree = dict[str, jax.Array]


def tensors(seed: int, size: str) -> Tree:
    """A tree like that of a network."""
    draw = np.random.default_rng(seed)
    rows, columns = SIZES[size]
    shapes: dict[str, tuple[int, ...]] = {}
    for place in range(COUNT):
        wide = place % 2 == 0
        shapes[f"w{place}"] = (rows, columns) if wide else (columns, rows)
        shapes[f"b{place}"] = (columns if wide else rows,)
    return {
        name: jnp.asarray(draw.standard_normal(shape, dtype=np.float32))
        for name, shape in shapes.items()
    }


def pair(seed: int, *, size: str) -> tuple[Tree, Tree]:
    """Parameters and their gradients."""
    return tensors(seed, size), tensors(seed + 1, size)


def one(seed: int, *, size: str) -> tuple[Tree]:
    """Gradients alone."""
    return (tensors(seed, size),)


def trained(opt: Any, *, compared: bool = True) -> Callable[..., Form]:
    """Donated steps of an optimizer; the value is the parameters after the first."""

    def build(params: Tree, gradients: Tree) -> Form:
        kept = jax.tree.map(jnp.copy, params)

        def step(state: Any, gradients: Tree) -> Any:
            params, inner = state
            updates, inner = opt.update(gradients, inner, params)
            return (optax.apply_updates(params, updates), inner), ()

        def gate(state: Any, _: Any) -> Any:
            return state[0] if compared else None

        return stepping(step, (kept, opt.init(kept)), gradients, gate=gate)

    return build


def raw_adaxw() -> Any:
    """AdaX-W as article and paper write it, with the raw second moment."""
    b1, b2 = 0.9, 1e-4

    def init(params: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return jnp.zeros((), jnp.int32), zeros, jax.tree.map(jnp.copy, zeros)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        count, m, v = state
        count = count + 1
        m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, updates)
        v = jax.tree.map(lambda v, g: (1 + b2) * v + b2 * g * g, v, updates)
        total = jnp.expm1(count * np.log1p(b2))

        def one(m: jax.Array, v: jax.Array, p: jax.Array) -> jax.Array:
            return -RATE * (m / (jnp.sqrt(v / total) + 1e-8) + DECAY * p)

        return jax.tree.map(one, m, v, params), (count, m, v)

    return optax.GradientTransformation(init, update)


def updated(transformation: Any) -> Callable[[Tree], Tree]:
    """The updates of a transformation without state."""

    def run(gradients: Tree) -> Tree:
        return transformation.update(gradients, transformation.init(gradients))[0]

    return run


def plainly_clipped(gradients: Tree) -> Tree:
    """The formula, with one sum for each tensor."""
    norm = jnp.sqrt(sum(jnp.sum(g**2) for g in gradients.values()))
    return {n: g * jnp.minimum(1, 1 / norm) for n, g in gradients.items()}


def dropped(gradients: Tree) -> Form:
    """Words for four entries each; random, so that nothing is compared."""
    drop = optim.gradient_dropout(jax.random.key(0), keep_prob=SHARE)

    def step(state: Any, gradients: Tree) -> Any:
        updates, state = drop.update(gradients, state)
        return state, updates

    return stepping(step, drop.init(gradients), gradients, gate=lambda *_: None)


def bernoulli_dropped(gradients: Tree) -> Form:
    """A Bernoulli mask for each tensor."""

    def step(key: jax.Array, gradients: Tree) -> Any:
        following, now = jax.random.split(key)
        keys = jax.random.split(now, len(gradients))
        found = {}
        for key, (name, g) in zip(keys, gradients.items(), strict=True):
            keep = jax.random.bernoulli(key, SHARE, g.shape)
            found[name] = jnp.where(keep, g / SHARE, 0)
        return following, found

    return stepping(step, jax.random.key(0), gradients, gate=lambda *_: None)


def network(params: Tree, x: jax.Array) -> jax.Array:
    """A loss of one row that passes through every matrix."""
    for place in range(COUNT):
        w, b = params[f"w{place}"], params[f"b{place}"]
        x = jnp.tanh(x @ w / np.sqrt(len(w)) + b)
    return jnp.sum(jnp.sin(x))


def rows(seed: int, *, size: str) -> tuple[Tree, jax.Array]:
    """Parameters and 32 examples."""
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((32, SIZES[size][0]))
    return tensors(seed, size), jnp.asarray(x, jnp.float32)


def backward(params: Tree, x: jax.Array) -> Form:
    """One backward pass over the examples, and one that cuts at a known threshold."""

    def mean(params: Tree, x: jax.Array) -> jax.Array:
        return jnp.mean(jax.vmap(network, (None, 0))(params, x))

    def run(params: Tree, x: jax.Array) -> Tree:
        return jax.tree.map(lambda g: g * g > 1e-12, jax.grad(mean)(params, x))

    return jitted(run, params, x)._replace(value=None)


def fisher_mask(params: Tree, x: jax.Array, *, single: bool = False) -> Form:
    """Fisher of the batch's gradient, or of single examples', and its top fraction."""

    def scores(params: Tree, x: jax.Array) -> Tree:
        options = {"chunk": len(x), "batch_gradients": not single}
        return optim.empirical_fisher_diagonal(network, params, x, **options)

    mask = functools.partial(optim.top_fraction_mask, fraction=SHARE)
    return in_turn(scores, mask, params, x)._replace(value=None)


def masks(scores: Tree, *, method: str) -> Tree:
    """The mask of the top fraction."""
    return optim.top_fraction_mask(scores, fraction=SHARE, method=method)


def steps(size: str) -> tuple[Case, ...]:
    """Donated steps of optimizers; the goals are for the large tree."""
    both, large = functools.partial(pair, size=size), size == "50m"
    adamw = optax.adamw(RATE, weight_decay=DECAY)
    mine = optax.chain(optim.clip_by_global_norm(1.0), adamw)
    theirs = optax.chain(optax.clip_by_global_norm(1.0), adamw)
    return (
        Case(
            f"optim.adaxw_{size}",
            both,
            Prepared(trained(optim.adaxw(RATE, weight_decay=DECAY))),
            Prepared(trained(raw_adaxw())),
            (
                Peer("optax", trained(adamw, compared=False), label="optax adamw"),
                Peer("torch", torch_adamw(RATE, DECAY), label="torch fused AdamW"),
            ),
            tolerance=1e-4,
            goal=1.2 if large else None,
            goals={"optax adamw": 1.0} if large else {},
            about=f"donated step of AdaX-W, {size}; twin: the raw second moment",
        ),
        Case(
            f"optim.clipped_adamw_{size}",
            both,
            Prepared(trained(mine)),
            Prepared(trained(theirs)),
            (Peer("torch", torch_adamw(RATE, DECAY, max_norm=1.0)),),
            tolerance=1e-4,
            goal=1.3 if large else None,
            about=f"clipping and AdamW, donated, {size}; twin: with optax's clipping",
        ),
    )


def passes(size: str) -> tuple[Case, ...]:
    """Clipping, dropout and masks alone."""
    alone, large = functools.partial(one, size=size), size == "50m"
    return (
        Case(
            f"optim.clip_{size}",
            alone,
            updated(optim.clip_by_global_norm(1.0)),
            plainly_clipped,
            (Peer("optax", optax_clipped), Peer("torch", torch_clip)),
            tolerance=1e-4,
            goal=1.3 if large else None,
            about=f"clipping by the global norm, {size}; twin: whole sums",
        ),
        Case(
            f"optim.dropout_{size}",
            alone,
            Prepared(dropped),
            Prepared(bernoulli_dropped),
            (Peer("torch", torch_dropout(SHARE)),),
            goal=1.0 if large else None,
            goals={"twin": 0.3} if large else {},
            about=f"dropout on gradients, {size}; twin: Bernoulli masks",
        ),
        Case(
            f"optim.fisher_mask_{size}",
            functools.partial(rows, size=size),
            Prepared(fisher_mask),
            Prepared(backward),
            goal=3.0 if large else None,
            about=f"batch Fisher and its mask, {size}; twin: backward and one cut",
        ),
        Case(
            f"optim.top_fraction_{size}",
            alone,
            functools.partial(masks, method="search"),
            functools.partial(masks, method="sort"),
            goal=0.2 if large else None,
            about=f"mask of the top fraction, {size}; twin: a sort",
        ),
    )


def optax_clipped(gradients: Tree) -> Form:
    """Optax's clipping."""
    return jitted(updated(optax.clip_by_global_norm(1.0)), gradients)


CASES = (
    *(case for size in SIZES for kind in (steps, passes) for case in kind(size)),
    Case(
        "optim.fisher_of_examples_light",
        functools.partial(rows, size="light"),
        Prepared(functools.partial(fisher_mask, single=True)),
        Prepared(backward),
        about="Fisher of 32 single examples and its mask, light; twin: backward and "
        "one cut",
    ),
)
