"""The committed bindings are those of the crate, and hold what an app calls."""

from __future__ import annotations

import re

import pytest

from tools import write_bindings
from tools.write_bindings import BINDINGS

CALLS = {"open", "models", "versions", "load", "run_inference", "phonemize", "stream", "listen", "warm_up"}
CALLS |= {"release_memory", "shut_down", "cancel"}


@pytest.mark.thorough
@pytest.mark.compiler
def test_nothing_differs_from_what_is_written_now() -> None:
    assert list(write_bindings.differences(offline=True)) == [], "make bindings"


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


@pytest.mark.parametrize("name", ["kotlin/charsiug2p/charsiug2p.kt", "swift/Charsiug2p.swift"])
def test_every_call_of_the_docs_is_in_both_languages(name: str) -> None:
    text = (BINDINGS / name).read_text(encoding="utf-8")
    functions = set(re.findall(r"\bfun[c]? `?(\w+)`?\(", text))
    assert {camel(call) for call in CALLS} <= functions


def test_errors_have_the_same_names_and_numbers_everywhere() -> None:
    """In the header as in the docs, and as exceptions in the two other languages."""
    header = (BINDINGS / "c/charsiug2p.h").read_text(encoding="utf-8")
    codes = {name: int(number) for name, number in re.findall(r"CHARSIUG2P_CODE_(\w+) = (\d+)", header)}
    page = (BINDINGS.parent / "docs/apps.md").read_text(encoding="utf-8")
    listed: dict[str, int] = {}
    for numbers, names in re.findall(r"^\| ([\d, ]+) \| ([^|]+) \|", page, re.MULTILINE):
        kinds = re.findall(r"`(\w+)`", names)
        listed |= dict(zip(kinds, map(int, numbers.split(",")), strict=True))
    assert {camel(name.lower()).lower(): number for name, number in codes.items() if name != "OK"} == {
        kind.lower(): number for kind, number in listed.items()
    }
    kotlin = (BINDINGS / "kotlin/charsiug2p/charsiug2p.kt").read_text(encoding="utf-8")
    swift = (BINDINGS / "swift/Charsiug2p.swift").read_text(encoding="utf-8")
    for kind in listed:
        assert f"class {kind}(message: String) : MobileException(message)" in kotlin
        assert f"case {kind}(message: String)" in swift
