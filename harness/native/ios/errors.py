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
    """The program that signs did not."""

    cure = f"its message is above; run it by hand on the bundle that it names. Examples: {SIGNING_PAGE}"


class CertificateUnreadable(AppUnusable):
    """``--ios-certificate`` is no certificate with its key, or its password is another one."""

    cure = (
        "export the certificate together with its key as a .p12 file (Keychain Access, or openssl pkcs12 -export), and "
        "put its password into HARNESS_IOS_CERTIFICATE_PASSWORD or a file for --ios-certificate-password-file"
    )


class CertificateExpired(AppUnusable):
    """The certificate is not valid today."""

    cure = "make a new one on Apple's developer site, add it to the profile, and export both again"


class CertificateNotInProfile(AppUnusable):
    """The profile does not name the certificate, so a device refuses what it signs."""

    cure = "choose the certificate in the profile on Apple's developer site, and download the profile again"


class SignerMissing(AppUnusable):
    """There is no ``rcodesign``, and it could not be built."""

    cure = "install it (`cargo install apple-codesign --locked`), or sign with a command: --ios-sign-command"


class BadSignCommand(UsageError):
    """``--ios-sign-command`` is no command line."""

    cure = f"quote it as a shell would, with {{}} where the bundle's path belongs. Examples: {SIGNING_PAGE}"


class ProfileMissing(AppUnusable):
    """The bundle holds no provisioning profile."""

    cure = (
        "give it with --ios-profile and --ios-certificate, or let --ios-sign-command copy it to "
        f"BUNDLE/embedded.mobileprovision before it signs: {SIGNING_PAGE}"
    )


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

    cure = f"sign with --ios-certificate and --ios-profile, or with a command, --ios-sign-command: {SIGNING_PAGE}"


class WrongPlatform(AppUnusable):
    """The executable is for another system or processor than the device's."""

    cure = "compile for ios-arm64 (phones) or ios-arm64-simulator (the simulator)"


class UnknownSymbols(HarnessError):
    """The linker found symbols that are neither ours nor in the lists of iOS's symbols."""

    cure = "if iOS has had them since its oldest supported release, add them to harness/native/ios/stubs"
    exit_code = ExitCode.FAILURE
