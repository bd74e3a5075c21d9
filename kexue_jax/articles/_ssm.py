"""Articles on state space models and linear recurrences."""

from kexue_jax.articles._article import Article

ROWS = (
    Article(
        9554,
        "LRU and SLRU, diagonal linear RNNs",
        "Google新作试图“复活”RNN：RNN能否再次辉煌？",
        "2023-03-28",
        "ssm_hippo",
    ),
    Article(
        10114,
        "Linear systems and HiPPO matrices",
        "重温SSM（一）：线性系统和HiPPO矩阵",
        "2024-05-24",
        "ssm_hippo",
        names=(
            "ssm.Discretized",
            "ssm.HippoMatrices",
            "ssm.basis_coordinate",
            "ssm.basis_eval",
            "ssm.change_basis",
            "ssm.chebyshev_from_legendre",
            "ssm.discretize",
            "ssm.hippo_from_basis",
            "ssm.hippo_matrices",
            "ssm.reconstruct",
        ),
        tests=(
            "tests/ssm/test_basis.py",
            "tests/ssm/test_discretization.py",
            "tests/ssm/test_hippo.py",
        ),
    ),
    Article(
        10137,
        "HiPPO, remaining questions",
        "重温SSM（二）：HiPPO的一些遗留问题",
        "2024-06-05",
        "ssm_hippo",
        names=(
            "ssm.basis_coordinate",
            "ssm.basis_eval",
            "ssm.hippo_from_basis",
            "ssm.hippo_matrices",
        ),
        tests=(
            "tests/ssm/test_basis.py",
            "tests/ssm/test_hippo.py",
        ),
    ),
    Article(
        10162,
        "S4, HiPPO computed fast",
        "重温SSM（三）：HiPPO的高效计算（S4）",
        "2024-06-20",
        "ssm_hippo",
        names=("ssm.discretize_diagonal",),
        tests=("tests/ssm/test_discretization.py",),
    ),
    Article(
        10180,
        "RTF, rational transfer functions",
        "重温SSM（四）：有理生成函数的新视角",
        "2024-06-27",
        "ssm_hippo",
        names=(
            "ssm.RtfCoefficients",
            "ssm.RtfCompanion",
            "ssm.SsmOutput",
            "ssm.rtf_from_matrices",
            "ssm.rtf_from_reflection",
            "ssm.rtf_kernel",
            "ssm.rtf_reflection",
            "ssm.rtf_scan",
            "ssm.rtf_step",
            "ssm.rtf_to_companion",
        ),
        tests=(
            "tests/ssm/test_rational.py",
        ),
    ),
)
