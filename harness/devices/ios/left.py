"""Note which app measures on a phone, so that the next run can end one whose harness was killed.

An app outlives a broken connection on purpose: its result is read when the phone is back. So it cannot end with its
harness, as a runner of this machine does, and the next run looks for it before it measures.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from pydantic import BaseModel, ValidationError

from harness.devices.orphans import start_of


class _Note(BaseModel):
    """Describe an app that runs. Process ids are reused; with its start time an id identifies one harness."""

    bundle_id: str
    owner: int
    owner_started: str | None


class AppNote:
    """Keep the note in the file ``path``. Only the holder of the phone's lock may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, bundle_id: str) -> None:
        """Record that this process starts the app."""
        owner = os.getpid()
        note = _Note(bundle_id=bundle_id, owner=owner, owner_started=start_of(owner))
        partial = self._path.with_name(f".{self._path.name}.{owner}")
        with contextlib.suppress(OSError):
            partial.write_text(note.model_dump_json(), encoding="utf-8")
            partial.replace(self._path)

    def remove(self) -> None:
        """Remove the note, because the app has ended."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def left(self) -> str | None:
        """Return the bundle id of an app whose harness no longer runs; None if there is none."""
        try:
            # The folder is everybody's, so another user's file must not be acted upon.
            if self._path.lstat().st_uid != os.getuid():
                return None
            note = _Note.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return None
        lives = note.owner_started is not None and start_of(note.owner) == note.owner_started
        return None if lives else note.bundle_id
