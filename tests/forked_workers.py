"""Worker processes (``harness/core/worker.py``) that begin where PyTorch and TVM have been imported.

Each worker imports them first, which takes three to ten seconds of processor time, and tests start hundreds. Here they
are forked from one process that has imported them, started when the first worker is. A worker is still a process of its
own, with its own environment, folder, streams and end. ``install`` has the harness start its workers so, in this
process or in one that ``tests/forked.py`` forks. A worker whose test changes what is imported, by a folder in
``PYTHONPATH``, is an interpreter as ever.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from harness.core import worker
from tests import forked
from tests.guard import sitecustomize as guard

PACKAGES = (
    "torch.export",
    "torch._dynamo",
    "torch._inductor.decomposition",
    "transformers.models.llama.modeling_llama",
    "transformers.models.t5.modeling_t5",
    "safetensors.torch",
    "harness.compiler.fast_tvm",
    "harness.compiler.functions",
    "tvm.relax.frontend.torch",
)
"""What workers import. None of it reads the environment of a test as it is imported."""
WORKERS = frozenset(
    {
        "harness.compiler.worker",
        "harness.explain.worker",
        "harness.models.g2p.reference_worker",
        "harness.models.language.reference_worker",
        "harness.models.tensor.worker",
        "harness.models.timing_worker",
    }
)
_REPLACED = ("sitecustomize.py", "harness", "numpy", "torch", "transformers", "tvm")
_READ_BY_IMPORTS = ("HF_", "MKL_DEBUG", "TORCH", "TVM_", "TRANSFORMERS_")
_start_interpreter = worker.start


class ForkedWorker:
    """As much of ``subprocess.Popen`` as a worker's parent uses."""

    def __init__(self, connection: socket.socket, stdin: IO[str], stdout: IO[str], stderr: IO[str]) -> None:
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self._status = connection.makefile("r")
        connection.close()
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode


where: Callable[[], str]
"""The address of the server that this process uses."""


def install(address: Callable[[], str]) -> None:
    """Have this process's workers forked by the server at an address, which is asked for when it is needed."""
    global where
    where = address
    if sys.platform == "linux":  # Apple's libraries do not survive a fork
        worker.start = functools.partial(_start, address)


def _start(address: Callable[[], str], module: str, environment: Mapping[str, str]) -> Any:
    if module not in WORKERS or changes_imports(environment):
        return _start_interpreter(module, environment)
    # The guard sees what it sees of an interpreter.
    command = [sys.executable, "-m", module]
    sys.audit("subprocess.Popen", sys.executable, command, None, dict(environment))
    pipes = [os.pipe() for _ in range(3)]
    (theirs_in, stdin), (stdout, theirs_out), (stderr, theirs_err) = pipes
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(address())
    words = json.dumps({"command": command[1:], "cwd": str(Path.cwd()), "env": dict(environment)})
    socket.send_fds(connection, [f"{words}\n".encode()], [theirs_in, theirs_out, theirs_err])
    for descriptor in (theirs_in, theirs_out, theirs_err):
        os.close(descriptor)
    opened = [open(one, mode, encoding="utf-8") for one, mode in ((stdin, "w"), (stdout, "r"), (stderr, "r"))]  # noqa: SIM115, PTH123
    return ForkedWorker(connection, *cast("list[IO[str]]", opened))


def changes_imports(environment: Mapping[str, str]) -> bool:
    """Whether a worker with this environment might import other packages than the server has, or otherwise."""
    own = {str(forked.REPOSITORY), str(forked.REPOSITORY / "tests/guard")}
    folders = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path and path not in own]
    return any((Path(folder) / name).exists() for folder in folders for name in _REPLACED) or any(
        name.startswith(_READ_BY_IMPORTS) or name in forked.INTERPRETERS for name in environment
    )


@functools.cache
def address() -> str:
    """The address of a server that is started now; it ends with this process."""
    folder = tempfile.TemporaryDirectory(prefix="harness-workers-")
    path = str(Path(folder.name) / "socket")
    process = subprocess.Popen(
        [sys.executable, "-c", "from tests import forked_workers; forked_workers.serve()", path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=forked.REPOSITORY,
        # The guard is for what a test does, and a worker has its test's own variables.
        env={name: value for name, value in os.environ.items() if name != guard.ALLOWED}
        | {"OPENBLAS_NUM_THREADS": "1"},
    )
    assert process.stdin
    assert process.stdout
    assert process.stdout.readline() == b"listening\n"

    def end() -> None:
        process.stdin.close()  # type: ignore[union-attr]
        process.wait(10)
        folder.cleanup()

    atexit.register(end)
    return path


def serve() -> NoReturn:
    """Import the packages for the first worker, and fork each from then on; ends with the end of standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(sys.argv[1])
    listening.listen(16)
    print("listening", flush=True)
    forked.fork_for_each(listening, _import, end=0, prepare=_prepare)


def _import() -> None:
    warnings.simplefilter("ignore")
    for name in PACKAGES:
        importlib.import_module(name)
    warnings.resetwarnings()


def _prepare(environment: Mapping[str, str]) -> None:
    import numpy as np
    import torch

    # Each interpreter begins with random numbers of its own.
    random.seed()
    np.random.seed()
    torch.seed()
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", "2")))
