"""Articles on attention without the softmax's quadratic cost."""

from kexue_jax.articles._article import Article

ROWS = (
    Article(
        6853,
        "Sparse attention patterns",
        "为节约而生：从标准Attention到稀疏Attention",
        "2019-07-27",
        "linear_attention",
        names=("attention.merge_attention",),
        tests=("tests/attention/test_merging.py",),
    ),
    Article(
        7546,
        "Linear attention (softmax-free attention)",
        "线性Attention的探索：Attention必须有个Softmax吗？",
        "2020-07-04",
        "linear_attention",
        names=(
            "attention.AttentionPart",
            "attention.blockwise_attention",
            "attention.dense_attention",
        ),
        tests=(
            "tests/attention/test_blockwise.py",
            "tests/attention/test_dense.py",
        ),
    ),
    Article(
        7919,
        "Taylor softmax (even-order Taylor of exp is positive)",
        "exp(x)在x=0处的偶次泰勒展开式总是正的",
        "2020-11-24",
        "taylor_softmax",
        names=(
            "numerics.TaylorMin",
            "numerics.log_taylor_exp",
            "numerics.taylor_exp",
            "numerics.taylor_min",
            "numerics.log_taylor_softmax",
            "numerics.taylor_softmax",
            "losses.soft_margin_cross_entropy",
            "losses.taylor_cross_entropy",
        ),
        tests=(
            "tests/losses/test_taylor.py",
            "tests/numerics/test_exp_taylor.py",
            "tests/numerics/test_taylor_softmax.py",
        ),
    ),
    Article(
        7921,
        "Performer / FAVOR+ (attention by positive random features)",
        "Performer：用随机投影将Attention的复杂度线性化",
        "2020-12-01",
        "performer",
    ),
    Article(
        8338,
        "From Performer to linear attention: the exp kernel",
        "Transformer升级之路：3、从Performer到线性Attention",
        "2021-04-22",
        "linear_attention",
    ),
    Article(
        8601,
        "Softmax attention as infinite-dimensional linear attention",
        "Transformer升级之路：5、作为无限维的线性Attention",
        "2021-08-06",
        "taylor_softmax",
    ),
    Article(
        8610,
        "When linear attention saves work",
        "线性Transformer应该不是你要等的那个模型",
        "2021-08-09",
        "linear_attention",
    ),
    Article(
        9529,
        "Linear attention in causal and bidirectional models",
        "为什么现在的LLM都是Decoder-only的架构？",
        "2023-03-17",
        "linear_attention",
    ),
)
