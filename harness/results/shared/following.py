"""Upload a run while it is written: every few seconds the whole lines that it has got, and the files that have changed.

So a run whose machine dies is in the store up to its last seconds, and marked as one that has not ended. Whatever goes
wrong here costs the run nothing: the whole run is uploaded when it ends, and ``harness sync`` does it later.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.store import FileStore
from harness.results.errors import RunDamaged
from harness.results.journal import read_plan
from harness.results.nightly import NIGHTLY
from harness.results.shared import HURRY
from harness.results.shared.folders import file_state, files_of
from harness.results.shared.remote import FileFacts, Kind
from harness.results.shared.unfinished import Unfinished

LOOK_SECONDS = 10.0
"""How much of a run a killed machine takes with it."""
LONGEST_SECONDS = 300.0
"""The longest pause after errors."""
END_SECONDS = 15.0
"""How long the end of a run waits for the part that is on its way."""
PART_BYTES = 4 * 2**20
LARGEST_BYTES = 16 * 2**20
"""Larger files, and files with longer lines, wait for the end of the run."""
LINES = ".jsonl"
Notify = Callable[[str], None]


@dataclass
class _Sent:
    """Hold what the store has of one run."""

    kind: Kind
    name: str
    folder: Path
    parts: dict[str, list[FileFacts]] | None = None
    """None until it is known what a process of before has uploaded."""
    states: dict[str, str] = field(default_factory=dict)
    later: set[str] = field(default_factory=set)

    def bytes_of(self, name: str) -> int:
        return sum(part.bytes for part in (self.parts or {}).get(name, []))


class PartUploader:
    """Upload what runs have written so far. Raises StoreFailed, and OSError for a folder that cannot be read."""

    def __init__(self, files: FileStore) -> None:
        self._unfinished = Unfinished(files)

    def send(self, run: _Sent) -> bool:
        """Make sure that the store has the whole lines and the other files of a run; return whether any was new."""
        new = False
        if run.parts is None:
            run.parts, new = self._known(run)
        for name, path in files_of(run.folder).items():
            state = file_state(path)
            if run.states.get(name) == state or name in run.later:
                continue
            sent = self._send_lines(run, name, path) if name.endswith(LINES) else self._send_file(run, name, path)
            run.states[name] = state
            new = sent or new
        if new:
            self._unfinished.put_marker(run.kind, run.name, run.parts)
        return new

    def _known(self, run: _Sent) -> tuple[dict[str, list[FileFacts]], bool]:
        """Return the parts of before that the files still begin with, and whether others were there."""
        marker = self._unfinished.marker(run.kind, run.name)
        found: dict[str, list[FileFacts]] = {}
        for name, parts in (marker.files if marker is not None else {}).items():
            with contextlib.suppress(FileNotFoundError), (run.folder / name).open("rb") as stream:
                same = []
                for part in parts:
                    if hashlib.sha256(stream.read(part.bytes)).hexdigest() != part.sha256:
                        break
                    same.append(part)
                found[name] = same
        return found, marker is not None and marker.files != found

    def _send_lines(self, run: _Sent, name: str, path: Path) -> bool:
        """Send the whole lines behind those that were sent."""
        assert run.parts is not None
        parts = run.parts.setdefault(name, [])
        new = False
        with path.open("rb") as stream:
            if stream.seek(0, 2) < (at := run.bytes_of(name)):
                parts.clear()  # it was cut, and is another file
                at = 0
            stream.seek(at)
            while data := stream.read(PART_BYTES):
                while b"\n" not in data and len(data) < LARGEST_BYTES and (more := stream.read(PART_BYTES)):
                    data += more
                whole = data.rfind(b"\n") + 1
                if not whole:
                    if len(data) >= LARGEST_BYTES:
                        run.later.add(name)
                    break
                stream.seek(whole - len(data), 1)
                parts.append(self._unfinished.put_part(run.name, data[:whole]))
                new = True
        return new

    def _send_file(self, run: _Sent, name: str, path: Path) -> bool:
        """Send a file that is replaced as a whole, if it is another than before."""
        assert run.parts is not None
        if path.stat().st_size > LARGEST_BYTES:
            run.later.add(name)
            return False
        data = path.read_bytes()
        before = run.parts.get(name, [])
        if [part.sha256 for part in before] == [hashlib.sha256(data).hexdigest()]:
            return False
        run.parts[name] = [self._unfinished.put_part(run.name, data)]
        return True


class Follower:
    """Follow runs of one results folder from a thread of its own, and the nightly runs that belong to them."""

    def __init__(
        self,
        url: str,
        results: Path,
        *,
        runs: Iterable[str] = (),
        nightly_runs: Iterable[str] = (),
        notify: Notify,
        seconds: float | None = None,
    ) -> None:
        self._url, self._results, self._notify = url, results, notify
        self._seconds = LOOK_SECONDS if seconds is None else seconds
        self._runs = set(runs)
        self._sent = [_Sent("runs", name, results / name) for name in sorted(self._runs)]
        self._sent += [_Sent("nightly", name, results / NIGHTLY / name) for name in nightly_runs]
        self._seen = self._nights() if self._runs else set()
        self._uploader: PartUploader | None = None
        self._trouble = ""
        self._last = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="upload of a run", daemon=True)
        self._thread.start()

    def stop(self, *, last: bool = False) -> None:
        """Stop following; with ``last``, after one more look. Again without effect."""
        self._last = last
        self._stopped.set()
        self._thread.join(END_SECONDS)

    def _follow(self) -> None:
        pause = self._seconds
        while not self._stopped.wait(pause):
            pause = self._seconds if self._look() else min(LONGEST_SECONDS, pause * 2)
        if self._last:
            self._look()

    def _look(self) -> bool:
        try:
            if self._uploader is None:
                self._uploader = PartUploader(FileStore(self._url, patience=HURRY))
            for run in [*self._sent, *self._begun()]:
                if self._stopped.is_set() and not self._last:
                    return True  # the whole run is being uploaded by now
                with contextlib.suppress(FileNotFoundError):  # it was removed, or a file was replaced at this moment
                    self._uploader.send(run)
        except (HarnessError, OSError) as error:
            text = str(error).splitlines()[0]
            if text != self._trouble:
                self._trouble = text
                self._notify(f"not uploaded while it is written: {text}")
            return False
        self._trouble = ""
        return True

    def _begun(self) -> Iterator[_Sent]:
        """Return the nightly runs of these runs that have begun since the last look."""
        new = self._nights() - self._seen if self._runs else set()
        for name in sorted(new):
            with contextlib.suppress(RunDamaged):
                if read_plan(self._results / NIGHTLY / name).run in self._runs:
                    self._sent.append(_Sent("nightly", name, self._results / NIGHTLY / name))
                    yield self._sent[-1]
                self._seen.add(name)

    def _nights(self) -> set[str]:
        with contextlib.suppress(OSError):
            return {path.name for path in (self._results / NIGHTLY).iterdir()}
        return set()


def send_so_far(uploader: PartUploader, kind: Kind, folder: Path) -> bool:
    """Bring what the store has of a run up to date, once; return whether anything was new."""
    return uploader.send(_Sent(kind, folder.name, folder))
