"""The settings of an experiment that trains small models of sequences."""

import dataclasses
from typing import Any

from experiments._harness.config import TrainingConfig, setting
from experiments._harness.data_text import TEXTS, TextData, load_text
from experiments._harness.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequenceConfig(TrainingConfig):
    """Network and length of the trainings."""

    length: int = setting(64, "bytes a model is trained on", minimum=2, maximum=65536)
    width: int = setting(96, "width of the model", minimum=1, maximum=8192)
    heads: int = setting(3, "heads, a divisor of --width", minimum=1, maximum=256)
    layers: int = setting(3, "layers", minimum=1, maximum=256)
    num_steps: int = setting(800, "training steps", minimum=1)
    batch_size: int = setting(32, "texts a step", minimum=1, maximum=65536)
    learning_rate: float = setting(
        3e-3, "peak", minimum=0, maximum=1, open_minimum=True
    )
    tested: int = setting(64, "held-out texts", minimum=1, maximum=65536)
    num_seeds: int = setting(3, "seeds, from --seed on", minimum=1, maximum=99)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageConfig(SequenceConfig):
    """Text, network and length of the trainings."""

    dataset: str = setting("stdlib", "text to learn", choices=TEXTS)
    data_dir: str = setting("none", "folder of the text files", shapes_run=False)


def sizes(config: SequenceConfig) -> dict[str, Any]:
    """The sizes of the network, for ``models.transformer``."""
    return {"width": config.width, "heads": config.heads, "layers": config.layers}


def check_pairs(config: SequenceConfig) -> None:
    """Raise UserError unless every head has a whole number of pairs to rotate."""
    if config.width % (2 * config.heads):
        raise UserError(
            f"flag --width={config.width}: wanted a multiple of 2 --heads = "
            f"{2 * config.heads}, as rotary positions rotate pairs"
        )


def load(config: LanguageConfig) -> TextData:
    """The text of the experiment."""
    return load_text(config.dataset, config.data_dir)
