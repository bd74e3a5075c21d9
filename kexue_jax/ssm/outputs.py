"""What every layer of this room gives back: its state, and what came out."""

from typing import Any, NamedTuple

import jax


class SsmOutput(NamedTuple):
    """The state after the last input, to go on from, and the output.

    The state is in at least float32 (complex64 where it is complex), the output in
    the dtype of the input. Where it has several parts the state is a NamedTuple.
    """

    state: Any
    out: jax.Array
