"""What the stored schemas have in common, and what stored facts of workloads have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from harness.models.ways import WAYS
from harness.models.workload import Workload
from harness.protocol.schema import Kind


class Stored(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class OfKind(Stored):
    kind: Kind

    @property
    def way(self) -> type[Workload[Any]]:
        """Return the class that answers what depends on the kind."""
        return WAYS[self.kind]


Facts = TypeVar("Facts", bound=OfKind)


class Workloads(Generic[Facts]):
    """Divide the ``workloads`` of a stored model, by whether their items are alike."""

    if TYPE_CHECKING:  # The models declare the field, each at its own place in the file.
        workloads: Mapping[str, Facts]

    @property
    def alike(self) -> dict[str, Facts]:
        """Return the workloads whose items are alike, as words are, by name."""
        return {name: facts for name, facts in self.workloads.items() if facts.way.alike}

    @property
    def unlike(self) -> dict[str, Facts]:
        """Return the workloads whose items are unlike, by name."""
        return {name: facts for name, facts in self.workloads.items() if not facts.way.alike}
