"""The ways in which a run ends early, each of them one line for its user."""

import signal


class UserError(Exception):
    """A known trouble of operation: one line on stderr, exit status 1, no traceback.

    A missing extra or file, a folder that cannot be written, a config that does not
    fit the saved one. The message says what came and what was wanted.
    """


class NonFinite(UserError):
    """A quantity of the training step became NaN or infinite."""


class Finished(Exception):
    """There is nothing left to do: one line on stdout, exit status 0."""


class Stopped(Exception):
    """A signal stopped the run after it was saved: one line, exit status 128 + n."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signal.Signals(signum)


class Terminated(KeyboardInterrupt):
    """SIGTERM where nothing can be saved: as Ctrl-C does, but exit status 143."""


def one_line(text: str, *, limit: int = 1000) -> str:
    """``text`` with every unprintable character escaped and its length bounded."""
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii")
        for c in text[:limit]
    )
    return shown + ("..." if len(text) > limit else "")
