"""The functions that clients call on a phone's worker, through Dask's scheduler.

Their arguments and results are text and numbers. Dask sends the functions by their names, so that client and agent need
the same package, which a phone's card shows.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness.lab.wire import Polled

if TYPE_CHECKING:
    from harness.lab.building import Builder
    from harness.lab.phone import Phone


def hold(lease: str, owner: str, wait_seconds: float) -> None:
    """Hold the phone for a lease. This is the task that Dask queues by priority, one at a time on each phone."""
    from distributed import get_worker

    phone: Phone = get_worker().phone  # type: ignore[attr-defined]
    phone.serve(phone.expect(lease, owner, wait_seconds))


async def poll(lease: str, owner: str, wait_seconds: float, after: int, wait: float, *, dask_worker: Any = None) -> str:
    """Return what happened in the lease behind event ``after``; this is the client's sign of life, too."""
    phone: Phone = dask_worker.phone
    found = await phone.expect(lease, owner, wait_seconds).poll("waiting", after, wait)
    return found.model_copy(update={"holder": phone.holder}).model_dump_json()


async def look(lease: str, after: int, wait: float, *, dask_worker: Any = None) -> str:
    """Return the same for a lease that has begun; one that the phone does not have is ``unknown``."""
    phone: Phone = dask_worker.phone
    known = phone.lease(lease)
    found = Polled(state="unknown") if known is None else await known.poll("held", after, wait)
    return found.model_dump_json()


async def call(lease: str, number: int, method: str, arguments: str, *, dask_worker: Any = None) -> bool:
    """Queue a call; return whether the phone has the lease."""
    phone: Phone = dask_worker.phone
    known = phone.lease(lease)
    if known is not None:
        known.call(number, method, json.loads(arguments))
    return known is not None


async def end(lease: str, reason: str, *, dask_worker: Any = None) -> None:
    """End a lease."""
    phone: Phone = dask_worker.phone
    if (known := phone.lease(lease)) is not None:
        known.end(reason)


def build(order: str) -> str:
    """Compile an order into the shared cache, on a worker that compiles; return how it ended."""
    from distributed import get_worker

    from harness.lab.wire import CompileOrder

    builder: Builder = get_worker().builder  # type: ignore[attr-defined]
    return builder.build(CompileOrder.model_validate_json(order)).model_dump_json()


async def release(*, dask_worker: Any = None) -> bool:
    """End the phone's quarantine; return whether there was one."""
    phone: Phone = dask_worker.phone
    return phone.release()
