"""Runs of the small model of tensors on any device, with a defect or without, compiled in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.devices import Device
from harness.protocol.schema import Precision
from harness.results import Run, RunVerdict, Store
from harness.run import builder as builders
from harness.run.builder import RunOptions
from harness.run.session import RunSession
from tests.broken_kernels import OneArchive
from tests.silent import Silent
from tests.workers import work_here

SMALL = Path(__file__).with_name("small_model.py")


def made_here(patch: pytest.MonkeyPatch, folder: Path) -> OneArchive:
    """The builder of the command line, too."""
    work_here(patch)
    builder = OneArchive(folder)
    patch.setattr(builders, "CachedBuilder", lambda notice: builder)
    return builder


def judged(
    folder: Path,
    device: Device,
    builder: OneArchive,
    verdict: RunVerdict,
    *,
    named: str = "host",
    precision: Precision = "fp32",
    keep_wide: tuple[str, ...] = (),
) -> Run:
    """A run that has to end so. ``named``: the device in the words of ``--device``."""
    options = RunOptions(
        device=named,
        models=(str(SMALL),),
        precision=precision,
        keep_wide=keep_wide,
        warmup=0,
        repeat=1,
        results_dir=folder,
    )
    session = RunSession(options, device, Silent(), builder=builder)
    session.start()
    session.workloads["small"].parity()
    summary = session.finish()
    assert summary.verdict is verdict, summary.reasons
    return Store(folder).find("latest")
