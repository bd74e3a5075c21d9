"""Articles on generating, constraining and searching text."""

from kexue_jax.articles._article import Article

ROWS = (
    Article(
        6933,
        "UniLM mask: from language model to seq2seq",
        "从语言模型到Seq2Seq：Transformer如戏，全靠Mask",
        "2019-09-18",
        "unilm_simbert",
    ),
    Article(
        7115,
        "Seq2seq reading comprehension",
        "万能的seq2seq：基于seq2seq的阅读理解问答",
        "2019-12-05",
        "trie_decoding",
    ),
    Article(
        7148,
        "MLM reading comprehension",
        "“非自回归”也不差：基于MLM的阅读理解问答",
        "2019-12-26",
        "trie_decoding",
    ),
    Article(
        7427,
        "SimBERT: one encoder for retrieval and generation",
        "鱼与熊掌兼得：融合检索和生成的SimBERT模型",
        "2020-05-18",
        "unilm_simbert",
    ),
    Article(
        7500,
        "Non-terminating decoding",
        "如何应对Seq2Seq中的“根本停不下来”问题？",
        "2020-06-16",
        "repetition_analysis",
    ),
    Article(
        8062,
        "Text found by search: from generation to sampling",
        "【搜出来的文本】⋅（一）从文本生成到搜索采样",
        "2021-01-07",
        "mcmc_text_search",
    ),
    Article(
        8084,
        "Text found by search: from MCMC to annealing",
        "【搜出来的文本】⋅（二）从MCMC到模拟退火",
        "2021-01-14",
        "mcmc_text_search",
    ),
    Article(
        8119,
        "Text found by search: MLM pseudo-Gibbs",
        "【搜出来的文本】⋅（三）基于BERT的文本采样",
        "2021-01-22",
        "mcmc_text_search",
    ),
    Article(
        8128,
        "Matrix analysis of repetition in text generation",
        "Seq2Seq重复解码现象的理论分析尝试",
        "2021-01-26",
        "repetition_analysis",
    ),
    Article(
        8194,
        "Text found by search: CGMH with keywords",
        "【搜出来的文本】⋅（四）通过增、删、改来用词造句",
        "2021-02-25",
        "mcmc_text_search",
    ),
    Article(
        8454,
        "RoFormer-Sim",
        "SimBERTv2来了！融合检索和生成的RoFormer-Sim模型",
        "2021-06-11",
        "unilm_simbert",
    ),
    Article(
        8541,
        "RoFormer-Sim, supervised",
        "用开源的人工标注数据来增强RoFormer-Sim",
        "2021-07-19",
        "unilm_simbert",
    ),
    Article(
        8802,
        "Seq2Seq + prefix tree (constrained decoding as retrieval)",
        "Seq2Seq+前缀树：检索任务新范式（以KgCLUE为例）",
        "2021-12-17",
        "trie_decoding",
    ),
)
