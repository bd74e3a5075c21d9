"""Parts of experiments.johnson_lindenstrauss."""
