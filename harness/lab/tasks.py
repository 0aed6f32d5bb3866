"""Answer what clients ask a phone's worker, and run what they submit to it. All of it goes through Dask's scheduler.

A question is an operation of its own with text and numbers: nothing of it or of its answer is pickled. Dask sends what
is submitted by its name, so that client and agent need the same package, which a phone's card shows.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from harness.lab.errors import TokenRefused
from harness.lab.wire import Polled

if TYPE_CHECKING:
    from harness.lab.building import Builder
    from harness.lab.phone import Phone

OF_HOLDERS = ("look", "end")
"""Questions about a lease that was given out: they need no token, so that a phone is given back in any case."""


def owned(client: str, owner: str) -> str:
    """Return what others may know of a lease's owner: the name of the token comes first, since it was checked."""
    return f"{client}, {owner}" if client else owner


async def poll(
    phone: Phone,
    client: str,
    lease: str,
    owner: str,
    wait_seconds: float,
    priority: int,
    after: int,
    wait: float,
    number: int = 0,
    method: str = "",
    arguments: str = "{}",
    last: bool = False,
) -> str:
    """Return what happened in the lease behind event ``after``; this is the client's sign of life, too.

    A client with a first call sends it along, with its ``number``, so that the phone need not wait for it.
    """
    one = phone.expect(lease, owned(client, owner), wait_seconds, priority)
    if number:
        one.call(number, method, json.loads(arguments), last=last)
    # Only without a call the client waits for the phone and for nothing else.
    found = await one.poll(("waiting", "held") if number else ("waiting",), after, wait)
    return found.model_copy(update={"holder": phone.holder}).model_dump_json()


async def look(phone: Phone, _client: str, lease: str, after: int, wait: float) -> str:
    """Return the same for a lease that has begun; one that the phone does not have is ``unknown``."""
    known = phone.lease(lease)
    found = Polled(state="unknown") if known is None else await known.poll(("held",), after, wait)
    return found.model_dump_json()


async def call(
    phone: Phone, client: str, lease: str, number: int, method: str, arguments: str, last: bool, after: int, wait: float
) -> str:
    """Queue a call and look; with ``last`` the lease ends after it. A call that was queued before is not again."""
    known = phone.lease(lease)
    if known is not None:
        known.call(number, method, json.loads(arguments), last=last)
    return await look(phone, client, lease, after, wait)


async def end(phone: Phone, _client: str, lease: str, reason: str) -> None:
    """End a lease."""
    if (known := phone.lease(lease)) is not None:
        known.end(reason)


async def release(phone: Phone, _client: str) -> bool:
    """End the phone's quarantine; return whether there was one."""
    return phone.release()


QUESTIONS: dict[str, Callable[..., Awaitable[Any]]] = {one.__name__: one for one in (poll, look, call, end, release)}


def build(order: str, token: str) -> str:
    """Compile an order into the shared cache, on a worker that compiles; return how it ended."""
    from distributed import get_worker

    from harness.lab.wire import Compiled, CompileOrder

    worker: Any = get_worker()  # a BuildWorker of :mod:`harness.lab.agent`
    try:
        worker.admitted_now(token)
    except TokenRefused as error:
        refused = Compiled(
            worker=worker.builder.name, seconds=0, error="TokenRefused", text=str(error.args[0]), cure=error.cure
        )
        return refused.model_dump_json()
    builder: Builder = worker.builder
    return builder.build(CompileOrder.model_validate_json(order)).model_dump_json()
