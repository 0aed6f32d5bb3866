"""Have a run's archives compiled by hosts of a lab, before they are taken from the cache that all machines share.

Nothing here ends a run: whatever a lab cannot compile is compiled on this machine, and a line gives the reason.
"""

from __future__ import annotations

from typing import Any

from harness.compiler import CompileRequest
from harness.compiler.front import archive_keys
from harness.core.cache import Cache
from harness.core.errors import HarnessError
from harness.core.progress import Progress
from harness.core.store import FileStore
from harness.core.text import shown_line
from harness.devices.base import Notify
from harness.lab.client import Lab
from harness.lab.compiling import Job, builders, compile_all, prepare
from harness.lab.wire import PROTOCOL, CompileOrder
from harness.models.kinds import model_options
from harness.models.options import ModelOptions


class LabCompiler:
    """Have archives compiled by one lab. ``notify`` gets what its user should know."""

    def __init__(self, lab: Lab, *, priority: int = 0, notify: Notify) -> None:
        self._lab, self._priority, self._notify = lab, priority, notify
        self._away = False

    def compile(
        self, options: ModelOptions, request: CompileRequest, variant: str, *, cache: Cache, progress: Progress
    ) -> None:
        """Bring the archives of a request that no cache has into the shared one, if the lab compiles."""
        missing = [key for key in archive_keys(request) if not cache.has("archives", key)]
        if self._away or request.tune or not missing or not cache.shares("archives"):
            return
        try:
            workers = builders(self._lab, none=[])
            if not workers:
                return
            progress(f"having {', '.join(options.named)} compiled for {request.target} by the lab")
            store = FileStore(workers[0].store)
            jobs = [self._job(name, options, request, variant, store, cache, progress) for name in options.named]
            wanted = [job for job in jobs if set(job.order.keys) & set(missing)]
            compile_all(self._lab, wanted, self._priority, self._notify)
        except HarnessError as error:
            # One that the lab cannot compile is compiled here, and so are those that come after it.
            self._away = True
            self._notify(f"compiling on this machine: {shown_line(str(error.args[0]), most=300)}")

    def _job(
        self,
        name: str,
        options: ModelOptions,
        request: CompileRequest,
        variant: str,
        store: FileStore,
        cache: Cache,
        progress: Progress,
    ) -> Job:
        offered = model_options("compile")
        own: dict[str, Any] = {
            key: value for key, value in options.own.items() if key in offered and isinstance(value, str | int | bool)
        }
        order = CompileOrder(
            protocol=PROTOCOL,
            model=name,
            target=request.target,
            mcpu=request.mcpu,
            precision=request.precision,
            keep_wide=list(request.keep_wide),
            kv_cache=variant == "cache",
            profile=request.profile,
            taps=request.taps,
            own=own,
            keys=[],
        )
        return prepare(name, order, store=store, cache=cache, progress=progress)
