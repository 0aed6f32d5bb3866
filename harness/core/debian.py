"""Fetch Debian packages with apt's signatures checked, and unpack them into a user's folder; nothing is installed.

PyPI does not have everything that the harness needs: a Rust with other targets, a real adbd, qemu. These come from
the mirrors that this machine's apt is configured with. An apt configuration of our own is used, so that neither root
nor a change to the system is needed::

    packages = DebianPackages(folder)
    debs = packages.fetch(["adbd"], suites=["backports"], with_dependencies=True)
    unpack(debs, root)

``folder`` keeps the lists and the ``.deb`` files; after an interruption only the missing ones are downloaded. The
newest version in the given suites is taken. Packages of another architecture need nothing installed on the machine.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from harness.core.cache import check_room
from harness.core.commands import run_command
from harness.core.errors import HarnessError
from harness.core.progress import Progress

LISTS_DEADLINE_SECONDS = 300.0
DOWNLOAD_DEADLINE_SECONDS = 1800.0
QUERY_DEADLINE_SECONDS = 120.0
UNPACK_DEADLINE_SECONDS = 300.0
LOCK_DEADLINE_SECONDS = 2400.0
SYSTEM_FOLDER = Path("/etc/apt")
OS_RELEASE = Path("/etc/os-release")


class PackagesUnavailable(HarnessError):
    """Debian packages are not available on this machine, or not now."""

    cure = "this needs Debian's apt with a mirror that can be reached; look at apt's message and run again"


@dataclass(frozen=True)
class Source:
    """Describe one configured archive of binary packages: a mirror, its suites, and the keys that sign them."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""
    """The path of a keyring. Deb822 files may contain the key itself instead."""


@dataclass(frozen=True)
class _Download:
    """Hold one line of ``apt-get --print-uris``."""

    file: str
    size: int
    algorithm: str
    digest: str


class DebianPackages:
    """Run apt with state and downloads below ``folder``; ``configured`` is the apt folder that names the mirrors."""

    def __init__(
        self, folder: Path, *, configured: Path = SYSTEM_FOLDER, progress: Progress = lambda _message: None
    ) -> None:
        self._folder = folder.resolve()
        self._configured = configured
        self._progress = progress

    def fetch(
        self,
        names: Sequence[str],
        *,
        suites: Sequence[str] = (),
        architecture: str | None = None,
        with_dependencies: bool = False,
    ) -> list[Path]:
        """Return the packages' ``.deb`` files; download and verify those that are missing.

        ``suites`` adds parts of the release (``backports``, ``security``, ``updates``) to its main one.
        ``architecture`` is Debian's name (``amd64``, ``arm64``); None means the machine's. ``with_dependencies`` also
        fetches everything they depend on, down to the C library, whatever the machine has installed.
        Raises PackagesUnavailable or DiskFull.
        """
        try:
            apt = _Apt(self._folder, self._configured, suites, architecture or machine_architecture())
            with FileLock(self._folder / "lock", timeout=LOCK_DEADLINE_SECONDS):
                self._progress("asking Debian's mirror for its lists")
                apt.update()
                return self._download(apt, apt.closure(names) if with_dependencies else list(names))
        except OSError as error:
            check_room("apt", str(error))
            raise PackagesUnavailable(f"cannot fetch Debian packages into {self._folder}: {error}") from error

    def depends(
        self, names: Sequence[str], *, suites: Sequence[str] = (), architecture: str | None = None
    ) -> list[str]:
        """Return the names of the packages that these depend on directly. Versioned names are found in this way.

        Uses the lists of the last ``fetch``, or downloads them now. Raises PackagesUnavailable.
        """
        apt = _Apt(self._folder, self._configured, suites, architecture or machine_architecture())
        with FileLock(self._folder / "lock", timeout=LOCK_DEADLINE_SECONDS):
            if not apt.has_lists():
                apt.update()
            return apt.direct_dependencies(names)

    def _download(self, apt: _Apt, names: list[str]) -> list[Path]:
        wanted = apt.downloads(names)
        folder = self._folder / "debs"
        missing = [item for item in wanted if _damage(folder / item.file, item)]
        for item in missing:
            (folder / item.file).unlink(missing_ok=True)
        if missing:
            size = sum(item.size for item in missing) / 1e6
            self._progress(f"downloading {len(missing)} Debian packages, {size:.0f} MB")
            apt.download(names)
        for item in wanted:
            if damage := _damage(folder / item.file, item):
                raise PackagesUnavailable(f"the Debian package {item.file} {damage}")
        return [folder / item.file for item in wanted]


class _Apt:
    """Run apt-get and apt-cache under a configuration of their own, for some suites and one architecture."""

    def __init__(self, folder: Path, configured: Path, suites: Sequence[str], architecture: str) -> None:
        if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
            raise PackagesUnavailable(
                "apt-get and dpkg were not found", cure="this works on Debian and systems derived from it"
            )
        codename = read_codename(OS_RELEASE)
        sources = choose_sources(read_sources(configured), codename, suites)
        self._debs = folder / "debs"
        self._state = folder / "-".join(["apt", codename, *sorted(set(suites)), architecture])
        for name in ("lists/partial", "none"):
            (self._state / name).mkdir(parents=True, exist_ok=True)
        (self._debs / "partial").mkdir(parents=True, exist_ok=True)
        (self._state / "status").write_text("", encoding="utf-8")
        (self._state / "harness.sources").write_text(
            "\n".join(_stanza(source, architecture) for source in sources), encoding="utf-8"
        )
        # One pin for all: apt would otherwise prefer the release to backports, whatever their versions.
        (self._state / "preferences").write_text("Package: *\nPin: release c=*\nPin-Priority: 500\n", encoding="utf-8")
        config = self._state / "apt.conf"
        config.write_text(self._configuration(configured, architecture), encoding="utf-8")
        self._environment = {"APT_CONFIG": str(config), "LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    def _configuration(self, configured: Path, architecture: str) -> str:
        # Settings for reaching the mirrors (proxies, time-outs) are kept; hooks and relaxed signatures are not.
        dump = run_command(["apt-config", "dump"], deadline=QUERY_DEADLINE_SECONDS)
        lines = [
            line
            for line in dump.stdout.splitlines()
            if line.startswith("Acquire::")
            and not re.match(r"Acquire::(IndexTargets|Languages|Allow\w*Insecure|AllowWeak|AllowDowngrade)", line)
        ]
        settings = {
            "Dir::State": self._state,
            "Dir::State::status": self._state / "status",
            "Dir::State::lists": self._state / "lists",
            "Dir::Cache": self._state,
            "Dir::Cache::archives": self._state / "none",
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Dir::Log": self._state,
            "Dir::Etc::main": self._state / "none/apt.conf",
            "Dir::Etc::parts": self._state / "none",
            "Dir::Etc::sourcelist": self._state / "harness.sources",
            "Dir::Etc::sourceparts": self._state / "none",
            "Dir::Etc::preferences": self._state / "preferences",
            "Dir::Etc::preferencesparts": self._state / "none",
            "Dir::Etc::trusted": configured / "trusted.gpg",
            "Dir::Etc::trustedparts": configured / "trusted.gpg.d",
            "Dir::Etc::netrcparts": configured / "auth.conf.d",
            "APT::Architecture": architecture,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",  # apt's own user may not enter a user's cache folder
            "APT::Get::AllowUnauthenticated": "false",
            "Acquire::AllowInsecureRepositories": "false",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Debug::NoLocking": "true",  # our own lock waits where apt's fails
        }
        ours = [f'{name} "{value}";' for name, value in settings.items()]
        return "\n".join([*lines, *ours, f'APT::Architectures {{ "{architecture}"; }};', ""])

    def has_lists(self) -> bool:
        return any((self._state / "lists").glob("*_Packages*"))

    def update(self) -> None:
        self._run(["apt-get", "-q", "update"], LISTS_DEADLINE_SECONDS, "cannot bring the lists of Debian's mirror")

    def closure(self, names: Sequence[str]) -> list[str]:
        """Return ``name=version`` for the packages and for everything they depend on."""
        output = self._run(
            ["apt-get", "-q", "--simulate", "--yes", "install", *names],
            QUERY_DEADLINE_SECONDS,
            f"cannot resolve {' '.join(names)}",
        )
        return [f"{name}={version}" for name, version in re.findall(r"^Inst (\S+) \((\S+)", output, re.MULTILINE)]

    def direct_dependencies(self, names: Sequence[str]) -> list[str]:
        output = self._run(
            ["apt-cache", "depends", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks",
             "--no-replaces", "--no-enhances", *names],
            QUERY_DEADLINE_SECONDS,
            f"does not know all of {' '.join(names)}",
        )  # fmt: skip
        return sorted(set(re.findall(r"^ *\|?(?:Pre)?Depends: ([^<\s]+)$", output, re.MULTILINE)))

    def downloads(self, names: Sequence[str]) -> list[_Download]:
        output = self._run(
            ["apt-get", "-q", "--print-uris", "download", *names],
            QUERY_DEADLINE_SECONDS,
            f"does not have all of {' '.join(names)}",
        )
        found = re.findall(r"^'[^']*' (\S+) (\d+) (\w+):([0-9a-f]+)$", output, re.MULTILINE)
        return [_Download(name, int(size), algorithm.lower(), digest) for name, size, algorithm, digest in found]

    def download(self, names: Sequence[str]) -> None:
        command = ["apt-get", "-q", "-o", f"Dir::Cache::archives={self._debs}", "download", *names]
        self._run(command, DOWNLOAD_DEADLINE_SECONDS, "cannot download Debian packages", folder=self._debs)

    def _run(self, command: list[str], deadline: float, failure: str, folder: Path | None = None) -> str:
        try:
            # apt passes over packages that lie in the current folder.
            done = run_command(command, deadline=deadline, cwd=folder or self._state / "none", env=self._environment)
        except subprocess.TimeoutExpired as error:
            raise PackagesUnavailable(f"apt {failure}: no end after {deadline:.0f} s") from error
        # If a mirror cannot be reached, apt only warns and continues with old lists.
        failed = re.search(r"^(E|Err|W: Failed to fetch)[:\s].*", done.stderr + done.stdout, re.MULTILINE)
        if done.returncode != 0 or (command[-1] == "update" and failed):
            check_room("apt", done.stderr)
            raise PackagesUnavailable(f"apt {failure}:\n{(done.stderr or done.stdout).strip()[-2000:]}")
        return done.stdout


def unpack(debs: Iterable[Path], root: Path) -> None:
    """Put the packages' files below ``root`` without running their scripts. Raises PackagesUnavailable or DiskFull."""
    root.mkdir(parents=True, exist_ok=True)
    for deb in debs:
        try:
            done = run_command(
                ["dpkg", "-x", str(deb), str(root)], deadline=UNPACK_DEADLINE_SECONDS, env=os.environ | {"LC_ALL": "C"}
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PackagesUnavailable(f"cannot unpack {deb.name}: {error}") from error
        if done.returncode != 0:
            check_room(f"dpkg -x {deb.name}", done.stderr)
            raise PackagesUnavailable(f"cannot unpack {deb.name}: {done.stderr.strip()}")


def machine_architecture() -> str:
    """Return Debian's name for this machine's processor; raises PackagesUnavailable for an unsupported one."""
    machine = platform.machine()
    try:
        return {"x86_64": "amd64", "aarch64": "arm64"}[machine]
    except KeyError:
        raise PackagesUnavailable(
            f"no Debian packages are chosen for {machine}", cure="use a machine with an x86-64 or arm64 processor"
        ) from None


def read_codename(os_release: Path) -> str:
    """Return the release's code name (``bookworm``); raises PackagesUnavailable if there is none."""
    text = os_release.read_text(encoding="utf-8") if os_release.is_file() else ""
    match = re.search(r"^VERSION_CODENAME=\"?([\w-]+)", text, re.MULTILINE)
    if match is None:
        raise PackagesUnavailable(
            "this system's release has no code name", cure="this works on Debian and systems derived from it"
        )
    return match[1]


def read_sources(folder: Path) -> list[Source]:
    """Return the binary archives that apt's folder configures, in one-line and in deb822 files."""
    lists = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.list"))]
    sources = [source for path in lists if path.is_file() for source in _one_line(path.read_text(encoding="utf-8"))]
    for path in sorted((folder / "sources.list.d").glob("*.sources")):
        sources += _deb822(path.read_text(encoding="utf-8"))
    return sources


def choose_sources(sources: Sequence[Source], codename: str, suites: Sequence[str]) -> list[Source]:
    """Return the release and its parts as sources of one suite each. Raises PackagesUnavailable.
    A part that is not configured comes from the release's mirror.
    """
    by_suite = {suite: source for source in reversed(sources) for suite in source.suites}
    release = by_suite.get(codename)
    if release is None:
        raise PackagesUnavailable(
            f"apt has no source for {codename}", cure=f"add your mirror's suite {codename} to apt's sources"
        )
    chosen = []
    for suite in (codename, *(f"{codename}-{part}" for part in suites)):
        source = by_suite.get(suite, release)
        uri = source.uri
        if suite not in by_suite and suite.endswith("-security"):
            uri = uri.rstrip("/") + "-security"  # where Debian's mirrors keep it
        chosen.append(Source(uri, (suite,), source.components, source.signed_by))
    return chosen


def _one_line(text: str) -> Iterable[Source]:
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line)
        if match:
            signed = re.search(r"(?:^|\s)signed-by=(\S+)", match[1] or "", re.IGNORECASE)
            yield Source(match[2], (match[3],), tuple(match[4].split()), signed[1] if signed else "")


def _deb822(text: str) -> Iterable[Source]:
    for paragraph in re.split(r"\n\s*\n", re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)):
        found = re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", paragraph, re.MULTILINE)
        fields = {name.lower(): value.rstrip() for name, value in found}
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        for uri in fields.get("uris", "").split():
            suites, components = fields.get("suites", "").split(), fields.get("components", "").split()
            yield Source(uri, tuple(suites), tuple(components), fields.get("signed-by", ""))


def _stanza(source: Source, architecture: str) -> str:
    fields = {
        "Types": "deb",
        "URIs": source.uri,
        "Suites": " ".join(source.suites),
        "Components": " ".join(source.components),
        "Architectures": architecture,
    }
    if source.signed_by:
        fields["Signed-By"] = source.signed_by
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


def _damage(path: Path, wanted: _Download) -> str | None:
    if not path.is_file():
        return "did not arrive"
    with path.open("rb") as stream:
        digest = hashlib.new(wanted.algorithm)
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return None if digest.hexdigest() == wanted.digest else "has other contents than in the signed list"
