"""How faults end, as markers of the tests that make them happen; ``tools/write_faults.py`` makes a table of them.

@pytest.mark.fault(what="the runner exits with 1", ends=incomplete("exited with status 1"), keeps="all records")
def test_…(scene, ends):
    ends.check(scene.run(…))
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from harness.core.errors import HarnessError
from harness.devices.base import RunResult


@dataclass
class Ends:
    """An error that is raised, an incomplete result whose reason has these words, or a complete result."""

    error: type[HarnessError] | None = None
    words: str = ""
    complete: bool = False
    resumed: int = 0
    checked: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        if self.error is not None:
            return f"`{self.error.__name__}`: “{self.words}”"
        if not self.complete:
            return f"incomplete: “{self.words}”"
        return "complete, resumed once" if self.resumed else "complete" + (f": {self.words}" if self.words else "")

    @contextmanager
    def raised(self) -> Iterator[pytest.ExceptionInfo[HarnessError]]:
        """The error is raised inside, of just this class, with the words and a cure."""
        assert self.error is not None
        with pytest.raises(self.error) as info:
            yield info
        assert type(info.value) is self.error
        assert self.words in str(info.value.args[0])
        assert info.value.cure
        self.checked = True

    def check(self, result: RunResult) -> None:
        """The result is as declared."""
        assert self.error is None
        assert result.complete == self.complete, result.reason
        assert result.resumed == self.resumed
        if not self.complete:
            assert result.reason is not None
            assert self.words in result.reason, result.reason
        self.checked = True


def raises(error: type[HarnessError], words: str) -> Ends:
    return Ends(error=error, words=words)


def incomplete(words: str, *, resumed: int = 0) -> Ends:
    return Ends(words=words, resumed=resumed)


def complete(words: str = "", *, resumed: int = 0) -> Ends:
    return Ends(complete=True, words=words, resumed=resumed)
