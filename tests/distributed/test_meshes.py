"""Every experiment's step is the same on one device and on eight, however divided."""

import functools
import json

import jax
import pytest

from tests.distributed import attentions
from tests.distributed.cases import CASES
from tests.distributed.meshes import MESHES
from tests.distributed.programs import output

ALLOWED = {"float32": 1e-5, "float64": 1e-12}
FAST = ("plain", "float32")


def cases():
    for name in CASES:
        for dtype in ALLOWED:
            slow = () if (name, dtype) == FAST else (pytest.mark.slow,)
            yield pytest.param(name, dtype, marks=slow, id=f"{name}-{dtype}")


@pytest.mark.parametrize(("name", "dtype"), list(cases()))
def test_twenty_steps_equal_those_of_one_device(name, dtype) -> None:
    found = json.loads(output("tests.distributed.meshes", name, dtype))
    assert found.pop("guarded")  # an implicit transfer would have raised
    one = found.pop("data:1")
    assert one["devices"] == 1 and one["moved"] > 0.01
    assert list(found) == list(MESHES)
    for sizes, seen in found.items():
        assert seen["devices"] == 8 and seen["dtypes"] == [dtype]
        assert max(seen["apart"].values()) < ALLOWED[dtype], (sizes, seen["apart"])
        assert seen["traces"] == seen["programs"] == 1 and seen["kept"]
        parts = {"data:8": 1, "data:4,fsdp:2": 2, "data:1,fsdp:8": 8}[sizes]
        assert seen["smallest"] == 1 / parts
        assert (seen["divided"] > 0) == (parts > 1)
        for count, rows in seen["rows"].items():
            assert len(rows) == int(count)
            assert len({len(part) for part in rows}) == 1
            assert sorted(row for part in rows for row in part) == list(range(16))


def test_divided_parameters_are_gathered_and_activations_stay() -> None:
    sent = json.loads(output("tests.distributed.gathers"))
    assert sent.keys() == {"all-gather", "all-reduce"}
    assert sent["all-gather"] < 1.02
    # Twice a ring for the gradient's sum, and again for a table that is used twice.
    assert 2 <= sent["all-reduce"] < 2.5


@pytest.mark.slow
def test_attention_divided_over_batch_and_heads_is_the_same() -> None:
    apart = json.loads(output("tests.distributed.attentions"))
    assert apart.keys() == attentions.FORMS.keys()
    assert max(apart.values()) < 1e-12, apart


@pytest.mark.parametrize("name", attentions.FORMS)
def test_attention_may_be_divided_by_shard_map(name) -> None:
    """What varies over a mesh is known while tracing, so that one device is enough."""
    run = functools.partial(attentions.value_and_gradients, attentions.FORMS[name])
    options = {"in_specs": attentions.DIVIDED, "out_specs": attentions.DIVIDED}
    divided = jax.shard_map(run, mesh=attentions.mesh(1, 1), **options)
    arrays = [jax.ShapeDtypeStruct(attentions.SHAPE, float)] * 3
    assert [x.shape for x in jax.eval_shape(divided, *arrays)] == [arrays[0].shape] * 4
