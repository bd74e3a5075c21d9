"""Every test runs with 64-bit types on, rank promotion refused, warnings as errors.

Compiled programs are kept between runs (and shared by the workers of one run) in the
folder that JAX_COMPILATION_CACHE_DIR names, or else in the user's cache folder.
"""

import os
from pathlib import Path

import jax
import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
FOLDER = str(CACHE / "kexue_jax" / "xla")
# In the environment, so that the processes which tests start share it too.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", FOLDER)

# Tests run thousands of programs once or twice: most of their time is XLA's compiler.
# Unoptimized code and, on jax 0.10, the older emitters take it a third of that time;
# one module a program, without LLVM's dear passes and without Python's call stacks in
# it, another fifth off the whole.
# With KEXUE_JAX_TEST_OPTIMIZED=1 programs are compiled as users' programs are.
if not os.environ.get("KEXUE_JAX_TEST_OPTIMIZED"):
    quick = [
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        "--xla_cpu_parallel_codegen_split_count=1",
    ]
    if jax.__version_info__ < (0, 11):
        quick.append("--xla_cpu_use_fusion_emitters=false")
    os.environ["XLA_FLAGS"] = " ".join([*quick, os.environ.get("XLA_FLAGS", "")])

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_traceback_in_locations_limit", 0)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Let go of compiled programs behind each file: a worker would keep gigabytes."""
    if nextitem is not None and nextitem.path != item.path:
        jax.clear_caches()
