"""Checkpoints: exact, verified, the step before where one is damaged."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._harness.checkpoint import Checkpointer
from experiments._harness.errors import UserError
from tests.harness import toy


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    """A folder with two saved steps, and their states."""
    folder = tmp_path_factory.mktemp("saved")
    checkpointer = Checkpointer(folder)
    states = {}
    state, data = toy.start(), toy.batches()
    for number in (10, 20):
        state, _ = jax.jit(toy.step)(state, next(data))
        states[number] = state
        checkpointer.save(number, state, {"batches": data.state()})
    return folder, states


@pytest.fixture
def saved(two_steps, tmp_path):
    """A copy of them to damage."""
    folder, states = two_steps
    shutil.copytree(folder, tmp_path / "checkpoints")
    return Checkpointer(tmp_path / "checkpoints"), states


def test_what_was_saved_comes_back_exactly(saved):
    checkpointer, states = saved
    restored = checkpointer.restore(toy.start())
    assert (restored.step, restored.meta) == (20, {"batches": {"batches": 2}})
    assert toy.same(restored.state, states[20])
    assert jax.tree.structure(restored.state) == jax.tree.structure(states[20])
    assert restored.state["key"].dtype == jax.random.key(0).dtype
    draws = [jax.random.normal(s["key"], (3,)) for s in (restored.state, states[20])]
    np.testing.assert_array_equal(*draws)


def test_many_dtypes_and_shapes(tmp_path):
    state = {
        "a/b": jnp.arange(5, dtype=jnp.bfloat16),
        "half": jnp.arange(5, dtype=jnp.float16),
        "bytes": jnp.arange(4, dtype=jnp.uint8).reshape(2, 1, 2),
        "yes": jnp.array([True, False]),
        "double": jnp.full((), np.pi, jnp.float64),
        "complex": jnp.array([1 + 2j], jnp.complex64),
        "none": jnp.zeros((0, 3), jnp.float32),
        "keys": jax.random.split(jax.random.key(1, impl="rbg"), 3),
        "list": [jnp.ones(2), (jnp.zeros(1),)],
        "nan": jnp.array([jnp.nan, jnp.inf, -0.0]),
    }
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(1, state)
    restored = checkpointer.restore(jax.tree.map(jnp.zeros_like, state))
    assert toy.same(restored.state, state)
    abstract = jax.eval_shape(lambda: state)
    assert toy.same(checkpointer.restore(abstract).state, state)


def test_nothing_saved_is_none(tmp_path):
    assert Checkpointer(tmp_path / "none").restore(toy.start()) is None
    assert Checkpointer(tmp_path).latest() is None


def test_the_newest_two_are_kept_and_left_overs_go(tmp_path):
    checkpointer = Checkpointer(tmp_path)
    (tmp_path / "000001.99.tmp").mkdir()
    for step in (1, 2, 3):
        checkpointer.save(step, {"x": jnp.full(2, step)})
    assert checkpointer.steps() == [2, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000002", "000003"]
    checkpointer.save(3, {"x": jnp.full(2, 9)})
    assert checkpointer.restore({"x": jnp.zeros(2, jnp.int64)}).state["x"][0] == 9


def test_a_part_beside_does_not_disturb(tmp_path):
    Checkpointer(tmp_path / "classifier").save(5, {"x": jnp.zeros(1)})
    assert Checkpointer(tmp_path).steps() == []
    Checkpointer(tmp_path).save(1, {"x": jnp.zeros(1)})
    assert Checkpointer(tmp_path / "classifier").steps() == [5]


def test_a_step_without_its_commit_is_damaged(saved, capsys):
    checkpointer, states = saved
    (checkpointer.folder / "000020" / "COMMIT").unlink()
    restored = checkpointer.restore(toy.start())
    assert restored.step == 10
    assert toy.same(restored.state, states[10])
    assert "000020 is damaged (COMMIT cannot be read)" in capsys.readouterr().err
    (checkpointer.folder / "000010" / "COMMIT").unlink()
    with pytest.raises(UserError, match=r"every checkpoint in .* is damaged"):
        checkpointer.restore(toy.start())


def test_a_step_after_the_one_that_is_saved_goes(saved, capsys):
    checkpointer, states = saved
    (checkpointer.folder / "000020" / "meta.json").unlink()
    assert checkpointer.restore(toy.start()).step == 10
    checkpointer.save(15, states[20])
    assert checkpointer.steps() == [10, 15]
    only = Checkpointer(checkpointer.folder, keep=1)
    only.save(3, states[10])
    assert only.steps() == [3]


def _files(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("seed", range(12))
def test_damage_is_seen_named_and_skipped(saved, seed, capsys):
    checkpointer, states = saved
    rng = np.random.default_rng(seed)
    files = _files(checkpointer.folder / "000020")
    path = files[rng.integers(len(files))]
    content = bytearray(path.read_bytes())
    if seed % 3 == 0:
        path.unlink()
    elif seed % 3 == 1 or not content:
        path.write_bytes(content[: len(content) // 2] or b"x")
    else:
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(content)
    restored = checkpointer.restore(toy.start())
    assert restored.step == 10
    assert toy.same(restored.state, states[10])
    warned = capsys.readouterr().err
    assert warned.count("\n") == 1
    assert "000020 is damaged" in warned


def test_a_file_too_many_is_damage(saved):
    checkpointer, _ = saved
    (checkpointer.folder / "000020" / "state" / "more").write_bytes(b"")
    assert checkpointer.latest() == 10


def test_a_damaged_step_is_replaced_when_it_is_reached_again(saved):
    checkpointer, states = saved
    (checkpointer.folder / "000020" / "meta.json").write_text("{}")
    checkpointer.save(20, states[20], {"batches": 2})
    assert checkpointer.steps() == [10, 20]
    assert toy.same(checkpointer.restore(toy.start()).state, states[20])


def test_all_damaged_is_refused_and_nothing_is_deleted(saved):
    checkpointer, _ = saved
    for step in ("000010", "000020"):
        (checkpointer.folder / step / "meta.json").write_text("{}")
    before = _files(checkpointer.folder)
    with pytest.raises(UserError, match=r"every checkpoint in .* is damaged"):
        checkpointer.restore(toy.start())
    assert _files(checkpointer.folder) == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s["params"].update(w=jnp.zeros(4, jnp.float32)), "params/w"),
        (lambda s: s["params"].update(b=jnp.zeros((), jnp.float64)), "params/b"),
        (lambda s: s.pop("ema"), "ema/b"),
        (lambda s: s.update(more=jnp.zeros(1)), "more"),
    ],
)
def test_another_tree_is_refused_by_name(saved, change, named):
    checkpointer, _ = saved
    state = toy.start()
    change(state)
    with pytest.raises(UserError, match=f"does not fit: {named}"):
        checkpointer.restore(state)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot save step 1"):
        Checkpointer(tmp_path / "file").save(1, {"x": jnp.zeros(1)})


def test_the_commit_lists_every_file(saved):
    checkpointer, _ = saved
    folder = checkpointer.folder / "000020"
    listed = json.loads((folder / "COMMIT").read_text())
    present = {p.relative_to(folder).as_posix() for p in _files(folder)}
    assert listed.keys() == present - {"COMMIT"}
    assert "meta.json" in listed
