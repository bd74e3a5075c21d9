"""Optional packages, asked for by the name of the extra that brings them."""

import importlib
from typing import Any

from experiments._harness.errors import UserError


def need(module: str, extra: str, *, package: str | None = None) -> Any:
    """The imported ``module``, or a UserError that names the package and the extra."""
    root = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        absent = (error.name or root).partition(".")[0]
        name = package if package is not None and absent == root else absent
        raise UserError(
            f"needs the package {name}: pip install 'kexue_jax[{extra}]'"
        ) from None
