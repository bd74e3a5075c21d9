"""Sub-sequences of steps: valid at every S, ends where sampling starts."""

import jax
import numpy as np
import pytest

from kexue_jax.diffusion import ddim_sample, ddim_taus, kexue_schedule

KINDS = ("trailing", "leading", "quadratic")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("T", [1, 2, 3, 10, 97, 1000])
def test_every_number_of_steps_gives_unique_increasing_steps(T: int, kind: str) -> None:
    for S in range(1, T + 1):
        taus = ddim_taus(T=T, S=S, kind=kind)
        assert taus.shape == (S,) and taus.dtype == np.int32
        assert taus[0] >= 1 and taus[-1] <= T and (np.diff(taus) > 0).all()


@pytest.mark.parametrize("kind", ["trailing", "quadratic"])
def test_chain_starts_at_T_where_the_noise_is_pure(kind: str) -> None:
    for T in (1, 50, 1000):
        assert all(ddim_taus(T=T, S=S, kind=kind)[-1] == T for S in range(1, T + 1))


def test_leading_stops_short_of_T_as_its_docstring_says() -> None:
    taus = ddim_taus(T=1000, S=10, kind="leading")
    assert taus.tolist() == list(range(1, 1000, 100))
    # The card's pitfall: at t = 901 the signal is 0.0168, not 0.0065.
    assert abs(kexue_schedule().alpha_bar[901] - 0.0168) < 5e-5


@pytest.mark.parametrize("kind", KINDS)
def test_all_steps_is_the_full_chain(kind: str) -> None:
    for T in (1, 7, 1000):
        assert ddim_taus(T=T, S=T, kind=kind).tolist() == list(range(1, T + 1))


def test_known_values() -> None:
    trailing = ddim_taus(T=1000, S=10)
    assert trailing.tolist() == list(range(100, 1001, 100))
    assert ddim_taus(T=10, S=4).tolist() == [3, 5, 8, 10]
    quadratic = ddim_taus(T=1000, S=10, kind="quadratic")
    assert quadratic.tolist() == [10 * i**2 for i in range(1, 11)]
    # 100 (i / 50)^2 rounds to 0 and repeats at first: raised to i.
    assert ddim_taus(T=100, S=50, kind="quadratic")[:6].tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"T": 10, "S": 11}, "S"),
        ({"T": 10, "S": 0}, "S"),
        ({"T": 0, "S": 1}, "T"),
        ({"T": 10.0, "S": 1}, "T"),
        ({"T": 10, "S": 2, "kind": "uniform"}, "kind"),
        ({"T": 10, "S": 2, "kind": None}, "kind"),
    ],
)
def test_bad_options_are_refused_by_name(options: dict, argument: str) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"ddim_taus: `{argument}`"):
        ddim_taus(**options)


@pytest.mark.parametrize(
    "taus",
    [[], [[1, 2]], [0, 5], [5, 26], [3, 3], [5, 2], [1.0, 2.0], None, "text", [True]],
)
def test_samplers_refuse_bad_steps(taus) -> None:
    schedule = kexue_schedule(T=25)
    with pytest.raises((ValueError, TypeError), match="ddim_sample: `taus`"):
        ddim_sample(None, lambda x, t: x, schedule, jax.numpy.ones((1, 2)), taus)
