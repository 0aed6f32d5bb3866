"""Runs of the small model of tensors on any device, with a defect or without, compiled in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import maker as makers
from harness.cache import Cache
from harness.compiler import Archive, BundleRequest, compile_bundle, front, worker
from harness.compiler import bundle as bundling
from harness.devices import Device
from harness.maker import CachedMaker, Progress, RunOptions, Variant
from harness.models.checkpoints import Checkpoint
from harness.models.described import UserModel
from harness.protocol import Precision
from harness.results import Run, RunVerdict, Store
from harness.session import RunSession
from tests.broken_kernels import Silent

SMALL = Path(__file__).with_name("small_model.py")


class OneArchive(CachedMaker):
    """Compiles in this process, where kernels can be broken, into a cache that is thrown away. Runs are of the archive
    with taps, too: it computes the same, and each target is compiled and linked once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(notice=lambda _text: None)
        self.folder = folder

    def tapped_model(self, options: RunOptions, model: UserModel, progress: Progress) -> Archive:
        target, precision = options.target or "llvm", options.precision
        request = BundleRequest([model], target=target, precision=precision, taps=True)
        return compile_bundle(request, cache=Cache(self.folder), progress=progress)

    def archive(
        self,
        options: RunOptions,
        checkpoint: Checkpoint | None,
        variant: Variant,
        progress: Progress,
        *,
        profile: bool = False,
    ) -> Archive:
        (model,) = self.models(options, progress)
        return self.tapped_model(options, model, progress)


def made_here(patch: pytest.MonkeyPatch, folder: Path) -> OneArchive:
    """The maker of the command line, too."""

    def in_this_process(_module: str, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
        return worker.handle(request, progress)

    patch.setattr(bundling, "run_worker", in_this_process)
    patch.setattr(front, "run_worker", in_this_process)
    maker = OneArchive(folder)
    patch.setattr(makers, "CachedMaker", lambda notice: maker)
    return maker


def judged(
    folder: Path,
    device: Device,
    maker: OneArchive,
    verdict: RunVerdict,
    *,
    named: str = "host",
    precision: Precision = "fp32",
) -> Run:
    """A run that has to end so. ``named``: the device in the words of ``--device``."""
    options = RunOptions(
        device=named, models=(str(SMALL),), precision=precision, warmup=0, repeat=1, results_dir=folder
    )
    session = RunSession(options, device, Silent(), maker=maker)
    session.start()
    session.models.parity("small")
    summary = session.finish()
    assert summary.verdict is verdict, summary.reasons
    return Store(folder).find("latest")
