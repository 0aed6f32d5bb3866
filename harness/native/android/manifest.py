"""Define the app's manifest: one activity without Java, which shows the library's window."""

from __future__ import annotations

from importlib.metadata import version

from harness.native.android.axml import Element, Flags, Reference, binary_xml
from harness.native.android.library import LIBRARY

ACTIVITY = "android.app.NativeActivity"
"""Android's own class; with ``hasCode="false"`` an app needs none of its own, and no dex file."""
MINIMUM_SDK, TARGET_SDK = 26, 35
"""Android 8, as for runs in the shell; Android 15."""
_NO_TITLE_FULL_SCREEN = Reference(0x01030007)
_EVERY_CHANGE = Flags(0x3FF4)
"""What Android would otherwise end and start the activity for: turning the screen, a keyboard, another size."""
RESOURCES = {
    "theme": 0x01010000,
    "label": 0x01010001,
    "name": 0x01010003,
    "hasCode": 0x0101000C,
    "exported": 0x01010010,
    "excludeFromRecents": 0x01010017,
    "configChanges": 0x0101001F,
    "value": 0x01010024,
    "minSdkVersion": 0x0101020C,
    "versionCode": 0x0101021B,
    "versionName": 0x0101021C,
    "targetSdkVersion": 0x01010270,
    "allowBackup": 0x01010280,
    "extractNativeLibs": 0x010104EA,
}
"""The public numbers of ``android.R.attr``, which never change."""


def manifest(package: str) -> bytes:
    """Return the binary manifest of the app of that name.

    The libraries are unpacked at the installation (``extractNativeLibs``): one of them is the runner, a program, and
    only a file can be executed. The activity is exported, because ``am start`` may start no other; what it writes stays
    in the app's own folder, also if another app starts it.
    """
    name = LIBRARY.removeprefix("lib").removesuffix(".so")
    library = Element("meta-data", {"name": "android.app.lib_name", "value": name}, {})
    activity = Element(
        "activity",
        {
            "name": ACTIVITY,
            "label": "Harness",
            "theme": _NO_TITLE_FULL_SCREEN,
            "exported": True,
            "excludeFromRecents": True,
            "configChanges": _EVERY_CHANGE,
        },
        {},
        (library,),
    )
    application = Element(
        "application",
        {"label": "Harness", "hasCode": False, "allowBackup": False, "extractNativeLibs": True},
        {},
        (activity,),
    )
    sdk = Element("uses-sdk", {"minSdkVersion": MINIMUM_SDK, "targetSdkVersion": TARGET_SDK}, {})
    root = Element(
        "manifest",
        {"versionCode": 1, "versionName": version("ondevice-harness")},
        {"package": package},
        (sdk, application),
    )
    return binary_xml(root, RESOURCES)
