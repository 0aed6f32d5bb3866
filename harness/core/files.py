"""Write files whole or not at all."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield another name in ``path``'s folder. What is written there takes the place of ``path`` when the block ends,
    and is removed if the block fails."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        # The folder itself may be missing.
        with contextlib.suppress(OSError):
            partial.unlink()
