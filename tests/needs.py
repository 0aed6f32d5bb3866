"""What tests need, as markers: ``programs``, ``compiler``, ``emulator``, or none of them, which is ``pure``.

A marker stands at the module or the test; what a fixture needs, all who use it need. ``pure`` is given to the rest and
enforced (``tests/guard``): such a test finds an empty cache and may start neither a browser, a lab, an interpreter for
the harness, a compiler nor a virtual phone. Who may compile or start a phone may start the other programs, too.

``thorough`` is another matter: such a test is a further case of what another test shows (another instruction set,
target, precision or phone), or a check of something that only a release needs. `make test` leaves them out, so that a
newcomer has its answer within 20 minutes; `make test-thorough` and CI run them. ``thorough(keep=["*-fp32"])`` at a test
with parameters leaves those in `make test` whose identifiers match.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

PURE = "pure"
THOROUGH = "thorough"
PROGRAMS = "programs"
NEEDS = (PROGRAMS, "compiler", "emulator")
NEEDS_OF_FIXTURES = {
    "tests/devices/android::scene": "emulator",
    "user_cache": "compiler",
    "arm64_program": "compiler",
    "fleet": "emulator",
    "parts": "emulator",
    "phones": "emulator",
    "shelf": "emulator",
    "stranger": "emulator",
}
"""Fixtures of more than one module whose making needs it, by their name or by their folder's and theirs."""
_WHOLE_MODULE = re.compile(r"^pytestmark = \[?pytest\.mark\.(?:programs|compiler|emulator)\b", re.MULTILINE)


def needs_of(item: pytest.Item) -> list[str]:
    """What an item needs, in the order of ``NEEDS``."""
    defined = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    names = {key for name, found in defined.items() for key in (name, f"{found[-1].baseid}::{name}")}
    found = {need for name in names if (need := NEEDS_OF_FIXTURES.get(name))}
    found |= {name for name in NEEDS if item.get_closest_marker(name)}
    return [name for name in NEEDS if name in found]


def mark(items: Sequence[pytest.Item]) -> None:
    """Give every item the markers of what it needs; raises UsageError for one that calls itself pure and is not."""
    for item in items:
        needs = needs_of(item)
        if needs and item.get_closest_marker(PURE):
            raise pytest.UsageError(f"{item.nodeid} is marked pure, and needs {' and '.join(needs)}")
        for name in needs or [PURE]:
            if not item.get_closest_marker(name):
                item.add_marker(name)


def keep_some(items: Sequence[pytest.Item]) -> None:
    """Take ``thorough`` from the cases that it keeps.

    Raises UsageError for a pattern that matches none of a test's cases, unless pytest was given single cases.
    """
    unused: dict[tuple[str, str], bool] = {}
    whole = not any("::" in argument for argument in items[0].config.args) if items else False
    for item in items:
        marker = item.get_closest_marker(THOROUGH)
        if marker is None or "keep" not in marker.kwargs:
            continue
        assert isinstance(item, pytest.Function)
        kept = False
        for pattern in marker.kwargs["keep"]:
            found = fnmatchcase(item.callspec.id, pattern)
            test = (item.nodeid.partition("[")[0], pattern)
            unused[test] = unused.get(test, True) and not found
            kept |= found
        if kept:
            item.own_markers.remove(marker)
    for (name, pattern), nothing in unused.items():
        if nothing and whole:
            raise pytest.UsageError(f"{name} keeps {pattern!r}, and has no such case")


def in_order(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Modules with tests that need a virtual phone first, then those that compile, then the rest, each as they stood.

    pytest-xdist gives the next module to a worker that has ended one, so the short ones are left for the end, and the
    workers end together.
    """
    ranks = {need: rank for rank, need in enumerate(reversed(NEEDS))}
    modules: dict[str, int] = {}
    for item in items:
        rank = min((ranks[need] for need in needs_of(item)), default=len(NEEDS))
        module = item.nodeid.partition("::")[0]
        modules[module] = min(modules.get(module, len(NEEDS)), rank)
    return sorted(items, key=lambda item: modules[item.nodeid.partition("::")[0]])


def refuse_compiler(collector: pytest.Collector) -> None:
    """Raises UsageError if TVM came with the module of a pure test: the guard would refuse it to the test itself."""
    if "tvm" in sys.modules:
        raise pytest.UsageError(
            f"{collector.nodeid} imports TVM: mark the module as a whole, or import it in its tests"
        )


def is_wholly_impure(path: Path) -> bool:
    """Whether a module's own line marks all of it: then it need not be imported to find that it has no pure test."""
    return path.suffix == ".py" and bool(_WHOLE_MODULE.search(path.read_text(encoding="utf-8")))
