"""The committed cases: their names, that the light ones agree, what the nets count."""

import re

import jax
import pytest

from experiments.benchmark import gate, registry
from experiments.benchmark.cases_unet import SIZES
from experiments.benchmark.cost import contraction_flops
from experiments.benchmark.forms import build_form
from experiments.benchmark.networks import Size, sample, train

CASES = registry.all_cases()
LIGHT = [name for name in CASES if not name.startswith("unet.")]


def test_names_are_topic_and_what():
    assert CASES
    for name, case in CASES.items():
        topic, what = name.split(".")
        assert topic.isidentifier()
        assert what.isidentifier()
        assert case.about
        assert case.tolerance <= 0.05


def test_the_smoke_preset_names_cases():
    from experiments.benchmark.__main__ import PRESETS

    assert len(registry.chosen(PRESETS["smoke"]["cases"])) == 2


# Sizes whose twins take seconds, or gigabytes.
HEAVY = re.compile(r"(8192|16384|32768|65536|4096_gradient|mlp_penalty_gradient|_50m)")


def light():
    for name in LIGHT:
        slow = (pytest.mark.slow,) if HEAVY.search(name) else ()
        yield pytest.param(name, marks=slow)


@pytest.mark.parametrize("name", list(light()))
def test_fast_form_and_twin_agree(name):
    case = CASES[name]
    inputs = case.inputs(0)
    fast, twin = (build_form(form, inputs) for form in (case.fast, case.twin))
    gate.check_values(name, fast.value, twin.value, case.tolerance)
    fast.call()
    twin.call()


# Counted by diffusers 0.42.1 and torch's FlopCounterMode for one forward pass of
# UNet2DModel (DownBlock2D, UpBlock2D, no attention) of the same sizes.
UNET2D = {"color": (6_074_371, 22.63e9)}


@pytest.mark.parametrize("name", UNET2D)
def test_our_network_counts_what_diffusers_counts(name):
    size, (parameters, flops) = SIZES[name], UNET2D[name]
    model = size.model()
    params = jax.eval_shape(model.init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == parameters
    x, t, _ = size.inputs(0)
    assert contraction_flops(model.apply, params, x, t) == pytest.approx(
        flops, rel=0.01
    )


@pytest.mark.parametrize("build", [train, sample])
def test_spread_and_single_device_forms_agree(build):
    size = Size(2, 4, 1, 4, (1, 2), 1, groups=4)
    inputs = size.inputs(0)
    spread, single = (build(size, spread=flag)(*inputs) for flag in (True, False))
    gate.check_values("single", spread.value, single.value, 1e-4)
    gate.check_work("single", spread.work, single.work)
    spread.call()
