"""Compile for clients of a lab: a worker's orders one after another, each into the cache that all machines share."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path

from harness.compiler import CompileRequest, compile_models
from harness.compiler.front import archive_keys
from harness.core.cache import SHARED, Cache, content_key
from harness.core.errors import HarnessError
from harness.core.store import FileStore
from harness.core.text import quoted, shown_line
from harness.devices.base import Notify, silent
from harness.lab.wire import PROTOCOL, BuilderCard, Compiled, CompileOrder, harness_version
from harness.models.kinds import model_options, open_workloads
from harness.models.options import ModelOptions

_PLACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+ -]*(?:/[A-Za-z0-9_][A-Za-z0-9._+ -]*)*")
MOST_FILES = 2000


class NotCompiled(HarnessError):
    """A host of the lab cannot compile what a client asks for."""

    cure = "compile it on this machine, or install the same packages on that host"


def request_of(order: CompileOrder, model: str, cache: Cache, progress: Notify) -> CompileRequest:
    """Return what the compiler is asked for; ``model`` is the name here. Raises what opening a model raises."""
    offered = model_options("compile")
    options = ModelOptions(models=(model,), own={key: value for key, value in order.own.items() if key in offered})
    variant = "cache" if order.kv_cache else "cacheless"
    found = [one.compilable(variant) for one in open_workloads(options, cache=cache, progress=progress)]
    return CompileRequest(
        found,
        order.target,
        order.mcpu,
        order.precision,
        profile=order.profile,
        taps=order.taps,
        keep_wide=tuple(order.keep_wide),
    )


class Builder:
    """Compile orders on one host, one at a time; ``notify`` gets what the host's owner should see."""

    def __init__(self, host: str, number: int, *, store: FileStore, cache: Cache, notify: Notify = silent) -> None:
        self.name = f"{host}/compile-{number}"
        self._host, self._store, self._cache, self._notify = host, store, cache, notify
        self._lock = threading.Lock()
        self._doing, self._began, self._done = "", 0.0, 0

    def card(self) -> str:
        """Return what the lab may know of it, as the JSON of a :class:`BuilderCard`."""
        with self._lock:
            doing, began, done = self._doing, self._began, self._done
        return BuilderCard(
            protocol=PROTOCOL,
            harness=harness_version(),
            name=self.name,
            host=self._host,
            store=self._store.url,
            doing=doing,
            seconds=max(0.0, time.monotonic() - began) if doing else 0.0,
            done=done,
        ).model_dump_json()

    def build(self, order: CompileOrder) -> Compiled:
        """Compile an order, and give its archives to the shared cache; every error becomes a part of the answer."""
        began = time.monotonic()
        what = shown_line(f"{Path(order.model).name} for {order.target}", most=200)
        with self._lock:
            self._doing, self._began = what, began
        self._notify(f"{self.name} compiles {what}")
        try:
            self._build(order)
        except HarnessError as error:
            return Compiled(
                worker=self.name,
                seconds=time.monotonic() - began,
                error=type(error).__name__,
                text=str(error.args[0]),
                cure=error.cure,
                exit_code=int(error.exit_code),
            )
        except Exception as error:  # a fault of ours, or of a model's code, which the client has to hear of
            text = f"{type(error).__name__}: {error}"
            return Compiled(worker=self.name, seconds=time.monotonic() - began, error="NotCompiled", text=text)
        finally:
            with self._lock:
                self._doing, self._done = "", self._done + 1
        return Compiled(worker=self.name, seconds=time.monotonic() - began)

    def _build(self, order: CompileOrder) -> None:
        if order.protocol != PROTOCOL:
            raise NotCompiled(f"{self.name} has harness {harness_version()}, which speaks another protocol")
        if not os.environ.get(SHARED):
            raise NotCompiled(f"{self.name} has no shared cache", cure=f"start its agent with {SHARED} set")
        request = request_of(order, self._model(order), self._cache, silent)
        if archive_keys(request) != order.keys:
            raise NotCompiled(
                f"{self.name} would make other archives: its harness, its packages or the model's files are others"
            )
        compile_models(request, cache=self._cache, progress=silent)

    def _model(self, order: CompileOrder) -> str:
        """Return the name of the model on this host, whose files are fetched from the store the first time."""
        if not order.files:
            return order.model
        bad = [place for place in order.files if not _PLACE.fullmatch(place)]
        if bad or len(order.files) > MOST_FILES:
            raise NotCompiled(f"{quoted(bad[0])} is no place of a file" if bad else "the model has too many files")

        def fetch(folder: Path) -> None:
            for place, sha256 in order.files.items():
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                self._store.fetch(sha256, folder / place)

        folder = self._cache.fetch("lab-model", content_key({"files": order.files}), fetch)
        found = (folder / order.model).resolve()
        if not found.is_relative_to(folder.resolve()):
            raise NotCompiled(f"{quoted(order.model)} is none of the model's files")
        return str(found)
