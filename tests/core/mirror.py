"""A Debian mirror in a folder, signed with a key of its own, so that apt needs no network."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from harness.core.debian import OS_RELEASE, machine_architecture, read_codename

CONTROL = """Package: {name}
Version: 1.0-1
Architecture: all
Maintainer: Nobody <nobody@example.test>
Description: a program for tests
{depends}"""


@dataclass(frozen=True)
class Mirror:
    """A mirror with the package ``greeter``, which depends on ``greeter-words``."""

    folder: Path
    configured: Path
    """The folder of apt's settings that names this mirror, and the key that signs it."""

    @property
    def signed_list(self) -> Path:
        return self.folder / f"dists/{read_codename(OS_RELEASE)}/InRelease"


def make_mirror(folder: Path) -> Mirror:
    """Write the packages, their lists and apt's settings below ``folder``."""
    mirror = Mirror(folder / "mirror", folder / "apt")
    codename, architecture = mirror.signed_list.parent.name, machine_architecture()
    lists = mirror.signed_list.parent / f"main/binary-{architecture}"
    lists.mkdir(parents=True)
    stanzas = [
        _package(
            mirror.folder, "greeter", "Depends: greeter-words (>= 1.0)\n", "usr/bin/greeter", "#!/bin/sh\necho hello\n"
        ),
        _package(mirror.folder, "greeter-words", "", "usr/share/greeter/words", "hello\n"),
    ]
    packages = lists / "Packages"
    packages.write_text("\n".join(stanzas), encoding="utf-8")
    release = "\n".join(
        [
            "Origin: Tests",
            f"Suite: {codename}",
            f"Codename: {codename}",
            f"Date: {datetime.now(timezone.utc):%a, %d %b %Y %H:%M:%S} UTC",
            f"Architectures: {architecture}",
            "Components: main",
            "SHA256:",
            f" {_digest(packages)} {packages.stat().st_size} {packages.relative_to(mirror.signed_list.parent)}",
            "",
        ]
    )
    key = folder / "key.gpg"
    mirror.signed_list.write_bytes(_signed(release, key))
    configure(mirror.configured, f"deb [signed-by={key}] {mirror.folder.as_uri()} {codename} main\n")
    return mirror


def configure(folder: Path, one_line: str = "", deb822: str = "") -> Path:
    """Write apt's settings: sources in both forms."""
    (folder / "sources.list.d").mkdir(parents=True)
    (folder / "sources.list").write_text(one_line)
    (folder / "sources.list.d/more.sources").write_text(deb822)
    return folder


def _package(mirror: Path, name: str, depends: str, place: str, text: str) -> str:
    """Make a package with one file; return its part of the mirror's list."""
    tree = mirror.parent / "trees" / name
    control = CONTROL.format(name=name, depends=depends)
    for path, content, mode in ((tree / "DEBIAN/control", control, 0o644), (tree / place, text, 0o755)):
        path.parent.mkdir(parents=True)
        path.write_text(content)
        path.chmod(mode)
    deb = mirror / f"pool/{name}_1.0-1_all.deb"
    deb.parent.mkdir(exist_ok=True)
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(deb)], check=True, capture_output=True)
    fields = {"Filename": deb.relative_to(mirror), "Size": deb.stat().st_size, "SHA256": _digest(deb)}
    return control + "".join(f"{field}: {value}\n" for field, value in fields.items())


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _signed(text: str, key: Path) -> bytes:
    """Return the text signed with a new key, whose public half is written to ``key``."""
    # GnuPG's agent listens in this folder, and the path of a socket has to be short.
    with tempfile.TemporaryDirectory(prefix="gpg") as home:
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", ""]
        try:
            subprocess.run([*gpg, "--quick-generate-key", "tests", "ed25519", "sign", "never"], check=True)
            key.write_bytes(subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout)
            return subprocess.run([*gpg, "--clearsign"], input=text.encode(), check=True, capture_output=True).stdout
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
