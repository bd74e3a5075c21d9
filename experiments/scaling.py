"""What a training step costs on 8, 64 and 512 devices, and where it stops scaling.

Compiles the real step of the DDPM paper's U-Net (CIFAR-10, batch 128) and that of a
BERT-base encoder (512 words, batch 256) for 8 devices, the parameters copied to each
(data) or divided over them (fsdp), and runs neither. State, operations and what is sent
come from XLA's analyses and from the program's collective operations; 64 and 512
devices follow by the formulas of a ring, given an accelerator and its links. No
accelerator is needed: some minutes on two CPU cores.

    python -m experiments.scaling
    python -m experiments.scaling --network_gbytes=12.5
"""

import dataclasses

import jax

from experiments._harness.config import BaseConfig, launch, setting
from experiments._harness.errors import UserError
from experiments._harness.figures import curves
from experiments._harness.mesh import training_mesh
from experiments._harness.report import write_report
from experiments._harness.results import Claim, Table, judge, write_results
from experiments._harness.workdir import Run, open_run
from experiments._scaling import plan, programs
from experiments._scaling.compiled import Program, cost, parameters
from experiments._scaling.encoder import Sizes
from experiments._scaling.plan import Machine, Measured

DEVICES = (8, 64, 512)
KINDS = {False: "data", True: "data + fsdp"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """The networks and the machine of the plan."""

    host_devices: int = setting(
        8, "devices to compile for", minimum=1, maximum=64, shapes_run=False
    )
    unet_width: int = setting(128, "channels of the U-Net", minimum=2, maximum=4096)
    unet_multipliers: str = setting("1,2,2,2", "widths of its stages over that")
    unet_blocks: int = setting(2, "residual blocks a stage", minimum=1, maximum=16)
    unet_batch: int = setting(128, "images a step", minimum=2, maximum=2**20)
    bert_layers: int = setting(12, "layers of the encoder", minimum=1, maximum=999)
    bert_width: int = setting(768, "its width, 64 a head", minimum=64, maximum=2**16)
    bert_words: int = setting(30_522, "its vocabulary", minimum=2, maximum=10**7)
    bert_length: int = setting(512, "words a text", minimum=8, maximum=2**17)
    bert_batch: int = setting(256, "texts a step", minimum=2, maximum=2**20)
    peak_tflops: float = setting(
        989.0, "of an accelerator, bfloat16", minimum=0, open_minimum=True
    )
    utilization: float = setting(
        0.4, "share of it that is reached", minimum=0, maximum=1, open_minimum=True
    )
    group_gbytes: float = setting(
        450.0, "GB/s each way inside a group", minimum=0, open_minimum=True
    )
    network_gbytes: float = setting(
        50.0, "GB/s each way between groups", minimum=0, open_minimum=True
    )


PRESETS = {
    "smoke": {
        "unet_width": 16,
        "unet_multipliers": "1",
        "unet_blocks": 1,
        "unet_batch": 32,
        "bert_layers": 1,
        "bert_width": 64,
        "bert_words": 512,
        "bert_length": 16,
        "bert_batch": 32,
    }
}


def main(config: Config) -> None:
    """Compile, plan, judge, draw, report."""
    count = len(jax.devices())
    for name, batch in (("unet", config.unet_batch), ("bert", config.bert_batch)):
        if batch % count or batch < 2 * count:
            raise UserError(
                f"flag --{name}_batch={batch}: wanted a multiple of the {count} "
                "devices, two rows each or more"
            )
    multipliers = config.unet_multipliers
    parts = multipliers.split(",")
    if not all(part.isdecimal() and 0 < int(part) <= 64 for part in parts):
        raise UserError(f"flag --unet_multipliers={multipliers}: wanted 1,2,2 or so")
    run = open_run(config)
    machine = Machine(
        flops=1e12 * config.peak_tflops * config.utilization,
        inside=1e9 * config.group_gbytes,
        between=1e9 * config.network_gbytes,
        group=count,
    )
    sizes = Sizes(
        layers=config.bert_layers,
        width=config.bert_width,
        heads=max(1, config.bert_width // 64),
        words=config.bert_words,
        length=config.bert_length,
        predicted=max(1, round(0.149 * config.bert_length)),
    )
    both = [
        measured(program)
        for program in (
            programs.unet(
                config.unet_width, multipliers, config.unet_blocks, config.unet_batch
            ),
            programs.bert(sizes, config.bert_batch),
        )
    ]
    draw(run, both, machine)
    write_results(run, claims(both), tables(both, machine), facts(both))
    print(f"report: {write_report(run.folder)}")


def measured(program: Program) -> Measured:
    """The step compiled with the parameters copied and divided, at two batch sizes."""
    count = len(jax.devices())
    pairs = []
    for axis in ("data", "fsdp") if count > 1 else ("data",):
        sizes = f"{axis}:{count}"
        mesh = training_mesh(sizes, program.batch_size)
        few, many = (cost(program, mesh, rows) for rows in (count, program.batch_size))
        print(f"compiled {program.name}, {sizes}", flush=True)
        pairs.append((few, many))
    return Measured(
        program.name, parameters(program), program.batch_size, pairs[0], pairs[-1]
    )


def tables(both: list[Measured], machine: Machine) -> list[Table]:
    """The plan, where it stops, and what was compiled."""
    rows = [
        (model.name, KINDS[divided], plan.row(model, machine, devices, divided))
        for model in both
        for devices in DEVICES
        for divided in KINDS
    ]
    planned = [
        [
            name,
            kind,
            r.devices,
            f"{r.rows:g} of {r.batch_size}",
            *(round(value, 3) for value in (r.state / 1e9, r.temporary / 1e9)),
            round(r.sent / 1e6, 1),
            *(round(1e3 * s, 3) for s in (r.compute_seconds, r.sent_seconds)),
            round(r.sent_seconds / r.compute_seconds, 2),
        ]
        for name, kind, r in rows
    ]
    columns = ["model", "mesh", "devices", "rows a device", "state GB"]
    columns += ["temporary GB", "sent MB", "compute ms", "sending ms", "ratio"]
    ends = [
        [model.name, KINDS[divided], *plan.limit(model, machine, divided)]
        for model in both
        for divided in KINDS
    ]
    compiled = [
        [model.name, axis, c.rows, c.state / 1e6, c.temporary / 1e6, c.flops / 1e9]
        + [round(c.sent.get(kind, 0) / 1e6, 1) for kind in COLLECTIVES]
        for model in both
        for axis, pair in (("data", model.data), ("fsdp", model.fsdp))
        for c in pair
    ]
    about = ["model", "axis", "rows", "state MB", "temporary MB", "GFLOP of all"]
    return [
        Table("A step on one device of many", columns, planned),
        Table(
            "Where it stops, at the model's own batch",
            ["model", "mesh", "devices with a row", "devices that compute longer"],
            ends,
        ),
        Table(
            f"Compiled for {machine.group} devices",
            about + [f"{kind} MB" for kind in COLLECTIVES],
            compiled,
        ),
    ]


COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all")
COLLECTIVES += ("collective-permute",)


def claims(both: list[Measured]) -> list[Claim]:
    """What the plan takes for granted, held to the compiled programs."""
    found = []
    for model, wanted, source in zip(
        both, (35.7e6, 110e6), ("arXiv 2006.11239", "arXiv 1810.04805"), strict=True
    ):
        found.append(
            judge(
                f"{model.name}: number of parameters",
                {"millions": model.parameters / 1e6},
                rule="confirmed within 1 % of the reported number",
                confirmed=lambda m, w=wanted: abs(m["millions"] * 1e6 / w - 1) < 0.01,
                reported=f"{wanted / 1e6:g} million",
                source=source,
            )
        )
    for model in (m for m in both if m.data[1].devices > 1):  # else nothing is sent
        data, fsdp = model.data[1], model.fsdp[1]
        count = data.devices
        ring = 2 * (count - 1) / count * model.gradient
        found.append(
            judge(
                f"{model.name}: copied parameters cost one ring sum of the gradient",
                {
                    "bytes sent / 2 (n - 1) / n of the gradient's": data.total_sent
                    / ring
                },
                rule="confirmed between 0.98 and 1.02, qualified up to 1.5 (a table "
                "that is used twice may be summed twice)",
                confirmed=lambda m: 0.98 <= next(iter(m.values())) <= 1.02,
                qualified=lambda m: 1.02 < next(iter(m.values())) <= 1.5,
            )
        )
        found.append(
            judge(
                f"{model.name}: fsdp divides the state by the number of devices",
                {
                    "state on one device x n / that of data": fsdp.state
                    * count
                    / data.state
                },
                rule=f"n = {count}; confirmed up to 1.05, qualified up to 2",
                confirmed=lambda m: next(iter(m.values())) <= 1.05,
                qualified=lambda m: next(iter(m.values())) <= 2,
            )
        )
        found.append(
            judge(
                f"{model.name}: fsdp sends at most one and a half times as much",
                {
                    "bytes sent / those of data": fsdp.total_sent
                    / max(1, data.total_sent)
                },
                rule="the parameters gathered once and the gradient summed whole, as "
                "XLA does on a CPU, are 3 (n - 1) / n of its bytes; confirmed up to "
                "1.6 times those of data, qualified up to 2",
                confirmed=lambda m: next(iter(m.values())) <= 1.6,
                qualified=lambda m: next(iter(m.values())) <= 2,
            )
        )
    return found


def facts(both: list[Measured]) -> dict[str, int]:
    """The numbers of parameters."""
    return {f"{model.name}, parameters": model.parameters for model in both}


def draw(run: Run, both: list[Measured], machine: Machine) -> None:
    """Sending over computing, by the number of devices."""
    series = {}
    for model in both:
        for divided, kind in KINDS.items():
            counts = [n for n in (2**i for i in range(11)) if n >= machine.group]
            rows = [plan.row(model, machine, n, divided) for n in counts]
            series[f"{model.name}, {kind}"] = (
                counts,
                [r.sent_seconds / r.compute_seconds for r in rows],
            )
    curves(
        run.path("sending.png"),
        series,
        xlabel="devices (batch of the model, then one row a device)",
        ylabel="time sending / computing",
        log_x=True,
        log_y=True,
        markers=True,
    )


if __name__ == "__main__":
    launch(main, Config, PRESETS, __doc__)
