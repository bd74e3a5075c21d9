"""From the cost on a few devices to a plan for many: memory, what is sent, time."""

import dataclasses
import math
from typing import NamedTuple

from experiments._scaling.compiled import Cost


@dataclasses.dataclass(frozen=True)
class Machine:
    """An accelerator and its links: operations and bytes a second, one direction.

    ``group`` devices are joined by fast links, groups of them by the network.
    """

    flops: float
    inside: float
    between: float
    group: int


class Measured(NamedTuple):
    """A model: gradient bytes, its own batch, and costs by axis at two batch sizes."""

    name: str
    parameters: int
    batch_size: int
    data: tuple[Cost, Cost]
    fsdp: tuple[Cost, Cost]

    @property
    def gradient(self) -> int:
        """Bytes of the gradient, float32."""
        return 4 * self.parameters


class Row(NamedTuple):
    """One line of the plan; bytes are those of one device."""

    devices: int
    divided: bool
    rows: float
    batch_size: int
    state: float
    temporary: float
    sent: float
    compute_seconds: float
    sent_seconds: float


def temporary(costs: tuple[Cost, Cost], rows: float) -> float:
    """Temporary bytes at ``rows`` a device, on the line through two compiled steps."""
    small, large = costs
    few, many = small.rows / small.devices, large.rows / large.devices
    slope = (large.temporary - small.temporary) / (many - few)
    return small.temporary + slope * (rows - few)


def row(model: Measured, machine: Machine, devices: int, divided: bool) -> Row:
    """The plan for ``devices``, the parameters divided inside of a group or not.

    The batch is the model's own, or one row a device where that is more.
    """
    small, large = model.fsdp if divided else model.data
    batch = max(model.batch_size, devices)
    rows = batch / devices
    inside = between = 0.0
    if not divided:
        share = (devices - 1) / devices
        sent = 2 * share * model.gradient
        if devices > machine.group:
            between = sent
        else:
            inside = sent
    else:
        groups = devices / machine.group
        inside = large.total_sent
        between = 2 * (groups - 1) / groups * model.gradient / machine.group
    return Row(
        devices,
        divided,
        rows,
        batch,
        state=large.state,
        temporary=temporary((small, large), rows),
        sent=inside + between,
        compute_seconds=large.flops / large.rows * rows / machine.flops,
        sent_seconds=inside / machine.inside + between / machine.between,
    )


def limit(model: Measured, machine: Machine, divided: bool) -> tuple[int, int]:
    """The most devices (powers of two) with a row each at the model's own batch, and
    the most for which sending takes no longer than computing, at that batch.
    """
    most = 2 ** int(math.log2(model.batch_size))
    counts = [2**i for i in range(int(math.log2(most)) + 1)]
    if divided:
        counts = [n for n in counts if n >= machine.group]
    good = [
        n
        for n in counts
        if (found := row(model, machine, n, divided)).sent_seconds
        <= found.compute_seconds
    ]
    return most, max(good, default=0)
