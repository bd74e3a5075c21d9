"""Articles on losses: multi-label, contrastive, ranking."""

from kexue_jax.articles._article import Article

ROWS = (
    Article(
        7359,
        "ZLPR: softmax + cross-entropy for k-of-n labels",
        "将“Softmax+交叉熵”推广到多标签分类问题",
        "2020-04-25",
        "zlpr",
    ),
    Article(
        8348,
        "SimCSE on Chinese tasks",
        "中文任务还是SOTA吗？我们给SimCSE补充了一些实验",
        "2021-04-26",
        "simcse",
    ),
    Article(
        8496,
        "R-Drop",
        "又是Dropout两次！这次它做到了有监督任务的SOTA",
        "2021-07-01",
        "simcse",
    ),
    Article(
        8847,
        "CoSENT, sentence vectors by a ranking loss",
        "CoSENT（一）：比Sentence-BERT更有效的句向量方案",
        "2022-01-06",
        "simcse",
    ),
    Article(
        8860,
        "CoSENT: accuracy and the threshold search",
        "CoSENT（二）：特征式匹配与交互式匹配有多大差距？",
        "2022-01-12",
        "simcse",
    ),
    Article(
        9039,
        "Symmetric divergence for multi-label scores",
        "GlobalPointer下的“KL散度”应该是怎样的？",
        "2022-04-15",
        "zlpr",
    ),
    Article(
        9064,
        "ZLPR with soft labels",
        "多标签“Softmax+交叉熵”的软标签版本",
        "2022-05-07",
        "zlpr",
    ),
    Article(
        9341,
        "CoSENT as a cross-encoder's loss",
        "CoSENT（三）：作为交互式相似度的损失函数",
        "2022-11-09",
        "simcse",
    ),
)
