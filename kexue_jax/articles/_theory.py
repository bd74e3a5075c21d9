"""Articles on why training works: gradients, initialization, convergence, kernels."""

from kexue_jax.articles._article import Article

ROWS = (
    Article(
        7180,
        "Initialization from a geometric view",
        "从几何视角来理解模型参数的初始化策略",
        "2020-01-16",
        "initialization",
    ),
    Article(
        7643,
        "Flooding",
        "我们真的需要把训练集的损失降低到零吗？",
        "2020-07-31",
        "gradient_penalty_inequality",
    ),
    Article(
        7787,
        "Implicit gradient regularization",
        "从动力学角度看优化算法（五）：为什么学习率不宜过小？",
        "2020-10-10",
        "gradient_penalty_inequality",
    ),
    Article(
        7888,
        "Vanishing and exploding gradients in RNN, LSTM, GRU",
        "也来谈谈RNN的梯度消失/爆炸问题",
        "2020-11-13",
        "rnn_gradients",
    ),
    Article(
        8009,
        "Path kernel: SGD as a kernel machine",
        "从动力学角度看优化算法（七）：SGD ≈ SVM？",
        "2020-12-21",
        "path_kernel",
    ),
    Article(
        8620,
        "Initialization, parametrization, normalization of Transformers",
        "浅谈Transformer的初始化、参数化与标准化",
        "2021-08-17",
        "initialization",
    ),
    Article(
        8747,
        "Why is BERT's init std 0.02?",
        "模型优化漫谈：BERT的初始标准差为什么是0.02？",
        "2021-11-08",
        "initialization",
    ),
    Article(
        8796,
        "Input-gradient penalty against parameter-gradient penalty",
        "输入梯度惩罚与参数梯度惩罚的一个不等式",
        "2021-12-11",
        "gradient_penalty_inequality",
    ),
    Article(
        8978,
        "DeepNorm: a Transformer of 1000 layers",
        "训练1000层的Transformer究竟有什么困难？",
        "2022-03-09",
        "initialization",
    ),
    Article(
        9902,
        "Average-loss convergence of SGD",
        "让炼丹更科学一些（一）：SGD的平均损失收敛",
        "2023-12-19",
        "sgd_convergence",
    ),
    Article(
        11469,
        "Convergence of SGD: unbounded domain",
        "让炼丹更科学一些（二）：将结论推广到无界域",
        "2025-12-12",
        "sgd_convergence",
    ),
    Article(
        11480,
        "Convergence of SGD: last iterate",
        "让炼丹更科学一些（三）：SGD的终点损失收敛",
        "2025-12-16",
        "sgd_convergence",
    ),
    Article(
        11494,
        "Learning-rate schedules from the bound: a new identity",
        "让炼丹更科学一些（四）：新恒等式，新学习率",
        "2025-12-26",
        "sgd_convergence",
    ),
    Article(
        11530,
        "Learning-rate schedules from the bound: by gradient",
        "让炼丹更科学一些（五）：基于梯度精调学习率",
        "2026-01-09",
        "sgd_convergence",
    ),
)
