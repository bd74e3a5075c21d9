"""Parts of the experiment ``weissi``."""
