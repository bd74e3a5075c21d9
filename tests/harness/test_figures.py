"""Figures: the pixels that were given, the same bytes each time, the extra named."""

import sys

import matplotlib.image
import numpy as np
import pytest

from experiments._harness.errors import UserError
from experiments._harness.figures import bars, curves, image_grid, image_strip


def ramp(*shape):
    return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def read(path):
    return (matplotlib.image.imread(path)[..., :3] * 255).round().astype(int)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_shows_the_pixels(tmp_path, channels):
    images = ramp(5, 48, 48, channels)
    image_grid(tmp_path / "g.png", images, columns=3)
    picture = read(tmp_path / "g.png")
    assert picture.shape == (100, 150, 3)
    first = np.broadcast_to((images[0] + 1) * 127.5, (48, 48, 3)).round()
    np.testing.assert_array_equal(picture[1:49, 1:49], first)
    assert (picture[51:99, 101:149] == 255).all()
    assert (picture[0] == 200).all()


def test_small_images_are_blown_up_by_a_whole_factor(tmp_path):
    image_grid(tmp_path / "g.png", ramp(4, 8, 8, 1))
    picture = read(tmp_path / "g.png")
    assert picture.shape == (100, 100, 3)
    assert (picture[1:7, 1:7] == picture[1, 1]).all()


def test_values_outside_are_clipped_and_nan_is_shown(tmp_path):
    image_grid(tmp_path / "g.png", np.array([-9, 9, np.nan]).reshape(3, 1, 1, 1))
    picture = read(tmp_path / "g.png")
    assert picture[1, 1, 0] == 0
    assert picture[1, 51, 0] == 255
    assert picture[51, 1, 0] == 0


def test_strips_with_and_without_labels(tmp_path):
    strips = ramp(2, 3, 8, 8, 1)
    image_strip(tmp_path / "plain.png", strips)
    assert read(tmp_path / "plain.png").shape == (100, 150, 3)
    image_strip(tmp_path / "l.png", strips, row_labels=["η=0", "η=1"])
    image_strip(
        tmp_path / "both.png",
        strips,
        row_labels=["a", "b"],
        column_labels=["1", "2", "3"],
    )
    assert (tmp_path / "l.png").stat().st_size > 500


def test_curves_are_small_and_the_same_bytes_each_time(tmp_path):
    series = {"loss": ([1, 2, 3], [3.0, np.nan, 1.0]), "test": ([1, 3], [2.0, 2.5])}
    for name in ("a.png", "b.png"):
        curves(tmp_path / name, series, log_y=True, log_x=True, markers=True)
    one, other = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert one == other
    assert len(one) < 60_000
    assert b"matplotlib" not in one.lower()


@pytest.mark.parametrize(
    "shape", [(3, 8, 8), (3, 8, 8, 2), (0, 8, 8, 1), (1, 2, 3, 4, 1)]
)
def test_what_is_no_image_is_a_bug(tmp_path, shape):
    with pytest.raises(ValueError, match="image_grid: images must be of shape"):
        image_grid(tmp_path / "g.png", np.zeros(shape))


def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"cannot write .*g\.png"):
        image_grid(tmp_path / "none" / "g.png", ramp(1, 8, 8, 1))
    with pytest.raises(UserError, match=r"cannot write .*c\.png"):
        curves(tmp_path / "none" / "c.png", {"a": ([1], [1.0])})


def test_a_missing_matplotlib_names_the_extra(tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"matplotlib: pip .*kexue_jax\[experiments\]"):
        curves(tmp_path / "c.png", {"a": ([1], [1.0])})


def test_bars_are_the_same_bytes_each_time_and_take_missing_labels(tmp_path):
    groups = {"one": {"a": [1.0, 2.0], "b": [3.0]}, "two": {"b": [2.0, 2.5]}}
    for name in ("first", "second"):
        bars(tmp_path / f"{name}.png", groups, ylabel="loss")
    first, second = ((tmp_path / f"{n}.png").read_bytes() for n in ("first", "second"))
    assert first == second
    assert 2_000 < len(first) < 100_000


def test_the_legend_of_many_curves_stands_beside_them(tmp_path):
    for count in (3, 9):
        lines = {f"a long name {i}": ([0, 1], [i, i]) for i in range(count)}
        curves(tmp_path / f"{count}.png", lines, ylabel="loss")
    few, many = (
        matplotlib.image.imread(tmp_path / f"{count}.png").shape for count in (3, 9)
    )
    assert many[0] == few[0] and many[1] > few[1]
