"""Public names that are no article's own method, each with its source or reason."""

from kexue_jax.articles._article import Tool

ROWS = (
    Tool(
        "evaluation.DensityCoverage", "arXiv 2002.09797, what density_coverage returns"
    ),
    Tool(
        "evaluation.PrecisionRecall", "arXiv 1904.06991, what precision_recall returns"
    ),
    Tool("evaluation.density_coverage", "arXiv 2002.09797"),
    Tool("evaluation.precision_recall", "arXiv 1904.06991"),
    Tool("evaluation.energy_distance", "Szekely and Rizzo, Energy statistics, 2013"),
    Tool("evaluation.frechet_distance", "arXiv 1706.08500"),
    Tool("evaluation.polynomial_mmd", "arXiv 1801.01401"),
    Tool("evaluation.Neighbors", "what nearest_neighbors returns"),
    Tool(
        "evaluation.TwoSampleAccuracy",
        "arXiv 1610.06545, what two_sample_accuracy returns",
    ),
    Tool("evaluation.nearest_neighbors", "a definition"),
    Tool("evaluation.two_sample_accuracy", "arXiv 1610.06545"),
    Tool(
        "losses.truncated_cross_entropy",
        "Feng et al., Can Cross Entropy Loss Be Robust to Label Noise?, IJCAI 2020",
    ),
    Tool("models.Model", "how this library holds a network"),
    Tool("models.functional", "how this library holds a network"),
    Tool("models.ClassifierOutput", "what image_classifier returns"),
    Tool("models.image_classifier", "a yardstick for generated images"),
    Tool("models.gan_critic", "after arXiv 1511.06434"),
    Tool("models.gan_generator", "after arXiv 1511.06434"),
    Tool("models.leaky_perceptron", "the usual network"),
    Tool("models.transformer", "what attention and positions are tried in"),
    Tool("optim.Average", "what the averages of optim.ema keep"),
    Tool("theory.HeadParams", "what theory.mlm_logits takes as its layer"),
)
