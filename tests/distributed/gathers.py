"""What a step whose state is divided over 8 devices sends, as JSON on stdout.

Bytes by kind of operation, over those of the parameters in a ring. It is compiled, not
run, on rows so long that to divide activations would seem cheap to XLA.
"""

import json

import jax

if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 8)

from experiments._harness.mesh import training_mesh
from experiments._scaling import compiled, programs
from experiments._scaling.encoder import Sizes

SIZES = Sizes(layers=1, width=128, heads=2, words=512, length=256, predicted=38)
BATCH = 64


def main() -> None:
    """Print it."""
    program = programs.bert(SIZES, BATCH)
    found = compiled.cost(program, training_mesh("fsdp:8", BATCH), BATCH)
    ring = 7 / 8 * 4 * compiled.parameters(program)
    print(json.dumps({kind: size / ring for kind, size in found.sent.items()}))


if __name__ == "__main__":
    main()
