"""Parts of the experiment ``child_tuning``."""
