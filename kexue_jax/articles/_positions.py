"""Articles on position encodings and length extrapolation."""

from kexue_jax.articles._article import Article

ROWS = (
    Article(
        7947,
        "Hierarchical decomposition of position embeddings",
        "层次分解位置编码，让BERT可以处理超长文本",
        "2020-12-04",
        "hierarchical_position",
    ),
    Article(
        8265,
        "RoPE, rotary position embedding",
        "Transformer升级之路：2、博采众长的旋转式位置编码",
        "2021-03-23",
        "rope_rerope",
    ),
    Article(
        8823,
        "Log n attention: the scale from entropy invariance",
        "从熵不变性看Attention的Scale操作",
        "2021-12-21",
        "rope_rerope",
    ),
    Article(
        9431,
        "Length extrapolation and local attention",
        "Transformer升级之路：7、长度外推性与局部注意力",
        "2023-01-12",
        "rope_rerope",
    ),
    Article(
        9444,
        "Length extrapolation and random positions",
        "Transformer升级之路：8、长度外推性与位置鲁棒性",
        "2023-01-31",
        "rope_rerope",
    ),
    Article(
        9603,
        "HWFA: window attention and one full attention",
        "Transformer升级之路：9、一种全局长度外推的新思路",
        "2023-05-12",
        "rope_rerope",
    ),
    Article(
        9675,
        "RoPE as a base-beta encoding",
        "Transformer升级之路：10、RoPE是一种β进制编码",
        "2023-07-06",
        "rope_rerope",
    ),
    Article(
        9706,
        "NTK-RoPE: fixed and mixed bases",
        "Transformer升级之路：11、将β进制位置进行到底",
        "2023-07-31",
        "rope_rerope",
    ),
    Article(
        9708,
        "ReRoPE and Leaky ReRoPE",
        "Transformer升级之路：12、无限外推的ReRoPE？",
        "2023-08-07",
        "rope_rerope",
    ),
    Article(
        9728,
        "InvLeaky ReRoPE",
        "Transformer升级之路：13、逆用Leaky ReRoPE",
        "2023-08-14",
        "rope_rerope",
    ),
    Article(
        9731,
        "HWFA2: window attention meets ReRoPE",
        "Transformer升级之路：14、当HWFA遇见ReRoPE",
        "2023-08-24",
        "rope_rerope",
    ),
    Article(
        9948,
        "Review of length extrapolation",
        "Transformer升级之路：16、“复盘”长度外推技术",
        "2024-01-26",
        "rope_rerope",
    ),
)
