"""Lists in flags: read, ordered, and refused in one line."""

import pytest

from experiments._harness import lists
from experiments._harness.errors import UserError


@pytest.mark.parametrize("flag", ["shares", "rates", "noises"])
@pytest.mark.parametrize("below", [1, 1e6, float("inf")])
@pytest.mark.parametrize("text", ["", "a", "0", "-1", "nan", "0.5,x"])
def test_lists_of_numbers_are_refused_in_one_line(flag, below, text) -> None:
    with pytest.raises(UserError, match=f"flag --{flag}={text}"):
        lists.positive(flag, text, below=below)
    assert lists.positive(flag, "0.5,0.25,0.5", below=below) == [0.25, 0.5]


def test_a_bound_a_count_and_whole_numbers_are_asked_for_by_name() -> None:
    with pytest.raises(UserError, match="wanted positive numbers below 1, commas"):
        lists.positive("noises", "0.5,1", below=1)
    with pytest.raises(UserError, match="wanted two positive numbers or more, commas"):
        lists.positive("rates", "0.5,0.5", fewest=2)
    with pytest.raises(UserError, match="wanted positive integers, commas"):
        lists.positive("depths", "4,2.5", whole=True)
    found = lists.positive("depths", "8,4.0", whole=True)
    assert found == [4, 8] and all(isinstance(n, int) for n in found)
