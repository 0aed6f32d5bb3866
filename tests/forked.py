"""Python processes that begin where the heavy packages have been imported: forked from one process that has done so.

``run`` is ``subprocess.run`` for ``python -m MODULE …`` and ``python -c SCRIPT …``. What it starts is a process of its
own, with its own environment, folder, standard streams, signals and exit status. What the commands import is there
already, and nothing is taken to pieces at the end, which saves most of a second each time. Tests of what is imported,
of the interpreter's own options, of signals and of the installed command start an interpreter instead.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

REPOSITORY = Path(__file__).parent.parent
PACKAGES = (
    "concurrent.futures.thread",
    "duckdb",
    "jinja2",
    "PIL.Image",
    "rapidfuzz.distance",
    "requests",
    "rich.markdown",
    "rich.progress",
    "scipy.stats",
    "unittest.mock",
    "harness.cli.documents.run",
    "harness.cli.documents.runs",
    "harness.compiler",
    "harness.devices",
    "harness.devices.android.kind",
    "harness.devices.host_kind",
    "harness.devices.ios.kind",
    "harness.measure",
    "harness.models",
    "harness.regression.gate",
    "harness.report.profile",
    "harness.report.progress",
    "harness.results",
    "harness.run.prefetch",
    "harness.run.session",
    "harness.virtual.android.kind",
    "harness.virtual.ios.kind",
)
"""What most commands import. None of it reads the environment as it is imported."""
INTERPRETERS = ("PYTHONIOENCODING", "PYTHONUTF8", "PYTHONUNBUFFERED", "PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONHOME")
"""Variables that only an interpreter that starts can heed."""
_LARGEST = 1 << 18


def run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """What ``python -m MODULE ARGUMENTS`` prints and ends with; both streams are captured as text."""
    assert command[0] == sys.executable, f"not {command}"
    assert command[1] in ("-m", "-c"), f"neither a module nor a script: {command}"
    variables = dict(os.environ if env is None else env)
    assert not set(INTERPRETERS) & set(variables), "an interpreter has to start to heed these"
    if sys.platform != "linux":  # Apple's libraries do not survive a fork
        return subprocess.run(
            list(command), cwd=cwd, env=variables, capture_output=True, text=True, timeout=timeout, check=False
        )
    with contextlib.ExitStack() as opened:
        ends = [os.pipe(), os.pipe()]
        streams = [opened.enter_context(open(reading, "rb")) for reading, _ in ends]  # noqa: PTH123
        ours, theirs = socket.socketpair()
        opened.enter_context(ours)
        words = json.dumps(
            {"command": command[1:], "cwd": str(cwd or Path.cwd()), "env": variables, "workers": _workers()}
        )
        _forker().start(words, [0, ends[0][1], ends[1][1], theirs.fileno()])
        theirs.close()
        for _, writing in ends:
            os.close(writing)
        status = opened.enter_context(ours.makefile("r"))
        pid = int(status.readline())
        try:
            out, err = _read(streams, time.monotonic() + timeout)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(command), timeout) from None
        code = int(status.readline())
    return subprocess.CompletedProcess(list(command), code, out, err)


def _workers() -> str:
    from tests import forked_workers

    return forked_workers.where()


def _read(streams: Sequence[IO[bytes]], until: float) -> list[str]:
    """Everything from the streams until nobody writes to them any more."""
    parts: dict[int, list[bytes]] = {stream.fileno(): [] for stream in streams}
    with selectors.DefaultSelector() as waiting:
        for stream in streams:
            waiting.register(stream, selectors.EVENT_READ)
        while waiting.get_map():
            found = waiting.select(max(0.0, until - time.monotonic()))
            if not found:
                raise TimeoutError
            for key, _ in found:
                part = os.read(key.fd, 1 << 16)
                if part:
                    parts[key.fd].append(part)
                else:
                    waiting.unregister(key.fileobj)
    return [b"".join(read).decode().replace("\r\n", "\n") for read in parts.values()]


class _Forker:
    """The process that the others are forked from; it ends with this one, which holds the other end of its socket."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests import forked; forked.serve()", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=REPOSITORY,
        )
        theirs.close()

    def start(self, words: str, descriptors: list[int]) -> None:
        with self._lock:
            assert len(words.encode()) < _LARGEST
            socket.send_fds(self._socket, [words.encode()], descriptors)

    def end(self) -> None:
        self._socket.close()
        self._process.wait(10)


@functools.cache
def _forker() -> _Forker:
    forker = _Forker()
    atexit.register(forker.end)
    return forker


def serve() -> NoReturn:
    """Import what is heavy, then fork a process for each request."""
    _import_what_is_heavy()
    # Ctrl-C at a terminal reaches this process, too; it ends with the one that started it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    control.settimeout(None)
    fork_for_each(control)


def fork_for_each(
    source: socket.socket,
    load: Callable[[], None] = lambda: None,
    *,
    end: int | None = None,
    prepare: Callable[[Mapping[str, str]], None] = lambda _environment: None,
) -> NoReturn:
    """Fork a process for each request from a socket, until it ends, or the descriptor ``end`` does.

    A request has the process's streams, and a connection for its number and exit status; one that comes through a
    listening socket has that connection. ``load`` is called before the first, and ``prepare`` in each process.
    """
    listening = bool(source.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    awake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, socket.socket] = {}
    own = [path for path in sys.path[1:] if path not in os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    loaded = False
    while True:
        # Not a selector, whose descriptor would be the child's.
        ready, _, _ = select.select([source.fileno(), awake, *([] if end is None else [end])], [], [])
        if end in ready:
            os._exit(0)
        if awake in ready:
            os.read(awake, 1 << 10)
            for pid in list(running):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    with running.pop(pid) as connection, contextlib.suppress(BrokenPipeError):
                        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        if source.fileno() in ready:
            words, descriptors = _received(source.accept()[0]) if listening else _received(source)
            if not words:
                os._exit(0)
            if not loaded:
                load()
                gc.freeze()  # so that a child's collections copy none of it
                loaded = True
            pid = os.fork()
            if pid == 0:
                request = json.loads(words)
                prepare(request["env"])
                _become(request, descriptors, own)
            for descriptor in descriptors[:3]:
                os.close(descriptor)
            running[pid] = socket.socket(fileno=descriptors[3])
            running[pid].sendall(f"{pid}\n".encode())


def _received(source: socket.socket) -> tuple[bytes, list[int]]:
    """A request's words, and the descriptors of its streams and its connection."""
    words, descriptors, _, _ = socket.recv_fds(source, _LARGEST, 4)
    if len(descriptors) == 3:  # the connection is the one that it came through, and its words may come in parts
        while not words.endswith(b"\n"):
            words += source.recv(_LARGEST)
        descriptors.append(source.detach())
    return words, descriptors


class _Importing:
    """Imports while pytest rewrites the asserts of its plugins, as it wants of every module of theirs."""

    def pytest_configure(self) -> None:
        for name in PACKAGES:
            importlib.import_module(name)


def _import_what_is_heavy() -> None:
    import pytest

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["--collect-only", "-p", "no:cacheprovider", "--rootdir", folder, folder], [_Importing()])


def _become(request: dict[str, Any], descriptors: list[int], own: list[str]) -> NoReturn:
    """Take over the streams, the environment and the module; ends as an interpreter ends that was started so."""
    for target, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, target)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.closerange(3, 1 << 12)
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    os.chdir(request["cwd"])
    python_path = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    option, what, *arguments = request["command"]
    sys.path[:] = [request["cwd"] if option == "-m" else "", *python_path, *own]
    sys.argv[:] = [what if option == "-m" else option, *arguments]
    sys.orig_argv[:] = [sys.executable, *request["command"]]
    # As an interpreter makes them for what they are now.
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(  # type: ignore[misc]  # noqa: SIM115
        2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False
    )
    if "workers" in request:
        from tests import forked_workers

        forked_workers.install(lambda: str(request["workers"]))
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    os._exit(_ended(option, what))


def _ended(option: str, what: str) -> int:
    """The status that an interpreter would end with, after all that it does but taking itself to pieces."""
    code = 0
    try:
        if option == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(what, "<string>", "exec"), vars(main))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(ValueError):  # closed by the module
        sys.stdout.flush()
    return code & 0xFF
