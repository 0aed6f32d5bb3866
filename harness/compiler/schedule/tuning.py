"""Use MetaSchedule for functions without a template: measure candidates on this machine and keep their times.

The records of a target are in one folder. A run measures only the trials that are missing. Each batch is on disk before
the next one begins, so that an interruption loses one batch.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from filelock import FileLock, Timeout
from tvm import tirx
from tvm.ir.utils import derived_object

from harness.compiler.kernels import arithmetic
from harness.compiler.schedule.rest import is_open, scheduled
from harness.compiler.settings import PASS_CONFIG
from harness.compiler.targets.profiles import Profile
from harness.core.errors import HarnessError
from harness.core.files import replacing

WORKLOADS, RECORDS, DONE = "database_workload.json", "database_tuning_record.json", "done.json"
"""The first two are MetaSchedule's own names and formats."""
BATCH = 8
"""The number of candidates built and measured together. An interruption loses no more."""
POPULATION = 64
"""The number of candidates from which a batch is chosen. Their scores are random, so more of them find nothing better;
MetaSchedule's 512 would make a batch eight times as expensive."""
MEASURE_MS = 20
FAILED_SECONDS = 1e9
"""The time in the record of a candidate that could not be built."""
LOCK_SECONDS = 3600.0
SEED = 1


class TuningBusy(HarnessError):
    """Another process has been tuning for the same target for an hour."""

    cure = "wait for it, or end it"


@dataclass
class Tuning:
    """Hold the state of tuning.

    ``trials`` is the number for each function. After a compilation, ``used`` contains the trials and the records' hash
    by function.
    """

    folder: Path
    trials: int
    progress: Callable[[str], None]
    used: dict[str, tuple[int, str]] = field(default_factory=dict)
    measured: int = 0
    """The number of candidates that this object had to measure."""

    @property
    def tuned_trials(self) -> int:
        return sum(trials for trials, _ in self.used.values())


def tune_module(
    module: tvm.IRModule, target: tvm.target.Target, profile: Profile, done: frozenset[str], tuning: Tuning
) -> None:
    """Give every tunable function the fastest schedule on record.

    A function is left to ScheduleRest if ScheduleRest's own schedule was as fast. Raises TuningBusy.
    """
    open_functions = {
        name: function
        for name, function in module.functions_items()
        if isinstance(function, tirx.PrimFunc) and name.name_hint not in done and is_tunable(function)
    }
    if not open_functions:
        return
    tuning.folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(tuning.folder / "lock", timeout=LOCK_SECONDS):
            for at, (name, function) in enumerate(open_functions.items()):
                label = f"tuning {name.name_hint} ({at + 1} of {len(open_functions)})"
                best = _Search(function, target, profile, tuning, label).best()
                if best is not None:
                    module.update_func(name, best.with_attr("tirx.is_scheduled", True))
    except Timeout as error:
        raise TuningBusy(f"{tuning.folder} has been locked for {LOCK_SECONDS:.0f} s") from error


def is_tunable(function: tirx.PrimFunc) -> bool:
    """Return whether a function reduces and has known extents, so that there are schedules to choose and to measure."""
    if not is_open(function):
        return False
    if any(not hasattr(param.ty, "shape") for param in function.params):
        return False
    if any(not isinstance(extent, tirx.IntImm) for param in function.params for extent in param.ty.shape):
        return False
    schedule = tvm.s_tir.Schedule(function)
    blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
    return any(int(axis.iter_type) == 2 for block in blocks for axis in schedule.get(block).iter_vars)


class _Search:
    """Hold the records of one function: read them, and complete them by measurements."""

    def __init__(
        self, function: tirx.PrimFunc, target: tvm.target.Target, profile: Profile, tuning: Tuning, label: str
    ) -> None:
        _load_intrinsics()
        from tvm.s_tir import meta_schedule

        self.library = meta_schedule
        # Only its computation identifies a workload, because names and attributes differ between models.
        self.module = tvm.IRModule(
            {
                "main": tirx.PrimFunc(function.params, function.body).with_attr(
                    {"global_symbol": "main", "s_tir": True, "tirx.noalias": True}
                )
            }
        )
        self.function, self.profile, self.tuning, self.label = function, profile, tuning, label
        description = {key: value for key, value in json.loads(str(target)).items() if key != "tag"}
        self.target = tvm.target.Target(description | {"num-cores": 1})
        for name in (WORKLOADS, RECORDS):
            drop_broken_end(tuning.folder / name)
        self.database = meta_schedule.database.JSONDatabase(work_dir=str(tuning.folder), module_equality="structural")
        self.workload = self.database.commit_workload(self.module)
        self.key = hashlib.sha256(str(self.module).encode()).hexdigest()

    def records(self) -> list[Any]:
        found = self.database.get_all_tuning_records()
        return [record for record in found if record.workload.same_as(self.workload)]

    def best(self) -> tirx.PrimFunc | None:
        """Return the fastest function on record, unless ScheduleRest's is faster."""
        facts = _read_json(self.tuning.folder / DONE)
        mine = facts.get(self.key, {"trials": 0, "rest": None})
        if mine["trials"] < self.tuning.trials:
            self._measure_missing()
            if mine["rest"] is None:
                mine["rest"] = self._seconds_of_rest()
            mine["trials"] = self.tuning.trials
            _write_json(self.tuning.folder / DONE, facts | {self.key: mine})
        records = sorted(self.records(), key=_seconds)
        text = json.dumps([record.as_json() for record in records], default=str)
        self.tuning.used[self.key] = (len(records), hashlib.sha256(f"{text}{mine['rest']}".encode()).hexdigest())
        if not records or _seconds(records[0]) >= min(FAILED_SECONDS, mine["rest"] or FAILED_SECONDS):
            return None
        schedule = tvm.s_tir.Schedule(self.module)
        records[0].trace.apply_to_schedule(schedule, remove_postproc=False)
        return schedule.mod["main"].without_attr("global_symbol")

    def _measure_missing(self) -> None:
        measuring = _Measuring(self.tuning, self.label, len(self.records()))
        missing = self.tuning.trials - len(self.records())
        if missing <= 0:
            return
        context = self.library.TuneContext(
            mod=self.module,
            target=self.target,
            space_generator="post-order-apply",
            search_strategy=self.library.search_strategy.EvolutionarySearch(population_size=POPULATION),
            task_name="main",
            num_threads=1,
            rand_state=SEED + len(self.records()),
        ).clone()
        self.library.tune.tune_tasks(
            tasks=[context],
            task_weights=[1.0],
            work_dir=str(self.tuning.folder),
            max_trials_global=missing,
            num_trials_per_iter=min(BATCH, missing),
            builder=measuring.builder(),
            runner=measuring.runner(),
            database=self.database,
            # The default callbacks would delete files of candidates, which are kept in memory here.
            measure_callbacks=[self.library.measure_callback.AddToDatabase()],
            # A learned model would need xgboost; random mutations of the best candidates do without.
            cost_model="random",
        )

    def _seconds_of_rest(self) -> float | None:
        after = scheduled(self.function, self.profile, self.target)
        if after.same_as(self.function):
            return None
        compiled = _compile(tvm.IRModule({"main": after.with_attr("global_symbol", "main")}), self.target)
        return measure_seconds(compiled, [(_shape(param), str(param.ty.dtype)) for param in after.params])


class _Measuring:
    """Build and measure candidates in this process, one after the other, and report progress."""

    def __init__(self, tuning: Tuning, label: str, before: int) -> None:
        self.tuning, self.label, self.count = tuning, label, before
        self.built: dict[str, Any] = {}

    def builder(self) -> Any:
        from tvm.s_tir.meta_schedule.builder import BuilderResult, PyBuilder

        measuring = self

        @derived_object
        class Builder(PyBuilder):  # type: ignore[misc]
            def build(self, inputs: list[Any]) -> list[Any]:
                return [BuilderResult(*measuring.build(each)) for each in inputs]

        return Builder()

    def build(self, candidate: Any) -> tuple[str | None, str | None]:
        name = str(len(self.built))
        try:
            self.built[name] = _compile(candidate.mod, candidate.target)
        except Exception as error:  # a candidate that TVM cannot lower is simply not the fastest
            self.built[name] = None
            return None, str(error)
        return name, None

    def runner(self) -> Any:
        from tvm.s_tir.meta_schedule.runner import PyRunner, PyRunnerFuture, RunnerResult

        measuring = self

        @derived_object
        class Future(PyRunnerFuture):  # type: ignore[misc]
            def __init__(self, seconds: float) -> None:
                super().__init__()
                self.seconds = seconds

            def done(self) -> bool:
                return True

            def result(self) -> Any:
                return RunnerResult([self.seconds], None)

        @derived_object
        class Runner(PyRunner):  # type: ignore[misc]
            def run(self, inputs: list[Any]) -> list[Any]:
                return [Future(measuring.run(each)) for each in inputs]

        return Runner()

    def run(self, candidate: Any) -> float:
        compiled = self.built[str(candidate.artifact_path)]
        self.built[str(candidate.artifact_path)] = None
        arguments = [(tuple(int(e) for e in info.shape), str(info.dtype)) for info in candidate.args_info]
        seconds = measure_seconds(compiled, arguments)
        self.count += 1
        self.tuning.measured += 1
        self.tuning.progress(f"{self.label}: {self.count} of {self.tuning.trials} trials")
        return seconds


def measure_seconds(compiled: Any, arguments: list[tuple[tuple[int, ...], str]]) -> float:
    """Return the time of one call on random numbers: the median of three measurements of ``MEASURE_MS`` or more."""
    drawn = np.random.default_rng(SEED)
    tensors = [tvm.runtime.tensor((drawn.random(shape) * 2).astype(dtype)) for shape, dtype in arguments]
    timer = compiled.mod.time_evaluator("main", tvm.cpu(), number=1, repeat=3, min_repeat_ms=MEASURE_MS)
    return statistics.median(float(seconds) for seconds in timer(*tensors).results)


def drop_broken_end(path: Path) -> None:
    """Remove an unfinished last line of a killed process, which MetaSchedule could not read."""
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    if text and not text.endswith("\n"):
        with replacing(path) as partial:
            partial.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")


def _compile(module: tvm.IRModule, target: tvm.target.Target) -> Any:
    arithmetic.install()
    with tvm.transform.PassContext(config=PASS_CONFIG):
        return tvm.compile(module, target)


def _shape(param: Any) -> tuple[int, ...]:
    return tuple(int(extent) for extent in param.ty.shape)


def _seconds(record: Any) -> float:
    return statistics.median(float(seconds) for seconds in record.run_secs) if record.run_secs else FAILED_SECONDS


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_json(path: Path, value: dict[str, Any]) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


@functools.cache
def _load_intrinsics() -> None:
    """Import the hundreds of intrinsics that MetaSchedule imports, quickly.

    TVM's parser reads their sources. For each, ``inspect`` searches every loaded module for the intrinsic's own, which
    takes a minute if PyTorch is loaded. The module's name is enough for TVM.
    """
    whole = inspect.getmodule
    inspect.getmodule = lambda object, _filename=None: sys.modules.get(getattr(object, "__module__", None) or "")
    try:
        import tvm.s_tir.tensor_intrin  # noqa: F401
    finally:
        inspect.getmodule = whole
