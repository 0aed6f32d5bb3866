"""Debian packages into private folders: apt's own sources read, signatures and hashes checked, failures named."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.core.debian import (
    OS_RELEASE,
    DebianPackages,
    PackagesUnavailable,
    Source,
    choose_sources,
    read_codename,
    read_sources,
    unpack,
)
from tests.core.mirror import Mirror, configure, make_mirror

ONE_LINE = """# deb http://commented.test/debian bookworm main
deb [arch=amd64 signed-by=/keys/mine.gpg] http://mirror.test/debian bookworm main contrib  # the mirror
deb-src http://mirror.test/debian bookworm main
deb http://mirror.test/debian bookworm-updates main
"""
DEB822 = """# written by the image
Types: deb deb-src
URIs: http://other.test/debian http://third.test/debian
Suites: bookworm
 bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBGPL0BUBEADmW5NdOOHwPIJlgPu6JDcKw/NZJPR8lsD3K87ZM18gzyQZJD+w
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://disabled.test/debian
Suites: bookworm
Components: main
"""


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Mirror:
    return make_mirror(tmp_path_factory.mktemp("mirror"))


def test_both_forms_of_sources_are_read(tmp_path: Path) -> None:
    sources = read_sources(configure(tmp_path, ONE_LINE, DEB822))
    assert sources[:2] == [
        Source("http://mirror.test/debian", ("bookworm",), ("main", "contrib"), "/keys/mine.gpg"),
        Source("http://mirror.test/debian", ("bookworm-updates",), ("main",)),
    ]
    assert [source.uri for source in sources[2:]] == ["http://other.test/debian", "http://third.test/debian"]
    assert sources[2].suites == ("bookworm", "bookworm-security")
    assert sources[2].signed_by.splitlines()[1] == " -----BEGIN PGP PUBLIC KEY BLOCK-----"


def test_parts_of_a_release_come_from_their_source_or_from_its_mirror(tmp_path: Path) -> None:
    sources = read_sources(configure(tmp_path, ONE_LINE))
    chosen = choose_sources(sources, "bookworm", ["backports", "security", "updates"])
    assert [(source.uri, *source.suites) for source in chosen] == [
        ("http://mirror.test/debian", "bookworm"),
        ("http://mirror.test/debian", "bookworm-backports"),
        ("http://mirror.test/debian-security", "bookworm-security"),
        ("http://mirror.test/debian", "bookworm-updates"),
    ]
    assert [source.signed_by for source in chosen] == ["/keys/mine.gpg"] * 3 + [""]
    with pytest.raises(PackagesUnavailable, match="no source for trixie"):
        choose_sources(sources, "trixie", [])


def test_a_package_is_fetched_verified_and_unpacked(mirror: Mirror, tmp_path: Path) -> None:
    messages: list[str] = []
    packages = DebianPackages(tmp_path / "debian", configured=mirror.configured, progress=messages.append)
    [deb] = packages.fetch(["greeter"])
    assert "downloading 1 Debian packages" in messages[1]
    unpack([deb], tmp_path / "root")
    done = subprocess.run([tmp_path / "root/usr/bin/greeter"], capture_output=True, text=True, timeout=10, check=True)
    assert done.stdout == "hello\n"
    assert packages.depends(["greeter"]) == ["greeter-words"]

    whole = deb.read_bytes()
    deb.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    messages.clear()
    assert packages.fetch(["greeter"]) == [deb]
    assert deb.read_bytes() == whole
    assert any(line.startswith("downloading") for line in messages)
    messages.clear()
    packages.fetch(["greeter"])
    assert not any(line.startswith("downloading") for line in messages), "what is there was downloaded again"
    both = packages.fetch(["greeter"], with_dependencies=True)
    assert [path.name.split("_")[0] for path in sorted(both)] == ["greeter-words", "greeter"]


def test_a_mirror_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The machine's own settings, which are kept: it asks again at once, where apt would wait for seven seconds.
    (tmp_path / "apt.conf").write_text('Acquire::Retries::Delay "false";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    codename = read_codename(OS_RELEASE)
    folder = configure(tmp_path / "apt", f"deb http://127.0.0.1:9/debian {codename} main\n")
    with pytest.raises(PackagesUnavailable, match=r"(?s)lists of Debian's mirror.*127\.0\.0\.1") as caught:
        DebianPackages(tmp_path / "debian", configured=folder).fetch(["mksh"])
    assert caught.value.cure


def test_lists_that_nobody_signed_are_refused(mirror: Mirror, tmp_path: Path) -> None:
    forged = Mirror(tmp_path / "mirror", tmp_path / "apt")
    shutil.copytree(mirror.folder, forged.folder)
    forged.signed_list.write_text(mirror.signed_list.read_text().replace("Origin: Tests", "Origin: Nobody"))
    [source] = read_sources(mirror.configured)
    sources = f"deb [signed-by={source.signed_by}] {forged.folder.as_uri()} {source.suites[0]} main\n"
    with pytest.raises(PackagesUnavailable, match=r"(?i)signature"):
        DebianPackages(tmp_path / "debian", configured=configure(forged.configured, sources)).fetch(["greeter"])


def test_a_package_nobody_has_and_a_file_that_is_no_package(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(PackagesUnavailable, match="harness-no-such-package"):
        DebianPackages(tmp_path / "debian", configured=mirror.configured).fetch(["harness-no-such-package"])
    broken = tmp_path / "broken.deb"
    broken.write_bytes(b"no archive")
    with pytest.raises(PackagesUnavailable, match=r"cannot unpack broken\.deb"):
        unpack([broken], tmp_path / "root")
