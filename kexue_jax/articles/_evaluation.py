"""Articles on measuring: validation sets, means of benchmarks."""

from kexue_jax.articles._article import Article

ROWS = (
    Article(
        7805,
        "Validation sets closer to the test set",
        "如何划分一个跟测试集更接近的验证集？",
        "2020-10-16",
        "adversarial_validation",
    ),
    Article(
        8783,
        "Benchmark means and honest leaderboards",
        "开局一段扯，数据全靠编？真被一篇“神论文”气到了",
        "2021-12-04",
        "leaderboard_means",
        (
            "evaluation.Aggregation",
            "evaluation.LeaderboardResult",
            "evaluation.MetricTable",
            "evaluation.RankAgreement",
            "evaluation.RankSensitivity",
            "evaluation.ScoreTable",
            "evaluation.arithmetic_mean",
            "evaluation.bootstrap_ranks",
            "evaluation.collapse_metrics",
            "evaluation.geometric_mean",
            "evaluation.harmonic_mean",
            "evaluation.infer_aggregation",
            "evaluation.kendall_tau",
            "evaluation.leaderboard",
            "evaluation.leave_one_out_ranks",
            "evaluation.power_mean",
            "evaluation.rank",
            "evaluation.rank_sensitivity",
            "evaluation.score_table",
        ),
        (
            "tests/evaluation/test_leaderboard.py",
            "tests/evaluation/test_means.py",
            "tests/evaluation/test_ranking.py",
        ),
        ("experiments.leaderboard_means",),
    ),
)
