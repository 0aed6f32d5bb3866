"""What mkdocs calls while it builds the site: pages from the code, pages of the repository, links between them.

``docs/`` is also read on the repository's own page, so its pages link to files beside ``docs/``. Of these the site has
the pages in Markdown; of all others only the name stays.
"""

from __future__ import annotations

import os
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # mkdocs loads this file by its path
    sys.path.insert(0, str(ROOT))

from tools.docs_site import reference, rust  # noqa: E402

REPOSITORY = "repository"
OUTSIDE = (
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "THIRD_PARTY_NOTICES.md",
    "harness/models/g2p/embedded/README.md",
    "harness/models/language/byte_lm/README.md",
)
"""Pages beside docs/ that the site has, too."""
HOME = "README.md"
"""The repository's first page, whose place docs/index.md takes."""
_SEARCH = 'data-md-component="search" role="dialog"'
_NESTED = 'class="md-nav" data-md-level='
_NAVIGATION = re.compile(r"<nav\b[^>]*>|</nav>")
_NO_HEADER = re.compile(r"<th([^>]*)></th>")
_FENCE = re.compile(r"^ *(`{3,}|~{3,})")
_TITLED = re.compile(r"^( *`{3,})(\w+) ([\w./-]+)$")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Show the menu of versions where mike builds the site: it alone knows which others there are."""
    if os.environ.get("MIKE_DOCS_VERSION"):
        config.extra["version"] = {"provider": "mike", "default": "latest"}
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code, and those of the repository."""
    for path, text in reference.pages().items():
        files.append(File.generated(config, path, content=text))
    for name in OUTSIDE:
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, f"{REPOSITORY}/{name}", content=text))
    for path, file in rust.built().items():
        # A licence of its fonts is Markdown.
        files.append(File.generated(config, path, abs_src_path=str(file), inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files, **_others: Any) -> str:
    """Lead links to where the site has their pages, and give blocks that name a file a title."""
    if page.is_homepage:
        page.meta.setdefault("hide", ["navigation", "toc"])  # a header for it would show on the repository's page
    return "\n".join(_lines(markdown, page.file.src_uri, files))


def on_post_page(output: str, **_others: Any) -> str:
    """Mend what the theme's markup lacks for screen readers; the tests ask axe-core."""
    output = output.replace(_SEARCH, f'{_SEARCH} aria-label="Search"')
    return _NO_HEADER.sub(r"<td\1></td>", _grouped(output))


def _grouped(output: str) -> str:
    """Return a page whose menu is one navigation with groups; the theme's has a navigation inside of each other."""
    nested: list[bool] = []

    def amended(found: re.Match[str]) -> str:
        tag = found[0]
        if tag.startswith("</"):
            return "</div>" if nested.pop() else tag
        nested.append(_NESTED in tag)
        return tag.replace("<nav", '<div role="group"', 1) if nested[-1] else tag

    return _NAVIGATION.sub(amended, output)


def _lines(markdown: str, source: str, files: Files) -> Iterator[str]:
    fence = ""
    for line in markdown.split("\n"):
        if found := _FENCE.match(line):
            if not fence:
                fence = found[1]
                yield _TITLED.sub(r'\1\2 title="\3"', line)
                continue
            if line.strip() == fence:
                fence = ""
        yield line if fence else _LINK.sub(lambda found: _linked(found, source, files), line)


def _linked(found: re.Match[str], source: str, files: Files) -> str:
    image, text, target = found.groups()
    path, hash_mark, anchor = target.partition("#")
    if image or not path or ":" in path:
        return found[0]
    place = in_repository(source)
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(place), path))
    led = place_on_site(wanted)
    if led is None or files.get_file_from_path(led) is None:
        # A page of docs that is not there is for mkdocs to complain about.
        return found[0] if wanted.startswith("docs/") else _named(text, wanted)
    return f"[{text}]({posixpath.relpath(led, posixpath.dirname(source) or '.')}{hash_mark}{anchor})"


def in_repository(source: str) -> str:
    """Return the path in the repository of a page by its path on the site."""
    outside = source.removeprefix(f"{REPOSITORY}/")
    return outside if outside != source else f"docs/{source}"


def place_on_site(path: str) -> str | None:
    """Return the path on the site of a file by its path in the repository; None if the site does not have it."""
    if path == HOME:
        return "index.md"
    if path in OUTSIDE:
        return f"{REPOSITORY}/{path}"
    return path.removeprefix("docs/") if path.startswith("docs/") else None


def _named(text: str, path: str) -> str:
    """Return a link's text, and the file's path where the text is not that already."""
    return text if path in text or path.rstrip("/").rpartition("/")[2] in text else f"{text} (`{path}`)"
