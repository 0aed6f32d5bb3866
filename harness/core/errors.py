"""Define the errors that a person sees. Each states what is wrong, what to do next, and whose fault it is."""

from __future__ import annotations

from enum import IntEnum

from harness.core.text import shown

_MOST = 20_000
"""Characters of a message. A compiler's output fits in."""


class ExitCode(IntEnum):
    """List the exit codes of every command of the harness."""

    OK = 0
    FAILURE = 1
    """The subject under test is at fault: a mismatch or a regression."""
    USAGE = 2
    INFRASTRUCTURE = 3
    """The run could not be made or decided."""


class HarnessError(Exception):
    """Base of all errors that name their cure.

    ``cure`` is what the person should do next; ``exit_code`` separates a fault of the subject, of the
    command line, and of the infrastructure around it.
    """

    cure: str = ""
    exit_code: ExitCode = ExitCode.INFRASTRUCTURE

    def __init__(self, message: str, *, cure: str | None = None) -> None:
        super().__init__(message)
        if cure is not None:
            self.cure = cure

    def __str__(self) -> str:
        """Return the message and its cure for a person; ``args`` keep the text unchanged."""
        message = shown(super().__str__(), most=_MOST)
        return f"{message}\n  → {shown(self.cure)}" if self.cure else message


class UsageError(HarnessError):
    """The command line, a file given on it, or a word in that file is not usable."""

    exit_code = ExitCode.USAGE
