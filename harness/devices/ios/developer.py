"""What a phone needs before it starts an app for a developer: Developer Mode and the developer disk image."""

from __future__ import annotations

import asyncio

from pymobiledevice3.common import get_home_folder
from pymobiledevice3.exceptions import (
    AlreadyMountedError,
    DeveloperModeIsNotEnabledError,
)
from pymobiledevice3.lockdown_service_provider import LockdownServiceProvider
from pymobiledevice3.services import mobile_image_mounter as mounter

from harness.devices.base import Notify
from harness.devices.ios.errors import DeveloperModeOff, ImageMissing
from harness.devices.ios.explained import TROUBLE, words_of
from harness.devices.ios.link import Link


async def make_ready(link: Link, notify: Notify) -> None:
    """Raises DeveloperModeOff, ImageMissing, TunnelMissing; mounts the image where it is missing."""
    lockdown = await link.lockdown()
    if lockdown.has_developer_mode and not await lockdown.get_developer_mode_status():
        raise DeveloperModeOff(f"Developer Mode of {link.label} is off")
    if not await _mounted(lockdown):
        notify(f"mounting the developer disk image on {link.label}")
        await _mount(link)
    await link.developer()


async def _mounted(lockdown: LockdownServiceProvider) -> bool:
    async with mounter.MobileImageMounterService(lockdown) as service:
        return await service.is_image_mounted(mounter.image_type_for_device(lockdown))


async def _mount(link: Link) -> None:
    lockdown = await link.lockdown()
    try:
        await _fetch(lockdown)
        await mounter.auto_mount(await link.developer())
    except AlreadyMountedError:
        return
    except DeveloperModeIsNotEnabledError as error:
        raise DeveloperModeOff(f"Developer Mode of {link.label} is off") from error
    # What is downloaded comes from other computers: a connection that fails there is not the phone's.
    except (*TROUBLE, KeyError, ValueError) as error:
        raise ImageMissing(
            f"the developer disk image is not mounted on {link.label} and cannot be: {words_of(error)}"
        ) from error


async def _fetch(lockdown: LockdownServiceProvider) -> None:
    """Have the image on this computer, in a thread: the library downloads it in a way that blocks the loop."""
    if mounter.uses_personalized_image(lockdown):
        if not mounter.uses_cryptex_image(lockdown):
            await asyncio.to_thread(mounter.fetch_personalized_ddi)
        return
    version = ".".join([*lockdown.product_version.split("."), "0"][:2])
    image = mounter._developer_disk_image_path(get_home_folder() / "Xcode.app", version)
    if not image.exists():
        signature = image.with_name(f"{image.name}.signature")
        await asyncio.to_thread(mounter._download_developer_disk_image, version, image, signature)
