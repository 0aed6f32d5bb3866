"""How faults end, as markers of the tests that make them happen; ``tools/write_faults.py`` makes a table of them.

@pytest.mark.fault(what="the runner exits with 1", ends=incomplete("exited with status 1"), keeps="all records")
def test_…(scene, ends):
    ends.check(scene.run(…))

A scenario that several kinds run (``harness/conformance``) has such a marker too, with ``{device}`` and
``{runner}`` in place of what a kind calls them. Each kind's class has those words, and how a fault ends on this kind
where that is otherwise than the marker has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import ClassVar

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


class Scenarios:
    """Base of a kind's test classes."""

    words: ClassVar[dict[str, str]] = {"device": "the device", "runner": "the runner"}
    ends: ClassVar[dict[str, Ends]] = {}
    """How faults end here, by the test's name with or without its parameter."""
    variant: ClassVar[str] = ""
    """Which of a kind's devices these are, where several end a fault in different ways."""
    variant_ends: ClassVar[dict[str, Ends]] = {}
    """How faults end on these devices alone."""


@dataclass(frozen=True)
class Fault:
    """A row of the table of faults."""

    what: str
    ends: Ends
    keeps: str


def fault_of(item: pytest.Item) -> Fault | None:
    """Return the fault that a test makes happen, in the words of its kind; None for another test."""
    marker = item.get_closest_marker("fault")
    if marker is None:
        return None
    fault = Fault(marker.kwargs["what"], marker.kwargs["ends"], marker.kwargs["keeps"])
    kind = getattr(item, "cls", None)
    if kind is None or not issubclass(kind, Scenarios):
        return fault
    name = getattr(item, "originalname", item.name)
    parameters = item.callspec.id.split("-") if hasattr(item, "callspec") else []
    keys = [*(f"{name}[{parameter}]" for parameter in parameters), name]
    own, usual = (next((ends[key] for key in keys if key in ends), None) for ends in (kind.variant_ends, kind.ends))
    ends = own or usual or fault.ends
    what = fault.what.format(**kind.words) + (f" ({kind.variant})" if own else "")
    return Fault(what, replace(ends, words=ends.words.format(**kind.words)), fault.keeps.format(**kind.words))
