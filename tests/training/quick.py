"""Programs that run once or twice: compiled without LLVM's optimizations."""

import functools

import jax

quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
