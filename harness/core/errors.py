"""The errors a person sees. Each says what is wrong, what to do next, and whose fault it is."""

from __future__ import annotations

from enum import IntEnum

from harness.core.text import shown

_MOST = 20_000
"""Characters of a message: a compiler's words fit in."""


class ExitCode(IntEnum):
    """What every command of the harness exits with."""

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
        """For a person; ``args`` hold the words as they came."""
        message = shown(super().__str__(), most=_MOST)
        return f"{message}\n  → {shown(self.cure)}" if self.cure else message


class UsageError(HarnessError):
    """The command line, a file given on it, or a word in that file is not usable."""

    exit_code = ExitCode.USAGE
