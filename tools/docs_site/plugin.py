"""The reference of the pytest plugin: its options, keys, fixtures and markers, from what it registers."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Any, cast

import pytest

from harness.pytest_plugin import fixtures, opt_in, replay, session
from harness.pytest_plugin.options import LONG_PREFIX, all_options
from tools.docs_site.text import code, paragraphs, sentence

PAGE = "reference/pytest.md"
HEAD = f"""# pytest: options, keys, fixtures

What the plugin adds to pytest. [Tests of your own](../fixtures.md) shows how to turn the options on and how to use the
fixtures; every option also has a long name that begins with `{LONG_PREFIX}`, for projects in which the short one is
another plugin's.
"""


class _Lines:
    """Keep what a plugin registers with pytest, in the place of its configuration and its parser."""

    def __init__(self) -> None:
        self.keys: list[tuple[str, str]] = []
        self.lines: list[tuple[str, str]] = []

    def addini(self, name: str, help: str, **_settings: Any) -> None:
        self.keys.append((name, help))


def pages() -> dict[str, str]:
    """Return the page by its path in docs."""
    lines = [HEAD, "## Options", "", *_options(), "## Keys of the configuration file", "", *_keys()]
    lines += ["## Fixtures", "", *_fixtures(), "## Markers", "", *_markers()]
    return {PAGE: "\n".join(lines) + "\n"}


def _options() -> Iterator[str]:
    for names, settings in all_options():
        value = settings.get("metavar") or "|".join(settings.get("choices", ()))
        shown = [f"{name} {value}" if value else name for name in names]
        yield ", ".join(map(code, shown))
        again = " May be given several times." if settings.get("action") == "append" else ""
        yield f":   {sentence(settings['help'], PAGE)}{again}"
        yield ""


def _keys() -> Iterator[str]:
    found = _Lines()
    opt_in.pytest_addoption(cast(pytest.Parser, found))
    for name, text in found.keys:
        yield from [code(name), f":   {sentence(text, PAGE)}", ""]


def _fixtures() -> Iterator[str]:
    for module in (fixtures, replay):
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.FunctionDef) and (scope := _scope(node)):
                yield f"`{node.name}` ({scope})"
                for place, paragraph in enumerate(paragraphs(ast.get_docstring(node) or "", PAGE)):
                    yield f"{'    ' if place else ':   '}{paragraph}"
                    yield ""


def _scope(node: ast.FunctionDef) -> str | None:
    """Return how long a fixture lives: a test, or a session; None if the function is no fixture."""
    for one in node.decorator_list:
        call = one if isinstance(one, ast.Call) else None
        if ast.unparse(call.func if call else one) == "pytest.fixture":
            keywords = {word.arg: ast.literal_eval(word.value) for word in call.keywords} if call else {}
            return str({"session": "once a session"}.get(keywords.get("scope", ""), "once a test"))
    return None


def _markers() -> Iterator[str]:
    marker, _, text = session.MARKER.partition(": ")
    yield from [code(marker), f":   {sentence(text, PAGE)}", ""]
