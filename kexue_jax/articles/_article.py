"""The row types of the table of articles: strings only, nothing is imported."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Article:
    """One article of kexue.fm, and what of it this library has built.

    ``title`` is English and short; ``title_zh`` and ``date`` ("YYYY-MM-DD") are the
    article's own, and "" means that they were not verified. ``card`` is the stem of
    the method card that the work starts from. ``names`` are public names such as
    "diffusion.ddim_sample", ``tests`` paths of test files, ``experiments`` modules.
    ``id`` 0 stands for an early post whose number is not known.
    """

    id: int
    title: str
    title_zh: str
    date: str
    card: str
    names: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """ "built" if a public name stands for the article, else "planned"."""
        return "built" if self.names else "planned"

    @property
    def address(self) -> str:
        """Where the article is: kexue.fm/archives/ID."""
        return f"kexue.fm/archives/{self.id}" if self.id else "kexue.fm, id not known"

    @property
    def reference(self) -> str:
        """The article as one line of a list of references."""
        title = f"{self.title} ({self.title_zh})" if self.title_zh else self.title
        date = f", {self.date}" if self.date else ""
        return f"Su Jianlin, {title}, {self.address}{date}"


class Tool(NamedTuple):
    """A public name that is no article's own method, and where it comes from."""

    name: str
    source: str
