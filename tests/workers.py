"""Workers' answers in this process, for tests that compile: a process of its own loads PyTorch and TVM each time."""

from __future__ import annotations

import json
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.compiler import front
from harness.core.errors import HarnessError
from harness.core.progress import Progress
from harness.core.worker import WorkerError
from harness.explain import run
from harness.models.language import reference
from tests.exports import remember_exports


def answer_here(module: str, request: dict[str, Any], progress: Progress, *, threads: int = 2) -> dict[str, Any]:
    """Return what ``harness.core.worker.run_worker`` returns, and raise its errors; ``threads`` is not heeded."""
    handle = pkgutil.resolve_name(f"{module}:handle")
    with _as_it_was():
        try:
            answer: dict[str, Any] = json.loads(json.dumps(handle(json.loads(json.dumps(request)), progress)))
        except HarnessError as error:
            raise WorkerError(
                type(error).__name__, Exception.__str__(error), error.cure, int(error.exit_code)
            ) from error
    return answer


@contextmanager
def _as_it_was() -> Iterator[None]:
    """Forget the users' models that were imported: others with the same name come. PyTorch has its threads again."""
    path, modules = [*sys.path], {*sys.modules}
    threads = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None
    try:
        yield
    finally:
        if threads is not None:
            sys.modules["torch"].set_num_threads(threads)
        sys.path[:] = path
        ours = (sys.prefix, sys.base_prefix, str(Path(front.__file__).parents[1]))
        for name in {*sys.modules} - modules:
            file = getattr(sys.modules[name], "__file__", None)
            if name.startswith("harness_model_") or (file is not None and not file.startswith(ours)):
                del sys.modules[name]


def work_here(patch: pytest.MonkeyPatch) -> None:
    """Compile, explain and ask language models' PyTorch in this process, and export a model once."""
    remember_exports(patch)
    patch.setattr(front, "run_worker", answer_here)
    patch.setattr(run, "run_worker", answer_here)
    patch.setattr(reference, "run_worker", answer_here)
