"""Check a signed app before it goes to a phone, and report what the phone would refuse, with the cure."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from harness.native.inspection import UnreadableBinary
from harness.native.ios.errors import (
    AppNotSigned,
    BundleIdMismatch,
    DeviceNotInProfile,
    ProfileExpired,
    WrongPlatform,
)
from harness.native.ios.facts import AppFacts, app_facts
from harness.native.ios.profile import Profile, read_profile


def check_app(app: Path, udid: str, bundle_id: str | None = None, *, now: datetime | None = None) -> Profile:
    """Check that a device with that UDID would install and start the bundle, and return its profile.

    ``bundle_id``: the identifier that the bundle must have. Raises NotAnApp, WrongPlatform, AppNotSigned,
    ProfileMissing, ProfileUnreadable, ProfileExpired, DeviceNotInProfile or BundleIdMismatch.
    """
    facts = _executable(app)
    if bundle_id is not None and facts.bundle_id != bundle_id:
        raise BundleIdMismatch(
            f"{app.name} is {facts.bundle_id}, not {bundle_id}", cure="let --ios-sign-command keep CFBundleIdentifier"
        )
    if not facts.signed:
        raise AppNotSigned(f"the executable of {app.name} carries no code signature")
    profile = read_profile(app)
    now = now or datetime.now(timezone.utc)
    if profile.expires <= now:
        raise ProfileExpired(f"the profile {profile.name!r} expired on {profile.expires:%Y-%m-%d %H:%M} UTC")
    if not profile.covers(facts.bundle_id):
        raise BundleIdMismatch(f"the profile {profile.name!r} is for {profile.app_id}, the app is {facts.bundle_id}")
    if not profile.lists(udid):
        listed = 0 if profile.devices is None else len(profile.devices)
        raise DeviceNotInProfile(f"the profile {profile.name!r} lists {listed} devices, {udid} is none of them")
    return profile


def _executable(app: Path) -> AppFacts:
    try:
        facts = app_facts(app)
    except UnreadableBinary as error:
        raise WrongPlatform(Exception.__str__(error)) from error
    if (facts.platform, facts.architecture) != ("device", "ARM64"):
        what = "the simulator" if facts.platform == "simulator" else facts.platform
        raise WrongPlatform(f"the executable of {app.name} is for {what} on {facts.architecture}, not for an iPhone")
    return facts
