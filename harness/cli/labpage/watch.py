"""Look at a lab again and again in a thread, so that the page's readers cost its scheduler nothing."""

from __future__ import annotations

import contextlib
import threading
import time

from harness.cli.documents.lab import LabDocument, lab_document
from harness.core.errors import HarnessError
from harness.core.text import shown_line
from harness.lab.client import Census, Lab, Silence
from harness.lab.security import Certificates, check_address

LOOK_SECONDS = 2.0


class LabWatch:
    """Keep the last census of a lab; raises LabMisuse for a wrong address. A scheduler that is away is waited for."""

    def __init__(self, address: str, certificates: Certificates | None, look_seconds: float = LOOK_SECONDS) -> None:
        self.address = check_address(address, certificates)
        self._certificates = certificates
        self._every = look_seconds
        self._lock = threading.Lock()
        self._census: Census | None = None
        self._seen = 0.0
        self._trouble: str | None = "it was not asked yet"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="lab watch", daemon=True)
        self._thread.start()

    def document(self) -> LabDocument:
        """Return what was last seen."""
        with self._lock:
            age = None if self._census is None else time.monotonic() - self._seen
            return lab_document(self.address, self._census, age, self._trouble)

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join(LOOK_SECONDS)

    def _watch(self) -> None:
        lab: Lab | None = None
        with contextlib.ExitStack() as stack:
            while not self._stop.is_set():
                try:
                    if lab is None:
                        lab = Lab(self.address, self._certificates)
                        stack.callback(lab.close)
                    census = lab.census()
                except (HarnessError, Silence) as error:
                    self._note(None, shown_line(str(error.args[0] if error.args else error), most=300))
                except Exception as error:  # whatever the scheduler answers, the page continues and shows it
                    self._note(None, shown_line(f"{type(error).__name__}: {error}", most=300))
                else:
                    self._note(census, None)
                self._stop.wait(self._every)

    def _note(self, census: Census | None, trouble: str | None) -> None:
        with self._lock:
            self._trouble = trouble
            if census is not None:
                self._census, self._seen = census, time.monotonic()
