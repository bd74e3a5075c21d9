"""Articles on diffusion models."""

from kexue_jax.articles._article import Article

ROWS = (
    Article(
        9119,
        "DDPM = tearing down + building up",
        "生成扩散模型漫谈（一）：DDPM = 拆楼 + 建楼",
        "2022-06-13",
        "ddpm",
        names=(
            "diffusion.PaperNotation",
            "diffusion.Schedule",
            "diffusion.cosine_schedule",
            "diffusion.kexue_schedule",
            "diffusion.linear_schedule",
            "diffusion.paper_notation",
            "diffusion.schedule_from_alpha_bar",
            "diffusion.schedule_from_ddpm_betas",
        ),
        tests=("tests/contract/rows_schedules.py",),
    ),
    Article(
        9152,
        "DDPM = autoregressive VAE",
        "生成扩散模型漫谈（二）：DDPM = 自回归式VAE",
        "2022-07-06",
        "ddpm",
    ),
    Article(
        9164,
        "DDPM = Bayes + denoising",
        "生成扩散模型漫谈（三）：DDPM = 贝叶斯 + 去噪",
        "2022-07-19",
        "ddpm",
    ),
    Article(
        9181,
        "DDIM",
        "生成扩散模型漫谈（四）：DDIM = 高观点DDPM",
        "2022-07-27",
        "ddpm",
    ),
    Article(
        9209,
        "Diffusion as an SDE",
        "生成扩散模型漫谈（五）：一般框架之SDE篇",
        "2022-08-03",
        "ddpm",
    ),
    Article(
        9228,
        "Diffusion as an ODE",
        "生成扩散模型漫谈（六）：一般框架之ODE篇",
        "2022-08-08",
        "ddpm",
        names=("diffusion.surrogate_schedule",),
        tests=("tests/contract/rows_schedules.py",),
    ),
    Article(
        9245,
        "Optimal diffusion variance, part 1",
        "生成扩散模型漫谈（七）：最优扩散方差估计（上）",
        "2022-08-12",
        "ddpm",
    ),
    Article(
        9246,
        "Optimal diffusion variance, part 2",
        "生成扩散模型漫谈（八）：最优扩散方差估计（下）",
        "2022-08-18",
        "ddpm",
    ),
    Article(
        9257,
        "Conditional diffusion: guidance",
        "生成扩散模型漫谈（九）：条件控制生成结果",
        "2022-08-30",
        "ddpm",
    ),
)
