"""Environments of strangers: the wheel without the checkout, a home and a cache of their own, packages read-only."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.utils import canonicalize_name

from harness.core.cache import cache_root
from tests.outside import persons_environment

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
EXPENSIVE = ("runtimes", "cargo", "zig")
"""Of the user's cache: what takes minutes to make and is the same for every installation."""
PLUGIN = "pytest-playwright==0.10.0"
"""A plugin of the registry that has a ``--device``, too."""
CAPLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all")
"""Root without its privileges is bound by the permissions of files, as everybody is."""


class NotInstalled(Exception):
    """uv could not do what it was asked for."""


def uv(*arguments: str, folder: Path = ROOT) -> None:
    """Run uv, which the environment has (tools/setup); raises NotInstalled with what it printed."""
    program = Path(sys.executable).parent / "uv"
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(program), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    if done.returncode != 0:
        raise NotInstalled(done.stderr)


def from_cache(*arguments: str, folder: Path = ROOT) -> None:
    """Run uv with the packages of its cache, which tools/setup-tests fills; raises NotInstalled."""
    try:
        uv(*arguments, "--offline", folder=folder)
    except NotInstalled as error:
        raise NotInstalled(f"{error}\n(tools/setup-tests brings the packages that tests install)") from error


def as_set_up(folder: Path) -> list[str]:
    """Return uv's options for the packages that tools/setup took: its build of PyTorch, without libraries for GPUs."""
    locked = set(re.findall(r"^([\w.-]+)==", LOCK.read_text(encoding="utf-8"), re.MULTILINE))
    # Of no files: the libraries that tools/setup keeps are its dependencies.
    here = {"cuda-toolkit", *(canonicalize_name(one.name) for one in importlib.metadata.distributions())}
    left_out = folder / "left-out.txt"
    left_out.write_text("\n".join(sorted(locked - here)) + "\n", encoding="utf-8")
    cpu = importlib.metadata.version("torch").endswith("+cpu")
    return ["--constraint", str(LOCK), "--excludes", str(left_out), *(["--torch-backend=cpu"] if cpu else [])]


@dataclass
class Environment:
    """A virtual environment that the checkout is no part of."""

    folder: Path
    home: Path
    cache: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def packages(self) -> Path:
        return next((self.folder / "lib").glob("python*/site-packages"))

    def install(self, *what: str) -> None:
        from_cache("pip", "install", "--quiet", "--python", str(self.folder), *as_set_up(self.home), *what)

    def write_protect(self, protected: bool) -> None:
        """Take the right to write away from every folder of packages; their files are links to uv's cache."""
        for folder in (self.packages, *(path for path in self.packages.rglob("*") if path.is_dir())):
            folder.chmod(0o555 if protected else 0o755)

    def environment(self, path: Sequence[Path | str] | None = None) -> dict[str, str]:
        """A shell's variables, with ``path`` behind the environment's own programs in the place of the PATH."""
        kept = {
            name: value for name, value in persons_environment().items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
        }
        rust = {name: os.environ[name] for name in ("CARGO_HOME", "RUSTUP_HOME")}
        after = os.environ["PATH"] if path is None else os.pathsep.join(map(str, path))
        return {
            **rust,
            **{name: value for name, value in kept.items() if not name.startswith(("HARNESS_", "G2P_TVM_"))},
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{after}",
            "HOME": str(self.home),
            "HARNESS_CACHE_DIR": str(self.cache),
            "COLUMNS": "200",
            **self.variables,
        }

    def run(
        self, *command: str, folder: Path, path: Sequence[Path | str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment as a user without privileges."""
        program = str(self.folder / "bin" / command[0])
        unprivileged = CAPLESS if os.geteuid() == 0 else ()
        setpriv = (shutil.which(unprivileged[0]) or unprivileged[0], *unprivileged[1:]) if unprivileged else ()
        return subprocess.run(
            [*setpriv, program, *command[1:]],
            cwd=folder,
            env=self.environment(path),
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )


def make_environment(folder: Path) -> Environment:
    """An environment with nothing in it; of the user's cache only what is expensive."""
    made = Environment(folder / "venv", folder / "home", folder / "cache")
    from_cache("venv", "--quiet", "--python", sys.executable, str(made.folder))
    made.home.mkdir()
    made.cache.mkdir()
    for name in EXPENSIVE:
        shared = cache_root() / name
        shared.mkdir(parents=True, exist_ok=True)
        (made.cache / name).symlink_to(shared)
    return made
