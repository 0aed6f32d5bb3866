"""Read and write nightly runs as they are kept: their measurements and verdicts, and the floors of devices."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.core.errors import UsageError
from harness.core.text import quoted
from harness.measure import Floor
from harness.results.errors import RunDamaged, writing
from harness.results.files import write_atomically
from harness.results.journal import PLAN, Plan, read_plan
from harness.results.schema import GateFacts

NIGHTLY, FLOORS, VERDICTS = "nightly", "floors", "verdicts.json"
UNDECIDED = "undecided"
_WORST_FIRST = ("fail", "inconclusive", "warn")


class NightlyNotFound(UsageError):
    """No nightly run has that id."""


class _Kept(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, ser_json_inf_nan="null")


class SessionFacts(_Kept):
    """One session of one cell. Changes are fractions: 0.05 is 5 % slower."""

    outcome: str
    """``clear``, ``suspect``, ``noisy``, or ``undecided`` for ``cause``, without any figure."""
    cause: str = ""
    pairs: int = 0
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None
    """Bootstrap 95 % interval."""
    threshold: float | None = None
    detectable: float | None = None
    """The minimum detectable effect; None if no change of any size is sure to be found."""
    p: float | None = None
    noise: float | None = None


class CellFacts(_Kept):
    """The verdict on a metric of a unit."""

    metric: str
    verdict: str
    cause: str = ""
    adjusted_p: float = 1.0
    share: float | None = None
    """What the part takes of the latency; None for the latency itself."""
    first: SessionFacts
    second: SessionFacts | None = None


class LimitFacts(_Kept):
    metric: str
    verdict: str
    cause: str = ""
    a: float | None = None
    """Bytes of the baseline, None for what has no quantity and in older verdicts without it; ``b`` of B."""
    b: float | None = None
    allowed: float | None = None
    """By how much B may exceed A, as a fraction."""

    @property
    def change(self) -> float | None:
        """B's growth as a fraction of A."""
        return self.b / self.a - 1 if self.a and self.b is not None else None


class UnitFacts(_Kept):
    unit: str
    device: str
    model: str
    variant: str
    verdict: str
    cells: list[CellFacts]
    limits: list[LimitFacts]
    emulated: bool = False
    """Whether the device is emulated: its times are shown and never judged."""


class DriftFacts(_Kept):
    """A change to a worse level that is still fresh: ``night_id`` is the first nightly run at it."""

    device: str
    model: str
    variant: str
    metric: str
    chain: str
    night_id: str
    night_before: str
    commit: str | None
    commit_before: str | None
    commits: list[str] | None = None
    """One line each, the newest first; None if the repository does not have them."""
    before: float
    after: float
    """Levels: the chain's first baseline is 1."""
    p: float

    @property
    def magnitude(self) -> float:
        """Return the change as a fraction: 0.05 for a rise by 5 %."""
        return self.after / self.before - 1


class Verdicts(_Kept):
    night_id: str
    baseline: str
    verdict: str
    run: str | None = None
    ended: str | None = None
    units: list[UnitFacts]
    drifts: list[DriftFacts] = []


@dataclass(frozen=True)
class NightlyRecord:
    """Hold a stored nightly run. ``verdicts`` is None for one that has not been judged."""

    folder: Path
    plan: Plan
    verdicts: Verdicts | None

    @property
    def night_id(self) -> str:
        return self.plan.night_id

    @property
    def slowed(self) -> float:
        """Return by how many percent a side was slowed on purpose, to test the gate itself."""
        return max(side.order.slowdown_percent for unit in self.plan.units for side in (unit.a, unit.b))

    @property
    def state(self) -> str:
        """Return the verdict, ``calibration``, or ``not ended`` for a nightly run that can be resumed."""
        if self.plan.calibrate:
            return "calibration"
        return self.verdicts.verdict if self.verdicts else "not ended"


class _KeptFloor(_Kept):
    floor: Floor


def write_verdicts(folder: Path, verdicts: Verdicts) -> None:
    """Raises StorageFull or StorageUnwritable."""
    write_atomically(folder / VERDICTS, verdicts)


def nightly_folders(results: Path) -> list[Path]:
    """Return the folders of all nightly runs, the oldest first, damaged ones included."""
    return sorted(path.parent for path in (results / NIGHTLY).glob(f"*/{PLAN}"))


def nightly_runs(results: Path) -> list[NightlyRecord]:
    """Return all nightly runs that can be read, the oldest first."""
    found = map(_if_readable, nightly_folders(results))
    return [record for record in found if record is not None]


def _if_readable(folder: Path) -> NightlyRecord | None:
    try:
        return read_nightly(folder)
    except RunDamaged:
        return None


def read_nightly(folder: Path) -> NightlyRecord:
    """Read one nightly run. Raises RunDamaged."""
    plan, path = read_plan(folder), folder / VERDICTS
    try:
        return NightlyRecord(folder, plan, Verdicts.model_validate(_upgraded(json.loads(path.read_bytes()), plan)))
    except FileNotFoundError:
        return NightlyRecord(folder, plan, None)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunDamaged(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def _upgraded(data: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Verdicts from before the parts were judged, in today's form."""
    units = {unit.name: unit for unit in plan.units}
    return data | {"units": [_unit(of, units.get(of["unit"])) for of in data["units"]]}


def _unit(data: dict[str, Any], planned: Any) -> dict[str, Any]:
    if "latency" not in data:
        return data
    sessions = data["latency"].pop("sessions")
    cell = data["latency"] | {"metric": "latency"} | {which: _session(sessions[which]) for which in ("first", "second")}
    known = {key: getattr(planned, key, "?") for key in ("device", "model", "variant")}
    return known | data | {"cells": [cell]}


def _session(old: dict[str, Any] | None) -> dict[str, Any] | None:
    if old is None:
        return None
    if "cause" in old:
        return {"outcome": UNDECIDED, "cause": old["cause"]}
    shift = old["shift"]
    return {
        **{key: old[key] for key in ("outcome", "threshold", "detectable")},
        **{key: shift[key] for key in ("pairs", "p", "noise")},
        "change": math.expm1(shift["estimate"]),
        "change_low": math.expm1(shift["interval"]["low"]),
        "change_high": math.expm1(shift["interval"]["high"]),
    }


def find_nightly(results: Path, name: str) -> Path:
    """Return the folder of a nightly run by id, unique beginning, or ``latest``; raises NightlyNotFound."""
    folders = nightly_folders(results)
    if name == "latest" and folders:
        return folders[-1]
    found = [folder for folder in folders if folder.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    there = ", ".join(folder.name for folder in folders[-10:])
    raise NightlyNotFound(
        f"there is no single nightly run {quoted(name)} in {results / NIGHTLY}",
        cure=f"there are {there}" if there else "begin one: harness nightly --baseline NAME",
    )


def write_floor(results: Path, key: str, floor: Floor) -> None:
    """Raises StorageFull or StorageUnwritable."""
    folder = results / NIGHTLY / FLOORS
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{key}.json", _KeptFloor(floor=floor))


def read_floor(results: Path, key: str) -> Floor | None:
    """None for a device that was not calibrated; a file that cannot be read is none."""
    try:
        return _KeptFloor.model_validate_json((results / NIGHTLY / FLOORS / f"{key}.json").read_bytes()).floor
    except (OSError, ValidationError):
        return None


def causes(verdicts: Verdicts) -> list[tuple[str, str, str]]:
    """Return name, verdict and cause of every cell and limit that did not plainly pass, the worst first."""
    found: list[tuple[str, str, str]] = []
    for unit in verdicts.units:
        judged: list[CellFacts | LimitFacts] = [*unit.cells, *unit.limits]
        found += [(f"{unit.unit} {of.metric}", of.verdict, of.cause) for of in judged if of.verdict != "pass"]
    return sorted(found, key=lambda one: _WORST_FIRST.index(one[1]))


def gate_facts(record: NightlyRecord) -> GateFacts:
    """Return what a run's manifest keeps of the nightly run that judged it."""
    verdicts = judged(record)
    return GateFacts(
        night_id=verdicts.night_id,
        baseline=verdicts.baseline,
        verdict=verdicts.verdict,
        causes=[f"{name}: {cause or verdict}" for name, verdict, cause in causes(verdicts)],
    )


def judged(record: NightlyRecord) -> Verdicts:
    """Return the verdicts of a nightly run that has ended."""
    assert record.verdicts is not None
    return record.verdicts
