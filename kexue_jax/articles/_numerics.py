"""Articles on elementary functions and arithmetic."""

from kexue_jax.articles._article import Article

ROWS = (
    Article(
        0,
        "Which is larger, n^(n+1) or (n+1)^n?",
        "",
        "",
        "power_comparison",
        names=(
            "numerics.PowerLimits",
            "numerics.compare_consecutive_powers",
            "numerics.compare_powers",
            "numerics.exact_compare",
            "numerics.log_power_gap",
            "numerics.power_crossover",
            "numerics.power_gap_series",
            "numerics.power_limits",
        ),
        tests=("tests/numerics/test_powers.py",),
        experiments=("experiments.powers",),
    ),
    Article(
        7309,
        "GELU and its two elementary approximations",
        "GELU的两个初等函数近似是怎么来的",
        "2020-03-26",
        "gelu",
    ),
    Article(
        7991,
        "Mitchell approximate multiplication",
        "Mitchell近似：乘法变为加法，误差不超过1/9",
        "2020-12-14",
        "mitchell",
        names=(
            "attention.mitchell_attention",
            "numerics.lmul",
            "numerics.lmul_offset",
            "numerics.mitchell_conv",
            "numerics.mitchell_div",
            "numerics.mitchell_dot_general",
            "numerics.mitchell_exp2",
            "numerics.mitchell_log2",
            "numerics.mitchell_matmul",
            "numerics.mitchell_mul",
            "numerics.mitchell_relative_error",
            "numerics.mitchell_rsqrt",
            "numerics.mitchell_sqrt",
            "numerics.optimal_offset",
        ),
        tests=(
            "tests/attention/test_mitchell.py",
            "tests/numerics/test_mitchell.py",
            "tests/numerics/test_mitchell_functions.py",
            "tests/numerics/test_mitchell_matmul.py",
        ),
    ),
)
