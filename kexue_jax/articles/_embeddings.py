"""Articles on vectors: whitening, random projections, what an MLM's vectors know."""

from kexue_jax.articles._article import Article

ROWS = (
    Article(
        7476,
        "Perturbed Masking: segmentation and parsing from an MLM",
        "无监督分词和句法分析！原来BERT还可以这样用",
        "2020-06-10",
        "perturbed_masking",
    ),
    Article(
        7695,
        "Dimension of word vectors, the 8.33 log N rule",
        "最小熵原理（六）：词向量的维度应该怎么选择？",
        "2020-08-20",
        "johnson_lindenstrauss",
    ),
    Article(
        8069,
        "BERT-whitening",
        "你可能不需要BERT-flow：一个线性变换媲美BERT-flow",
        "2021-01-11",
        "whitening",
    ),
    Article(
        8159,
        "FlyHash, binary word vectors",
        "一个二值化词向量模型，是怎么跟果蝇搭上关系的？",
        "2021-02-09",
        "johnson_lindenstrauss",
    ),
    Article(
        8321,
        "Evaluation of unsupervised sentence similarity",
        "无监督语义相似度哪家强？我们做了个比较全面的评测",
        "2021-04-11",
        "whitening",
    ),
    Article(
        8679,
        "Johnson-Lindenstrauss lemma: theory",
        "让人惊叹的Johnson-Lindenstrauss引理：理论篇",
        "2021-09-17",
        "johnson_lindenstrauss",
    ),
    Article(
        8706,
        "Johnson-Lindenstrauss lemma: applications",
        "让人惊叹的Johnson-Lindenstrauss引理：应用篇",
        "2021-09-24",
        "johnson_lindenstrauss",
    ),
    Article(
        8711,
        "The 8.33 log N rule, how usable it is",
        "关于维度公式“n > 8.33 log N”的可用性分析",
        "2021-09-27",
        "johnson_lindenstrauss",
    ),
)
