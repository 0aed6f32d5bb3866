"""What nights leave in the results folder besides their journals: verdicts, and devices' floors."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import UsageError
from harness.measure import Floor
from harness.results.errors import writing
from harness.results.store import write_atomically

if TYPE_CHECKING:
    from harness.nightly import NightResult

NIGHTS, FLOORS, VERDICTS = "nightly", "floors", "verdicts.json"


class NightNotFound(UsageError):
    """No night has that id."""


class _Verdicts(BaseModel):
    model_config = ConfigDict(extra="ignore", ser_json_inf_nan="null")

    night_id: str
    baseline: str
    verdict: str
    units: list[dict[str, Any]]


class _KeptFloor(BaseModel):
    model_config = ConfigDict(extra="ignore")

    floor: Floor


def write_verdicts(folder: Path, result: NightResult) -> None:
    """``verdicts.json`` of a night: figures as fractions, logarithms of ratios inside ``shift``."""
    units = [
        {
            "unit": unit.unit.name,
            "verdict": unit.verdict.value,
            "latency": asdict(unit.latency),
            "limits": [asdict(limit) for limit in unit.limits],
        }
        for unit in result.units
    ]
    verdicts = _Verdicts(
        night_id=result.plan.night_id, baseline=result.plan.baseline, verdict=result.verdict.value, units=units
    )
    write_atomically(folder / VERDICTS, verdicts)


def find_night(results: Path, name: str) -> Path:
    """The folder of a night by id, unique beginning, or ``latest``; raises NightNotFound."""
    root = results / NIGHTS
    nights = sorted(path.parent for path in root.glob("*/plan.json"))
    if name == "latest" and nights:
        return nights[-1]
    found = [night for night in nights if night.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    there = ", ".join(night.name for night in nights[-10:])
    raise NightNotFound(
        f"there is no single night {name!r} in {root}",
        cure=f"there are {there}" if there else "begin one: harness nightly --baseline NAME",
    )


def write_floor(results: Path, key: str, floor: Floor) -> None:
    """Raises StorageFull or StorageUnwritable."""
    folder = results / NIGHTS / FLOORS
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{key}.json", _KeptFloor(floor=floor))


def read_floor(results: Path, key: str) -> Floor | None:
    """None for a device that was not calibrated; a file that cannot be read is none."""
    try:
        return _KeptFloor.model_validate_json((results / NIGHTS / FLOORS / f"{key}.json").read_bytes()).floor
    except (OSError, ValidationError):
        return None
