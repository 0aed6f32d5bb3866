"""Bring files into a user's app and out of it through house_arrest; coroutines over a ``Link``."""

from __future__ import annotations

from typing import BinaryIO

from pymobiledevice3.exceptions import (
    AfcException,
    AfcFileNotFoundError,
    AppNotInstalledError,
    PyMobileDevice3Exception,
)
from pymobiledevice3.services.afc import AfcError
from pymobiledevice3.services.house_arrest import HouseArrestService

from harness.devices.appfiles import MOST_BYTES, AppFilesRefused, too_large
from harness.devices.ios.explained import is_loss
from harness.devices.ios.files import CHUNK_BYTES
from harness.devices.ios.link import Link


async def send_file(link: Link, app: str, name: str, data: bytes) -> None:
    """Write a file in the app's Documents, whole or not at all; raises AppFilesRefused."""
    async with await _documents(link, app) as afc:
        partial = f"/Documents/{name}.partial"
        await afc.set_file_contents(partial, data)
        await afc.rm_single(f"/Documents/{name}", force=True)
        await afc.rename(partial, f"/Documents/{name}")


async def fetch_file(link: Link, app: str, name: str, stream: BinaryIO) -> int:
    """Write the app's file to ``stream``; return its number of bytes. Raises AppFilesRefused."""
    size = 0
    async with await _documents(link, app) as afc:
        try:
            handle = await afc.fopen(f"/Documents/{name}")
        except AfcFileNotFoundError as error:
            raise AppFilesRefused(
                f"{app} on {link.label} has no file {name}", cure="let the app call selfTest first"
            ) from error
        while data := await _chunk(afc, handle):
            size += len(data)
            if size > MOST_BYTES:
                raise too_large(name, app)
            stream.write(data)
        await afc.fclose(handle)
    return size


async def _chunk(afc: HouseArrestService, handle: int) -> bytes:
    try:
        return await afc.fread(handle, CHUNK_BYTES)
    except AfcException as error:
        if error.status == AfcError.END_OF_DATA:
            return b""
        raise


async def _documents(link: Link, app: str) -> HouseArrestService:
    """Open the app's Documents: shared by the app itself, or as the container of an app that may be debugged."""
    for shared in (True, False):
        opened = await _opened(link, app, documents_only=shared)
        if opened is not None:
            return opened
    raise AppFilesRefused(
        f"{link.label} does not open the folder of {app}",
        cure="set UIFileSharingEnabled in the app's Info.plist, or sign it for development",
    )


async def _opened(link: Link, app: str, *, documents_only: bool) -> HouseArrestService | None:
    """Return the app's folder, or None if the phone refuses it in this way."""
    try:
        return await HouseArrestService.create(await link.lockdown(), app, documents_only=documents_only)
    except AppNotInstalledError as error:
        raise AppFilesRefused(f"{app} is not installed on {link.label}", cure="install it, or correct --app") from error
    except PyMobileDevice3Exception as error:
        if is_loss(error):
            raise
        return None
