"""``python -m kexue_jax.articles``: print the table of articles."""

import sys

from kexue_jax.articles import table

USAGE = "usage: python -m kexue_jax.articles (prints the table; takes no arguments)"


def main(arguments: list[str]) -> int:
    """Print the table; a word on the command line is answered in one line."""
    if arguments in (["--help"], ["-h"]):
        print(USAGE)
        return 0
    if arguments:
        print(f"{USAGE}, got {arguments[0]!r}", file=sys.stderr)
        return 2
    print(table())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
