"""metrics.jsonl: strict JSON, rows past a step dropped, damage named."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from experiments._harness.errors import UserError
from experiments._harness.files import json_text, plain, write_text
from experiments._harness.metrics import MetricsWriter, read_metrics, series


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


def test_rows_come_back(path):
    writer = MetricsWriter(path)
    assert read_metrics(path) == []
    writer.write(1, {"loss": 0.1 + 0.2, "norm": np.float32(1.5)})
    writer.write(2, {"loss": np.nan, "norm": jnp.asarray(2, jnp.int32)})
    writer.mark()
    assert read_metrics(path) == [
        {"step": 1, "loss": 0.1 + 0.2, "norm": 1.5},
        {"step": 2, "loss": None, "norm": 2},
    ]
    assert "NaN" not in path.read_text()
    MetricsWriter(path).write(3, {})
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3]


def three_rows(path):
    """A writer with rows 0, 1, 2, and its mark after row 1."""
    writer = MetricsWriter(path)
    writer.write(0, {"loss": 0.5})
    writer.write(1, {"loss": 0.25})
    mark = writer.mark()
    writer.write(2, {"loss": 0.125})
    return writer, mark


@pytest.mark.parametrize("tail", [b"", b'{"step": 5, "lo', b"\x00\xff\n"])
def test_what_came_after_a_mark_is_dropped_whatever_it_is(path, tail, capsys):
    writer, mark = three_rows(path)
    with path.open("ab") as file:
        file.write(tail)
    MetricsWriter(path).rewind(1, json.loads(json.dumps(mark)))
    assert path.stat().st_size == mark["bytes"]
    writer.write(2, {"loss": 30})
    assert [row["loss"] for row in read_metrics(path)] == [0.5, 0.25, 30]
    writer.rewind(0, None)
    assert path.read_bytes() == b""
    assert capsys.readouterr().err == ""


def test_a_last_line_cut_short_is_not_read(path):
    three_rows(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert [row["step"] for row in read_metrics(path)] == [0, 1]


def test_rows_before_a_mark_that_have_changed_are_refused(path):
    writer, mark = three_rows(path)
    whole = path.read_bytes()
    wrong = [
        whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        for at in range(mark["bytes"])
    ]
    for content in [*wrong, whole[: mark["bytes"] - 1], whole[:1]]:
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"metrics\.jsonl is damaged .* put the"):
            writer.rewind(1, mark)
        assert path.read_bytes() == content


def test_a_file_moved_away_is_begun_anew_with_a_line(path, capsys):
    _, mark = three_rows(path)
    path.unlink()
    MetricsWriter(path).rewind(1, mark)
    said = capsys.readouterr().err
    assert said == f"{path} was empty or gone: the rows up to step 1 are lost\n"
    assert path.read_bytes() == b""


@pytest.mark.parametrize("line", ["", "{}", "[]", '{"step": "1"}', "x", "NaN", "3"])
def test_a_damaged_line_is_named(path, line):
    path.write_text('{"step": 1}\n' + line + '\n{"step": 2}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl: line 2 is not a metrics row"):
        read_metrics(path)


def test_a_file_that_cannot_be_used_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot write .*none"):
        MetricsWriter(tmp_path / "none" / "metrics.jsonl")
    with pytest.raises(UserError, match="cannot read"):
        read_metrics(tmp_path / "none")


def test_series():
    rows = [{"step": 1, "a": 2.0}, {"step": 2, "a": None, "b": 1.0}]
    assert series(rows) == {"a": ([1], [2.0]), "b": ([2], [1.0])}
    assert series(rows, ["b"]) == {"b": ([2], [1.0])}


def test_plain_json():
    value = {"a": np.arange(3), "b": (jnp.float32(np.inf), True), 3: None}
    assert json.loads(json_text(value)) == {
        "a": [0, 1, 2],
        "b": [None, True],
        "3": None,
    }
    with pytest.raises(TypeError, match="a set has no JSON form"):
        plain({1})


def test_a_text_is_written_whole(tmp_path):
    write_text(tmp_path / "a", "one")
    write_text(tmp_path / "a", "two\n")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"two\n"]
    with pytest.raises(UserError, match=r"cannot write .*none"):
        write_text(tmp_path / "none" / "a", "x")
