"""Define a run's options and the builder of what a run needs; only this module calls compiler, cargo and PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import TypeAdapter

from harness.compiler import Archive, CompileRequest, compile_models
from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.core.progress import Progress
from harness.models.kinds import model_options, open_workloads
from harness.models.options import ModelOptions
from harness.models.timing import TimedPyTorch, TimingProcess
from harness.models.workload import TimedModel, Workload
from harness.native import AppOptions, Runner, build_runner
from harness.validate import CLOSE, EXACT, TolerancePolicy

Variant = Literal["cache", "cacheless"]


@dataclass(frozen=True)
class RunOptions(ModelOptions):
    """Hold the options of a run; their names are those of the command line."""

    device: str = "host"
    use_kv_cache: bool = True
    """Chooses the variant that is timed; parity is judged for both."""
    keep_wide: tuple[str, ...] = ()
    """Patterns of layers that are stored one precision wider."""
    threads: int = 1
    warmup: int = 2
    repeat: int = 5
    timed_items: int | None = None
    """How many of the words, and of each model's items, are timed, spread as well; None means all that are run."""
    pair_seconds: float = 5.0
    """Seconds for which each model is timed alternately with PyTorch on this machine; 0 means not at all."""
    results_dir: Path = Path("results")
    min_agreement: float | None = None
    """The least share of words that must have PyTorch's tokens. ``max_per_change`` is the most that PER may grow. None
    means the precision's own limit (see harness.validate.policy)."""
    max_per_change: float | None = None
    deadline: float = 600.0
    """Seconds that one work order may take on the device."""
    cooldown: float = 180.0
    """Seconds to wait for a device to be cool and charged enough before it is timed."""
    baseline: str | None = None
    """The baseline that the runner is compared with, in a nightly run of its own; None for no gate."""
    target: str | None = None
    """The compiler's target; None means the device's."""
    mcpu: str | None = None
    """The CPU that is compiled for; None means that of the target's oldest supported machines."""
    ios_bundle_id: str | None = None
    """The bundle id of the iPhone app; None means the harness's own."""
    profile: bool = False
    """Also runs an archive that is instrumented for profiling, for the time per operator."""

    def check(self) -> None:
        """Raise UsageError for numbers outside their range."""
        if min(self.threads, self.repeat) < 1 or self.warmup < 0 or self.deadline <= 0:
            raise UsageError("threads and repeat have to be at least 1, warmup 0, deadline above 0")
        samples = [count for count in (self.item_sample, self.timed_items) if count is not None]
        if min(samples, default=1) < 1 or self.pair_seconds < 0:
            raise UsageError("samples have to be at least 1, the seconds of timing with PyTorch not below 0")
        if not 0 < self.policy.agreement <= 1 or self.policy.per_change < 0:
            raise UsageError("--min-agreement has to be above 0 and at most 1, --max-per-change not below 0")

    @property
    def policy(self) -> TolerancePolicy:
        usual = EXACT if self.precision == "fp32" else CLOSE
        return TolerancePolicy(
            usual.agreement if self.min_agreement is None else self.min_agreement,
            usual.per_change if self.max_per_change is None else self.max_per_change,
        )

    @property
    def variant(self) -> Variant:
        return "cache" if self.use_kv_cache else "cacheless"


_RENAMED = {"language": "lang", "prefix": "system_lib_prefix", "word_sample": "item_sample"}
"""Options of runs of before that have other names now."""


def stored_options(stored: Mapping[str, Any]) -> RunOptions:
    """Return the options that a run's manifest has; raises ValidationError if they are none."""
    values = {_RENAMED.get(key, key): value for key, value in stored.items()}
    names = {field.name for field in fields(RunOptions)}
    own = {key: values[key] for key in model_options() if key in values}
    return TypeAdapter(RunOptions).validate_python({key: values[key] for key in names if key in values} | {"own": own})


def stored_form(options: RunOptions) -> dict[str, Any]:
    """Return the options as a run's manifest keeps them, on one level with those of kinds of workloads."""
    values = {key: value for key, value in vars(options).items() if key != "own"}
    values |= {key: option.of(options.own) for key, option in model_options().items()}
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}


class Builder(Protocol):
    """Make what a run needs. The real builder is :class:`CachedBuilder`; the tests of this room have their own."""

    def workloads(self, options: ModelOptions, progress: Progress) -> Sequence[Workload[Any]]:
        """Return the workloads that the options name. Raises UsageError and what looking at a model raises."""
        ...

    def archive(
        self,
        options: RunOptions,
        workloads: Sequence[Workload[Any]],
        variant: str,
        progress: Progress,
        *,
        profile: bool = False,
        taps: bool = False,
    ) -> Archive:
        """Return an archive with all these workloads, in that variant where they have it.

        With ``profile`` it is instrumented for profiling, with ``taps`` for tracing. Such an archive belongs to no run.
        """
        ...

    def runner(self, archive: Archive, progress: Progress, app: AppOptions | None = None) -> Runner:
        """Return the runner with the archive linked in; ``app`` contains options for a phone's app."""
        ...

    def pytorch(self, options: RunOptions, models: list[TimedModel]) -> TimedPyTorch:
        """Begin to load these models in PyTorch, to be timed beside the runner. The caller closes it."""
        ...


@runtime_checkable
class CompilesElsewhere(Protocol):
    """Have other machines compile, such as the hosts of the lab that a device belongs to."""

    def compile_elsewhere(
        self, options: ModelOptions, request: CompileRequest, variant: str, *, cache: Cache, progress: Progress
    ) -> None:
        """Try to bring the archives of a request that no cache has into the one that machines share.

        ``options`` name the models of the request, and ``variant`` is the one that it has of them. Raises nothing.
        """
        ...


def app_options(options: RunOptions, companion: str | None, make: Callable[[RunOptions], Archive]) -> AppOptions:
    """Return the options for building a phone's app; they contain a second archive if there is a ``companion``.

    ``companion`` is the target of the second archive, which ``make`` compiles (see :class:`harness.devices.Device`).
    """
    archive = None
    if companion is not None:
        archive = make(replace(options, target=companion, mcpu=None))
    bundle_id = options.ios_bundle_id
    return AppOptions(companion=archive) if bundle_id is None else AppOptions(bundle_id, archive)


class CachedBuilder:
    """Build with the compiler, cargo and PyTorch, or take results from the cache.

    ``archives`` is another cache for compiled archives. A ``device`` whose lab compiles is asked first.
    """

    def __init__(self, notice: Progress, *, archives: Cache | None = None, device: object = None) -> None:
        self._elsewhere = device if isinstance(device, CompilesElsewhere) else None
        self._cache = Cache(notice=notice)
        self._archives = archives or self._cache

    def workloads(self, options: ModelOptions, progress: Progress) -> Sequence[Workload[Any]]:
        return open_workloads(options, cache=self._cache, progress=progress)

    def archive(
        self,
        options: RunOptions,
        workloads: Sequence[Workload[Any]],
        variant: str,
        progress: Progress,
        *,
        profile: bool = False,
        taps: bool = False,
    ) -> Archive:
        request = CompileRequest(
            models=[one.compilable(variant) for one in workloads],
            target=options.target or "llvm",
            mcpu=options.mcpu,
            precision=options.precision,
            profile=profile,
            taps=taps,
            keep_wide=options.keep_wide,
        )
        if self._elsewhere is not None:
            self._elsewhere.compile_elsewhere(options, request, variant, cache=self._archives, progress=progress)
        return compile_models(request, cache=self._archives, progress=progress)

    def runner(self, archive: Archive, progress: Progress, app: AppOptions | None = None) -> Runner:
        return build_runner(archive, cache=self._cache, progress=progress, app=app or AppOptions())

    def pytorch(self, options: RunOptions, models: list[TimedModel]) -> TimedPyTorch:
        return TimingProcess(models, threads=options.threads, deadline=options.deadline)
