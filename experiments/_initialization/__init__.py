"""Parts of experiments.initialization."""
