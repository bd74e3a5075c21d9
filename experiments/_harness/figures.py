"""Figures: small PNG files, the same bytes for the same numbers.

Images come as [N, H, W, C] in [-1, 1] with C = 1 or 3; values outside are clipped.
"""

import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments._harness.errors import UserError
from experiments._harness.extras import need

_SMALLEST_SIDE = 48  # pixels that a small image is blown up to, by whole factors


def image_grid(
    path: str | os.PathLike[str], images: Any, *, columns: int | None = None
) -> None:
    """Write the images row by row as a grid, about square without ``columns``."""
    images = _checked("image_grid", images, 4)
    width = columns or int(np.ceil(np.sqrt(len(images))))
    rows = -(-len(images) // width)
    padded = np.ones((rows * width, *images.shape[1:]), images.dtype)
    padded[: len(images)] = images
    _write(Path(path), _tiled(padded.reshape(rows, width, *images.shape[1:])))


def image_strip(
    path: str | os.PathLike[str],
    strips: Any,
    *,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
) -> None:
    """Write ``strips`` [R, N, H, W, C] as R rows of N images, labelled if asked."""
    strips = _checked("image_strip", strips, 5)
    picture = _tiled(strips)
    if row_labels is None and column_labels is None:
        _write(Path(path), picture)
        return
    figure, axes = _axes(picture.shape[1] / 80 + 1.5, picture.shape[0] / 80 + 0.5)
    axes.imshow(picture, interpolation="nearest")
    for labels, count, side, put in (
        (row_labels, strips.shape[0], picture.shape[0], axes.set_yticks),
        (column_labels, strips.shape[1], picture.shape[1], axes.set_xticks),
    ):
        middles = (np.arange(count) + 0.5) * side / count
        put(middles if labels is not None else [], labels)
    axes.tick_params(length=0, labelsize=8)
    for spine in axes.spines.values():
        spine.set_visible(False)
    _save(Path(path), figure)


def curves(
    path: str | os.PathLike[str],
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str = "step",
    ylabel: str = "",
    log_x: bool = False,
    log_y: bool = False,
    markers: bool = False,
    points: Collection[str] = (),
    beside: bool = False,
) -> None:
    """Write the curves ``{label: (x, y)}`` in one diagram; NaN leaves a gap.

    Labels in ``points`` get points and no line. The legend of more than six, or with
    ``beside``, stands beside the diagram.
    """
    many = beside or len(series) > 6
    figure, axes = _axes(8.0 if many else 6.0, 3.6)
    for number, (label, (x, y)) in enumerate(series.items()):
        # Ten colors, then the same ten broken.
        style = ("-", "--", ":")[number // 10 % 3]
        kind = f"o{style}" if markers else style
        kind = "o" if label in points else kind
        axes.plot(x, y, kind, label=label, linewidth=1.2, ms=3)
    if log_x:
        sizes = [value for x, _ in series.values() for value in x]
        doubled = all(v > 0 and math.log2(v).is_integer() for v in sizes)
        axes.set_xscale("log", base=2 if doubled else 10)
    if log_y:
        axes.set_yscale("log")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(visible=True, linewidth=0.3)
    if many:  # beside the diagram, where it hides nothing
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    elif len(series) > 1 or not ylabel:
        axes.legend(fontsize=8)
    _save(Path(path), figure)


def contours(
    path: str | os.PathLike[str],
    x: Any,
    y: Any,
    values: Any,
    *,
    xlabel: str = "",
    ylabel: str = "",
    label: str = "",
) -> None:
    """Write ``values`` [x, y] as a map in colors, with lines of equal height."""
    figure, axes = _axes(5.2, 4.2)
    heights = np.asarray(values, float).T
    shown = axes.contourf(x, y, heights, levels=12)
    axes.contour(x, y, heights, levels=12, colors="black", linewidths=0.4)
    figure.colorbar(shown, label=label)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    _save(Path(path), figure)


def bars(
    path: str | os.PathLike[str],
    groups: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    ylabel: str = "",
    zero: bool = True,
    beside: bool = False,
) -> None:
    """Write ``{series: {label: values}}`` as bars of means, the single values as dots.

    The labels of all series stand beside each other in the order they first come.
    Without ``zero`` a line marks each mean, on an axis that starts where values do.
    With ``beside`` the legend stands beside the diagram.
    """
    labels = list(dict.fromkeys(label for row in groups.values() for label in row))
    figure, axes = _axes(max(6.0, 0.7 * len(labels) + 1.5) + 3 * beside, 3.6)
    width = 0.8 / len(groups)
    for number, (name, row) in enumerate(groups.items()):
        shift = (number - (len(groups) - 1) / 2) * width
        for place, label in enumerate(labels):
            if label not in row:
                continue
            values, x = np.asarray(row[label], float), place + shift
            shown = name if label == next(iter(row)) else None
            style: dict[str, Any] = {"color": f"C{number}", "label": shown}
            if zero:
                axes.bar(x, values.mean(), width, **style)
            else:
                ends = x - 0.45 * width, x + 0.45 * width
                axes.hlines(values.mean(), *ends, linewidth=4, **style)
            axes.plot([x] * len(values), values, ".", color="black", ms=4)
    axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right", fontsize=8)
    axes.set_ylabel(ylabel)
    axes.grid(visible=True, axis="y", linewidth=0.3)
    if beside:
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    elif len(groups) > 1:
        axes.legend(fontsize=8)
    _save(Path(path), figure)


def _checked(function: str, images: Any, rank: int) -> np.ndarray:
    images = np.asarray(images, np.float32)
    if images.ndim != rank or images.shape[-1] not in (1, 3) or not images.size:
        wanted = "[N, H, W, C]" if rank == 4 else "[R, N, H, W, C]"
        raise ValueError(
            f"{function}: images must be of shape {wanted} with C = 1 or 3, got shape "
            f"{images.shape}."
        )
    return images


def _tiled(strips: np.ndarray) -> np.ndarray:
    """[R, N, H, W, C] in [-1, 1] as one RGB picture of bytes, a light seam between."""
    factor = max(1, _SMALLEST_SIDE // max(strips.shape[2:4]))
    pixels = np.nan_to_num(np.clip((strips + 1) * 127.5, 0, 255)).round()
    pixels = pixels.astype(np.uint8)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:-1], 3))
    pixels = pixels.repeat(factor, axis=2).repeat(factor, axis=3)
    seam = ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0))
    pixels = np.pad(pixels, seam, constant_values=200)
    rows, columns, height, width, _ = pixels.shape
    return pixels.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)


def _axes(width: float, height: float) -> tuple[Any, Any]:
    figure_module = need("matplotlib.figure", "experiments")
    figure = figure_module.Figure(figsize=(width, height), dpi=100, layout="tight")
    return figure, figure.subplots()


def _save(path: Path, figure: Any) -> None:
    try:
        figure.savefig(path, format="png", metadata={"Software": None})
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None


def _write(path: Path, picture: np.ndarray) -> None:
    image = need("matplotlib.image", "experiments")
    try:
        image.imsave(path, picture, format="png", metadata={"Software": None})
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
