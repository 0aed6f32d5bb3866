"""Limit a phone's client to a part of this machine's files: a root, and nothing outside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


class Escaped(Exception):
    """A path leads out of the files that its client may see."""


@dataclass(frozen=True)
class Room:
    """Hold a root as ``/``; ``only`` names the one folder in it that may be entered, None for all."""

    root: Path
    only: str | None = None

    def find(self, path: str, *, follow: bool = True) -> Path:
        """Return this machine's path for the client's path. Raises Escaped, also for links that lead out."""
        parts: list[str] = []
        for part in PurePosixPath("/" + path).parts[1:]:
            if part == "..":
                if not parts:
                    raise Escaped(path)
                parts.pop()
            elif "\0" in part:
                raise Escaped(path)
            else:
                parts.append(part)
        if self.only is not None and parts and parts[0] != self.only:
            raise Escaped(path)
        found = self.root.joinpath(*parts)
        real = Path(os.path.realpath(found if follow else found.parent))
        allowed = Path(os.path.realpath(self.root))
        if self.only is not None and parts:
            allowed = allowed / self.only
            if not follow and len(parts) == 1:
                return found
        if real != allowed and allowed not in real.parents:
            raise Escaped(path)
        return found
