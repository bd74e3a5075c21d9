"""Text: always there, the same every time, split by files."""

import numpy as np
import pytest

from experiments._harness.data_text import END, load_text
from experiments._harness.errors import UserError


def test_the_standard_library_is_always_there():
    text, again = load_text("stdlib"), load_text("stdlib")
    assert len(text.train) > 3_000_000
    assert 0.02 < len(text.test) / len(text.train) < 0.3
    assert text.train.dtype == text.test.dtype == np.uint8
    assert again.source == text.source
    np.testing.assert_array_equal(again.train, text.train)
    assert b"def " in text.train[:100_000].tobytes()


def test_no_test_file_is_in_the_training_text(tmp_path):
    for number in range(30):
        (tmp_path / f"{number:02d}.txt").write_text(f"<{number}>" * 20)
    text = load_text("folder", str(tmp_path))
    parts = [
        {p for p in side.tobytes().split(bytes([END])) if p}
        for side in (text.train, text.test)
    ]
    assert len(parts[0]) == 27 and len(parts[1]) == 3 and not parts[0] & parts[1]


def test_rows_are_the_text_in_order(tmp_path):
    (tmp_path / "a.txt").write_bytes(bytes(range(1, 101)))
    (tmp_path / "b.txt").write_bytes(bytes(range(101, 201)))
    text = load_text("folder", str(tmp_path))
    rows = text.rows(7)
    assert rows.base is not None and rows.shape == (14, 7)
    np.testing.assert_array_equal(rows.ravel(), text.train[:98])
    tested = text.test_rows(10, 5)
    np.testing.assert_array_equal(tested[1], text.test[20:30])


def test_empty_and_binary_files_are_left_out(tmp_path):
    (tmp_path / "empty.txt").write_text("  \n")
    (tmp_path / "binary.txt").write_bytes(b"ab\0cd" * 10)
    (tmp_path / "picture.png").write_bytes(b"png" * 100)
    for name in "ab":
        (tmp_path / f"{name}.md").write_text(name * 50)
    text = load_text("folder", str(tmp_path))
    assert set(np.concatenate([text.train, text.test]).tolist()) == {END, 97, 98}


@pytest.mark.parametrize("folder", ["none", "nowhere"])
def test_a_missing_folder_is_named(folder):
    with pytest.raises(UserError, match=f"--data_dir.*{folder}"):
        load_text("folder", folder)


def test_too_little_text_is_refused(tmp_path):
    with pytest.raises(UserError, match="0 files of text"):
        load_text("folder", str(tmp_path))
    (tmp_path / "a.txt").write_text("short")
    (tmp_path / "b.txt").write_text("text")
    text = load_text("folder", str(tmp_path))
    with pytest.raises(UserError, match="wanted 99 or more"):
        text.rows(99)
    with pytest.raises(UserError, match="5 are wanted"):
        text.test_rows(4, 5)
