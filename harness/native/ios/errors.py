"""Define the errors of an app before it is installed on an iPhone."""

from __future__ import annotations

from harness.core.errors import ExitCode, HarnessError, UsageError

SIGNING_PAGE = "docs/ios-build.md#signing"


class AppUnusable(HarnessError):
    """Base of these errors."""


class NotAnApp(AppUnusable):
    """A file or folder is no app bundle, or would write outside its folder."""

    cure = "build it again; `harness cache clear` removes damaged ones"


class BadBundleId(UsageError):
    """``--ios-bundle-id`` is no bundle id."""

    cure = "letters, digits, hyphens and at least one dot, such as com.example.runner"


class SigningFailed(AppUnusable):
    """The command of ``--ios-sign-command`` did not sign."""

    cure = f"its message is above; run it by hand on the bundle that it names. Examples: {SIGNING_PAGE}"


class BadSignCommand(UsageError):
    """``--ios-sign-command`` is no command line."""

    cure = f"quote it as a shell would, with {{}} where the bundle's path belongs. Examples: {SIGNING_PAGE}"


class ProfileMissing(AppUnusable):
    """The bundle holds no provisioning profile."""

    cure = f"let --ios-sign-command copy one to BUNDLE/embedded.mobileprovision before it signs: {SIGNING_PAGE}"


class ProfileUnreadable(AppUnusable):
    """``embedded.mobileprovision`` is no provisioning profile."""

    cure = "download it again from Apple's developer site, or let Xcode renew it"


class ProfileExpired(AppUnusable):
    """The profile is no longer valid."""

    cure = "renew it on Apple's developer site (a free account's profiles last seven days), then sign again"


class DeviceNotInProfile(AppUnusable):
    """The profile does not list the device."""

    cure = "register the device's UDID on Apple's developer site, download the profile again and sign with it"


class BundleIdMismatch(AppUnusable):
    """The profile is for another app."""

    cure = "name the profile's with --ios-bundle-id, or make a profile for this one"


class AppNotSigned(AppUnusable):
    """The executable carries no signature."""

    cure = f"give --ios-sign-command a command that signs the bundle: {SIGNING_PAGE}"


class WrongPlatform(AppUnusable):
    """The executable is for another system or processor than the device's."""

    cure = "compile for ios-arm64 (phones) or ios-arm64-simulator (the simulator)"


class UnknownSymbols(HarnessError):
    """The linker found symbols that are neither ours nor in the lists of iOS's symbols."""

    cure = "if iOS has had them since its oldest supported release, add them to harness/native/ios/stubs"
    exit_code = ExitCode.FAILURE
