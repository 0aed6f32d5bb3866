"""Handle a peer from the parent's side: a child that answers JSON lines, with a deadline on every answer."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.pinning import pinned
from harness.core.errors import HarnessError

STDERR_LINES = 20
ROOT = Path(__file__).parent.parent
"""Where ``benchmarks`` is found; the other engines' environments have neither it nor the harness."""


class PeerFailed(HarnessError):
    """A peer died, was silent past its deadline, or answered with an error."""

    cure = "run again with --engines naming the others, or remove `peers` from the cache folder to make it anew"


class PeerProcess:
    """One child. Nothing of it is left after :meth:`close`, whatever it was doing."""

    def __init__(self, name: str, command: Sequence[str], *, cores: Sequence[int], threads: int) -> None:
        self.name = name
        variables = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
        with pinned(cores):
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env=os.environ | variables | OFFLINE,
                cwd=ROOT,
                start_new_session=True,
            )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._last_words: collections.deque[str] = collections.deque(maxlen=STDERR_LINES)
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_answers, self._read_errors)]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, request: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Return the answer to a request; raises PeerFailed if it is an error or later than ``deadline`` seconds.

        A peer that failed is ended: an answer that comes late would be taken for the next one.
        """
        try:
            return self._answer(request, deadline)
        except PeerFailed:
            self.close()
            raise

    def _answer(self, request: dict[str, Any], deadline: float) -> dict[str, Any]:
        assert self._process.stdin
        with contextlib.suppress(
            OSError, ValueError
        ):  # it is dead: the missing answer is reported, with its last words
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        try:
            line = self._lines.get(timeout=deadline)
        except queue.Empty:
            raise PeerFailed(f"{self.name} gave no answer within {deadline:g} s") from None
        if line is None:
            self._readers[1].join(timeout=5)
            status = self._process.wait()
            raise PeerFailed(f"{self.name} ended with status {status}{self._quoted()}")
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise PeerFailed(f"{self.name} wrote what is no answer: {line[:200]!r}")
        if "error" in answer:
            raise PeerFailed(f"{self.name}: {answer['error']}")
        return answer

    def close(self) -> None:
        """Kill the child and its children, and wait for it."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for reader in self._readers:
            reader.join(timeout=5)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream:
                with contextlib.suppress(OSError):  # a broken pipe's unsent rest
                    stream.close()

    def _read_answers(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self._process.stderr
        self._last_words.extend(self._process.stderr)

    def _quoted(self) -> str:
        lines = [line.strip() for line in self._last_words if line.strip()][-3:]
        return f"; its stderr ends: {' | '.join(lines)[-500:]}" if lines else ""


OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
"""The checkpoint is a folder; a library that looks for a newer one would wait for a network."""
