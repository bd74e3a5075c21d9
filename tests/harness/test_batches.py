"""Batches: an endless order of rows that depends on numbers alone, and its parts."""

import numpy as np
import pytest

from experiments._harness.data import Batches, Rows
from experiments._harness.data_types import order_of


@pytest.mark.parametrize(("rows", "size"), [(20, 8), (20, 20), (5, 12), (7, 1), (6, 3)])
def test_batches_are_one_endless_stream_of_epochs(rows, size):
    data = Batches({"x": np.arange(rows), "y": -np.arange(rows)}, size, seed=3)
    taken = [next(data) for _ in range(3 * rows)]
    assert all(len(batch["x"]) == size for batch in taken)
    assert all((batch["x"] == -batch["y"]).all() for batch in taken)
    stream = np.concatenate([batch["x"] for batch in taken])
    for epoch in range(len(stream) // rows):
        part = stream[epoch * rows : (epoch + 1) * rows]
        np.testing.assert_array_equal(part, order_of(rows, 3, epoch))
        np.testing.assert_array_equal(np.sort(part), np.arange(rows))


def test_the_order_depends_on_seed_and_epoch_alone():
    one, same, other = (Batches({"x": np.arange(50)}, 50, s) for s in (1, 1, 2))
    first, second = next(one)["x"], next(one)["x"]
    np.testing.assert_array_equal(next(same)["x"], first)
    assert (first != second).any()
    assert (next(other)["x"] != first).any()


def philox_4x64_10(counter, key):
    """The four words that Philox (Salmon and others, 2011) gives, by its definition."""
    multipliers, weyl = (
        (0xD2E7470EE14C6C93, 0xCA5A826395121157),
        (
            0x9E3779B97F4A7C15,
            0xBB67AE8584CAA73B,
        ),
    )
    a, b, c, d = counter
    for _ in range(10):
        first, second = multipliers[0] * a, multipliers[1] * c
        a, b, c, d = (
            (second >> 64) ^ b ^ key[0],
            second % 2**64,
            (first >> 64) ^ d ^ key[1],
            first % 2**64,
        )
        key = [(k + w) % 2**64 for k, w in zip(key, weyl, strict=True)]
    return [a, b, c, d]


@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (0, 1), (2**32 - 1, 7)])
def test_the_order_is_that_of_the_published_generator(seed, epoch):
    words = [
        word
        for block in range(1, 6)
        for word in philox_4x64_10([block, 0, 0, 0], [seed, epoch])
    ]
    expected = sorted(range(17), key=words.__getitem__)
    assert order_of(17, seed, epoch).tolist() == expected


@pytest.mark.parametrize("position", [0, 1, 2, 3, 17])
def test_a_position_is_sought_at_once(position):
    through, sought = (Batches({"x": np.arange(20)}, 8, 5) for _ in range(2))
    for _ in range(position):
        next(through)
    sought.restore(through.state())
    for _ in range(6):
        np.testing.assert_array_equal(next(sought)["x"], next(through)["x"])
    assert sought.state() == through.state() == {"batches": position + 6}


def test_batches_refuse_what_makes_no_batch():
    with pytest.raises(ValueError, match="of one length"):
        Batches({"x": np.arange(3), "y": np.arange(4)}, 2, 0)
    with pytest.raises(ValueError, match="not 0"):
        Batches({"x": np.arange(0)}, 2, 0)
    with pytest.raises(ValueError, match="batch_size"):
        Batches({"x": np.arange(3)}, 0, 0)


def test_with_several_processes_a_batch_gathers_what_is_asked_for(monkeypatch):
    source = np.arange(40 * 6, dtype=np.float32).reshape(40, 2, 3)
    lazy, plain = Batches({"x": source}, 16, 5), Batches({"x": source}, 16, 5)
    whole = [next(plain)["x"] for _ in range(7)]
    monkeypatch.setattr("experiments._harness.processes.alone", lambda: False)
    asked = []

    class Noting(np.ndarray):
        def __getitem__(self, index):
            if isinstance(index, np.ndarray) and index.dtype.kind == "i":
                asked.append(len(index))
            return super().__getitem__(index)

    lazy.arrays["x"] = source.view(Noting)
    for wanted in whole:
        rows = next(lazy)["x"]
        assert isinstance(rows, Rows) and not asked
        assert (rows.shape, rows.dtype) == (wanted.shape, wanted.dtype)
        part = slice(4, 8), slice(None), slice(0, 2)
        np.testing.assert_array_equal(rows[part], wanted[part])
        assert asked == [4]
        np.testing.assert_array_equal(np.asarray(rows), wanted)
        asked.clear()
