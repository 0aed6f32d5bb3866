"""Make standard output and error behave well among other programs."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer


class _QuietPipe(io.FileIO):
    """Write to a file whose reader may go away, as ``head`` does; later output is dropped.

    The command continues to its end, so that its files are written and its exit code reports its result.
    """

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return memoryview(data).nbytes


def quiet_pipes() -> None:
    """Let standard output and error survive a reader that goes away, and characters that their encoding lacks."""
    sys.stdout, sys.stderr = _quiet(sys.stdout), _quiet(sys.stderr)


def _quiet(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper) or not isinstance(stream.buffer, io.BufferedWriter | io.FileIO):
        return stream  # a test's or another program's own stream
    stream.flush()
    pipe = _QuietPipe(stream.fileno(), "w", closefd=False)
    # With PYTHONUNBUFFERED there is no buffer.
    buffer = pipe if isinstance(stream.buffer, io.FileIO) else io.BufferedWriter(pipe)
    lines = stream.line_buffering or stream.isatty()
    return io.TextIOWrapper(
        buffer,
        encoding=stream.encoding,
        errors="backslashreplace",
        newline="\n",
        line_buffering=lines,
        write_through=stream.write_through,
    )
