"""scaling: bytes are counted as a ring sends them, the plan's formulas are right."""

import math

import pytest

from experiments import scaling
from experiments._harness.results import read_results
from experiments._scaling import plan, programs
from experiments._scaling.compiled import Cost, parameters, sent
from experiments._scaling.encoder import Sizes
from experiments._scaling.plan import Machine, Measured
from tests.distributed.programs import output

HLO = """
  %all-reduce.1 = (f32[10,4]{1,0}, bf16[6]{0}) all-reduce(%a, %b), channel_id=1
  %x = f32[] add(%all-reduce.1, %c)
  ROOT %all-gather = f32[8,3]{1,0} all-gather(%c), dimensions={0}
  %rs = f32[5]{0} reduce-scatter(%c), dimensions={0}
  %p = pred[16]{0} collective-permute-start(%c)
"""


def test_bytes_of_each_collective() -> None:
    found = sent(HLO, 8)
    assert found == {
        "all-reduce": 2 * 7 / 8 * (160 + 12),
        "all-gather": 7 / 8 * 96,
        "reduce-scatter": 7 * 20,
        "collective-permute": 16,
    }
    assert sent(HLO, 1) == {}


def test_the_networks_are_those_of_the_papers() -> None:
    unet = programs.unet(128, "1,2,2,2", 2, 128)
    assert abs(parameters(unet) / 35.7e6 - 1) < 0.005
    words, width, length, layers = 30_522, 768, 512, 12
    layer = 4 * (width * width + width) + 4 * width
    layer += 8 * width * width + 5 * width
    head = width * width + width + 2 * width + words
    wanted = (words + length + 2) * width + 2 * width + layers * layer + head
    assert parameters(programs.bert(Sizes(), 256)) == wanted == 109_514_298


def measured() -> Measured:
    """A model of 1000 parameters whose gradient takes a ring 4000 bytes long."""
    pair = [
        tuple(
            Cost(8, rows, state, 100 + 50 * rows // 8, 1e6 * rows, {"all-reduce": sent})
            for rows in (8, 64)
        )
        for state, sent in ((16_000, 7_000.0), (2_000, 10_500.0))
    ]
    return Measured("toy", 1000, 64, *pair)


MACHINE = Machine(flops=1e9, inside=1e6, between=1e5, group=8)


def test_rows_of_the_plan() -> None:
    one = plan.row(measured(), MACHINE, 8, False)
    assert (one.rows, one.batch_size, one.state, one.temporary) == (8, 64, 16_000, 500)
    assert one.sent == 2 * 7 / 8 * 4000 and one.sent_seconds == one.sent / 1e6
    assert one.compute_seconds == pytest.approx(1e6 * 8 / 1e9)
    wide = plan.row(measured(), MACHINE, 512, False)
    assert (wide.rows, wide.batch_size, wide.temporary) == (1, 512, 150)
    assert wide.sent_seconds == 2 * 511 / 512 * 4000 / 1e5
    both = plan.row(measured(), MACHINE, 64, True)
    between = 2 * 7 / 8 * 4000 / 8
    assert both.sent == 10_500 + between and both.state == 2_000
    assert both.sent_seconds == pytest.approx(10_500 / 1e6 + between / 1e5)


def test_where_it_stops() -> None:
    slow = MACHINE
    fast = Machine(flops=1e9, inside=1e9, between=1e9, group=8)
    assert plan.limit(measured(), fast, False) == (64, 64)
    assert plan.limit(measured(), fast, True) == (64, 64)
    most, good = plan.limit(measured(), slow, False)
    assert most == 64 and good == 8
    found = plan.row(measured(), slow, 16, False)
    assert found.sent_seconds > found.compute_seconds
    assert math.isclose(found.rows, 4)


@pytest.mark.parametrize(
    "argv", [["--unet_batch=7"], ["--bert_batch=3"], ["--unet_multipliers=1,x"]]
)
def test_what_does_not_fit_is_one_line(argv, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("jax.devices", lambda: [None] * 2)
    folder = tmp_path / "run"
    doc, presets = scaling.__doc__, scaling.PRESETS
    status = scaling.launch(
        scaling.main, scaling.Config, presets, doc, argv=[f"--workdir={folder}", *argv]
    )
    said = capsys.readouterr().err
    assert status == 1 and said.count("\n") == 1 and argv[0].split("=")[0] in said
    assert not folder.exists()


@pytest.mark.slow
def test_on_eight_devices_the_compiled_bytes_are_those_of_the_ring(tmp_path) -> None:
    folder = tmp_path / "run"
    output("experiments.scaling", "--preset=smoke", f"--workdir={folder}")
    verdicts = {c["claim"]: c["verdict"] for c in read_results(folder)["claims"]}
    assert verdicts["DDPM U-Net: " + RING] == "confirmed"
    assert verdicts["BERT encoder: " + RING] == "qualified"


RING = "copied parameters cost one ring sum of the gradient"
