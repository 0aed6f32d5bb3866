"""Define the options of measuring on an iPhone; the defaults are for one on a desk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.devices.options import DeviceOption

if TYPE_CHECKING:
    from harness.native.ios import Signing

LauncherName = Literal["appservice", "dvt", "debugserver"]
LAUNCHERS: tuple[LauncherName, ...] = ("appservice", "dvt", "debugserver")
TunnelName = Literal["userspace", "tunneld"]
SIGN_COMMAND = DeviceOption(
    "--ios-sign-command",
    "what signs the app bundle whose path it is given ({} or last), such as "
    "'codesign -f -s NAME --entitlements FILE {}'",
    metavar="CMD",
)
CERTIFICATE = DeviceOption(
    "--ios-certificate",
    "sign with this certificate and its key, a .p12 file, instead of a command; its password is in "
    "HARNESS_IOS_CERTIFICATE_PASSWORD or in the file of --ios-certificate-password-file",
    metavar="FILE",
)
PASSWORD_FILE = DeviceOption(
    "--ios-certificate-password-file", "a file whose first line is the certificate's password", metavar="FILE"
)
PASSWORD_VARIABLE = "HARNESS_IOS_CERTIFICATE_PASSWORD"
PROFILE = DeviceOption("--ios-profile", "the .mobileprovision that goes with --ios-certificate", metavar="FILE")
BUNDLE_ID = DeviceOption(
    "--ios-bundle-id", "bundle id that your profile allows", metavar="ID", commands=("suites",), of_run=True
)
LAUNCHER = DeviceOption(
    "--ios-launcher",
    "how the app is started: appservice (default for iOS 17 and newer), dvt (default before), debugserver",
    metavar="L",
    choices=LAUNCHERS,
)
KEEP_APP = DeviceOption(
    "--ios-keep-app",
    "leave the app on the iPhone, so that the same build is not installed again next time",
    switch=True,
    commands=("suites",),
)
TUNNELD = ("127.0.0.1", 49151)


@dataclass(frozen=True)
class Way:
    """Define how a phone is reached.

    If ``usbmux_address`` is None, it is the system's usbmuxd, or ``USBMUXD_SOCKET_ADDRESS``. If ``records`` is None, it
    is pymobiledevice3's own folder of pairing records.
    """

    usbmux_address: str | None = None
    tunnels: tuple[TunnelName, ...] = ("userspace", "tunneld")
    tunneld: tuple[str, int] = TUNNELD
    records: Path | None = None


@dataclass(frozen=True)
class IosOptions:
    """Hold the options. Times are seconds.

    ``trust_seconds`` is how long the question on the screen may stay unanswered. ``grace_seconds`` is how long a lost
    phone may take to come back. ``settle_poll_seconds`` is the time between looks at one that is too hot or too empty.
    ``poll_seconds`` is the time between reads of a running app's result. ``exit_seconds`` is how long an app may live
    after its end record. ``crash_seconds`` is how long the system may take to write a crash report.
    """

    launcher: LauncherName | None = None
    """None means the best launcher of the phone's iOS."""
    signing: Signing | None = None
    """None if the app is signed without changes."""
    keep_app: bool = False
    trust_seconds: float = 60.0
    grace_seconds: float = 60.0
    settle_poll_seconds: float = 5.0
    poll_seconds: float = 0.25
    exit_seconds: float = 5.0
    crash_seconds: float = 5.0
    max_log_bytes: int = 64 * 2**20
