"""Describe an app that is installed on a virtual iPhone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMPANION = Path("companion/runner")


@dataclass(frozen=True)
class App:
    """Describe an installed app: the places of its code and its data on this machine."""

    bundle: Path
    container: Path
    info: dict[str, Any] = field(repr=False)
    entitlements: dict[str, Any] = field(repr=False)

    @property
    def bundle_id(self) -> str:
        return str(self.info["CFBundleIdentifier"])

    @property
    def executable(self) -> Path:
        return self.bundle / str(self.info["CFBundleExecutable"])

    @property
    def companion(self) -> Path:
        """Return the build for this machine that runs instead of the executable."""
        return self.bundle / COMPANION

    @property
    def debuggable(self) -> bool:
        return bool(self.entitlements.get("get-task-allow"))
