"""Start and call the process of virtual iPhones."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.core.installation import install_command
from harness.virtual.ios.errors import VirtualIphoneUnavailable
from harness.virtual.ios.state import Identity
from harness.virtual.workspace import workspace

START_DEADLINE_SECONDS = 60.0
CALL_DEADLINE_SECONDS = 30.0
END_DEADLINE_SECONDS = 20.0


class PhoneHost:
    """Hold a running process with phones in it, in a workspace of its own; both are removed at the end.

    The process ends when its standard input does, so that it never outlives its owner. Raises VirtualIphoneUnavailable.
    """

    def __init__(self, phones: list[dict[str, Any]]) -> None:
        self._wanted = phones
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._buffer = b""
        self._process: subprocess.Popen[bytes] | None = None
        self.identities: list[Identity] = []
        self.usbmux_address = ""
        self.tunneld: tuple[str, int] | None = None
        self.log = Path()

    def __enter__(self) -> PhoneHost:
        if importlib.util.find_spec("pymobiledevice3") is None:
            raise VirtualIphoneUnavailable("a virtual iPhone needs pymobiledevice3", cure=install_command("ios"))
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(workspace())
            self.log = folder / "phones.log"
            stack.callback(self._end)
            with self.log.open("wb") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "harness.virtual.ios.daemon"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                )
            ready = self._ask({"folder": str(folder), "phones": self._wanted}, START_DEADLINE_SECONDS)
            self.identities = [Identity(**identity) for identity in ready["phones"]]
            self.usbmux_address = f"127.0.0.1:{ready['usbmux_port']}"
            port = ready["tunneld_port"]
            self.tunneld = None if port is None else ("127.0.0.1", port)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def call(self, phone: int, name: str, arguments: dict[str, Any]) -> Any:
        """Make one of ``Control``'s calls.

        Raises ValueError for a call that makes no sense, and VirtualIphoneUnavailable.
        """
        answer = self._ask({"phone": phone, "call": name, "arguments": arguments}, CALL_DEADLINE_SECONDS)
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["result"]

    def _ask(self, question: dict[str, Any], seconds: float) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        with self._lock:
            try:
                process.stdin.write(json.dumps(question).encode() + b"\n")
                process.stdin.flush()
                return dict(json.loads(self._read_line(process, seconds)))
            except (OSError, EOFError, TimeoutError) as error:
                output = self.log.read_text(errors="replace", encoding="utf-8").strip()[-2000:]
                raise VirtualIphoneUnavailable(f"the virtual iPhone does not answer ({error!r}):\n{output}") from error

    def _read_line(self, process: subprocess.Popen[bytes], seconds: float) -> bytes:
        assert process.stdout is not None
        until = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise TimeoutError(f"no answer within {seconds:.0f} s")
                chunk = os.read(process.stdout.fileno(), 1 << 16)
                if not chunk:
                    raise EOFError
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _end(self) -> None:
        process = self._process
        if process is None:
            return
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(END_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(END_DEADLINE_SECONDS)
        if process.stdout is not None:
            process.stdout.close()
