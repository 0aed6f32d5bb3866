"""Name a lab's clients by tokens, each of which ends at a time and can be taken back.

The scheduler's host keeps the list, in a file with the hash of each token and never the token. Agents ask the scheduler
before each order, and remember its answer for a few seconds. So one file serves a whole lab, and one clock decides what
has expired.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.core.files import replacing
from harness.core.text import quoted
from harness.lab.errors import LabMisuse, TokenRefused

KNOWN_SECONDS = 5.0
"""How long an agent takes an answer for true. A token that is taken back ends within that time."""
MOST_KNOWN = 1000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,59}")


class _Kept(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class TokenFacts(_Kept):
    """Describe a client's token."""

    sha256: str
    expires: datetime


class _Book(_Kept):
    schema_version: int = 1
    clients: dict[str, TokenFacts] = Field(default={})


class TokenAnswer(_Kept):
    """Answer an agent's question about a token: whose it is, or why it is refused."""

    client: str = ""
    refused: str = ""


class TokenBook:
    """Hold the list of a lab's tokens in a file, which is read again when it has changed. Raises LabMisuse."""

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)) -> None:
        self._path, self._now = path, now
        self._read: tuple[tuple[int, int, int], _Book] | None = None

    def clients(self) -> dict[str, TokenFacts]:
        """Return the tokens by their clients' names; none if there is no file yet."""
        try:
            found = self._path.stat()
            if found.st_mode & 0o022:
                raise LabMisuse(f"others may write to {quoted(self._path)}", cure="take that right away: chmod 600")
            state = (found.st_ino, found.st_size, found.st_mtime_ns)
            if self._read is None or self._read[0] != state:
                self._read = (state, _Book.model_validate_json(self._path.read_bytes()))
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError) as error:
            raise LabMisuse(f"{quoted(self._path)} is no list of tokens: {str(error).splitlines()[0]}") from error
        return self._read[1].clients

    def add(self, client: str, days: float) -> str:
        """Make a token for a client and return it; it is not kept here, and an earlier one is revoked."""
        if not _NAME.fullmatch(client):
            raise LabMisuse(f"{quoted(client)} is no name of a client", cure="use letters, digits, dots, dashes and @")
        token = secrets.token_urlsafe(32)
        facts = TokenFacts(sha256=_hash(token), expires=self._now() + timedelta(days=days))
        self._write({**self.clients(), client: facts})
        return token

    def revoke(self, client: str) -> bool:
        """Take a client's token back; return whether it had one."""
        clients = dict(self.clients())
        had = clients.pop(client, None) is not None
        if had:
            self._write(clients)
        return had

    def answer(self, token: str) -> TokenAnswer:
        """Return whose token it is, or why it is refused. A list that cannot be read refuses everybody."""
        try:
            clients = self.clients()
        except LabMisuse as error:
            return TokenAnswer(refused=f"the lab cannot read its list of tokens: {error.args[0]}")
        if not token:
            return TokenAnswer(refused="this lab wants a token, and the client has none")
        digest = _hash(token)
        for name, facts in clients.items():
            if secrets.compare_digest(facts.sha256, digest):
                if facts.expires <= self._now():
                    when = f"{facts.expires:%Y-%m-%d at %H:%M} UTC"
                    return TokenAnswer(refused=f"the token of {name} has expired on {when}")
                return TokenAnswer(client=name)
        return TokenAnswer(refused="the lab does not know the client's token, or has taken it back")

    def _write(self, clients: dict[str, TokenFacts]) -> None:
        with replacing(self._path) as partial:
            partial.touch(mode=0o600)
            partial.write_text(_Book(clients=clients).model_dump_json(indent=1) + "\n", encoding="utf-8")


class Admission:
    """Remember the scheduler's answers about tokens for a few seconds. All of one agent's workers share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, TokenAnswer]] = {}

    async def client(self, token: str, ask: Callable[[str], Awaitable[str]]) -> str:
        """Return whose token it is, empty where the lab wants none; raises TokenRefused, and what asking raises."""
        known = self._known.get(token)
        if known is None or self._clock() - known[0] > KNOWN_SECONDS:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            known = (self._clock(), TokenAnswer.model_validate_json(await ask(token)))
            self._known[token] = known
        if known[1].refused:
            raise TokenRefused(known[1].refused)
        return known[1].client

    def client_now(self, token: str, ask: Callable[[str], Awaitable[str]], loop: asyncio.AbstractEventLoop) -> str:
        """Return the same, from a thread that is not the loop's."""
        return asyncio.run_coroutine_threadsafe(self.client(token, ask), loop).result(KNOWN_SECONDS * 2)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
