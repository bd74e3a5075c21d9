"""Public names that are no article's own method, each with its source or reason."""

from kexue_jax.articles._article import Tool

ROWS: tuple[Tool, ...] = ()
