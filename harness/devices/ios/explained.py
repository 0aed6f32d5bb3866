"""Turn pymobiledevice3's errors into errors that a person understands."""

from __future__ import annotations

import asyncio
import ssl

from pymobiledevice3 import exceptions as theirs
from pymobiledevice3.dtx import DTXNsError, DTXProtocolError, QueueShutDown

from harness.core.errors import HarnessError
from harness.devices.errors import DeviceError, DeviceFull, DeviceLost, DeviceUnauthorized, NoDevice
from harness.devices.ios.errors import (
    DeveloperModeOff,
    ImageMissing,
    InstallRefused,
    PairingPending,
    PairingRefused,
    PhoneLocked,
    TunnelMissing,
    UsbmuxUnavailable,
)

CONNECTING = ("opening", "listing the phones")
NO_PERMISSION = "everybody may use the socket as Debian sets it up: compare `ls -l /var/run/usbmuxd`, and its folder's"
SIGNATURE = "sign the app again for this iPhone: docs/ios-build.md, Signing"
INSTALL_CURES = {
    "0xe8008012": "add this iPhone to the provisioning profile (its UDID is above), download the profile, sign again",
    "0xe8008015": "the profile has to be for this bundle id, list this iPhone, and not be expired: sign again with one",
    "0xe8008018": "the certificate was revoked or has expired: make a new one, with a profile that names it",
    "0xe80080": SIGNATURE,
    "MismatchedApplicationIdentifierEntitlement": "another team signed the app that is there: remove it by hand, or "
    "choose another --ios-bundle-id",
    "maximum number of apps": "a free account may have only a few apps on an iPhone: remove one by hand",
}
"""What mends an installer's refusal, by what its words contain; the first that fits."""
NO_SPACE = 18
"""AFC's status for a full disk; the module of its enumeration takes long to import."""
LOST = (
    theirs.ConnectionTerminatedError,
    theirs.ConnectionFailedError,
    theirs.ChannelClosedError,
    theirs.NotConnectedError,
    theirs.MuxException,
    theirs.DeviceNotFoundError,
    theirs.NoDeviceConnectedError,
    theirs.InvalidConnectionError,
    theirs.RemoteXPCHandshakeTimeoutError,
    DTXProtocolError,
    QueueShutDown,
    ConnectionError,
    EOFError,
    OSError,
    ssl.SSLError,
    asyncio.IncompleteReadError,
    asyncio.TimeoutError,
)
TROUBLE = (*LOST, theirs.PyMobileDevice3Exception, DTXNsError)
"""All errors of talking to a phone, besides our own mistakes."""


def is_loss(error: BaseException) -> bool:
    """Return whether an error means that the connection is gone, so that nothing else can be asked through it."""
    return isinstance(error, LOST) and not isinstance(error, theirs.AfcException)


def explained(error: BaseException, what: str, phone: str) -> HarnessError:
    """Return the error to raise instead; ``what`` names the work, ``phone`` is a person's name for the phone."""
    known = _known(error, what, phone)
    if known is not None:
        return known
    if is_loss(error):
        return DeviceLost(f"{phone} was lost while {what}: {words_of(error)}")
    return DeviceError(f"{phone} refused {what}: {words_of(error)}", cure="see docs/ios.md, Troubleshooting")


def words_of(error: BaseException) -> str:
    """Return the error's own message on one line; its class name if it has none."""
    message = " ".join(str(error).split())
    if isinstance(error, DTXNsError):
        message = described(error.error.user_info) or message
    elif isinstance(error, theirs.CoreDeviceError) and error.user_info:
        message = described(error.user_info) or message
    return message[:500] or type(error).__name__


def described(user_info: object) -> str:
    """Return the descriptions inside an NSError, the innermost and most specific first."""
    if not isinstance(user_info, dict):
        return ""
    parts = [str(user_info[key]) for key in ("NSLocalizedFailureReason", "NSLocalizedDescription") if key in user_info]
    below = user_info.get("NSUnderlyingError")
    # It is an object over DTX and a dictionary over RemoteXPC.
    inner = below.get("userInfo") if isinstance(below, dict) else getattr(below, "user_info", None)
    return " ".join(dict.fromkeys(part for part in (described(inner), *parts) if part))


def _known(error: BaseException, what: str, phone: str) -> HarnessError | None:
    if isinstance(error, HarnessError):
        return error
    if isinstance(error, theirs.ConnectionFailedToUsbmuxdError):
        return UsbmuxUnavailable("usbmuxd does not answer")
    if isinstance(error, PermissionError) and not isinstance(error, theirs.AfcException) and what in CONNECTING:
        return UsbmuxUnavailable(f"usbmuxd may not be used: {words_of(error)}", cure=NO_PERMISSION)
    if isinstance(error, (theirs.NoDeviceConnectedError, theirs.DeviceNotFoundError)) and what == "opening":
        return NoDevice(f"{phone} is not attached")
    if isinstance(error, theirs.PairingDialogResponsePendingError):
        return PairingPending(f"{phone} still asks whether to trust this computer")
    if isinstance(error, theirs.UserDeniedPairingError):
        return PairingRefused(f"{phone} was set not to trust this computer")
    if isinstance(error, (theirs.PasswordRequiredError, theirs.PasscodeRequiredError)):
        return PhoneLocked(f"{phone} is locked")
    if isinstance(error, (theirs.PairingError, theirs.NotPairedError, theirs.FatalPairingError)):
        return DeviceUnauthorized(f"{phone} is not paired with this computer: {words_of(error)}")
    if isinstance(error, (theirs.DeveloperModeIsNotEnabledError, theirs.DeveloperModeError)):
        return DeveloperModeOff(f"Developer Mode of {phone} is off")
    if isinstance(error, theirs.DeveloperDiskImageNotFoundError):
        return ImageMissing(f"there is no developer disk image for {phone}")
    if isinstance(error, (theirs.UserspaceTunnelUnavailableError, theirs.TunneldConnectionError)):
        return TunnelMissing(f"there is no tunnel to {phone}")
    if isinstance(error, theirs.AfcException) and error.status == NO_SPACE:
        return DeviceFull(f"no room on {phone} for {what}")
    if isinstance(error, theirs.AppInstallError):
        return _install(error, phone)
    return None


def _install(error: theirs.AppInstallError, phone: str) -> HarnessError:
    message = words_of(error)
    if "space" in message.lower() or "LowDiskSpace" in message:
        return DeviceFull(f"no room on {phone} for the app: {message}")
    cure = next((cure for words, cure in INSTALL_CURES.items() if words.lower() in message.lower()), None)
    return InstallRefused(f"{phone} refused to install the app: {message}", cure=cure)
