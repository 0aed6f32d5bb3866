"""Define a run's options and the builder of what a run needs; only this module calls compiler, cargo and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from harness.compiler import Archive, BundleRequest, CompileRequest, compile_bundle, compile_models
from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.core.progress import Progress
from harness.models.g2p.checkpoints import Checkpoint, resolve_checkpoint
from harness.models.g2p.reference import Reference, ReferenceOptions, reference_outputs
from harness.models.g2p.word_list import Word
from harness.models.tensor.described import UserModel, describe_models
from harness.models.tensor.sources import G2P, split_models
from harness.models.timing import TimedModel, TimedPyTorch, TimingProcess
from harness.native import AppOptions, Runner, build_runner
from harness.protocol.schema import Precision
from harness.validate import CLOSE, DEFAULT_TOLERANCE, EXACT, TolerancePolicy

Variant = Literal["cache", "cacheless"]


@dataclass(frozen=True)
class RunOptions:
    """Hold the options of a run; their names are those of the command line."""

    device: str = "host"
    checkpoint: str = "embedded"
    words: Path | None = None
    """None means the shipped words."""
    language: str | None = None
    use_kv_cache: bool = True
    """Chooses the variant that is timed; parity is judged for both."""
    precision: Precision = "fp32"
    """The precision of the compiled model; the reference is always float32."""
    threads: int = 1
    warmup: int = 2
    repeat: int = 5
    word_sample: int | None = None
    """How many of the words are run, as a fixed sample spread over languages and lengths; None means all."""
    timed_items: int | None = None
    """How many of the words, and of each model's items, are timed, spread as well; None means all that are run."""
    pair_seconds: float = 5.0
    """Seconds for which each model is timed in turns with PyTorch on this machine; 0 means not at all."""
    results_dir: Path = Path("results")
    tolerance: float = DEFAULT_TOLERANCE
    min_agreement: float | None = None
    """The least share of words that must have PyTorch's tokens. ``max_per_change`` is the most that PER may grow. None
    means the precision's own limit (see harness.validate.policy)."""
    max_per_change: float | None = None
    deadline: float = 600.0
    """Seconds that one work order may take on the device."""
    cooldown: float = 180.0
    """Seconds to wait for a device to be cool and charged enough before it is timed."""
    baseline: str | None = None
    """The baseline beside which the runner is measured, in a nightly run of its own; None for no gate."""
    target: str | None = None
    """The compiler's target; None means the device's."""
    mcpu: str | None = None
    """The CPU that is compiled for; None means that of the target's oldest supported machines."""
    ios_bundle_id: str | None = None
    """The bundle id of the iPhone app; None means the harness's own."""
    profile: bool = False
    """Also runs an archive with marks, for the time per operator."""
    batch_size: int = 1
    max_input_bytes: int = 64
    max_output_len: int = 128
    models: tuple[str, ...] = ()
    """The models in one binary: ``g2p`` and tensor workloads, as ``--models`` names them. Empty means G2P alone, in
    both variants."""

    def check(self) -> None:
        """Raise UsageError for numbers outside their range."""
        if min(self.threads, self.repeat) < 1 or self.warmup < 0 or self.deadline <= 0:
            raise UsageError("threads and repeat have to be at least 1, warmup 0, deadline above 0")
        samples = [count for count in (self.word_sample, self.timed_items) if count is not None]
        if min(samples, default=1) < 1 or self.pair_seconds < 0:
            raise UsageError("samples have to be at least 1, the seconds beside PyTorch not below 0")
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


class Builder(Protocol):
    """Make what a run needs. The real builder is :class:`CachedBuilder`; the tests of this room have their own."""

    def checkpoint(self, options: RunOptions) -> Checkpoint: ...

    def models(self, options: RunOptions, progress: Progress) -> list[UserModel]:
        """Return the tensor workloads that the options name."""
        ...

    def archive(
        self,
        options: RunOptions,
        variant: Variant,
        progress: Progress,
        *,
        profile: bool = False,
    ) -> Archive:
        """Return an archive with all models of the options. With ``profile`` its kernels have marks.
        An archive with marks is neither timed nor compared.
        """
        ...

    def runner(self, archive: Archive, progress: Progress, app: AppOptions | None = None) -> Runner: ...

    def reference(
        self, options: RunOptions, checkpoint: Checkpoint, words: list[Word], prompt_space: bool, progress: Progress
    ) -> Reference: ...

    def pytorch(self, options: RunOptions, models: list[TimedModel]) -> TimedPyTorch:
        """Start PyTorch to be timed on these models of one source, and begin to load them. The caller closes it."""
        ...


class TracingBuilder(Protocol):
    """Make what an explanation needs; :class:`CachedBuilder` does that, too."""

    def checkpoint(self, options: RunOptions) -> Checkpoint: ...

    def tapped_archive(
        self, options: RunOptions, checkpoint: Checkpoint, variant: Variant, progress: Progress
    ) -> Archive:
        """Return the variant's archive with taps. It is not timed and belongs to no run."""
        ...

    def models(self, options: RunOptions, progress: Progress) -> list[UserModel]: ...

    def tapped_model(self, options: RunOptions, model: UserModel, progress: Progress) -> Archive:
        """Return an archive with taps that contains one tensor workload alone."""
        ...

    def runner(self, archive: Archive, progress: Progress, app: AppOptions | None = None) -> Runner: ...


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
    ``archives`` is another cache for compiled archives.
    """

    def __init__(self, notice: Progress, *, archives: Cache | None = None) -> None:
        self._cache = Cache(notice=notice)
        self._archives = archives or self._cache
        self._checkpoints: dict[str, Checkpoint] = {}

    def checkpoint(self, options: RunOptions) -> Checkpoint:
        """Return the checkpoint that the options name, whose weights are hashed once."""
        if options.checkpoint not in self._checkpoints:
            self._checkpoints[options.checkpoint] = resolve_checkpoint(options.checkpoint, cache=self._cache)
        return self._checkpoints[options.checkpoint]

    def models(self, options: RunOptions, progress: Progress) -> list[UserModel]:
        _, sources = split_models(options.models)
        return describe_models(sources, cache=self._cache, progress=progress)

    def archive(
        self,
        options: RunOptions,
        variant: Variant,
        progress: Progress,
        *,
        profile: bool = False,
    ) -> Archive:
        asked, _ = split_models(options.models or (G2P,))
        g2p = _request(options, self.checkpoint(options), variant, profile=profile) if asked else None
        models = self.models(options, progress) if options.models else []
        return self.compiled(_bundle(options, models, g2p, profile=profile), progress)

    def tapped_archive(
        self, options: RunOptions, checkpoint: Checkpoint, variant: Variant, progress: Progress
    ) -> Archive:
        g2p = _request(options, checkpoint, variant, taps=True)
        return self.compiled(_bundle(options, [], g2p, taps=True), progress)

    def tapped_model(self, options: RunOptions, model: UserModel, progress: Progress) -> Archive:
        return self.compiled(_bundle(options, [model], None, taps=True), progress)

    def compiled(self, bundle: BundleRequest, progress: Progress) -> Archive:
        """Compile a bundle. All archives are made here; an archive of G2P alone is no bundle."""
        if bundle.g2p is not None and not bundle.models:
            return compile_models(bundle.g2p, cache=self._archives, progress=progress)
        return compile_bundle(bundle, cache=self._archives, progress=progress)

    def runner(self, archive: Archive, progress: Progress, app: AppOptions | None = None) -> Runner:
        return build_runner(archive, cache=self._cache, progress=progress, app=app or AppOptions())

    def reference(
        self, options: RunOptions, checkpoint: Checkpoint, words: list[Word], prompt_space: bool, progress: Progress
    ) -> Reference:
        wanted = ReferenceOptions(
            max_output_len=options.max_output_len,
            prompt_space=prompt_space,
        )
        return reference_outputs(checkpoint, words, wanted, cache=self._cache, progress=progress)

    def pytorch(self, options: RunOptions, models: list[TimedModel]) -> TimedPyTorch:
        return TimingProcess(models, threads=options.threads, deadline=options.deadline)


def _request(
    options: RunOptions, checkpoint: Checkpoint, variant: Variant, *, profile: bool = False, taps: bool = False
) -> CompileRequest:
    return CompileRequest(
        checkpoint=checkpoint,
        target=options.target or "llvm",
        mcpu=options.mcpu,
        precision=options.precision,
        kv_cache=variant == "cache",
        batch_size=options.batch_size,
        max_input_bytes=options.max_input_bytes,
        max_output_len=options.max_output_len,
        profile=profile,
        taps=taps,
    )


def _bundle(
    options: RunOptions,
    models: list[UserModel],
    g2p: CompileRequest | None,
    *,
    profile: bool = False,
    taps: bool = False,
) -> BundleRequest:
    return BundleRequest(
        models=models,
        g2p=g2p,
        target=options.target or "llvm",
        mcpu=options.mcpu,
        precision=options.precision,
        profile=profile,
        taps=taps,
    )
