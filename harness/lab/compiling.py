"""Have archives compiled by workers of a lab, and take them from the cache that all machines share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from harness.compiler.front import archive_keys
from harness.core.cache import Cache
from harness.core.errors import ExitCode, HarnessError
from harness.core.store import FileStore
from harness.core.text import shown_line
from harness.devices.base import Notify
from harness.lab.building import NotCompiled, request_of
from harness.lab.client import Lab, Silence
from harness.lab.errors import LabUnreachable
from harness.lab.wire import PROTOCOL, BuilderCard, Compiled, CompileOrder
from harness.models.kinds import kinds_names
from harness.models.tensor.described import UserModel, describe_models, model_folder
from harness.models.tensor.sources import resolve_model

LOOK_SECONDS = 1.0


class NoBuilder(HarnessError):
    """No agent of the lab compiles."""

    cure = "start one with `harness lab agent --compile 1` where HARNESS_CACHE_URL is set, or compile on this machine"


class CompileFailed(HarnessError):
    """A worker of the lab could not compile an order."""

    def __init__(self, message: str, *, cure: str, exit_code: int) -> None:
        super().__init__(message, cure=cure or None)
        self.exit_code = ExitCode(exit_code) if exit_code in set(ExitCode) else ExitCode.INFRASTRUCTURE


@dataclass(frozen=True)
class Job:
    """Hold one order with the name of its model here."""

    model: str
    order: CompileOrder


def prepare(model: str, order: CompileOrder, *, store: FileStore, cache: Cache, progress: Notify) -> Job:
    """Return the order with the keys of its archives; the files of a user's own model go into the lab's store.

    Raises what opening a model raises, and StoreFailed.
    """
    request = request_of(order, model, cache, progress)
    name, files = _shipped(model, store, cache, progress)
    update = {"model": name, "files": files, "keys": archive_keys(request)}
    return Job(model, order.model_copy(update=update))


def builders(lab: Lab, none: list[BuilderCard] | None = None) -> list[BuilderCard]:
    """Return the lab's workers that compile, or ``none``; raises NoBuilder without it, and LabUnreachable."""
    try:
        found = lab.census().builders
    except Silence as silence:
        raise LabUnreachable(f"the scheduler at {lab.address} does not answer: {silence}") from silence
    usable = [found[name] for name in sorted(found) if found[name].protocol == PROTOCOL]
    if not usable and none is not None:
        return none
    if not usable:
        raise NoBuilder(f"no agent of the lab at {lab.address} compiles")
    return usable


def compile_all(lab: Lab, jobs: Sequence[Job], priority: int, notify: Notify) -> list[Compiled]:
    """Have all jobs compiled and return how each ended, in their order; raises CompileFailed and LabUnreachable."""
    waiting = {}
    found: dict[int, Compiled] = {}
    try:
        for at, job in enumerate(jobs):
            waiting[at] = lab.submit(job.order.model_dump_json(), priority)
        while waiting:
            for at, future in list(waiting.items()):
                text = lab.outcome(future, LOOK_SECONDS)
                if text is None:
                    break
                del waiting[at]
                found[at] = _ended(text, jobs[at], notify)
    except Silence as silence:
        raise LabUnreachable(f"the lab at {lab.address} was lost while it compiled: {silence}") from silence
    finally:
        for future in waiting.values():
            lab.forget(future)
    return [found[at] for at in range(len(jobs))]


def _ended(text: str, job: Job, notify: Notify) -> Compiled:
    try:
        ended = Compiled.model_validate_json(text)
    except ValidationError as error:
        raise NotCompiled(f"an agent's answer is none: {error.errors()[0]['msg']}") from error
    what = f"{job.model} for {job.order.target}"
    if ended.error:
        raise CompileFailed(
            f"{what} on {ended.worker}: {ended.text}", cure=shown_line(ended.cure), exit_code=ended.exit_code
        )
    notify(shown_line(f"{what}: {ended.worker}, {ended.seconds:.0f} s"))
    return ended


def _shipped(model: str, store: FileStore, cache: Cache, progress: Notify) -> tuple[str, dict[str, str]]:
    """Return a model's name on other hosts, and its files in the store by their places below its folder."""
    if model in kinds_names():
        return model, {}
    source = resolve_model(model)
    own = source.module == ""
    if not own and not Path(source.argument).is_absolute():
        return model, {}  # shipped with the harness, or by a library's name
    if not own and not Path(source.argument).exists():
        raise NotCompiled(f"{model} cannot be sent to another host", cure="compile it on this machine")
    folder = model_folder(source)
    described: list[UserModel] = describe_models([source], cache=cache, progress=progress)
    files = [
        path for path in dict.fromkeys(path for one in described for path in one.files) if own or path != source.path
    ]
    beside = [path for path in files if not path.is_relative_to(folder)]
    if own and beside:
        raise NotCompiled(
            f"{model} needs {beside[0]}, which is not in its folder",
            cure="put the files that the model needs next to it, or compile it on this machine",
        )
    # With the folder's own name, which some models are called by.
    above = folder.parent
    inside = [path for path in files if path.is_relative_to(folder)]
    sent = {path.relative_to(above).as_posix(): store.put(path) for path in inside}
    named = Path(source.argument) if source.argument else source.path
    return named.relative_to(above).as_posix(), sent
