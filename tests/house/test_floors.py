"""A module imports from floors below and along the written edges, nothing else."""

import subprocess
import sys

import pytest

from tests.house.public import ROOT, imports, relative, sources

# The only edges between topics on floor 1.
EDGES: dict[str, set[str]] = {
    "attention": {"numerics", "positions"},
    "losses": {"numerics"},
    "structured": {"losses", "positions"},
    "theory": {"training"},
}
RUNTIME = {"jax", "flax", "optax", "numpy", "chex", "absl"}
FORBIDDEN_JAX = (
    "jax.experimental",
    "jax.lib",
    "jax.interpreters",
    "jax._src",
    "jax.core",
)
PACKAGE = sources("kexue_jax")


def room(path) -> str:
    parts = path.relative_to(ROOT / "kexue_jax").parts
    return parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", PACKAGE, ids=relative)
def test_package_imports_only_from_below(path) -> None:
    here = room(path)
    for name in imports(path):
        parts = name.split(".")
        assert parts[0] not in ("experiments", "tests"), name
        if parts[0] != "kexue_jax" or len(parts) == 1 or here == "__init__":
            continue
        there = parts[1]
        if there in (here, "_base", "__version__"):
            continue
        below = here == "models" and there not in ("models", "articles")
        assert below or there in EDGES.get(here, set()), f"{relative(path)}: {name}"


@pytest.mark.parametrize("path", PACKAGE, ids=relative)
def test_package_imports_only_run_time_dependencies(path) -> None:
    for name in imports(path):
        top = name.split(".")[0]
        allowed = top in RUNTIME or top == "kexue_jax" or top in sys.stdlib_module_names
        assert allowed, f"{relative(path)}: {name}"
        assert top != "flax" or room(path) == "models", f"{relative(path)}: {name}"


@pytest.mark.parametrize("path", sources("kexue_jax", "experiments"), ids=relative)
def test_only_public_jax_modules(path) -> None:
    for name in imports(path):
        assert not name.startswith(FORBIDDEN_JAX), f"{relative(path)}: {name}"


def test_importing_the_package_starts_no_device_and_no_optional_library() -> None:
    code = (
        "import sys, kexue_jax, kexue_jax.diffusion, kexue_jax.evaluation, "
        "kexue_jax.optim, kexue_jax.articles\n"
        "optional = {'matplotlib', 'sklearn', 'PIL', 'scipy.stats', 'torch'}\n"
        "print(sorted(optional & set(sys.modules)))\n"
        "import jax\n"
        "jax.config.update('jax_platforms', 'no_such_platform')\n"
        "try:\n    jax.devices()\n"
        "except RuntimeError:\n    print('no device was started')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.split("\n")[:2] == ["[]", "no device was started"], done.stderr


def test_importing_the_root_imports_nothing_heavy() -> None:
    code = "import sys, kexue_jax; print({'jax', 'flax'} & set(sys.modules) or 'light')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.strip() == "light", done.stdout + done.stderr
