"""Where to recompute from in a stack of layers, and what each way costs."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from kexue_jax._base import checks

WAYS = ("none", "layers", "segments", "nested", "whole")


class RecomputeCost(NamedTuple):
    """Bytes at the peak, and the runs of a layer's forward pass that a step costs.

    A backward pass counts as two runs: keeping everything costs 3 L.
    """

    bytes: float
    runs: float


def recompute_cost(
    *,
    num_layers: int,
    layer_bytes: float,
    boundary_bytes: float,
    way: str,
    segment: int | Sequence[int] | None = None,
) -> RecomputeCost:
    """Peak bytes of activations and cost of a training step of L equal layers.

    With a = layer_bytes, all that a layer keeps, b = boundary_bytes, its input, and s
    = segment: "none" keeps L a and runs 3 L; "layers" L b + a, 4 L; "segments"
    ceil(L / s) b + s a, 4 L; "nested" (ceil(L / s) + s) b + a, 5 L; "whole", one
    checkpoint around all, L a + b, 4 L: it saves nothing. Several lengths s_1 > ... >
    s_k, from the outermost in, are segments of segments, with p = ceil(L / s_1) +
    sum_i ceil(s_i / s_{i+1}): "segments" p b + s_k a, (3 + k) L; "nested" (p + s_k) b +
    a, (4 + k) L. With L/2, L/4, ..., 1 that is O(log L) bytes for O(L log L) runs.

    Shapes: numbers -> numbers.
    Article: kexue.fm/archives/7367.  Paper: arXiv 1604.06174.
    Differs: a bound on the runs: the last product of a layer need not be run again, so
    that compilers count 1.2 times the work of "none" where this says 4 / 3.
    Cost: O(1).
    Raises: TypeError or ValueError for a bad argument, for ``segment`` missing or not
    asked for.
    Example:
        >>> from kexue_jax.training import recompute_cost
        >>> size = dict(num_layers=64, layer_bytes=40, boundary_bytes=1)
        >>> [int(recompute_cost(way=w, **size).bytes) for w in ("none", "layers")]
        [2560, 104]
    """
    name = "recompute_cost"
    _check_sizes(name, num_layers, layer_bytes, boundary_bytes)
    checks.choice(name, "way", way, WAYS)
    divided = way in ("segments", "nested")
    if (segment is not None) != divided:
        wanted = "given" if divided else f"None for way = {way!r}"
        raise checks.fail(name, "segment", segment, wanted)
    lengths = [num_layers]
    for length in segment_lengths(name, segment):
        lengths.append(min(length, lengths[-1]))
    pairs = itertools.pairwise(lengths)
    pieces, levels = sum(math.ceil(m / n) for m, n in pairs), len(lengths) - 1
    s, a, b = lengths[-1], layer_bytes, boundary_bytes
    kept, runs = {
        "none": (num_layers * a, 3),
        "layers": (num_layers * b + a, 4),
        "segments": (pieces * b + s * a, 3 + levels),
        "nested": ((pieces + s) * b + a, 4 + levels),
        "whole": (num_layers * a + b, 4),
    }[way]
    return RecomputeCost(float(kept), float(runs * num_layers))


def segment_length(
    *, num_layers: int, layer_bytes: float, boundary_bytes: float
) -> int:
    """The length of segments that keeps the fewest bytes.

    argmin over s = 1, ..., L of ceil(L / s) b + s a, with a = layer_bytes and b =
    boundary_bytes; near sqrt(L b / a). The shortest where several are best.

    Shapes: numbers -> an integer.
    Article: kexue.fm/archives/7367.  Paper: arXiv 1604.06174.
    Differs: the paper has a = b, and so sqrt(L).
    Cost: O(L) operations on numbers.
    Raises: TypeError or ValueError for a bad argument.
    Example:
        >>> from kexue_jax.training import segment_length
        >>> segment_length(num_layers=64, layer_bytes=1, boundary_bytes=1)
        8
    """
    _check_sizes("segment_length", num_layers, layer_bytes, boundary_bytes)

    def kept(s: int) -> float:
        return math.ceil(num_layers / s) * boundary_bytes + s * layer_bytes

    return min(range(1, num_layers + 1), key=kept)


def segment_lengths(name: str, segment: Any) -> tuple[int, ...]:
    """The lengths of segments of segments, from the outermost in; () for None."""
    if segment is None:
        return ()
    lengths = tuple(segment) if isinstance(segment, (tuple, list)) else (segment,)
    if not lengths:
        raise checks.fail(name, "segment", repr(segment), "a length or several")
    for length in lengths:
        checks.count(name, "segment", length)
    return lengths


def _check_sizes(name: str, num_layers: int, a: float, b: float) -> None:
    checks.count(name, "num_layers", num_layers)
    checks.number(name, "layer_bytes", a, minimum=0, open_minimum=True)
    checks.number(name, "boundary_bytes", b, minimum=0, open_minimum=True)
