"""Sign a bundle with the user's own command: only the user has the certificate."""

from __future__ import annotations

import shlex
from pathlib import Path

from harness.native.ios.errors import BadSignCommand, SigningFailed
from harness.native.process import ToolFailed, run_tool

PLACEHOLDER = "{}"
SIGN_DEADLINE_SECONDS = 300.0


def sign_command(app: Path, command: str) -> list[str]:
    """The program and its arguments: split as a shell would, ``{}`` being the bundle, which else comes last.

    No shell runs it, so nothing in the bundle's path is ever taken for a command. Raises BadSignCommand.
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
    """Have the bundle signed in place within ``deadline`` seconds; raises BadSignCommand or SigningFailed."""
    try:
        run_tool(sign_command(app.absolute(), command), deadline=deadline)
    except ToolFailed as error:
        raise SigningFailed(f"{app.name} was not signed: {error}") from error
