"""Read and write the app's Documents folder through house_arrest; coroutines over a ``Link``."""

from __future__ import annotations

import contextlib
from types import TracebackType

from pymobiledevice3.exceptions import AfcException, AfcFileNotFoundError
from pymobiledevice3.services.afc import AfcError
from pymobiledevice3.services.house_arrest import HouseArrestService

from harness.devices.ios.link import Link

ORDER, RESULT = "order.json", "result.jsonl"
"""The file names that the app uses."""
CHUNK_BYTES = 2**20


async def place_order(link: Link, bundle_id: str, order: bytes) -> None:
    """Write the order, and remove another order's result, which the app would not overwrite."""
    async with await _documents(link, bundle_id) as afc:
        await afc.rm_single(_path(RESULT), force=True)
        await afc.set_file_contents(_path(ORDER), order)


async def clear(link: Link, bundle_id: str) -> None:
    """Remove order and result."""
    async with await _documents(link, bundle_id) as afc:
        for name in (ORDER, RESULT):
            await afc.rm_single(_path(name), force=True)


class Tail:
    """Read the result file while it grows, through one handle that stays open."""

    def __init__(self, link: Link, bundle_id: str) -> None:
        self._link = link
        self._bundle_id = bundle_id
        self._afc: HouseArrestService | None = None
        self._handle: int | None = None

    async def read(self) -> bytes:
        """Return what was appended since the last call, a mebibyte at most; nothing while there is no file."""
        if self._afc is None:
            self._afc = await _documents(self._link, self._bundle_id)
        if self._handle is None:
            try:
                self._handle = await self._afc.fopen(_path(RESULT))
            except AfcFileNotFoundError:
                return b""
        try:
            return await self._afc.fread(self._handle, CHUNK_BYTES)
        except AfcException as error:
            if error.status == AfcError.END_OF_DATA:
                return b""
            raise

    async def close(self) -> None:
        """Close the connection; the phone closes the handle."""
        afc, self._afc, self._handle = self._afc, None, None
        if afc is not None:
            with contextlib.suppress(OSError):
                await afc.aclose()

    async def __aenter__(self) -> Tail:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _documents(link: Link, bundle_id: str) -> HouseArrestService:
    return await HouseArrestService.create(await link.lockdown(), bundle_id, documents_only=True)


def _path(name: str) -> str:
    return f"/Documents/{name}"
