"""Articles on variational autoencoders and on GANs."""

from kexue_jax.articles._article import Article

ROWS = (
    Article(
        4439,
        "From scratch to WGAN-GP",
        "互怼的艺术：从零直达WGAN-GP",
        "2017-06-08",
        "gradient_normalization_gan",
        (
            "generative.GanLosses",
            "generative.difference_quotient_penalty",
            "generative.gan_losses",
            "generative.gradient_penalty",
            "generative.input_gradient_norm",
            "optim.clip_weights",
        ),
        (
            "tests/generative/test_gan_losses.py",
            "tests/generative/test_gradient_penalties.py",
        ),
    ),
    Article(
        5383,
        "VAE: the magic of the posterior, and IWAE",
        "变分自编码器（三）：这样做为什么能成？",
        "2018-04-03",
        "vae_density",
    ),
    Article(
        6051,
        "Lipschitz constraints in deep learning",
        "深度学习中的Lipschitz约束：泛化与生成模型",
        "2018-10-07",
        "gradient_normalization_gan",
        (
            "generative.SpectralNormalized",
            "generative.difference_quotient_penalty",
            "generative.empirical_lipschitz",
            "generative.gradient_penalty",
            "generative.lipschitz_upper_bound",
            "generative.spectral_normalize",
            "generative.spectral_vector",
            "optim.clip_weights",
        ),
        (
            "tests/generative/test_gradient_penalties.py",
            "tests/generative/test_lipschitz.py",
        ),
    ),
    Article(
        6139,
        "WGAN-div",
        "WGAN-div：一个默默无闻的WGAN填坑者",
        "2018-11-07",
        "gradient_normalization_gan",
        ("generative.gradient_penalty",),
        ("tests/generative/test_gradient_penalties.py",),
    ),
    Article(
        8757,
        "Gradient normalization for Lipschitz-constrained GANs",
        "WGAN新方案：通过梯度归一化来实现L约束",
        "2021-11-15",
        "gradient_normalization_gan",
        (
            "generative.GanLosses",
            "generative.NormalizedOutput",
            "generative.consistency_penalty",
            "generative.empirical_lipschitz",
            "generative.flip_translate",
            "generative.gan_losses",
            "generative.gradient_normalize",
            "generative.input_gradient_norm",
            "generative.normalized_critic",
        ),
        (
            "tests/generative/test_gan_losses.py",
            "tests/generative/test_gradient_normalization.py",
            "tests/generative/test_lipschitz.py",
        ),
    ),
    Article(
        8791,
        "VAE as density estimation: importance-weighted bounds",
        "变分自编码器（八）：估计样本概率密度",
        "2021-12-09",
        "vae_density",
    ),
)
