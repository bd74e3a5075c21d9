"""Learned positions extended from n to n^2 rows by hierarchical decomposition."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kexue_jax._base import checks, numerics, trees
from kexue_jax._base.masks import safe_root

METHODS = ("hierarchical", "tile", "interpolate", "random", "zeros")


def hierarchical_positions(
    table: jax.Array,
    length: int,
    *,
    alpha: float | jax.Array = 0.4,
    levels: int = 2,
) -> jax.Array:
    """The first ``length`` rows of a table of n positions extended to n^levels.

    q_t = p_y + c (p_x - p_0), x = t div n, y = t mod n, c = alpha / (1 - alpha), p the
    rows of the table: with u_i = (p_i - alpha p_0) / (1 - alpha) this is the article's
    alpha u_x + (1 - alpha) u_y. With more levels, t = d_0 + d_1 n + d_2 n^2 + ...,
    q_t = p_(d_0) + sum_l c^l (p_(d_l) - p_0).

    Shapes: table [n, d] -> [length, d].
    Article: kexue.fm/archives/7947.  Paper: none.
    Differs: the closed form above in place of the article's u, which rounds more and
    loses digits as alpha nears 1; the first n rows are the table bit for bit. The
    article has two levels. Compute it inside a model and the table learns for all
    blocks at once; row 0 then gets the gradient of every row beyond n, times -c.
    Cost: time and memory of the result; no gather.
    Raises: TypeError or ValueError for bad arguments, an alpha that is not in [0, 1) or
    is 0.5 (rows (x, y) and (y, x) would be equal), a length above n^levels.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.positions import hierarchical_positions
        >>> q = hierarchical_positions(jnp.array([[0.0], [3.0]]), 4)
        >>> print(q[:, 0])
        [0. 3. 2. 5.]
    """
    name = "hierarchical_positions"
    n = _check_table(name, table)
    _check_alpha(name, alpha)
    checks.count(name, "levels", levels)
    _check_length(name, "length", length, n, levels)
    dtype = numerics.accumulation_dtype(table)
    wide = jnp.asarray(table).astype(dtype)
    blocks = -(-length // n)
    block = _block_rows(wide, jnp.arange(blocks), alpha, levels - 1)
    rows = wide[None] + block[:, None]
    return rows.reshape(blocks * n, -1)[:length].astype(table.dtype)


def hierarchical_lookup(
    table: jax.Array,
    position_ids: jax.Array,
    *,
    alpha: float | jax.Array = 0.4,
    levels: int = 2,
) -> jax.Array:
    """The rows of the extended table at any positions.

    q_t = p_(t mod n) + c (p_(t div n) - p_0), c = alpha / (1 - alpha), as
    ``hierarchical_positions``.

    Shapes: table [n, d], position_ids integers [...] -> [..., d].
    Article: kexue.fm/archives/7947.  Paper: none.
    Differs: ids below 0 or from n^levels on are refused; where they are traced they
    give NaN, since a gather would clip them without a word.
    Cost: two gathers, one more for each level.
    Raises: as ``hierarchical_positions``; ValueError for known ids out of range.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.positions import hierarchical_lookup
        >>> table = jnp.array([[0.0], [3.0]])
        >>> print(hierarchical_lookup(table, jnp.array([3, 1]))[:, 0])
        [5. 3.]
    """
    name = "hierarchical_lookup"
    n = _check_table(name, table)
    checks.array(name, "position_ids", position_ids, "integer")
    _check_alpha(name, alpha)
    checks.count(name, "levels", levels)
    dtype = numerics.accumulation_dtype(table)
    wide, ids = jnp.asarray(table).astype(dtype), numerics.signed(position_ids)
    _check_known_ids(name, position_ids, n, levels)
    rows = wide[ids % n] + _block_rows(wide, ids // n, alpha, levels - 1)
    inside = ids >= 0
    if n**levels <= jnp.iinfo(ids.dtype).max:
        inside &= ids < n**levels
    return jnp.where(inside[..., None], rows, jnp.nan).astype(table.dtype)


def extend_position_table(
    table: jax.Array,
    new_length: int,
    *,
    method: str = "hierarchical",
    alpha: float | jax.Array = 0.4,
    offset: int = 0,
    levels: int = 2,
    key: jax.Array | None = None,
) -> jax.Array:
    """A learned table of positions with ``new_length`` rows, as a start for training.

    Of the n rows from ``offset`` on: "hierarchical" q_t of ``hierarchical_positions``;
    "tile" p_(t mod n), as Longformer began; "interpolate" the table at t (n - 1) /
    (new_length - 1), linear between rows, which changes the first n; "random" new rows
    std(p) times
    ``jax.random.normal(key, [new_length - n, d])``; "zeros" new rows of 0.

    Shapes: table [offset + n, d] -> [offset + new_length, d].
    Article: kexue.fm/archives/7947.  Paper: 2004.05150 ("tile").
    Differs: the article has the first method alone. The first ``offset`` rows, reserved
    in RoBERTa's tables (2 of them), are kept as they are, and positions start after.
    Cost: time and memory of the result.
    Raises: TypeError or ValueError for bad arguments, "random" without a key, or
    "hierarchical" beyond n^levels rows.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.positions import extend_position_table
        >>> table = jnp.array([[9.0], [0.0], [3.0]])
        >>> print(extend_position_table(table, 3, offset=1)[:, 0])
        [9. 0. 3. 2.]
    """
    name = "extend_position_table"
    n = _check_table(name, table, offset)
    checks.choice(name, "method", method, METHODS)
    _check_alpha(name, alpha)
    checks.count(name, "levels", levels)
    most = levels if method == "hierarchical" else None
    _check_length(name, "new_length", new_length, n, most)
    if method == "random" or key is not None:
        checks.key(name, "key", key)
    table = jnp.asarray(table)
    reserved, p = table[:offset], table[offset:]
    if method == "hierarchical":
        rows = hierarchical_positions(p, new_length, alpha=alpha, levels=levels)
    elif method == "tile":
        rows = jnp.tile(p, (-(-new_length // n), 1))[:new_length]
    elif method == "interpolate":
        rows = _interpolated(p, new_length)
    else:
        drawn = key if method == "random" else None
        rows = jnp.concatenate([p, _new_rows(p, new_length - n, drawn)])[:new_length]
    return jnp.concatenate([reserved, rows])


def extend_position_parameters(
    params: Any,
    path: str,
    new_length: int,
    *,
    method: str = "hierarchical",
    alpha: float | jax.Array = 0.4,
    offset: int = 0,
    levels: int = 2,
    key: jax.Array | None = None,
) -> Any:
    """A tree of parameters with the table at ``path`` extended, all else as it was.

    params[path] <- ``extend_position_table(params[path], new_length, ...)``.

    Shapes: params a nested dict; the leaf at path, as in "encoder/position", is
    [offset + n, d] -> the same tree, that leaf [offset + new_length, d].
    Article: kexue.fm/archives/7947.  Paper: none.
    Differs: no. A table of factorized embeddings (ALBERT) has the embedding's width,
    not the hidden one: nothing here asks for either.
    Cost: time and memory of the new table; other leaves are not copied.
    Raises: as ``extend_position_table``; ValueError for a path that is not there.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.positions import extend_position_parameters
        >>> params = {"word": jnp.ones((5, 2)), "position": jnp.ones((4, 2))}
        >>> extend_position_parameters(params, "position", 12)["position"].shape
        (12, 2)
    """
    name = "extend_position_parameters"
    if not isinstance(params, Mapping):
        got = f"a {type(params).__name__}"
        raise checks.fail_type(name, "params", got, "a nested dict")
    if not isinstance(path, str):
        wanted = "a path as in 'encoder/position'"
        raise checks.fail_type(name, "path", f"a {type(path).__name__}", wanted)
    options = {"method": method, "alpha": alpha, "levels": levels, "key": key}
    found = []

    def extend(leaf_name: str, leaf: Any) -> Any:
        if leaf_name != path:
            return leaf
        found.append(leaf_name)
        return extend_position_table(leaf, new_length, offset=offset, **options)

    extended = trees.map_named(extend, params)
    if not found:
        names: list[str] = []
        trees.map_named(lambda n, leaf: names.append(n), params)
        raise checks.fail(name, "path", repr(path), f"one of {', '.join(names)}")
    return extended


def _block_rows(table: jax.Array, blocks: jax.Array, alpha: Any, levels: int) -> Any:
    """sum_l c^l (p_(d_l) - p_0) over the digits d_1, d_2, ... of t, of t div n."""
    n = table.shape[0]
    c = alpha / (1 - alpha)
    total = jnp.zeros((*blocks.shape, table.shape[-1]), table.dtype)
    first = table[0].reshape((1,) * blocks.ndim + table.shape[-1:])
    for level in range(levels):
        rows = table[blocks // n**level % n] - first
        total = total + jnp.asarray(c ** (level + 1), table.dtype) * rows
    return total


def _interpolated(table: jax.Array, length: int) -> jax.Array:
    """The table at ``length`` evenly spaced places, linear between its rows."""
    n = table.shape[0]
    places = np.linspace(0, n - 1, length)
    low = np.minimum(places.astype(int), n - 1)
    high = np.minimum(low + 1, n - 1)
    wide = table.astype(numerics.accumulation_dtype(table))
    share = jnp.asarray(places - low, wide.dtype)[:, None]
    return ((1 - share) * wide[low] + share * wide[high]).astype(table.dtype)


def _new_rows(table: jax.Array, rows: int, key: jax.Array | None) -> jax.Array:
    """``rows`` more rows: normal ones of the table's deviation, or zeros."""
    shape = (max(0, rows), table.shape[-1])
    if key is None:
        return jnp.zeros(shape, table.dtype)
    wide = table.astype(numerics.accumulation_dtype(table))
    deviation = safe_root(jnp.var(wide))
    noise = jax.random.normal(key, shape, wide.dtype)
    return (deviation * noise).astype(table.dtype)


def _check_table(function: str, table: Any, offset: int = 0) -> int:
    """The number of positions of a table ``[offset + n, d]``; raise if it is none."""
    checks.array(function, "table", table)
    checks.shapes(function, table=(table, "n d"))
    checks.count(function, "offset", offset, minimum=0)
    n = int(table.shape[0]) - offset
    if n < 1:
        wanted = f"below the table's {table.shape[0]} rows"
        raise checks.fail(function, "offset", offset, wanted)
    return n


def _check_known_ids(function: str, ids: Any, n: int, levels: int) -> None:
    """Raise for an id out of range, where its value is known at trace time."""
    try:
        known = np.asarray(ids)
    except jax.errors.TracerArrayConversionError:
        return
    wrong = known[(known < 0) | (known >= n**levels)]
    if wrong.size:
        wanted = f"from 0 to {n}^{levels} - 1"
        raise checks.fail(function, "position_ids", int(wrong[0]), wanted)


def _check_alpha(function: str, alpha: Any) -> None:
    checks.number(
        function, "alpha", alpha, minimum=0, maximum=1, open_maximum=True, traced=True
    )
    if not isinstance(alpha, jax.Array) and alpha == 0.5:
        wanted = "other than 0.5, where rows (x, y) and (y, x) are equal"
        raise checks.fail(function, "alpha", alpha, wanted)


def _check_length(
    function: str, argument: str, length: Any, n: int, levels: int | None
) -> None:
    checks.count(function, argument, length)
    if levels is not None and length > n**levels:
        wanted = f"at most {n}^{levels} = {n**levels}"
        raise checks.fail(function, argument, length, wanted)
