"""Parts of the experiment ``gradient_clipping``."""
