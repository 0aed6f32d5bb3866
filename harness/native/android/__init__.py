"""Make an Android app of the runner, without the NDK and without Java: library, manifest, archive and signature."""

from harness.native.android.apk import PREFIX, App, app_of
from harness.native.android.errors import AppNotBuilt, BadKey
from harness.native.android.manifest import ACTIVITY

__all__ = ["ACTIVITY", "PREFIX", "App", "AppNotBuilt", "BadKey", "app_of"]
