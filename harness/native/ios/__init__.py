"""Build apps for iPhones and their simulator on any machine, sign them as the user wants, and check them."""

from harness.native.ios.app import APP, BUNDLE_ID, COMPANION, EXECUTABLE, AppOptions, build_app, pack_app, unpack_app
from harness.native.ios.checks import check_app
from harness.native.ios.facts import AppFacts, MachFacts, app_facts, mach_facts
from harness.native.ios.profile import Profile, read_profile
from harness.native.ios.signing import Signing, SigningCommand, sign_app

__all__ = [
    "APP",
    "BUNDLE_ID",
    "COMPANION",
    "EXECUTABLE",
    "AppFacts",
    "AppOptions",
    "MachFacts",
    "Profile",
    "Signing",
    "SigningCommand",
    "app_facts",
    "build_app",
    "check_app",
    "mach_facts",
    "pack_app",
    "read_profile",
    "sign_app",
    "unpack_app",
]
