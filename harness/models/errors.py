"""Define the errors of checkpoints."""

from __future__ import annotations

from harness.core.errors import HarnessError, UsageError


class CheckpointUnavailable(HarnessError):
    """The checkpoint cannot be fetched from its source."""

    cure = "use --checkpoint embedded (needs no network), or --checkpoint FOLDER with a downloaded checkpoint"


class BadCheckpoint(UsageError):
    """A checkpoint folder lacks a file, or a file in it is damaged."""

    cure = "download the checkpoint again, or use --checkpoint embedded"
