"""Count a phone's infrastructure failures, and keep it out of use after several in a row until somebody releases it."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from harness.core.files import replacing

MOST_FAILURES = 3
"""So many failures in a row put a phone into quarantine."""


class Quarantined(BaseModel):
    """Describe why a phone is in quarantine, and since when."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    reason: str
    since: datetime


_BOOK = TypeAdapter(dict[str, Quarantined])


class Quarantine:
    """Hold the quarantined phones of one agent in a file, so that an agent that starts again still knows them."""

    def __init__(self, path: Path, most_failures: int = MOST_FAILURES) -> None:
        self._path = path
        self._most = most_failures
        self._lock = threading.Lock()
        self._failures: dict[str, int] = {}
        self._held: dict[str, Quarantined] = {}
        with suppress(FileNotFoundError, ValidationError):
            self._held = _BOOK.validate_json(path.read_bytes())

    def of(self, phone: str) -> Quarantined | None:
        """Return why the phone is in quarantine, or None."""
        with self._lock:
            return self._held.get(phone)

    def failed(self, phone: str, reason: str) -> bool:
        """Count a failure; return whether it put the phone into quarantine."""
        with self._lock:
            self._failures[phone] = self._failures.get(phone, 0) + 1
            if phone in self._held or self._failures[phone] < self._most:
                return False
            text = f"{self._failures[phone]} failures in a row, the last one: {reason}"
            self._held[phone] = Quarantined(reason=text, since=datetime.now(timezone.utc))
            self._write()
            return True

    def succeeded(self, phone: str) -> None:
        """Forget the failures before."""
        with self._lock:
            self._failures.pop(phone, None)

    def release(self, phone: str) -> bool:
        """End a quarantine; return whether there was one."""
        with self._lock:
            self._failures.pop(phone, None)
            was = self._held.pop(phone, None) is not None
            if was:
                self._write()
            return was

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._path) as partial:
            partial.write_text(
                json.dumps(_BOOK.dump_python(self._held, mode="json"), indent=1) + "\n", encoding="utf-8"
            )
