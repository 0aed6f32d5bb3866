"""Prepare a phone to start developers' apps: check Developer Mode and mount the developer disk image."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from packaging.version import Version
from pymobiledevice3.common import get_home_folder
from pymobiledevice3.exceptions import (
    AlreadyMountedError,
    ConnectionTerminatedError,
    DeveloperDiskImageNotFoundError,
    DeveloperModeIsNotEnabledError,
    MuxException,
    NoSuchBuildIdentityError,
    TSSError,
)
from pymobiledevice3.lockdown_service_provider import LockdownServiceProvider
from pymobiledevice3.services import cryptexd
from pymobiledevice3.services import mobile_image_mounter as mounter
from pymobiledevice3.services.amfi import AmfiService

from harness.devices.base import Notify
from harness.devices.ios.errors import DeveloperModeOff, ImageMissing, ImageTooOld, PhoneLocked
from harness.devices.ios.explained import TROUBLE, words_of
from harness.devices.ios.link import Link

OLD = (NoSuchBuildIdentityError, DeveloperDiskImageNotFoundError, TSSError)
"""The errors of an image that does not know this iPhone, of an iOS without one, and of one that Apple does not sign."""


async def make_ready(link: Link, notify: Notify) -> None:
    """Make the phone ready to start apps; the image is mounted if it is missing.

    Raises DeveloperModeOff, ImageMissing, PhoneLocked, TunnelMissing.
    """
    lockdown = await link.lockdown()
    if lockdown.has_developer_mode and not await lockdown.get_developer_mode_status():
        # The settings show no switch before a developer's computer asked for it.
        with contextlib.suppress(*TROUBLE):
            await AmfiService(lockdown).reveal_developer_mode_option_in_ui()  # type: ignore[no-untyped-call]
        raise DeveloperModeOff(f"Developer Mode of {link.label} is off")
    if not await _mounted(lockdown):
        notify(f"mounting the developer disk image on {link.label}")
        await _mount(link)
        # A tunnel learns its services when it is opened, and this one was opened before the image brought them.
        await link.drop_tunnel()
    await link.developer()


async def _mounted(lockdown: LockdownServiceProvider) -> bool:
    async with mounter.MobileImageMounterService(lockdown) as service:
        return await service.is_image_mounted(mounter.image_type_for_device(lockdown))


async def _mount(link: Link) -> None:
    provider = await link.developer()
    try:
        await _fetch(provider)
        await mounter.auto_mount(provider)
    except AlreadyMountedError:
        return
    except DeveloperModeIsNotEnabledError as error:
        raise DeveloperModeOff(f"Developer Mode of {link.label} is off") from error
    except (ConnectionTerminatedError, MuxException):
        raise  # the phone's own
    # Downloads and signatures come from other computers, whose failures and odd answers are not the phone's.
    except (*TROUBLE, LookupError, ValueError) as error:
        message = words_of(error)
        if "DeviceLocked" in message:
            raise PhoneLocked(f"{link.label} is locked, and mounts no developer disk image") from error
        missing = ImageTooOld if isinstance(error, OLD) else ImageMissing
        raise missing(f"the developer disk image is not mounted on {link.label} and cannot be: {message}") from error


async def _fetch(provider: LockdownServiceProvider) -> None:
    """Download the image to this computer in a thread, because the library's download blocks the loop."""
    if mounter.uses_personalized_image(provider):
        cryptex = mounter.uses_cryptex_image(provider)
        await asyncio.to_thread(cryptexd.fetch_cryptex_ddi if cryptex else mounter.fetch_personalized_ddi)
        return
    system = Version(provider.product_version)
    version = f"{system.major}.{system.minor}"
    # The library looks in the same places.
    shipped, kept = (
        mounter._developer_disk_image_path(xcode, version)
        for xcode in (Path("/Applications/Xcode.app"), get_home_folder() / "Xcode.app")
    )
    if not shipped.exists() and not kept.exists():
        signature = kept.with_name(f"{kept.name}.signature")
        await asyncio.to_thread(mounter._download_developer_disk_image, version, kept, signature)
