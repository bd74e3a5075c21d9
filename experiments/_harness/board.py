"""The rows of metrics.jsonl as curves in TensorBoard, by the extra ``tensorboard``."""

import math
import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments._harness.extras import need
from experiments._harness.metrics import MetricsWriter


class BoardWriter(MetricsWriter):
    """A metrics file whose rows go to the event files of ``folder`` as well.

    Rows that a resumed run drops are marked there as dropped: no step shows twice. A
    row is in its file at once, without the queue and thread of SummaryWriter.
    """

    def __init__(self, path: str | os.PathLike[str], folder: Path) -> None:
        super().__init__(path)
        self.folder = folder
        self._proto = need("tensorboardX.proto.event_pb2", "tensorboard")
        self._records = need("tensorboardX.record_writer", "tensorboard")
        self._events: Path | None = None

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Append the row of ``step``; what is not finite is left out of the curves."""
        super().write(step, values)
        event = self._event(step)
        for name, value in values.items():
            if math.isfinite(value):
                event.summary.value.add(tag=name, simple_value=value)
        self._put(event)

    def rewind(self, step: int, mark: Mapping[str, Any] | None) -> None:
        """Drop what came after ``mark``, taken at ``step``; None: all."""
        super().rewind(step, mark)
        self._events = None
        start = self._event(step + 1)
        start.session_log.status = self._proto.SessionLog.START
        self._put(start)

    def _event(self, step: int) -> Any:
        return self._proto.Event(wall_time=time.time(), step=step)

    def _put(self, event: Any) -> None:
        """Append ``event``, to a new file if there is none yet."""
        if self._events is None:
            now = f"{time.time_ns():020d}"  # TensorBoard reads them in this order
            self._events = self.folder / f"events.out.tfevents.{now}"
            about = self._proto.Event(wall_time=time.time())
            about.file_version = "brain.Event:2"
            self._put(about)
        content = event.SerializeToString()
        length = struct.pack("<Q", len(content))
        checked = (
            part + struct.pack("<I", self._records.masked_crc32c(part))
            for part in (length, content)
        )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._events.open("ab") as file:
                file.write(b"".join(checked))
        except OSError as error:
            self._refuse(error)
