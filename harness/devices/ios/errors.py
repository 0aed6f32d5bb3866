"""Define the errors between this computer and an iPhone before anything runs."""

from __future__ import annotations

import shlex
import sys

from harness.core.installation import install_command
from harness.devices.errors import DeviceError, DeviceUnauthorized, RunnerUnusable

TUNNELD_COMMAND = f"sudo {shlex.quote(sys.executable)} -m pymobiledevice3 remote tunneld"
"""What starts a tunneld. Root's PATH lacks a virtual environment's commands, so its Python is named."""


class IosSupportMissing(DeviceError):
    """The optional package for iPhones is not installed."""

    cure = install_command("ios")


class UsbmuxUnavailable(DeviceError):
    """The daemon that multiplexes connections to iPhones does not run."""

    cure = (
        "Linux: apt install usbmuxd, and plug the iPhone in, which starts it; in a container, mount /var/run/usbmuxd; "
        "or set USBMUXD_SOCKET_ADDRESS"
    )


class PairingPending(DeviceUnauthorized):
    """Nobody has answered the question on the iPhone's screen whether it trusts this computer."""

    cure = "unlock the iPhone, tap Trust, and run again"


class PairingRefused(DeviceUnauthorized):
    """Somebody has answered it with Don't Trust."""

    cure = (
        "unplug the iPhone, plug it in again, tap Trust, and run again; if it does not ask: Settings → General → "
        "Transfer or Reset iPhone → Reset → Reset Location & Privacy"
    )


class PhoneLocked(DeviceError):
    """The iPhone's screen is locked, so it starts no app."""

    cure = "unlock the iPhone; Settings → Display & Brightness → Auto-Lock → Never keeps it so"


class DeveloperModeOff(DeviceError):
    """Developer Mode is off (iOS 16 and newer)."""

    cure = (
        "on the iPhone: Settings → Privacy & Security → Developer Mode, on; it restarts and asks once more; then run "
        "again. A run or Xcode makes the entry appear"
    )


class ImageMissing(DeviceError):
    """The developer disk image, which contains the services that start apps, is not mounted and cannot be."""

    cure = (
        "give this computer internet access once (the image is downloaded and signed by Apple), or mount it with Xcode"
    )


class ImageTooOld(ImageMissing):
    """The downloaded image, or the library that downloads it, is older than the iPhone."""

    # The harness allows only the versions of the library that it was tested with, so that is not updated alone.
    cure = (
        "update the harness and with it pymobiledevice3, which downloads the image of newer iPhones; or mount it with "
        "Xcode"
    )


class TunnelMissing(DeviceError):
    """iOS 17 and newer start apps only through a tunnel, and there is none."""

    cure = f"run `{TUNNELD_COMMAND}` in another terminal, and run again"


class DeveloperNotTrusted(RunnerUnusable):
    """The iPhone starts no app of this developer's before its owner trusts them."""

    cure = "trust the developer on the iPhone: Settings → General → VPN & Device Management; or sign the app for it"


class InstallRefused(DeviceError):
    """The iPhone does not install this app."""

    cure = "read the iPhone's own words: they name what of the app or its signature it does not accept"
