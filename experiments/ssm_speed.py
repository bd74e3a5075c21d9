"""Kernels of RTF, S4 and S4D against state size and length (kexue.fm/archives/10180,
10162).

The article on rational transfer functions says that time and memory of their kernel do
not grow with the state size. Here the kernels of all three, with their gradients, are
timed in turns, and the compiled memory is read off, for state sizes and lengths that
double; S4D's convolution is measured in blocks beside an FFT. No training: a few
minutes on two CPU cores.

    python -m experiments.ssm_speed
    python -m experiments.ssm_speed --longest=16384 --rounds=9
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._harness.config import BaseConfig, launch, setting
from experiments._harness.figures import curves
from experiments._harness.grids import doubles
from experiments._harness.report import write_report
from experiments._harness.results import Claim, Table, judge, write_results
from experiments._harness.workdir import Run, open_run
from experiments.benchmark.timing import interleave, spread
from kexue_jax import ssm
from kexue_jax.ssm.diagonal import s4d_kernel_plain


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """All settings of the experiment."""

    channels: int = setting(4, "channels of every kernel", minimum=1, maximum=4096)
    largest: int = setting(512, "largest state size, from 16 on", minimum=32)
    longest: int = setting(65536, "longest kernel, from 1,024 on", minimum=2048)
    length: int = setting(4096, "length of the kernels of many state sizes", minimum=64)
    states: int = setting(64, "state size of the kernels of many lengths", minimum=2)
    rounds: int = setting(15, "turns of every form", minimum=2, maximum=1000)
    seconds: float = setting(
        3.0, "time for the forms of one size", minimum=0.01, maximum=3600
    )


PRESETS = {
    "smoke": {
        "channels": 1,
        "largest": 32,
        "longest": 2048,
        "length": 64,
        "states": 4,
        "rounds": 2,
        "seconds": 0.02,
    }
}
KERNELS = ("RTF", "S4", "S4D", "S4D, all powers")
CONVOLUTIONS = ("S4D in blocks", "S4D by FFT")
Form = tuple[Callable[..., Any], tuple[jax.Array, ...]]


class Cost(NamedTuple):
    """Seconds of value and gradient, one a round; bytes beside inputs and results."""

    seconds: list[float]
    bytes: int


class Report(NamedTuple):
    """Costs by form and size: of kernels by states and length, of convolutions."""

    states: dict[str, dict[int, Cost]]
    lengths: dict[str, dict[int, Cost]]
    convolutions: dict[str, dict[int, Cost]]


def main(config: Config) -> None:
    """Measure, judge, draw, report."""
    run = open_run(config)
    report = measure(config)
    draw(run, report)
    write_results(run, claims(report), tables(report))
    print(f"report: {write_report(run.folder)}")


def measure(config: Config) -> Report:
    """All costs, all sizes of a comparison in turns: slow spells of a machine that is
    shared fall on all of them."""
    states, length = config.states, config.length
    by_states = {d: kernels(config, d, length) for d in doubles(16, config.largest)}
    by_length, convolutions = {}, {}
    for n in doubles(1024, config.longest):
        forms = kernels(config, states, n)
        by_length[n] = {name: forms[name] for name in KERNELS[:3]}
        convolutions[n] = convolved(config, n)
    parts = (by_states, by_length, convolutions)
    return Report(*(costs(config, forms) for forms in parts))


def costs(
    config: Config, sizes: dict[int, dict[str, Form]]
) -> dict[str, dict[int, Cost]]:
    """Times and memory of forms by size, as costs of sizes by form."""
    calls, rooms = {}, {}
    for size, forms in sizes.items():
        for name, (form, inputs) in forms.items():
            compiled = jax.jit(_with_gradient(form)).lower(*inputs).compile()
            analysis: Any = compiled.memory_analysis()
            label = f"{name} at {size}"
            rooms[label] = int(analysis.temp_size_in_bytes)
            calls[label] = functools.partial(_finish, compiled, inputs)
    total = config.seconds * len(sizes)
    samples = interleave(calls, rounds=config.rounds, seconds=total)
    print(f"measured: {', '.join(calls)}", flush=True)
    found: dict[str, dict[int, Cost]] = {}
    for size, forms in sizes.items():
        for name in forms:
            label = f"{name} at {size}"
            cost = Cost(samples[label], rooms[label])
            found.setdefault(name, {})[size] = cost
    return found


def _finish(compiled: Any, inputs: tuple[Any, ...]) -> None:
    jax.block_until_ready(compiled(*inputs))


def _with_gradient(form: Callable[..., Any]) -> Callable[..., Any]:
    """The output, and the gradients of its sum of squares by all inputs."""

    def run(*inputs: Any) -> Any:
        out, pull = jax.vjp(form, *inputs)
        return out, pull(2 * out)

    return run


def kernels(config: Config, d: int, length: int) -> dict[str, Form]:
    """The kernels of d states and this length, and parameters for each."""
    draw = np.random.default_rng(config.seed)
    h = config.channels
    a, b = draw.standard_normal((2, h, d))
    a = 0.9 * a / np.abs(a).sum(-1, keepdims=True)
    rational = jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)
    parts = ssm.nplr(measure="legs", n=d, half=True)
    c = draw.standard_normal((2, h, d // 2))
    row = jnp.asarray(c[0] + 1j * c[1], jnp.complex64)
    dt = jnp.asarray(np.geomspace(1e-3, 1e-1, h), jnp.float32)
    lam, own = (jnp.tile(x[None], (h, 1)) for x in (parts.lam, parts.b))
    p = jnp.tile(parts.p[None], (h, 1, 1))
    long: dict[str, Any] = {"length": length}
    return {
        "RTF": (functools.partial(ssm.rtf_kernel, **long), rational),
        "S4": (
            functools.partial(ssm.s4_kernel, half=True, **long),
            (lam, p, own, row, dt),
        ),
        "S4D": (functools.partial(ssm.s4d_kernel, **long), (lam, own, row, dt)),
        "S4D, all powers": (
            functools.partial(s4d_kernel_plain, **long),
            (lam, own, row, dt),
        ),
    }


def convolved(config: Config, length: int) -> dict[str, Form]:
    """S4D's convolution by both forms; 64 states a channel unless told otherwise."""
    draw = np.random.default_rng(config.seed)
    parameters = kernels(config, config.states, length)["S4D"][1]
    u = jnp.asarray(draw.standard_normal((length, config.channels)), jnp.float32)

    def blocks(lam: Any, b: Any, c: Any, dt: Any, u: Any) -> jax.Array:
        return ssm.s4d_conv(lam, b, c, dt, u).out

    def fft(lam: Any, b: Any, c: Any, dt: Any, u: Any) -> jax.Array:
        return ssm.causal_fft_conv(u, ssm.s4d_kernel(lam, b, c, dt, length=length).T)

    inputs = (*parameters, u)
    return {CONVOLUTIONS[0]: (blocks, inputs), CONVOLUTIONS[1]: (fft, inputs)}


def slope(values: dict[int, float]) -> float:
    """The exponent of the size, by a log-log fit over all of them."""
    sizes, costs = (np.log(np.array(list(x), float)) for x in (values, values.values()))
    return float(np.polyfit(sizes, costs, 1)[0])


def seconds(costs: dict[int, Cost]) -> dict[int, float]:
    """The smallest time of each size: what the machine can do."""
    return {size: spread(cost.seconds).minimum for size, cost in costs.items()}


def memory(costs: dict[int, Cost]) -> dict[int, float]:
    return {size: float(max(cost.bytes, 1)) for size, cost in costs.items()}


def claims(report: Report) -> list[Claim]:
    """What the articles say of the cost of the kernels."""
    time = {name: slope(seconds(costs)) for name, costs in report.states.items()}
    room = {name: slope(memory(costs)) for name, costs in report.states.items()}
    by_length = {name: slope(seconds(costs)) for name, costs in report.lengths.items()}
    largest = max(report.states["RTF"])
    fast = {
        name: seconds(report.states[name])[largest]
        / seconds(report.states["RTF"])[largest]
        for name in KERNELS[1:]
    }
    source = "kexue.fm/archives/10180"
    return [
        judge(
            "the time of RTF's kernel does not grow with the state size",
            time,
            rule="exponent of the state size in the time of value and gradient, by a "
            "log-log fit; confirmed if RTF's is at most 0.1, qualified if at most 0.3",
            confirmed=lambda m: m["RTF"] <= 0.1,
            qualified=lambda m: m["RTF"] <= 0.3,
            reported="flat",
            source=source,
        ),
        judge(
            "nor does its memory",
            room,
            rule="exponent of the state size in the compiled temporary memory of value "
            "and gradient; confirmed if RTF's is at most 0.1, qualified if at most 0.3",
            confirmed=lambda m: m["RTF"] <= 0.1,
            qualified=lambda m: m["RTF"] <= 0.3,
            reported="flat",
            source=source,
        ),
        judge(
            "RTF's kernel is faster than S4's and S4D's at many states",
            fast,
            rule=f"time over RTF's at {largest} states; confirmed if all are above 1, "
            "qualified if S4's is",
            confirmed=lambda m: min(m.values()) > 1,
            qualified=lambda m: m["S4"] > 1,
            reported="faster and of less memory than S4",
            source=source,
        ),
        judge(
            "every kernel takes a time that is nearly linear in the length",
            by_length,
            rule="exponent of the length in the time of value and gradient; confirmed "
            "if all are at most 1.2, qualified if RTF's and S4's are at most 1.3",
            confirmed=lambda m: max(m.values()) <= 1.2,
            qualified=lambda m: max(m["RTF"], m["S4"]) <= 1.3,
            reported="O(L log L)",
            source="kexue.fm/archives/10162",
        ),
    ]


def tables(report: Report) -> list[Table]:
    """Times and memory of all forms and sizes."""
    parts = (
        ("kernels by state size", "d", report.states),
        ("kernels by length", "L", report.lengths),
        ("convolutions by length", "L", report.convolutions),
    )
    made = []
    for what, letter, costs in parts:
        sizes = list(next(iter(costs.values())))
        columns = ["form", *[f"{letter} = {size}" for size in sizes], "exponent"]
        for kind, read, unit in (
            ("Smallest time, ms", seconds, 1e-3),
            ("Compiled temporary memory, MiB", memory, 2**20),
        ):
            rows = [
                [name, *[v / unit for v in read(one).values()], slope(read(one))]
                for name, one in costs.items()
            ]
            made.append(Table(f"{kind}: {what}, value and gradient", columns, rows))
    return made


def draw(run: Run, report: Report) -> None:
    """Times and memory against state size and length."""
    options: dict[str, Any] = {"log_x": True, "log_y": True, "markers": True}
    pictures = (
        ("time_states", "state size", "ms", report.states, seconds, 1e-3),
        ("memory_states", "state size", "MiB", report.states, memory, 2**20),
        ("time_length", "length", "ms", report.lengths, seconds, 1e-3),
        ("time_convolution", "length", "ms", report.convolutions, seconds, 1e-3),
    )
    for name, xlabel, unit, costs, read, factor in pictures:
        series: dict[str, Any] = {}
        for form, one in costs.items():
            found = read(one)
            series[form] = (list(found), [value / factor for value in found.values()])
        label = f"value and gradient, {unit}"
        curves(run.path(f"{name}.png"), series, xlabel=xlabel, ylabel=label, **options)


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
