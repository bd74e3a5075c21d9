"""Every test runs with 64-bit types on, rank promotion refused, warnings as errors.

Compiled programs are kept between runs (and shared by the workers of one run) in the
folder that JAX_COMPILATION_CACHE_DIR names, or else in the user's cache folder.
"""

import os
from pathlib import Path

import jax

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
FOLDER = str(CACHE / "kexue_jax" / "xla")
# In the environment, so that the processes which tests start share it too.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", FOLDER)

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
