"""Keep reports in the repository without the library that draws their pictures, and put it back when the site is built.

python -m tools.gallery_pages build/gallery       # writes the whole pages there, to be opened in a browser

A report is one file, nine tenths of which are plotly.js. In the repository each page of the gallery has a mark in its
place, and everything else as `harness report` wrote it. mkdocs puts plotly.js back: this file is also its hook.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
GALLERY = ROOT / "docs/gallery"
MARK = "plotly.js is put here when the site is built: python -m tools.gallery_pages"
_PLOTLY = re.compile(r'(<script type="application/octet-stream" id="plotly">)([^<]*)(</script>)')
_PACKED = re.compile(r'(<script type="application/octet-stream" id="(?:figures|documents)">)([^<]*)(</script>)')
_PRIVATE = re.compile(r"(?<![\w.:/~-])/(?:home|root|tmp|work|Users|var|opt|mnt|srv|private)/[\w.-]+")
"""An absolute path of somebody's machine."""


def without_plotly(page: str) -> str:
    """Return a report with the mark in the place of plotly.js; raises ValueError if it is no report."""
    return _replaced(_PLOTLY, lambda _text: MARK, page)


def with_plotly(page: str) -> str:
    """Return a page of the gallery as `harness report` wrote it; raises ValueError if it is no page of the gallery."""
    from harness.report.html.blobs import packed
    from harness.report.html.page import plotly_script

    if MARK not in page:
        raise ValueError("the page has no mark where plotly.js belongs")
    return _replaced(_PLOTLY, lambda _text: packed(plotly_script().read_bytes()), page)


def renamed(page: str, names: Mapping[str, str]) -> str:
    """Return a report in which each path stands by its other name, also in the packed data."""

    def others(text: str) -> str:
        for path, name in names.items():
            text = text.replace(path, name)
        return text

    return _replaced(_PACKED, lambda text: _pack(others(_unpack(text))), others(page), at_least=0)


def private_paths(page: str) -> list[str]:
    """Return the absolute paths in a page and in its packed data."""
    texts = [_PACKED.sub("", _PLOTLY.sub("", page)), *(_unpack(found[2]) for found in _PACKED.finditer(page))]
    return [path for text in texts for path in _PRIVATE.findall(text)]


def whole_text(page: str) -> str:
    """Return the page with its packed data readable, and without plotly.js."""
    return _PACKED.sub(lambda found: found[1] + _unpack(found[2]) + found[3], _PLOTLY.sub("", page))


def _unpack(text: str) -> str:
    return gzip.decompress(base64.b64decode(text)).decode()


def _pack(text: str) -> str:
    # The data are JSON; a path that was replaced must not have broken it.
    json.loads(text)
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def _replaced(pattern: re.Pattern[str], change: Callable[[str], str], page: str, at_least: int = 1) -> str:
    found, count = pattern.subn(lambda match: match[1] + change(match[2]) + match[3], page)
    if count < at_least:
        raise ValueError("the page is no report of the harness")
    return found


def complete(folder: Path) -> list[Path]:
    """Put plotly.js into every page of the folder that has the mark; return these pages."""
    from harness.core.files import replacing

    found = [page for page in sorted(folder.glob("*.html")) if MARK in page.read_text(encoding="utf-8")]
    for page in found:
        with replacing(page) as partial:
            partial.write_text(with_plotly(page.read_text(encoding="utf-8")), encoding="utf-8")
    return found


def on_post_build(config: Any, **_more: Any) -> None:
    """Complete the built site's gallery. mkdocs calls this because its ``hooks`` name this file."""
    complete(Path(config["site_dir"]) / "gallery")


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1])
    shutil.copytree(GALLERY, folder, dirs_exist_ok=True)
    for page in complete(folder):
        print(page)


if __name__ == "__main__":
    main()
