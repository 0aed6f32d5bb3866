"""Sign a bundle with what only the user has: their own command, or their certificate (:mod:`.certificate`)."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.native.ios.errors import BadSignCommand, SigningFailed
from harness.native.process import ToolFailed, run_tool

PLACEHOLDER = "{}"
SIGN_DEADLINE_SECONDS = 300.0


class Signing(Protocol):
    """A way to sign bundles. ``identity`` changes whenever an app would be signed otherwise."""

    @property
    def identity(self) -> str: ...

    def sign(self, app: Path) -> None:
        """Sign the bundle in place; raises AppUnusable's kinds."""


@dataclass(frozen=True)
class SigningCommand:
    """Sign with the command of ``--ios-sign-command``."""

    command: str

    @property
    def identity(self) -> str:
        return self.command

    def sign(self, app: Path) -> None:
        """Sign the bundle in place; raises BadSignCommand or SigningFailed."""
        sign_app(app, self.command)


def sign_command(app: Path, command: str) -> list[str]:
    """Return the program and its arguments. Raises BadSignCommand.

    The command is split as a shell would split it. ``{}`` is replaced by the bundle; without it the bundle comes last.
    No shell runs the command, so nothing in the bundle's path is ever taken for a command.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise BadSignCommand(f"the sign command {command!r} cannot be split into words: {error}") from error
    if not words:
        raise BadSignCommand("the sign command is empty")
    if not any(PLACEHOLDER in word for word in words):
        words.append(PLACEHOLDER)
    return [word.replace(PLACEHOLDER, str(app)) for word in words]


def sign_app(app: Path, command: str, *, deadline: float = SIGN_DEADLINE_SECONDS) -> None:
    """Sign the bundle in place within ``deadline`` seconds; raises BadSignCommand or SigningFailed."""
    try:
        run_tool(sign_command(app.absolute(), command), deadline=deadline)
    except ToolFailed as error:
        raise SigningFailed(f"{app.name} was not signed: {error}") from error
