"""ssm_speed: the sizes, the exponents, and rules that can fail."""

from experiments import ssm_speed
from experiments._harness.grids import doubles
from experiments.ssm_speed import Cost, Report


def costs(exponent: float) -> dict[int, Cost]:
    """Times and bytes that grow with the size to a power."""
    sizes = doubles(16, 256)
    return {n: Cost([n**exponent] * 3, int(1e6 * n**exponent)) for n in sizes}


def report(rtf: float, others: float, lengths: float = 1.0) -> Report:
    states = {name: costs(others) for name in ssm_speed.KERNELS} | {"RTF": costs(rtf)}
    by_length = {name: costs(lengths) for name in ssm_speed.KERNELS[:3]}
    return Report(states, by_length, {n: costs(1.0) for n in ssm_speed.CONVOLUTIONS})


def verdicts(report: Report) -> list[str]:
    return [claim.verdict for claim in ssm_speed.claims(report)]


def test_sizes_double_and_exponents_are_found() -> None:
    assert doubles(16, 100) == [16, 32, 64]
    assert abs(ssm_speed.slope(ssm_speed.seconds(costs(0.7))) - 0.7) < 1e-12


def test_rules_confirm_what_is_flat_and_refute_what_grows() -> None:
    assert verdicts(report(0.0, 1.0)) == ["confirmed"] * 4
    assert verdicts(report(0.2, 1.0))[:2] == ["qualified"] * 2
    assert verdicts(report(1.0, 0.5, 2.0)) == ["refuted"] * 4


def test_tables_have_a_row_for_each_form() -> None:
    tables = ssm_speed.tables(report(0.0, 1.0))
    assert [len(table.rows) for table in tables] == [4, 4, 3, 3, 2, 2]
