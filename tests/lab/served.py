"""A lab's page served in a thread of the test, of made-up phones and of a real results folder."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from harness.cli.documents.lab import LabDocument, lab_document
from harness.cli.labpage.server import ServeOptions, start
from harness.cli.labpage.stored import StoredResults
from harness.cli.labpage.watch import LabWatch
from harness.lab.client import Census
from harness.lab.wire import PROTOCOL, BuilderCard, Card, Waiter, Work
from harness.results.shared import shared_store
from harness.results.store import Store

HOSTILE = "</td><img src=x onerror=\"document.title='owned'\">\x1b[31m\u202e&amp;'"
"""What a phone or a client may call itself: it ends a cell, runs something, and changes a terminal's colour."""


def card(name: str, state: Any = "free", **more: Any) -> Card:
    host, _, serial = name.partition("/")
    labels = {"name": name, "host": host, "model": "Pixel 8", "os": "15", "battery": 80, **more.pop("labels", {})}
    facts: dict[str, Any] = {
        "harness": "1.2",
        "device": f"phone {serial}",
        "kind": "android",
        "target": "android-arm64",
    }
    return Card(
        protocol=PROTOCOL, name=name, host=host, serial=serial, store="file:///s", facts={}, state=state, labels=labels,
        **facts | more,
    )  # fmt: skip


def hostile_cards() -> list[Card]:
    """A quiet phone, a held one with a queue, and one whose every text attacks the page."""
    return [
        card("desk/a1"),
        card(
            "desk/a2",
            "held",
            holder="process 7 of ana@desk",
            work=Work(seconds=312.0, doing="run", records=41),
            waiting=2,
            queue=[Waiter(owner="process 8 of ben@lap", seconds=61.0), Waiter(owner=HOSTILE, seconds=3.0)],
        ),
        card(
            "rack/x1",
            "quarantined",
            reason=HOSTILE,
            device=HOSTILE,
            emulated=True,
            holder=HOSTILE,
            labels={HOSTILE: HOSTILE, "soc": [HOSTILE, "SM8650"], "model": "very-long-" * 15},
        ),
    ]


class Watched:
    """Stands for a LabWatch; a test changes what it has seen."""

    def __init__(self, cards: list[Card]) -> None:
        self.cards, self.trouble = cards, cast("str | None", None)

    def document(self) -> LabDocument:
        one = BuilderCard(
            protocol=PROTOCOL, harness="1", name="rack/compile-1", host="rack", store="file:///s", doing=HOSTILE,
            seconds=30.0, done=2,
        )  # fmt: skip
        census = Census("s", {one.name: one for one in self.cards}, {}, {one.name: one})
        return lab_document("tcp://127.0.0.1:8786", census, 1.0, self.trouble)


@contextmanager
def served(watched: Watched, results: Path | str | None, *names: str, **options: Any) -> Iterator[str]:
    """The page's address while it is served. ``results``: a folder, or a results store's address."""
    loop = asyncio.new_event_loop()

    def opened() -> Store:
        return shared_store(results) if isinstance(results, str) else Store(cast(Path, results))

    async def begin() -> Any:
        found = None if results is None else StoredResults(opened, kept=0.0 if isinstance(results, str) else 15.0)
        return start(ServeOptions(port=0, names=names, **options), cast(LabWatch, watched), found)

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server, address = asyncio.run_coroutine_threadsafe(begin(), loop).result(30)

    async def end() -> None:
        server.stop()
        await server.close_all_connections()

    try:
        yield address
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
