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
    writer.sync()
    assert read_metrics(path) == [
        {"step": 1, "loss": 0.1 + 0.2, "norm": 1.5},
        {"step": 2, "loss": None, "norm": 2},
    ]
    assert "NaN" not in path.read_text()
    MetricsWriter(path).write(3, {})
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3]


def test_rows_past_a_step_and_a_torn_line_are_dropped(path):
    writer = MetricsWriter(path)
    for step in range(5):
        writer.write(step, {"loss": step})
    with path.open("a") as file:
        file.write('{"step": 5, "lo')
    assert [row["step"] for row in read_metrics(path)] == [0, 1, 2, 3, 4]
    writer.truncate(2)
    writer.write(3, {"loss": 30})
    assert [row["loss"] for row in read_metrics(path)] == [0, 1, 2, 30]


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
