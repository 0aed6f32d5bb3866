"""Ctrl-C in the middle of compiling: exit status 130, no traceback, no half-made entry, and the next run works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.models.g2p.checkpoints import Checkpoint

pytestmark = pytest.mark.compiler

COMPILE = [sys.executable, "-m", "harness.cli", "compile", "--max-input-bytes", "24", "--max-output-len", "16"]
DEADLINE_SECONDS = 120.0


def wait_for(folder: Path, pattern: str) -> None:
    until = time.monotonic() + DEADLINE_SECONDS
    while not list(folder.glob(pattern)):
        assert time.monotonic() < until, f"nothing like {pattern} appeared"
        time.sleep(0.02)


@pytest.mark.thorough(keep=["start"])
@pytest.mark.parametrize("moment", ["harness-compile-*", "harness-compile-*/g2p_encoder/*.o"], ids=["start", "middle"])
def test_ctrl_c_while_compiling(small_checkpoint: Checkpoint, tmp_path: Path, moment: str) -> None:
    temporary, cache, output = tmp_path / "tmp", tmp_path / "cache", tmp_path / "out"
    temporary.mkdir()
    command = [*COMPILE, "--checkpoint", str(small_checkpoint.folder), "--output-dir", str(output)]
    environment = os.environ | {"HARNESS_CACHE_DIR": str(cache), "TMPDIR": str(temporary)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        wait_for(temporary, moment)
        # A terminal sends the signal to the whole group, the worker included.
        os.killpg(process.pid, signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert not list(cache.rglob("*.partial"))
    assert not list(temporary.glob("harness-compile-*"))
    assert not output.exists()
    if "encoder" in moment:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (output / "libg2p_system_lib.a").exists()
