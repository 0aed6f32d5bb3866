"""Reach a lab from a client: its phones, and short calls to their agents, all through the scheduler.

It has a thread with an event loop. Every call has a deadline. A connection that broke is made again.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import hashlib
import logging
import threading
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, TypeVar

from distributed import Client
from distributed.client import ClosedClientError
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from harness.core.text import shown_line
from harness.lab import tasks
from harness.lab.errors import LabUnreachable, TokenRefused
from harness.lab.security import Certificates, check_address, security
from harness.lab.wire import ASK, BuilderCard, Card, builder_of, card_of

CONNECT_SECONDS = 15.0
ASK_SECONDS = 10.0
CLOSE_SECONDS = 5.0
_T = TypeVar("_T")
_TROUBLE = (
    OSError,
    asyncio.TimeoutError,
    CommClosedError,
    ClosedClientError,
    RuntimeError,
    ValueError,
    KeyError,
    AttributeError,
)
"""What a call through a scheduler raises that is killed, or whose worker is."""


class Silence(Exception):
    """A call got no answer; the scheduler or the phone may be back soon."""


class Absent(Exception):
    """The scheduler answers and has no phone of that name. ``scheduler`` is the scheduler's id."""

    def __init__(self, name: str, scheduler: str) -> None:
        super().__init__(f"the lab has no phone {name} now")
        self.scheduler = scheduler


@dataclass(frozen=True)
class Census:
    """Hold what the scheduler reports at one moment. ``scheduler`` is another after it was started again."""

    scheduler: str
    phones: dict[str, Card]
    addresses: dict[str, str]
    builders: dict[str, BuilderCard] = field(default_factory=dict)
    """The workers that compile."""


@dataclass(frozen=True)
class Submitted:
    """Hold an order that was queued for the workers that compile."""

    future: Any
    result: asyncio.Future[str]


class Lab:
    """Speak to one lab; raises LabMisuse for a wrong address and LabUnreachable if nobody answers there."""

    def __init__(self, address: str, certificates: Certificates | None, token: str = "") -> None:
        self._token = token
        self.address = check_address(address, certificates)
        self._security = security(certificates)
        self._client: Client | None = None
        self._last: Census | None = None
        """What was asked last; a lab's phones are many, and their cards are not asked for at each call."""
        self._connecting: asyncio.Lock | None = None
        # A scheduler that is gone is reported in one line of ours, not by the tracebacks of each try.
        self._logger = logging.getLogger("distributed.client")
        self._level = self._logger.level
        self._logger.setLevel(logging.CRITICAL)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="harness lab", daemon=True)
        self._thread.start()
        try:
            self._do(self._connected, CONNECT_SECONDS + ASK_SECONDS)
        except Silence as silence:
            self.close()
            raise LabUnreachable(f"no scheduler answers at {address}: {silence}") from silence

    def census(self) -> Census:
        """Return the phones that the scheduler knows; raises Silence."""
        return self._do(self._census, ASK_SECONDS)

    def scheduler(self, phone: str) -> str:
        """Return the id of the scheduler that has the phone; asked only once by each connection."""

        async def asked() -> str:
            return (await self._known(phone)).scheduler

        return self._do(asked, ASK_SECONDS)

    def cards(self) -> list[Card]:
        """Return the phones in the order of their names; raises LabUnreachable."""
        try:
            found = self.census().phones
        except Silence as silence:
            raise LabUnreachable(f"the scheduler at {self.address} does not answer: {silence}") from silence
        return [found[name] for name in sorted(found)]

    def ask(self, phone: str, question: str, *words: Any, wait: float = 0.0) -> Any:
        """Ask a phone's agent a question of :mod:`harness.lab.tasks`; raises Silence, Absent or TokenRefused."""

        async def asked() -> Any:
            address = (await self._known(phone)).addresses[phone]
            client = await self._connected()
            message = {"op": ASK, "what": question, "token": self._token, "words": words}
            try:
                found = await client.scheduler.proxy(msg=message, worker=address)  # type: ignore[union-attr]
            except BaseException:
                self._last = None  # the phone may have another address by now
                raise
            if (refused := found.get("refused")) is not None:
                raise TokenRefused(shown_line(str(refused), most=300))
            return found["answer"]

        return self._do(asked, wait + ASK_SECONDS)

    def greet(self, phones: Collection[str]) -> None:
        """Connect to the agents of these phones, all at once, so that no order has to wait for that.

        One that does not answer is left to the order that will want it.
        """

        async def greeted() -> None:
            census, client = self._last or await self._census(), await self._connected()
            message = {"op": ASK, "what": "look", "token": "", "words": ("", 0, 0.0)}
            found = [census.addresses[phone] for phone in phones if phone in census.addresses]
            asked = [client.scheduler.proxy(msg=message, worker=one) for one in found]  # type: ignore[union-attr]
            await asyncio.gather(*asked, return_exceptions=True)

        with contextlib.suppress(Silence):
            self._do(greeted, ASK_SECONDS)

    def submit(self, order: str, priority: int) -> Submitted:
        """Queue an order for the workers that compile; the same order of two clients is one task. Raises Silence."""

        async def queued() -> Submitted:
            client = await self._connected()
            future = client.submit(
                tasks.build,
                order,
                self._token,
                # The same order of two clients is one task, unless they have different tokens.
                key=f"compile-{hashlib.sha256(f'{self._token}{order}'.encode()).hexdigest()}",
                resources={"compile": 1},
                priority=priority,
                retries=2,
            )

            async def gathered() -> str:
                return str(await future)

            return Submitted(future, asyncio.ensure_future(gathered()))

        return self._do(queued, ASK_SECONDS)

    def outcome(self, submitted: Submitted, seconds: float) -> str | None:
        """Return what a submitted order gave, None if it has not ended after so many seconds; raises Silence."""

        async def waited() -> str | None:
            done, _ = await asyncio.wait({submitted.result}, timeout=seconds)
            try:
                return submitted.result.result() if done else None
            except KilledWorker as error:
                raise Silence("the agents that compiled it have died") from error

        return self._do(waited, seconds + ASK_SECONDS)

    def forget(self, submitted: Submitted) -> None:
        """Take an order that nobody waits for any more out of the queue; one that runs continues to its end."""
        self._loop.call_soon_threadsafe(submitted.result.cancel)
        self.drop(submitted.future)

    def drop(self, held: Any) -> None:
        """Take a queued lease out of the queue, if the scheduler still has it."""

        async def dropped() -> None:
            await held.cancel(reason="the client gave the phone back")

        with contextlib.suppress(Silence, Absent):
            self._do(dropped, CLOSE_SECONDS)

    def close(self) -> None:
        """Close the connection; may be called again."""
        if not self._thread.is_alive():
            return

        async def closed() -> None:
            if self._client is not None:
                await self._client.close(timeout=CLOSE_SECONDS)  # type: ignore[no-untyped-call]

        with contextlib.suppress(Silence):
            self._do(closed, CLOSE_SECONDS * 2)
        self._logger.setLevel(self._level)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)

    def _do(self, make: Callable[[], Awaitable[_T]], seconds: float) -> _T:
        """Run a coroutine in the loop's thread; raises Silence after ``seconds`` or when the connection breaks."""

        async def bounded() -> _T:
            return await asyncio.wait_for(make(), seconds)

        future = asyncio.run_coroutine_threadsafe(bounded(), self._loop)
        try:
            return future.result()
        except (Absent, TokenRefused):
            raise
        except (concurrent.futures.CancelledError, *_TROUBLE) as error:
            raise Silence(str(error) or type(error).__name__) from error
        except BaseException:
            future.cancel()  # Ctrl-C in the waiting thread
            raise

    async def _connected(self) -> Client:
        if self._connecting is None:
            self._connecting = asyncio.Lock()
        async with self._connecting:
            if self._client is not None and self._client.status == "running":
                return self._client
            self._last = None  # the scheduler may be another one
            if self._client is not None:
                with contextlib.suppress(*_TROUBLE):
                    await self._client.close(timeout=1)  # type: ignore[no-untyped-call]
                self._client = None
            self._client = await Client(  # type: ignore[no-untyped-call]
                self.address,
                asynchronous=True,
                security=self._security,
                set_as_default=False,
                timeout=CONNECT_SECONDS,
                name="harness",
            )
            return self._client

    async def _known(self, phone: str) -> Census:
        """Return the last census if it has the phone, else a new one; raises Absent."""
        await self._connected()
        census = self._last
        if census is None or phone not in census.addresses:
            census = await self._census()
        if phone not in census.addresses:
            raise Absent(phone, census.scheduler)
        return census

    async def _census(self) -> Census:
        client = await self._connected()
        found = await client.scheduler.identity(n_workers=-1)  # type: ignore[union-attr]
        phones: dict[str, Card] = {}
        addresses: dict[str, str] = {}
        builders: dict[str, BuilderCard] = {}
        for address, worker in found["workers"].items():
            card = card_of(worker["metrics"])
            if card is not None and card.name == worker["name"]:
                phones[card.name] = card
                addresses[card.name] = address
            builder = builder_of(worker["metrics"])
            if builder is not None and builder.name == worker["name"]:
                builders[builder.name] = builder
        self._last = Census(str(found["id"]), phones, addresses, builders)
        return self._last
