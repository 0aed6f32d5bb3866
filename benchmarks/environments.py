"""Make the other engines' Python environments and converted models: once, kept in the cache, never half-made.

An environment holds some gigabytes, so unlike other cache entries it is not hashed at every use: its manifest
names the few files that show it is whole, and its interpreter is started once.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from benchmarks.processes import OFFLINE, ROOT
from harness.core.cache import LOCK_DEADLINE_SECONDS, MANIFEST, Cache, CacheBusy, content_key, find_damage, hash_file
from harness.core.errors import HarnessError
from harness.models.g2p.checkpoints import Checkpoint

REQUIREMENTS = Path(__file__).parent / "workers"
KIND = "peers"
INSTALL_DEADLINE_SECONDS = 3600.0
CONVERT_DEADLINE_SECONDS = 900.0

Progress = Callable[[str], None]


class EnvironmentFailed(HarnessError):
    """An engine's environment or model could not be made."""

    cure = "the lines above show why; packages come from the index that uv is configured for"


def environment(
    name: str,
    *,
    cache: Cache,
    progress: Progress,
    built: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> Path:
    """Return the Python of the environment that ``workers/NAME.txt`` describes, made now unless it exists.

    Packages in ``built`` are built from source, with these ``variables``.
    Raises EnvironmentFailed, or CacheBusy when another process has been making it for an hour.
    """
    requirements = REQUIREMENTS / f"{name}.txt"
    fields = {"requirements": hash_file(requirements), "python": platform.python_version(), "uname": platform.machine()}
    folder = cache.root / KIND / f"{name}-{content_key(fields)}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder, progress):
        if not _usable(folder):
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, name, requirements, progress, built, variables or {})
    return _python(folder)


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _usable(folder: Path) -> bool:
    if not folder.is_dir() or find_damage(folder) is not None:
        return False
    try:
        return subprocess.run([_python(folder), "-c", ""], timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _make(
    folder: Path,
    name: str,
    requirements: Path,
    progress: Progress,
    built: Sequence[str],
    variables: Mapping[str, str],
) -> None:
    """Beside its place under another name, then renamed; a relocatable environment survives that."""
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if uv is None:
        raise EnvironmentFailed("uv was not found", cure="run `make setup`")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        progress(f"making the environment of {name} below {folder.parent} (once; PyTorch, if it needs it, is large)")
        run_once([uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(partial)], progress)
        install = [uv, "pip", "sync", "--quiet", *_sources(requirements, built), "--python", str(_python(partial))]
        run_once([*install, str(requirements)], progress, deadline=INSTALL_DEADLINE_SECONDS, variables=variables)
        shutil.copy2(requirements, partial / "requirements.txt")
        witnesses = [partial / "requirements.txt", partial / "pyvenv.cfg"]
        manifest = {p.name: {"size": p.stat().st_size, "sha256": hash_file(p)} for p in witnesses}
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sources(requirements: Path, built: Sequence[str]) -> list[str]:
    """Return uv's options for what may be built: nothing, or the packages that have to be."""
    if not built:
        return ["--only-binary", ":all:"]
    names = re.findall(r"^([A-Za-z0-9._-]+)==", requirements.read_text(encoding="utf-8"), re.MULTILINE)
    options = [("--no-binary" if name in built else "--only-binary", name) for name in dict.fromkeys(names)]
    return [word for option in options for word in option]


def converted(
    engine: str,
    command: Sequence[str],
    requirements: str,
    checkpoint: Checkpoint,
    *,
    cache: Cache,
    progress: Progress,
) -> Path:
    """Return the checkpoint as ``command CHECKPOINT FOLDER`` writes it for another engine; the cache keeps it."""
    sources = REQUIREMENTS.glob("*.py")
    fields = {
        "engine": engine,
        "checkpoint": checkpoint.sha256,
        "requirements": hash_file(REQUIREMENTS / f"{requirements}.txt"),
        "sources": [hash_file(path) for path in sorted(sources)],
        "tokenizer": TOKENIZER,
    }

    def build(folder: Path) -> None:
        progress(f"converting {checkpoint.label} for {engine}")
        with tempfile.TemporaryDirectory(prefix="harness-peers-") as workspace:
            source = Path(workspace) / "checkpoint"
            shutil.copytree(checkpoint.folder, source)
            if not (source / "tokenizer_config.json").exists():
                (source / "tokenizer_config.json").write_text(json.dumps(TOKENIZER), encoding="utf-8")
            run_once([*command, str(source), str(folder / "model")], progress, deadline=CONVERT_DEADLINE_SECONDS)

    return cache.fetch("peer-models", content_key(fields), build) / "model"


TOKENIZER = {
    "tokenizer_class": "ByT5Tokenizer",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "extra_ids": 125,
}
"""ByT5's published tokenizer has no vocabulary file: converters ask for this, checkpoints may come without it."""


@contextmanager
def _locked(folder: Path, progress: Progress) -> Iterator[None]:
    lock = FileLock(folder.with_name(folder.name + ".lock"))
    try:
        lock.acquire(timeout=2)
    except Timeout:
        progress(f"waiting for another process that makes {folder.name} …")
        try:
            lock.acquire(timeout=LOCK_DEADLINE_SECONDS)
        except Timeout as error:
            raise CacheBusy(f"{folder.name} has been locked for {LOCK_DEADLINE_SECONDS:.0f} s") from error
    try:
        yield
    finally:
        lock.release()


def run_once(
    command: Sequence[str],
    progress: Progress,
    *,
    deadline: float = 120.0,
    variables: Mapping[str, str] | None = None,
) -> None:
    """Run to the end within ``deadline`` seconds; raises EnvironmentFailed with the last lines otherwise."""
    added = {**(OFFLINE | {"PYTHONPATH": str(ROOT)} if "-m" in command else {}), **(variables or {})}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | added,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        encoding="utf-8",
        errors="replace",
    )
    try:
        output, _ = process.communicate(timeout=deadline)
    except subprocess.TimeoutExpired:
        raise EnvironmentFailed(f"{Path(command[0]).name} did not end within {deadline:.0f} s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode != 0:
        for line in output.strip().splitlines()[-15:]:
            progress(f"  {line}")
        raise EnvironmentFailed(f"{Path(command[0]).name} {command[1]} ended with status {process.returncode}")
