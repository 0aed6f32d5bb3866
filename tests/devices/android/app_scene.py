"""A virtual device on which runs are apps, and what of the device a test of apps looks at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.devices.android import AndroidDevice, AndroidOptions
from tests.devices.android.conftest import QUICK, Scene
from tests.devices.android.runners import LAUNCHER

AS_APP = replace(QUICK, mode="app", app_patience_seconds=2)


class AppScene(Scene):
    """A scene whose devices run apps. An app's runner is a script in the device's shell language, too."""

    def open(
        self,
        *,
        max_log_bytes: int | None = None,
        launcher: tuple[str, ...] = LAUNCHER,
        options: AndroidOptions = AS_APP,
    ) -> AndroidDevice:
        del launcher
        return super().open(max_log_bytes=max_log_bytes, launcher=(), options=options)

    def opening(self) -> str:
        text = super().opening().replace("LAUNCHER, QUICK", "QUICK").replace("    launcher=LAUNCHER, ", "    ")
        return "from tests.devices.android.app_scene import AS_APP\n" + text.replace("options=QUICK", "options=AS_APP")

    @property
    def outputs(self) -> list[Path]:
        """The folders for what runners of apps write."""
        return sorted((self.virtual.data / "media/0/Android/data").glob("*/files/*"))

    def pids(self) -> tuple[int, int]:
        """The app's process and its runner's, as the device numbers them."""
        (output,) = self.outputs
        app, runner = (output / "pid").read_text().split()
        return int(app), int(runner)

    def signal(self, pid: int, name: str = "KILL") -> None:
        assert self.adb.client.device(self.virtual.serial).shell2(f"kill -{name} {pid}", v2=True).returncode == 0

    def kill_runner(self) -> None:
        # With what it waits by, as a system does that ends a process with its children.
        self.signal(-self.pids()[1])

    def runs(self) -> bool:
        return bool(self.outputs) and (self.outputs[0] / "pid").exists()

    def assert_clean(self) -> None:
        super().assert_clean()
        assert self.outputs == []
