"""Which Rust is taken: what is there, else rustup's, else Debian's; every tool is a small program on the PATH."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.cache import Cache
from harness.core.debian import PackagesUnavailable
from harness.core.errors import ExitCode
from harness.native.compilers import ToolchainMissing
from harness.native.toolchain import choice, debian, find_toolchain, present_toolchain, rustup
from harness.native.toolchain.choice import ROUTE_VARIABLE, UnknownRoute
from harness.native.toolchain.rustup import RustupUnusable
from tests.environment import system_path
from tests.native.fake_debian import TARGET, FakePackages, make_packages

RUSTC = """#!/bin/sh
case "$1" in
  --version) echo "rustc 1.95.0 (abc 2026-01-01)" ;;
  --print) echo {folder}/std-of-$4 ;;
esac
"""
RUSTUP = {
    "adds": "mkdir -p {folder}/std-of-$3 && touch {folder}/std-of-$3/libstd-9.rlib",
    "unreachable": "echo 'error: could not download file' >&2; exit 1",
    "adds elsewhere": "true",
    "hangs": "sleep 600",
    "notes its patience": "echo $RUSTUP_MAX_RETRIES $RUSTUP_DOWNLOAD_TIMEOUT > {folder}/patience; exit 1",
}


class Scene:
    """A PATH with the tools that a test puts there, and a mirror that has packages unless it is taken away."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.bin, self.messages = folder, folder / "bin", list[str]()
        self.bin.mkdir()
        self.cache = Cache(folder / "cache")
        packages = folder / "packages"
        packages.mkdir()
        make_packages(packages)
        monkeypatch.setattr(FakePackages, "folder", packages)
        monkeypatch.setattr(debian, "DebianPackages", FakePackages)
        monkeypatch.setenv("PATH", f"{self.bin}:{system_path(folder / 'programs')}")

    def tool(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(script.replace("{folder}", str(self.folder)))
        path.chmod(0o755)

    def rust(self, rustup_does: str | None = None) -> None:
        self.tool("rustc", RUSTC)
        self.tool("cargo", "#!/bin/sh\n")
        if rustup_does:
            self.tool("rustup", f"#!/bin/sh\necho $@ >> {{folder}}/rustup-runs\n{RUSTUP[rustup_does]}\n")

    def rustup_runs(self) -> list[str]:
        path = self.folder / "rustup-runs"
        return path.read_text().splitlines() if path.exists() else []

    def find(self, route: choice.Route | None = None) -> str:
        return find_toolchain(TARGET, cache=self.cache, progress=self.messages.append, route=route).route


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, monkeypatch)


def test_a_standard_library_that_is_there_is_taken(scene: Scene) -> None:
    scene.rust("adds")
    (scene.folder / f"std-of-{TARGET}").mkdir()
    (scene.folder / f"std-of-{TARGET}/libstd-1.rlib").touch()
    assert scene.find() == "PATH"
    assert scene.rustup_runs() == []


def test_rustup_adds_what_is_missing_once(scene: Scene) -> None:
    scene.rust("adds")
    assert present_toolchain(TARGET, scene.cache) is None
    assert [scene.find(), scene.find()] == ["PATH", "PATH"]
    assert scene.rustup_runs() == [f"target add {TARGET}"]


@pytest.mark.parametrize(
    ("rustup_does", "message"),
    [("unreachable", "ended with status 1"), ("adds elsewhere", "but not to"), (None, "found")],
)
def test_without_rustups_help_debian_is_taken_and_stays(scene: Scene, rustup_does: str | None, message: str) -> None:
    scene.rust(rustup_does)
    assert scene.find() == "debian"
    assert any(message in text and "taking Debian's Rust" in text for text in scene.messages), scene.messages
    asked = scene.rustup_runs()
    assert scene.find() == "debian"
    assert scene.rustup_runs() == asked, "what is installed is taken before anybody is asked again"


def test_a_rustup_that_hangs_is_ended(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rustup, "ADD_DEADLINE_SECONDS", 0.5)
    scene.rust("hangs")
    assert scene.find() == "debian"
    assert any("did not end" in text for text in scene.messages)


def test_rustup_waits_seconds_for_servers_that_do_not_answer(scene: Scene) -> None:
    """Its own limit is three minutes, several times over."""
    scene.rust("notes its patience")
    assert scene.find() == "debian"
    assert (scene.folder / "patience").read_text(encoding="utf-8").split() == ["0", "20"]


def test_without_any_rust_debian_is_taken(scene: Scene) -> None:
    assert scene.find() == "debian"


def test_a_route_that_is_asked_for_is_the_only_one(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.rust("unreachable")
    with pytest.raises(RustupUnusable, match="could not download") as caught:
        scene.find("rustup")
    assert "--route debian" in caught.value.cure
    scene.rust("adds")
    monkeypatch.setenv(ROUTE_VARIABLE, "debian")
    assert scene.find() == "debian"
    assert len(scene.rustup_runs()) == 1
    monkeypatch.setenv(ROUTE_VARIABLE, "nix")
    with pytest.raises(UnknownRoute, match="nix") as wrong:
        scene.find()
    assert wrong.value.exit_code is ExitCode.USAGE


def test_no_route_at_all_reports_why_each_failed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_arguments: object, **_named: object) -> list[Path]:
        raise PackagesUnavailable("apt-get and dpkg were not found")

    monkeypatch.setattr(FakePackages, "depends", unreachable)
    scene.rust("unreachable")
    with pytest.raises(ToolchainMissing, match="could not download") as caught:
        scene.find()
    assert "apt-get and dpkg were not found" in str(caught.value)
    assert f"rustup target add {TARGET}" in caught.value.cure


def test_this_machine_needs_cargo_and_rustc(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.rust()
    assert find_toolchain(None, cache=scene.cache, progress=scene.messages.append).name == "rustc-1.95.0-abc-2026-01-01"
    monkeypatch.setenv("PATH", str(scene.folder))
    with pytest.raises(ToolchainMissing, match="cargo was not found"):
        find_toolchain(None, cache=scene.cache, progress=scene.messages.append)
