"""Optional packages, asked for by the name of the extra that brings them."""

import importlib
import importlib.util
from typing import Any

from experiments._harness.errors import UserError

# The packages whose module has another name.
_PACKAGES = {"PIL": "pillow", "orbax": "orbax-checkpoint", "sklearn": "scikit-learn"}


def need(module: str, extra: str) -> Any:
    """The imported ``module``, or a UserError that names the package and the extra."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _missing(error.name or module, extra) from None


def require(extra: str, *modules: str) -> None:
    """Raise UserError unless the top-level ``modules`` are installed; import nothing.

    Asked at the start, so that a run does not end in it when the work is done.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise _missing(module, extra)


def _missing(module: str, extra: str) -> UserError:
    root = module.partition(".")[0]
    package = _PACKAGES.get(root, root)
    return UserError(f"needs the package {package}: pip install 'kexue_jax[{extra}]'")
