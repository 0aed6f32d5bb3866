"""Define what agents and clients send each other: a card for each phone, and events of a lease. All of it is JSON.

Readers check the schema. Nothing here is ever unpickled from a card or an event.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.core.installation import DISTRIBUTION
from harness.devices.base import Knob, RunResult
from harness.protocol.schema import Failure, Precision

PROTOCOL = 3
"""Rises when an agent and a client of different versions would misunderstand each other."""
LEASE_SECONDS = 20.0
"""A lease ends so long after its client was last heard of."""
CARD = "harness"
"""The name under which workers report their cards in heartbeats, as JSON: Dask measures each value of a message."""
BUILDER = "harness-compile"
"""The same for a worker that compiles."""
ASK = "harness-ask"
"""The operation of a phone's worker by which a client asks something; see :mod:`harness.lab.tasks`."""
TOKEN = "harness_token"
"""The operation of the scheduler by which an agent asks about a client's token."""
State = Literal["free", "held", "resting", "unreachable", "quarantined"]
EQUAL = ("kind", "model", "soc", "os", "ram_gb", "target", "mode", "emulated")
"""Labels that two phones have to share if one may replace the other."""


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Waiter(_Wire):
    """Describe one client that waits for a phone."""

    owner: str
    seconds: float = Field(ge=0)
    """How long it has waited. Durations need no agreement of two hosts' clocks."""


class Work(_Wire):
    """Describe what a phone's holder does with it."""

    seconds: float = Field(ge=0)
    """How long it has held the phone."""
    doing: str = ""
    """The method that runs now: ``run``, ``deploy`` and so on; empty between two calls."""
    records: int = Field(default=0, ge=0)
    """How many records have come out of it."""


class Card(_Wire):
    """Describe one phone, as its agent reports it."""

    protocol: int
    harness: str
    """The version of the harness on the phone's host."""
    name: str
    """``host/serial``, unique in the lab."""
    host: str
    serial: str
    device: str
    """The device's own name, which baselines and histories know."""
    kind: str
    target: str
    companion: str | None = None
    emulated: bool = False
    store: str
    labels: dict[str, str | int | float | bool | list[str]]
    facts: dict[str, Any]
    state: State
    reason: str = ""
    """Why it is not free; for a quarantined phone its last fault."""
    holder: str = ""
    waiting: int = 0
    """How many leases wait for it."""
    queue: list[Waiter] = []
    """The first of them, those that came first first. Dask's priorities decide who is served."""
    work: Work | None = None
    """What its holder does, if a client of the lab holds it."""

    def equal_to(self, other: Card) -> bool:
        """Return whether the other phone can replace this one."""
        return all(self.labels.get(key) == other.labels.get(key) for key in EQUAL)


class BuilderCard(_Wire):
    """Describe a worker that compiles, as its agent reports it."""

    protocol: int
    harness: str
    name: str
    """``host/compile-N``, unique in the lab."""
    host: str
    store: str
    doing: str = ""
    """What it compiles now."""
    seconds: float = Field(default=0.0, ge=0)
    """For how long."""
    done: int = Field(default=0, ge=0)
    """How many orders it has ended."""


class CompileOrder(_Wire):
    """Ask for the archives of one name of ``--models`` for one target."""

    protocol: int
    model: str
    """As ``--models`` takes it; for a file or a folder its place below the model's files."""
    files: dict[str, str] = {}
    """Hashes of a user's own files in the lab's store, by their places."""
    target: str
    mcpu: str | None = None
    precision: Precision = "fp32"
    keep_wide: list[str] = []
    kv_cache: bool = True
    profile: bool = False
    taps: bool = False
    own: dict[str, str | int | bool] = {}
    """The options that kinds of workloads bring to ``harness compile``."""
    keys: list[str]
    """The keys that the archives have in the client's cache. An agent with others has another compiler."""


class Compiled(_Wire):
    """Report how a compile order ended: its archives are in the shared cache, or there is an error."""

    worker: str
    seconds: float = Field(ge=0)
    error: str = ""
    """The class of the error; empty where there is none."""
    text: str = ""
    cure: str = ""
    exit_code: int = 3


class Event(_Wire):
    """Report one thing that happened in a lease; ``number`` counts from 1 and none is left out."""

    number: int
    what: Literal["notice", "push", "record", "done", "failed"]
    call: int = 0
    """The call that it belongs to."""
    text: str = ""
    done: int = 0
    total: int = 0
    value: Any = None
    cure: str = ""
    error: str = ""


class Polled(_Wire):
    """Answer a client's look at its lease."""

    state: Literal["unknown", "waiting", "held", "ended"]
    holder: str = ""
    """Who has the phone now."""
    reason: str = ""
    error: str = ""
    cure: str = ""
    events: list[Event] = []


class RunEnd(_Wire):
    """Hold a run's result without its records, which have arrived before it."""

    order_id: str
    complete: bool
    reason: str | None = None
    failure: Failure | None = None
    exit_status: int | None = None
    wall_seconds: float = Field(default=0.0, ge=0)
    knobs: list[Knob] = []
    observed: dict[str, Any] = {}
    resumed: int = Field(default=0, ge=0)

    @classmethod
    def of(cls, result: RunResult) -> RunEnd:
        return cls(
            **{name: getattr(result, name) for name in cls.model_fields if name != "knobs"}, knobs=list(result.knobs)
        )


@functools.cache
def harness_version() -> str:
    """Return the installed version of the harness."""
    return importlib.metadata.version(DISTRIBUTION)


def builder_of(metrics: Mapping[str, Any]) -> BuilderCard | None:
    """Return the card of a worker that compiles among its metrics, None for any other worker."""
    try:
        return BuilderCard.model_validate_json(str(metrics.get(BUILDER)))
    except ValidationError:
        return None


def card_of(metrics: Mapping[str, Any]) -> Card | None:
    """Return the card among a worker's metrics; None if the worker is no phone or its card is none."""
    try:
        return Card.model_validate_json(str(metrics.get(CARD)))
    except ValidationError:
        return None
