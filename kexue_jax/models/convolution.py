"""The 3x3 convolution of the image networks, with half the products on a CPU.

Toom and Cook's minimal filtering F(4, 3) along the width (Winograd 1980; Lavin and
Gray, arXiv 1509.09308): four neighboring outputs of a filter of three taps take six
products instead of twelve. Six columns of the image are mixed into six others, each of
these is convolved along the height alone, and the six results are mixed into four
columns of the output. The mixing costs additions and memory traffic, so that it pays
where many channels share it, and in sampling but not in training.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

TILE = 4
FEWEST_CHANNELS = 64
SMALLEST_WIDTH = 8

# y = _OUTPUT @ ((_FILTER @ w) * (_INPUT @ x)) for x [6], w [3], y [4].
_INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    float,
)
_FILTER = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    float,
)
_OUTPUT = np.array(
    [
        [1, 1, 1, 1, 1, 0],
        [0, 1, -1, 2, -2, 0],
        [0, 1, 1, 4, 4, 0],
        [0, 1, -1, 8, -8, 1],
    ],
    float,
)


def conv3x3(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """``x [b, h, w, i]`` with ``kernel [3, 3, i, o]``, zeros around: ``[b, h, w, o]``.

    On a CPU, and where it pays, by ``conv3x3_minimal``; else by XLA's convolution.
    """
    wide = min(kernel.shape[2:]) >= FEWEST_CHANNELS and x.shape[2] >= SMALLEST_WIDTH
    if not wide or x.dtype not in (jnp.float32, jnp.float64):
        return conv3x3_direct(x, kernel)
    return lax.platform_dependent(
        x, kernel, cpu=conv3x3_minimal, default=conv3x3_direct
    )


def conv3x3_direct(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The readable twin: XLA's convolution."""
    return lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@jax.custom_jvp
def conv3x3_minimal(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The same by F(4, 3) along the width; its derivatives are those of the twin."""
    width = x.shape[2]
    tiles = -(-width // TILE)
    right = tiles * TILE - width
    padded = jnp.pad(x, ((0, 0), (0, 0), (1, 1 + right), (0, 0)))
    columns = [
        lax.slice_in_dim(padded, j, j + (tiles - 1) * TILE + 1, TILE, axis=2)
        for j in range(TILE + 2)
    ]
    filters = _mix(_FILTER, [kernel[:, j] for j in range(3)])
    products = [
        lax.conv_general_dilated(
            column,
            filter_[:, None],
            (1, 1),
            ((1, 1), (0, 0)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        for column, filter_ in zip(_mix(_INPUT, columns), filters, strict=True)
    ]
    out = jnp.stack(_mix(_OUTPUT, products), 3)
    out = out.reshape(*x.shape[:2], tiles * TILE, kernel.shape[-1])
    return out[:, :, :width] if right else out


@conv3x3_minimal.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    # Where a gradient is wanted, the mixed columns would have to be kept or mixed back,
    # and memory traffic eats what the products save (measured): XLA's own form.
    return jax.jvp(conv3x3_direct, primals, tangents)


def _mix(matrix: np.ndarray, parts: list[jax.Array]) -> list[jax.Array]:
    """``matrix @ parts``, written out so that zeros and ones cost nothing."""
    mixed = []
    for row in matrix:
        terms = [
            part if factor == 1 else -part if factor == -1 else float(factor) * part
            for factor, part in zip(row, parts, strict=True)
            if factor
        ]
        mixed.append(sum(terms[1:], terms[0]))
    return mixed
