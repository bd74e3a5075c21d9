"""Contract rows of learned positions that are extended."""

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax.positions import (
    extend_position_parameters,
    extend_position_table,
    hierarchical_lookup,
    hierarchical_positions,
)
from tests.contract.case import Bad, Case
from tests.oracles import positions as oracle

ALPHAS = tuple(
    Bad("alpha", args={1: value}, traced=False) for value in (-0.1, 0.5, 1.0)
) + (Bad("alpha", args={1: np.ones(2)}),)
TABLES = (
    Bad("table", args={0: np.ones(3)}),
    Bad("table", args={0: np.ones((2, 3, 4))}),
    Bad("table", args={0: np.ones((3, 2), int)}),
)
LEVELS = tuple(Bad("levels", static={"levels": value}) for value in (0, True))
NARROW = "alpha stays in [0, 1), so that only the table is pushed"


def positions_by_alpha(table, alpha, **options):
    """The rows with an alpha that may be traced."""
    return hierarchical_positions(table, alpha=alpha, **options)


def lookup_by_alpha(table, alpha, position_ids, **options):
    """Rows at any positions with an alpha that may be traced."""
    return hierarchical_lookup(table, position_ids, alpha=alpha, **options)


def table_oracle(table, alpha, *, length, levels):
    return oracle.hierarchical(table, np.arange(length), float(alpha), levels)


def lookup_oracle(table, alpha, position_ids, *, levels):
    return oracle.hierarchical(table, position_ids, float(alpha), levels)


def inputs(*shape):
    return lambda rng: (rng.normal(size=shape), np.array(rng.uniform(0.1, 0.4)))


def lookup_inputs(rng):
    ids = rng.integers(0, 25, (2, 6)).astype(np.int32)
    return rng.normal(size=(5, 3)), np.array(rng.uniform(0.1, 0.4)), ids


def extension(table, **options):
    return extend_position_table(table, options.pop("new_length"), **options)


def extension_oracle(table, *, new_length, method, **options):
    return oracle.extended(table, new_length, method, **options)


def random_extension(key, table, **options):
    return extension(table, key=key, **options)


def noise(key, table):
    """What the docstring promises, of five rows with two reserved and nine wanted."""
    dtype = jnp.promote_types(table.dtype, jnp.float32)
    return jax.random.normal(key, (6, table.shape[-1]), dtype)


def surgery(params, *, path, new_length, **options):
    return extend_position_parameters(params, path, new_length, **options)


def surgery_oracle(params, *, path, new_length, **options):
    table = oracle.extended(params["model"]["position"], new_length, "tile")
    return {**params, "model": {**params["model"], "position": table}}


def extension_bad(*more):
    return (
        *TABLES,
        Bad("new_length", static={"new_length": 0}),
        Bad("offset", static={"offset": 5}),
        Bad("offset", static={"offset": -1}),
        Bad("alpha", static={"alpha": 0.5}),
        Bad("levels", static={"levels": 0}),
        *more,
    )


ROWS = (
    *(
        Case(
            "positions.hierarchical_positions",
            inputs(4, 3),
            table_oracle,
            {"length": length, "levels": levels},
            call=positions_by_alpha,
            variant=f"{levels} levels",
            extremes=False,
            reason=NARROW,
            bad=(
                *TABLES,
                *ALPHAS,
                *LEVELS,
                Bad("length", static={"length": 0}),
                Bad("length", static={"length": 4**levels + 1}),
            ),
        )
        for length, levels in ((14, 2), (33, 3))
    ),
    Case(
        "positions.hierarchical_lookup",
        lookup_inputs,
        lookup_oracle,
        {"levels": 2},
        call=lookup_by_alpha,
        extremes=False,
        reason=NARROW,
        bad=(
            *TABLES,
            *ALPHAS,
            *LEVELS,
            Bad("position_ids", args={2: np.ones(2)}),
            Bad("position_ids", args={2: np.array([25])}, traced=False),
            Bad("position_ids", args={2: np.array([-1])}, traced=False),
        ),
    ),
    *(
        Case(
            "positions.extend_position_table",
            lambda rng: (rng.normal(size=(5, 3)),),
            extension_oracle,
            {"new_length": 9, "method": method, "offset": offset},
            call=random_extension if method == "random" else extension,
            draws=noise if method == "random" else None,
            variant=f"{method}, offset {offset}",
            bad=extension_bad(*more),
        )
        for method, offset, more in (
            ("hierarchical", 2, (Bad("new_length", static={"new_length": 10}),)),
            ("tile", 0, ()),
            ("interpolate", 1, ()),
            ("random", 2, ()),
            ("zeros", 0, ()),
        )
    ),
    Case(
        "positions.extend_position_parameters",
        lambda rng: (
            {
                "model": {"position": rng.normal(size=(5, 3))},
                "word": rng.normal(size=2),
            },
        ),
        surgery_oracle,
        {"path": "model/position", "new_length": 9, "method": "tile"},
        call=surgery,
        titles=("extend_position_table",),
        data=(0,),
        bad=(
            Bad("params", args={0: None}),
            Bad("params", args={0: np.ones((5, 3))}),
            Bad("path", static={"path": "position"}),
            Bad("path", static={"path": None}),
            Bad("path", static={"path": ("model", "position")}),
        ),
    ),
)
