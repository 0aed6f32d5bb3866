"""Compile for a command: in the lab that the environment names, if it compiles, and otherwise on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.cli.output import note
from harness.compiler import Archive, CompileRequest, compile_models
from harness.core.cache import SHARED, Cache
from harness.core.errors import HarnessError
from harness.core.progress import Progress
from harness.lab.security import VARIABLE
from harness.models.options import ModelOptions

Compile = Callable[[CompileRequest, Progress], Archive]


@contextmanager
def compiling(options: ModelOptions, *, kv_cache: bool, cache: Cache) -> Iterator[Compile]:
    """Yield what compiles a request of these models; it raises what :func:`compile_models` raises.

    The lab is that of HARNESS_LAB_SCHEDULER, and archives come from it through HARNESS_CACHE_URL.
    """

    def here(request: CompileRequest, progress: Progress) -> Archive:
        return compile_models(request, cache=cache, progress=progress)

    if not (os.environ.get(VARIABLE) and os.environ.get(SHARED)):
        yield here
        return
    try:
        from harness.lab.kind import lab_of

        lab = lab_of({})
        from harness.lab.elsewhere import LabCompiler
    except HarnessError as error:
        note(f"compiling on this machine: {error.args[0]}")
        yield here
        return
    compiler, variant = LabCompiler(lab, notify=note), "cache" if kv_cache else "cacheless"

    def there(request: CompileRequest, progress: Progress) -> Archive:
        compiler.compile(options, request, variant, cache=cache, progress=progress)
        return here(request, progress)

    try:
        yield there
    finally:
        lab.close()
