"""Articles on optimizers, clipping and decay."""

from kexue_jax.articles._article import Article

ROWS = (
    Article(
        7302,
        "AdaFactor",
        "AdaFactor优化器浅析（附开源实现）",
        "2020-03-23",
        "adax",
    ),
    Article(
        7387,
        "AdaX / AdaX-W optimizer",
        "AdaX优化器浅析（附开源实现）",
        "2020-05-11",
        "adax",
    ),
    Article(
        7469,
        "Gradient clipping and (L0, L1)-smoothness",
        "为什么梯度裁剪能加速训练过程？一个简明的分析",
        "2020-06-05",
        "gradient_clipping",
    ),
    Article(
        7681,
        "L2 regularization, weight-scale shifting, WEISSI",
        "L2正则没有想象那么好？可能是“权重尺度偏移”惹的祸",
        "2020-08-14",
        "weissi",
    ),
    Article(
        8764,
        "Child-Tuning: dropout on gradients, Fisher masks",
        "ChildTuning：试试把Dropout加到梯度上去？",
        "2021-11-22",
        "child_tuning",
    ),
    Article(
        10657,
        "Why the default clip norm is 1",
        "为什么梯度裁剪的默认模长是1？",
        "2025-01-02",
        "gradient_clipping",
    ),
)
