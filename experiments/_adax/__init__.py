"""Parts of the experiment ``adax``."""
