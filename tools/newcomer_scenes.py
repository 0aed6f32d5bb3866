"""Make the machines that tools/newcomer tries: a clean one, and one with what developers of phones have."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SCENES = ("clean", "cluttered")
PHONE_TARGETS = ("aarch64-linux-android", "aarch64-unknown-linux-musl")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NETWORK = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "CARGO_HTTP_CAINFO", "PIP_CERT"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_DEFAULT_TIMEOUT", "UV_INDEX_URL"),
    *("UV_DEFAULT_INDEX", "RUSTUP_DIST_SERVER", "RUSTUP_UPDATE_ROOT"),
)
"""How this machine reaches its registries: a newcomer's reaches them too."""
OLD_ADB = "0020"
"""The protocol version, in hexadecimal, of an adb server of 2014."""
ADB_PORT = 5037
MUTABLE = ("components", "rust-installer-version", "multirust-channel-manifest.toml", "multirust-config.toml")
"""Files of a toolchain that rustup rewrites where they lie; the rest is replaced, and may be linked."""

Note = Callable[[str], None]


@dataclass(frozen=True)
class Scene:
    """A machine: a home, a folder for the checkout, and what is set in its shell."""

    name: str
    home: Path
    checkout: Path
    base: dict[str, str]
    languages: dict[str, str] = field(default_factory=dict)
    umask: int = 0o022

    def environment(self, command: str) -> dict[str, str]:
        return self.base | {"LANG": self.languages.get(command, "C.UTF-8")}


@contextlib.contextmanager
def make_scene(name: str, folder: Path, *, download_cache: Path | None, note: Note) -> Iterator[Scene]:
    """Make a scene in ``folder``; what runs for it ends with the block."""
    home = folder / ("home" if name == "clean" else "home of a developer")
    home.mkdir(parents=True)
    give_rust(home, note)
    base = {name: os.environ[name] for name in (*NETWORK, "PYTHON") if name in os.environ}
    base |= {"HOME": str(home), "PATH": f"{home}/.cargo/bin:{SYSTEM_PATH}", "TERM": os.environ.get("TERM", "dumb")}
    if download_cache is not None:
        uv, registry = download_cache.resolve() / "uv", download_cache.resolve() / "registry"
        for kept in (uv, registry):
            kept.mkdir(parents=True, exist_ok=True)
        (home / ".cache").mkdir()
        (home / ".cache/uv").symlink_to(uv)
        (home / ".cargo/registry").symlink_to(registry)
    if name == "clean":
        yield Scene(name, home, folder / "harness", base)
        return
    with old_adb_server(note):
        cluttered = base | clutter(folder, home, base, note)
        languages = {"bench": "C", "test": "tr_TR.UTF-8"}
        yield Scene(name, home, folder / "my checkouts/harness", cluttered, languages, umask=0o077)


def give_rust(home: Path, note: Note) -> None:
    """Copy rustup with the active toolchain to ``home``, which may be changed without changing the machine."""
    user = Path.home()
    cargo = Path(os.environ.get("CARGO_HOME") or user / ".cargo")
    rustup = Path(os.environ.get("RUSTUP_HOME") or user / ".rustup")
    if not (cargo / "bin/rustup").exists():
        note("this machine has no rustup: its own cargo is used as it is")
        return
    (home / ".cargo/bin").mkdir(parents=True)
    for program in (cargo / "bin").iterdir():
        (home / ".cargo/bin" / program.name).symlink_to(program.resolve())
    rustc = Path(_ask(str(cargo / "bin/rustup"), "which", "rustc"))
    toolchain = rustc.parent.parent
    copy = home / ".rustup/toolchains" / toolchain.name
    copy_linked(toolchain, copy)
    forget_other_targets(copy)
    for folder in ("update-hashes",):
        if (rustup / folder).is_dir():
            shutil.copytree(rustup / folder, home / ".rustup" / folder)
    (home / ".rustup/settings.toml").write_text(
        f'default_toolchain = "{toolchain.name}"\nprofile = "default"\nversion = "12"\n\n[overrides]\n',
        encoding="utf-8",
    )


def forget_other_targets(toolchain: Path) -> None:
    """Remove the standard libraries of other machines, and rustup's records of them: a newcomer has none."""
    records = toolchain / "lib/rustlib"
    components = records / "components"
    if not components.is_file():
        return
    lines = components.read_text(encoding="utf-8").splitlines()
    targets = {line.removeprefix("rust-std-") for line in lines if line.startswith("rust-std-")}
    others = {target for target in targets if not toolchain.name.endswith(target)}
    for target in others:
        shutil.rmtree(records / target, ignore_errors=True)
        (records / f"manifest-rust-std-{target}").unlink(missing_ok=True)
    components.write_text(
        "".join(f"{line}\n" for line in lines if line.removeprefix("rust-std-") not in others), "utf-8"
    )
    configuration = records / "multirust-config.toml"
    if configuration.is_file():
        head, *stanzas = configuration.read_text(encoding="utf-8").split("[[components]]")
        kept = [one for one in stanzas if not any(f'"{target}"' in one for target in others)]
        configuration.write_text("[[components]]".join([head, *kept]), encoding="utf-8")


def copy_linked(source: Path, target: Path) -> None:
    """Copy a folder, with hard links for files where that can be, but for those that rustup writes into."""

    def copy(original: str, name: str) -> str:
        path = Path(original)
        if not (path.name in MUTABLE or path.name.startswith("manifest-")):
            with contextlib.suppress(OSError):
                Path(name).hardlink_to(path)
                return name
        return str(shutil.copy2(original, name))

    shutil.copytree(source, target, symlinks=True, copy_function=copy)


def clutter(folder: Path, home: Path, base: dict[str, str], note: Note) -> dict[str, str]:
    """Install and set what a developer of phones has."""
    sdk = folder / "Android/Sdk"
    programs = sdk / "ndk/27.0.12077973/toolchains/llvm/prebuilt/linux-x86_64/bin"
    tools = sdk / "platform-tools"
    for path, text in {
        programs / "clang": "echo 'a clang of an NDK' >&2; exit 1",
        programs / "clang++": "echo 'a clang++ of an NDK' >&2; exit 1",
        tools / "adb": "echo 'Android Debug Bridge version 1.0.32'; exit 1",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)
    (sdk / "ndk/27.0.12077973/source.properties").write_text("Pkg.Revision = 27.0.12077973\n", encoding="utf-8")
    (home / ".gitconfig").write_text(
        "[commit]\n\tgpgsign = true\n[init]\n\tdefaultBranch = trunk\n[core]\n\tquotePath = true\n", encoding="utf-8"
    )
    for target in PHONE_TARGETS:
        add_target(home / ".cargo/bin/rustup", target, base, note)
    return {
        "PATH": f"{tools}:{base['PATH']}",
        "ANDROID_HOME": str(sdk),
        "ANDROID_SDK_ROOT": str(sdk),
        "ANDROID_NDK_HOME": str(sdk / "ndk/27.0.12077973"),
        "ANDROID_NDK_ROOT": str(sdk / "ndk/27.0.12077973"),
        "ANDROID_SERIAL": "emulator-5554",
        "RUSTFLAGS": "--cfg newcomer",
        "CARGO_BUILD_TARGET": "aarch64-linux-android",
        "PYTEST_ADDOPTS": "--maxfail=3",
        "PYTHONPATH": str(folder / "nowhere"),
        "PIP_USER": "1",
        "TZ": "Asia/Kathmandu",
        "COLUMNS": "40",
        "FORCE_COLOR": "1",
        "G2P_TVM_SYSTEM_LIB_PREFIX": "another_",
        "XDG_CONFIG_HOME": str(home / "my config"),
    } | turkish_locale(folder, note)


def add_target(rustup: Path, target: str, base: dict[str, str], note: Note) -> None:
    """Run `rustup target add` as a developer of phones does, if its servers can be reached."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            [str(rustup), "target", "add", target],
            env=base | {"RUSTUP_MAX_RETRIES": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=180,
            check=False,
        )
        if done.returncode == 0:
            note(f"cluttered: rustup has {target}")
            return
    note(f"cluttered: rustup cannot add {target} here, so this part is not tried")


def turkish_locale(folder: Path, note: Note) -> dict[str, str]:
    """Return where the C library finds tr_TR.UTF-8; it is made here where only its sources are there."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if "tr_TR.utf8" in _ask("locale", "-a").split():
            return {}
        locales = folder / "locales"
        locales.mkdir()
        subprocess.run(
            ["localedef", "-i", "tr_TR", "-f", "UTF-8", str(locales / "tr_TR.UTF-8")],
            check=False,
            capture_output=True,
            timeout=120,
        )
        if (locales / "tr_TR.UTF-8").is_dir():
            return {"LOCPATH": str(locales)}
    note("cluttered: this machine cannot make the Turkish locale; programs fall back to C for it")
    return {}


@contextlib.contextmanager
def old_adb_server(note: Note) -> Iterator[None]:
    """Something on adb's port that answers as a server of another version."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind(("127.0.0.1", ADB_PORT))
    except OSError:
        note(f"cluttered: something listens on port {ADB_PORT} already, and is taken for the other adb's server")
        server.close()
        yield
        return
    server.listen()
    threading.Thread(target=_answer, args=(server,), daemon=True).start()
    try:
        yield
    finally:
        server.close()


def _answer(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError, ValueError):
            connection.settimeout(10)
            request = connection.recv(int(connection.recv(4), 16))
            if request == b"host:version":
                connection.sendall(f"OKAY{len(OLD_ADB):04x}{OLD_ADB}".encode())
            elif request != b"host:kill":
                words = b"unknown host service"
                connection.sendall(b"FAIL" + f"{len(words):04x}".encode() + words)


def _ask(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", errors="replace", timeout=60)
    return done.stdout.strip()
