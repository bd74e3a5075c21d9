"""The methods of kexue.fm and of the papers behind it as verified JAX functions.

The root names the subpackages and the version, nothing else: write
``import kexue_jax`` and then ``kexue_jax.diffusion.ddim_sample``. A subpackage is
imported when it is first named, so that importing the root costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kexue_jax import articles as articles
    from kexue_jax import attention as attention
    from kexue_jax import diffusion as diffusion
    from kexue_jax import evaluation as evaluation
    from kexue_jax import generative as generative
    from kexue_jax import losses as losses
    from kexue_jax import models as models
    from kexue_jax import numerics as numerics
    from kexue_jax import optim as optim
    from kexue_jax import positions as positions
    from kexue_jax import ssm as ssm
    from kexue_jax import theory as theory
    from kexue_jax import training as training

__version__ = "0.1.0"

__all__ = [
    "articles",
    "attention",
    "diffusion",
    "evaluation",
    "generative",
    "losses",
    "models",
    "numerics",
    "optim",
    "positions",
    "ssm",
    "theory",
    "training",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"kexue_jax.{name}")
    raise AttributeError(f"module 'kexue_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
