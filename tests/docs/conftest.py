"""The site, built once for all tests that look at it, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.site import VERSION, build, served


@dataclass(frozen=True)
class Site:
    """The built site, and what was complained about while it was built."""

    root: Path
    """Holds a folder for each version, as mike lays them."""
    complaints: list[str]

    @property
    def folder(self) -> Path:
        return self.root / VERSION

    def pages(self) -> list[Path]:
        return sorted(self.folder.rglob("*.html"))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    root = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        return Site(root, build(root, patch))


@pytest.fixture(scope="module")
def address(site: Site) -> Iterator[str]:
    with served(site.root) as found:
        yield f"{found}{VERSION}/"
