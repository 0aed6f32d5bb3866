"""Documents about this machine: its devices, its installation, its cache."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.cli.documents.base import Document, Part


class DeviceRow(Part):
    """Something that ``--device`` can name."""

    device: str
    """As ``--device`` takes it."""
    kind: str
    """The name of the kind, as installed packages register it."""
    serial: str | None = None
    state: str
    model: str | None = None
    system: str | None = None
    held_by: str | None = None
    """Who measures on it now."""
    usable: bool
    emulated: bool = False
    """Whether its times are no measure of a phone."""
    reason: str | None = None
    cure: str | None = None
    """Why it is not usable, and what to do about it."""


class DevicesDocument(Document):
    """`harness devices`: this machine, the attached phones, the virtual ones."""

    schema_name: Literal["harness.devices/1"] = Field(default="harness.devices/1", alias="schema")
    devices: list[DeviceRow]


class PairedDocument(Document):
    """`harness devices pair`: the phone that was paired over Wi-Fi."""

    schema_name: Literal["harness.paired/1"] = Field(default="harness.paired/1", alias="schema")
    address: str
    """Where it was paired."""
    device: str | None
    """As ``--device`` takes it; null where it is not connected yet."""


class ReleasedDocument(Document):
    """`harness lab release`: a phone of a lab whose quarantine was ended."""

    schema_name: Literal["harness.released/1"] = Field(default="harness.released/1", alias="schema")
    phone: str
    """`host/serial`, as `harness devices --lab` shows it."""
    was_quarantined: bool
    """Whether it was in quarantine before."""


class CheckRow(Part):
    name: str
    ok: bool
    found: str
    cure: str | None
    """The command that mends it; null for what is in order."""


class DoctorDocument(Document):
    """`harness doctor`: what an installation needs, and whether it is there."""

    schema_name: Literal["harness.doctor/1"] = Field(default="harness.doctor/1", alias="schema")
    ok: bool
    platform: str
    checks: list[CheckRow]


class CacheEntryRow(Part):
    kind: str
    key: str
    bytes: int
    used: str
    """When it was last used or made."""
    in_use: bool
    """Whether a process works with it now."""


class CacheDocument(Document):
    """`harness cache show`: the entries, those used last first."""

    schema_name: Literal["harness.cache/1"] = Field(default="harness.cache/1", alias="schema")
    root: str
    bytes: int
    """Of all entries."""
    other_bytes: int
    """Of what else is in the cache's folder, such as cargo's build folders; only `harness cache clear` removes it."""
    entries: list[CacheEntryRow]


class RemovedRow(Part):
    name: str
    bytes: int


class KeptRow(Part):
    name: str
    reason: str
    """Why it was not removed."""


class RemovalDocument(Document):
    """`harness runs rm`, `harness cache prune`, `harness cache clear`, `harness baseline rm`."""

    schema_name: Literal["harness.removal/1"] = Field(default="harness.removal/1", alias="schema")
    root: str
    dry_run: bool
    """Whether this only lists what would be removed."""
    removed: list[RemovedRow]
    kept: list[KeptRow]
    """What was named or old enough, and stays all the same."""
    freed_bytes: int


class ToolchainRow(Part):
    target: str
    rust_target: str | None
    """null for this machine's own."""
    route: str | None
    version: str | None
    rustc: str | None
    """null for what is installed when it is first needed."""
    linker: str


class ToolchainsDocument(Document):
    """`harness toolchain show` and `harness toolchain install`."""

    schema_name: Literal["harness.toolchains/1"] = Field(default="harness.toolchains/1", alias="schema")
    toolchains: list[ToolchainRow]
