"""``manifest.json``: what was run, on what, how far it got."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Literal

from pydantic import model_validator

from harness.compiler.observe.provenance import LayerError
from harness.devices.base import Knob
from harness.results import v1
from harness.results.schema.pairs import PairingFacts
from harness.results.schema.stored import OfKind, Stored, Workloads
from harness.validate import EXACT, TolerancePolicy
from harness.validate.comparison import Comparison

SELF_TEST = "self-test"
"""The kind of a device that is a user's app, which ran the items itself, and the mode of such a run."""
SCHEMA_VERSION = 2
"""Of the manifest and the summary. Version 1 is read by :mod:`harness.results.v1`."""


class RunStatus(str, Enum):
    COMPLETE = "complete"
    """Everything that was asked for ran to its end, whatever came out."""
    INCOMPLETE = "incomplete"
    """A runner crashed or hung, the run was interrupted or killed, or it has not ended."""
    FAILED = "failed"
    """An error ended the run, such as an archive that did not compile."""


class Git(Stored):
    commit: str
    dirty: bool
    repository: str | None = None
    """The web address that the checkout came from, without credentials; older runs have none."""


class VariantFacts(Stored):
    """One compiled variant and its runner."""

    archive_sha256: str
    archive_bytes: int
    runner_sha256: str
    runner_bytes: int
    target: str
    runner_version: str | None = None
    rounding: dict[str, list[LayerError]] = {}
    """By workload: the layers that fewer bits cost most, the worst first; empty for float32."""

    @property
    def has_runner(self) -> bool:
        """Whether a runner of ours ran it, and not a user's app."""
        return bool(self.runner_sha256)


class WorkloadFacts(OfKind):
    """A model of the run and the items that it runs on."""

    source: str
    """As ``--models`` named it."""
    label: str
    """What a person calls it, such as the checkpoint's name."""
    weights_sha256: str
    parameters: int | None = None
    items: int
    unit: str = "item"
    """What an item is, for a person, such as ``word``."""
    items_of: int | None = None
    """How many there were, where only a spread sample of them was run, as on an emulator; None: all."""
    items_source: str | None = None
    """``shipped``, or the name of the file that they came from; None where the model brings them."""
    items_sha256: str | None = None
    """Of the items and what they should give, so that two runs on the same ones can be recognized; None: not kept."""
    subsets: list[str] = []
    """The parts of the data that the items belong to, such as languages."""
    compare: str
    """How its answers are judged, for a person."""
    comparison: Comparison | None = None
    """The same of a tensor workload for a program; None in older runs."""


class OrderEntry(Stored):
    """One work order sent to the device."""

    order_id: str
    purpose: Literal["smoke", "parity", "latency", "profile"]
    workload: str
    variant: str = ""
    """One of the manifest's variants; empty for a workload that is the same in all of them."""
    started: str
    ended: str | None = None
    complete: bool = False
    reason: str | None = None
    wall_seconds: float | None = None
    resumed: int = 0
    """How often it was resumed after the device had been lost and came back."""
    conditions_before: dict[str, Any] = {}
    conditions_after: dict[str, Any] = {}
    knobs: list[Knob] = []
    """The device's settings for the time of the order, and what became of them."""
    observed: dict[str, Any] = {}
    """What was seen of the device while the order ran."""

    @property
    def name(self) -> str:
        """What it ran, for a person."""
        return called(self.workload, self.variant)


def called(workload: str, variant: str) -> str:
    """Return what is timed and compared under one name: the variant, or the workload that has none of its own."""
    return variant or workload


class GateFacts(Stored):
    """The nightly run that measured the run's runner and a baseline's."""

    night_id: str
    baseline: str
    verdict: str
    causes: list[str] = []
    """One line for each cell or limit that did not pass."""


class Manifest(Stored, Workloads[WorkloadFacts]):
    schema_version: int = SCHEMA_VERSION
    run_id: str
    status: RunStatus = RunStatus.INCOMPLETE
    reason: str | None = "the run has not ended"
    started: str
    """ISO 8601, UTC."""
    ended: str | None = None
    git: Git | None = None
    versions: dict[str, str] = {}
    command: list[str] = []
    options: dict[str, Any] = {}
    device: dict[str, Any] = {}
    policy: TolerancePolicy = EXACT
    workloads: dict[str, WorkloadFacts] = {}
    """By name, in the order in which they run."""
    variants: dict[str, VariantFacts] = {}
    """By name: ``cache`` and ``cacheless``."""
    reference: dict[str, Any] = {}
    """Threads and versions of the PyTorch reference."""
    orders: list[OrderEntry] = []
    pairing: dict[str, PairingFacts] = {}
    """By workload: how it was timed alternately with PyTorch."""
    gate: GateFacts | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, stored: Any) -> Any:
        return v1.manifest(stored) if isinstance(stored, dict) else stored

    @property
    def emulated(self) -> bool:
        """Whether the times are an emulator's, to be labelled and compared with nothing."""
        return bool(self.device.get("emulated"))

    @property
    def mode(self) -> str | None:
        """How the models were run, where there are several ways: ``shell`` or ``app`` on Android, ``self-test`` in a
        user's app; None for another kind of device.
        """
        if self.device.get("kind") == SELF_TEST:
            return SELF_TEST
        found = self.device.get("android_mode")
        # Before there were two modes, all ran in the shell.
        return str(found) if found else "shell" if "android" in str(self.device.get("kind")) else None


def ending(manifest: Manifest, errors: Sequence[Exception], interrupted: bool) -> tuple[RunStatus, str | None]:
    """How far a run got, and why no further; ``errors`` are those of its steps."""
    incomplete = [entry for entry in manifest.orders if not entry.complete]
    if interrupted:
        return RunStatus.INCOMPLETE, "interrupted"
    if errors:
        return RunStatus.FAILED, str(errors[0]).splitlines()[0]
    if incomplete:
        entry = incomplete[0]
        return RunStatus.INCOMPLETE, f"the {entry.purpose} order of {entry.name}: {entry.reason}"
    return RunStatus.COMPLETE, None
