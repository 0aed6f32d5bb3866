"""What a run is asked for, and who makes what it needs: the only place that calls compiler, cargo and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from harness.cache import Cache
from harness.compiler import Archive, CompileRequest, compile_models
from harness.models.checkpoints import Checkpoint, resolve_checkpoint
from harness.models.reference import Reference, ReferenceOptions, reference_outputs
from harness.models.words import Word
from harness.native import Runner, build_runner
from harness.protocol import Precision
from harness.validate import CLOSE, DEFAULT_TOLERANCE, EXACT, Allowance

Variant = Literal["cache", "cacheless"]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class RunOptions:
    """What a run is asked for; the names are those of the command line."""

    device: str = "host"
    checkpoint: str = "embedded"
    words: Path | None = None
    """None: the shipped words."""
    language: str | None = None
    use_kv_cache: bool = True
    """Which variant is timed; parity is judged for both."""
    precision: Precision = "fp32"
    """Of the compiled model; the reference is float32 always."""
    threads: int = 1
    warmup: int = 2
    repeat: int = 5
    results_dir: Path = Path("results")
    tolerance: float = DEFAULT_TOLERANCE
    min_agreement: float | None = None
    """The least share of words with PyTorch's tokens, and the most that PER may grow; None: what the precision
    allows (see harness.validate.allowance)."""
    max_per_change: float | None = None
    deadline: float = 600.0
    """Seconds one work order may take on the device."""
    cooldown: float = 180.0
    """Seconds to wait for a device to be cool and charged enough before it is timed."""
    target: str | None = None
    """What is compiled for; None: what the device needs."""
    mcpu: str | None = None
    """The CPU it is compiled for; None: what the target's oldest machines run."""
    profile: bool = False
    """Whether an archive with marks is run, too, for time per operator."""
    batch_size: int = 1
    max_input_bytes: int = 64
    max_output_len: int = 128

    @property
    def allowance(self) -> Allowance:
        usual = EXACT if self.precision == "fp32" else CLOSE
        return Allowance(
            usual.agreement if self.min_agreement is None else self.min_agreement,
            usual.per_change if self.max_per_change is None else self.max_per_change,
        )

    @property
    def variant(self) -> Variant:
        return "cache" if self.use_kv_cache else "cacheless"


class Maker(Protocol):
    """Makes what a run needs. The real one is :class:`CachedMaker`; the tests of this room have their own."""

    def checkpoint(self, options: RunOptions) -> Checkpoint: ...

    def archive(self, options: RunOptions, checkpoint: Checkpoint, variant: Variant, progress: Progress) -> Archive: ...

    def profiled_archive(
        self, options: RunOptions, checkpoint: Checkpoint, variant: Variant, progress: Progress
    ) -> Archive:
        """The same with marks; it is not timed and not compared."""
        ...

    def runner(self, archive: Archive, progress: Progress) -> Runner: ...

    def reference(
        self, options: RunOptions, checkpoint: Checkpoint, words: list[Word], prompt_space: bool, progress: Progress
    ) -> Reference: ...


class CachedMaker:
    """Through the compiler, cargo and PyTorch, or from the cache."""

    def __init__(self, notice: Progress) -> None:
        self._cache = Cache(notice=notice)

    def checkpoint(self, options: RunOptions) -> Checkpoint:
        return resolve_checkpoint(options.checkpoint, cache=self._cache)

    def archive(self, options: RunOptions, checkpoint: Checkpoint, variant: Variant, progress: Progress) -> Archive:
        return compile_models(self._request(options, checkpoint, variant), cache=self._cache, progress=progress)

    def profiled_archive(
        self, options: RunOptions, checkpoint: Checkpoint, variant: Variant, progress: Progress
    ) -> Archive:
        request = replace(self._request(options, checkpoint, variant), profile=True)
        return compile_models(request, cache=self._cache, progress=progress)

    def _request(self, options: RunOptions, checkpoint: Checkpoint, variant: Variant) -> CompileRequest:
        return CompileRequest(
            checkpoint=checkpoint,
            target=options.target or "llvm",
            mcpu=options.mcpu,
            precision=options.precision,
            kv_cache=variant == "cache",
            batch_size=options.batch_size,
            max_input_bytes=options.max_input_bytes,
            max_output_len=options.max_output_len,
        )

    def runner(self, archive: Archive, progress: Progress) -> Runner:
        return build_runner(archive, cache=self._cache, progress=progress)

    def reference(
        self, options: RunOptions, checkpoint: Checkpoint, words: list[Word], prompt_space: bool, progress: Progress
    ) -> Reference:
        wanted = ReferenceOptions(
            max_output_len=options.max_output_len,
            prompt_space=prompt_space,
            threads=options.threads,
            repeat=options.repeat,
        )
        return reference_outputs(checkpoint, words, wanted, cache=self._cache, progress=progress)
