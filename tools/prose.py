"""Check the project's English: proselint's checks, and the words in tools/prose-words.tsv.

python tools/prose.py                       # every page and every text that the package shows
python tools/prose.py docs/ios.md harness/cli   # only these
python tools/prose.py --count               # how often each check fails, per file

Exit status 1 if anything was found. Of a page it reads the prose, without code, links' targets and comments. Of a
Python file it reads the docstrings, of a Rust file the documentation's comments, and of both every string of at least
three words: help texts, messages and cures. Of a template it reads the text between the tags.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import proselint.checks
from proselint.config import Config
from proselint.registry import CheckRegistry
from proselint.registry.checks import Check, CheckFlags
from proselint.registry.checks.types import ExistenceSimple
from proselint.tools import LintFile

ROOT = Path(__file__).resolve().parent.parent
WORDS = ROOT / "tools/prose-words.tsv"
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs", "bindings")
CODE = ("harness", "rust", "device_runner")
GENERATED = ("docs/reference/", "harness/_rust/", "rust/flutter/src/frb_generated.rs")
"""Text that other tools write. Their sources are checked instead."""

CHECKS = (
    "archaism",
    "cliches",
    "hedging",
    "malapropisms",
    "misc.back_formations",
    "misc.but",
    "misc.illogic",
    "misc.metadiscourse",
    "mixed_metaphors",
    "needless_variants",
    "nonwords",
    "oxymorons",
    "redundancy",
    "spelling.able_atable",
    "spelling.misc",
    "uncomparables",
)
"""proselint's checks that fit technical pages. Those about dates, money, typography and slurs do not."""

ALLOWED = {
    ("docs/history.md", "nights"): "a table of harness query",
    ("docs/json.md", "Departure"): "a class of documents",
    ("docs/json.md", "nights"): "a kind of document",
    ("harness/cli/app.py", "nights"): "the module of a command",
    ("harness/cli/history.py", "nights"): "a table of harness query",
    ("harness/cli/labdemo.py", "nights"): "an address",
    ("harness/cli/labpage/server.py", "nights"): "an address",
    ("harness/virtual/ios/amfi.py", "occured"): "as the phone spells it",
    ("harness/virtual/ios/installation_proxy.py", "lies outside"): "an answer of the virtual phone",
}
"""Names and quotations that a check takes for prose."""
LEAST_WORDS = 3
_MASK = "·"
_RUST = re.compile(
    r"""(?P<comment>(?:^\ *//[/!](?!/)[^\n]*\n)+)      # documentation
    | //[^\n]*                                         # another comment
    | (?<!\w)[bc]?r(?P<hashes>\#*)".*?"(?P=hashes)        # a raw string: patterns and tables, no prose
    | (?<!\w)[bc]?"(?P<string>(?:[^"\\]|\\.)*)"
    | '(?:[^'\\\n]|\\[^\n]{1,8})'                     # a character, perhaps a quotation mark
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Word:
    """A row of the word list: a pattern in RE2's syntax, and what to write instead."""

    scope: str
    pattern: str
    instead: str
    example: str


@dataclass(frozen=True)
class Finding:
    """A place that fails a check."""

    path: str
    line: int
    check: str
    found: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def words() -> list[Word]:
    """Read the word list. Lines that begin with # are comments."""
    rows = (line.split("\t") for line in WORDS.read_text(encoding="utf-8").splitlines() if line and line[0] != "#")
    return [Word(*row) for row in rows]


@cache
def checks(scope: str) -> dict[str, bool]:
    """Register all checks, and return those that are on for ``docs`` or ``code``."""
    registry = CheckRegistry()
    if not registry.checks:
        registry.register_many(proselint.checks.__register__)
        for number, word in enumerate(words()):
            message = f"“{{}}”: write {word.instead.replace('{', '{{').replace('}', '}}')}"
            pattern = word.pattern.replace(" ", r"\s+")
            registry.register(
                Check(
                    check_type=ExistenceSimple(pattern),
                    path=f"words.{word.scope}.{number}",
                    message=message,
                    flags=CheckFlags(allow_quotes=True),
                )
            )
    return dict.fromkeys((*CHECKS, "words.all", f"words.{scope}"), True)


def check_text(text: str, scope: str) -> Iterator[tuple[int, str, str, str]]:
    """Yield offset, check, passage and message of each failure in a text."""
    if not text:
        return
    file = LintFile("text", text)
    for result in file.lint(Config(max_errors=100_000, checks=checks(scope))):
        start, end = result.check_result.span
        found = " ".join(file.content[start:end].split())
        # proselint adds a line break before the text; a pattern may begin with the break or the stop before a sentence.
        start += len(passage := file.content[start:end]) - len(passage.lstrip("\n.!-| "))
        yield start - 1, result.check_result.check_path, found, result.check_result.message


def _mask(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", _MASK, match[0])


def masked(page: str) -> str:
    """Return a page with everything that is not prose replaced, character by character."""
    for pattern in (
        r"^ *(```+|~~~+).*?^ *\1 *$",  # code
        r"<!--.*?-->",
        r"``[^\n]*?``|`[^`]+`",
        r"(?<=\])\([^)\s]*\)",  # where a link leads
        r"<[^<>\n]+>",
        r"https?://\S+",
        r"\bharness nights\b|--night\b",  # a command and an option of that name
    ):
        page = re.sub(pattern, _mask, page, flags=re.DOTALL | re.MULTILINE)
    return page


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each docstring, and of each string of several words, of a Python file."""
    tree = ast.parse(source)
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else _MASK for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            text = node.value
        else:
            continue
        if len(re.findall(r"[A-Za-z]{2,}", text)) >= LEAST_WORDS:
            yield node.lineno, text


def rust_texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each documented item's comment, and of each string of several words, of a Rust file."""
    for match in _RUST.finditer(source):
        text = match["string"]
        if match["comment"]:
            text = re.sub(r"^ *//[/!] ?", "", match["comment"], flags=re.MULTILINE)
        elif text is None:
            continue
        else:
            text = re.sub(r"\\\n\s*", " ", text)
            text = re.sub(r"\{[^{}]*\}", lambda hole: _MASK * len(hole[0]), text)
        if len(re.findall(r"[A-Za-z]{2,}", text)) >= LEAST_WORDS:
            yield source.count("\n", 0, match.start()) + 1, text


def template_text(source: str) -> str:
    """Return a template of a page with everything that is not text replaced, character by character."""
    for pattern in (
        r"\{#.*?#\}",
        r"<(style|script|code)\b.*?</\1>",
        r"\{%.*?%\}",
        r"\{\{.*?\}\}",
        r"<!--.*?-->",
        r"<[^<>]+>",
    ):
        source = re.sub(pattern, _mask, source, flags=re.DOTALL)
    return source


def passages_of(path: Path, source: str) -> tuple[list[tuple[int, str]], str]:
    """Return the passages of a file with their lines, and the scope of the words that apply to them."""
    if path.suffix == ".md":
        return [(1, masked(source))], "docs"
    if path.suffix == ".j2":
        return [(1, template_text(source))], "code"
    read = rust_texts if path.suffix == ".rs" else texts
    return [(line, masked(text)) for line, text in read(source)], "code"


def check_file(path: Path) -> Iterator[Finding]:
    """Yield everything that is wrong in a page, a program's source or a template."""
    name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
    source = path.read_text(encoding="utf-8")
    passages, scope = passages_of(path, source)
    starts, whole = [], ""
    for line, text in passages:
        starts.append((len(whole), line))
        whole += f"{text}\n\n"
    for offset, check, found, message in check_text(whole, scope):
        if (name, found) in ALLOWED:
            continue
        begin, line = next((start for start in reversed(starts) if start[0] <= offset), (0, 1))
        yield Finding(name, line + whole.count("\n", begin, offset), check, found, " ".join(message.split()))


def files(names: Sequence[str]) -> list[Path]:
    """Return the committed pages, sources and templates among these files and folders."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *names],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    found = [ROOT / name for name in sorted(set(listed.stdout.split("\0"))) if not name.startswith(GENERATED)]
    return [path for path in found if path.suffix in {".md", ".py", ".rs", ".j2"} and path.is_file()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was found, a line each, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=[*PAGES, *CODE], help="files and folders, of this checkout")
    parser.add_argument("--count", action="store_true", help="print numbers per check and per file instead")
    given = parser.parse_args(arguments)
    findings = [finding for path in files(given.names) for finding in check_file(path)]
    if given.count:
        for label, counted in (
            ("check", Counter(f"{finding.check} {finding.message}" for finding in findings)),
            ("file", Counter(finding.path for finding in findings)),
        ):
            for name, number in counted.most_common():
                print(f"{number:5} {label} {name}")
    else:
        for finding in findings:
            print(finding)
    print(f"prose: {len(findings)} findings" if findings else "prose: nothing found", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
