"""Forms that do not compute the same thing are found out."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark import gate

ONES = {"a": np.ones(3), "b": np.full(2, 5.0)}


def test_the_difference_is_relative_to_the_largest_entry_of_each_array():
    other = {"a": np.ones(3), "b": np.array([5.0, 5.0 + 1e-6])}
    assert gate.check_values("f", ONES, other, 1e-6) == pytest.approx(2e-7)
    assert gate.check_values("f", ONES, ONES, 0.0) == 0.0


@pytest.mark.parametrize(
    ("other", "word"),
    [
        ({"a": np.ones(3), "b": np.array([5.0, 5.1])}, "differ by 0.0"),
        ({"a": np.ones(3), "b": np.array([5.0, np.nan])}, "array 1 is not finite"),
        ({"a": np.ones(3), "b": np.array([5.0, np.inf])}, "array 1 is not finite"),
        ({"a": np.ones((3, 1)), "b": np.full(2, 5.0)}, "array 0 has shape"),
        ({"a": np.ones(3)}, "1 arrays beside 2|2 arrays beside 1"),
    ],
)
def test_red(other, word):
    with pytest.raises(gate.Red, match=word):
        gate.check_values("f", ONES, other, 1e-3)


def test_work_may_differ_by_one_in_a_hundred():
    gate.check_work("f", {"parameters": 1000.0}, {"parameters": 1009.0})
    with pytest.raises(gate.Red, match="parameters 1000 beside 1020"):
        gate.check_work("f", {"parameters": 1000.0}, {"parameters": 1020.0})
    with pytest.raises(gate.Red, match="flops counted on one side only"):
        gate.check_work("f", {"flops": 1.0}, {})


def test_gradients_find_forms_that_agree_in_value_only():
    x = (jnp.asarray([1.0, -2.0], jnp.float32),)
    same = gate.gradients(lambda x: {"y": x * x, "n": 3}, x, (0,))
    np.testing.assert_allclose(
        same[0], 2 * x[0] * gate.gradients(lambda x: x, x, (0,))[0], rtol=1e-6
    )
