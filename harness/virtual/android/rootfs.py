"""Write the files with which a virtual device boots: Android's folders, a shell, a userland, stubs, a sysfs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.virtual.android.packages import Packages

FRAMEWORK = Path(__file__).with_name("framework")
MOUNT = "/apex/com.harness"
"""The folder of its packages on the device."""
NOT_ON_ANDROID = frozenset(
    ["ar", "halt", "host", "httpd", "killall5", "login", "mkpasswd", "nbd-server", "oneit", "openvt", "passwd",
     "poweroff", "reboot", "su", "switch_root", "sh"]
)  # fmt: skip
BUSYBOX_APPLETS = ("awk", "dd", "diff", "expr", "fold", "gzip", "hexdump", "more", "stty", "tr")
"""The programs that Android's toybox contains and Debian's does not."""
UID = 2000
APP_FOLDERS = ("data/app", "data/media/0")
"""The folders of installed apps, and of what people call the phone's storage."""
LIST_DEADLINE_SECONDS = 10.0


@dataclass(frozen=True)
class Core:
    """Describe one core of the device.

    ``cpu`` is its number, on the device and on this machine; ``max_khz`` is in kHz.
    """

    cpu: int
    max_khz: int
    part: int
    """Arm's number for the kind of core, as in ``/proc/cpuinfo``."""


def default_cores() -> tuple[Core, ...]:
    """Return as many cores as this process may use, so that pinning works: the upper half is big, one of them prime."""
    cpus = sorted(os.sched_getaffinity(0))
    little = len(cpus) // 2
    kinds = [(1_800_000, 0xD05)] * little + [(2_400_000, 0xD41)] * (len(cpus) - little - 1) + [(2_850_000, 0xD44)]
    return tuple(Core(cpu, khz, part) for cpu, (khz, part) in zip(cpus, kinds, strict=True))


def lay_out(root: Path, packages: Packages, cores: Sequence[Core], arm64: bool) -> None:
    """Write the device's files below ``root``, an empty or missing folder."""
    for name in (
        "data/local/tmp",
        "data/misc",
        *APP_FOLDERS,
        "framework/requests",
        "framework/apps",
        "framework/settings",
        "system/bin",
        "etc",
        "proc",
    ):
        (root / name).mkdir(parents=True)
    shutil.copytree(FRAMEWORK, root / "framework", dirs_exist_ok=True)
    _programs(root / "system/bin", packages, arm64)
    abi, machine = ("arm64-v8a", "aarch64") if arm64 else ("x86_64", "x86_64")
    properties = root / "framework/props"
    properties.write_text(properties.read_text(encoding="utf-8").replace("arm64-v8a", abi), encoding="utf-8")
    (root / "framework/machine").write_text(machine + "\n", encoding="utf-8")
    (root / "etc/passwd").write_text(f"shell:x:{UID}:{UID}::/data/local/tmp:/system/bin/sh\n", encoding="utf-8")
    (root / "etc/group").write_text(f"shell:x:{UID}:\n", encoding="utf-8")
    (root / "proc/cpuinfo").write_text("\n".join(_cpuinfo(core) for core in cores), encoding="utf-8")
    _sysfs(root / "sys", cores)
    # As on a phone, the shell may write only to its own folder.
    (root / "data/misc").chmod(0o111)
    (root / "data").chmod(0o551)


def _programs(folder: Path, packages: Packages, arm64: bool) -> None:
    done = subprocess.run(
        packages.program("toybox"),
        capture_output=True,
        text=True,
        timeout=LIST_DEADLINE_SECONDS,
        check=True,
        encoding="utf-8",
        errors="replace",
    )
    links = dict.fromkeys(BUSYBOX_APPLETS, "busybox")
    links |= dict.fromkeys(set(done.stdout.split()) - NOT_ON_ANDROID, "toybox")
    links |= {"sh": "mksh", "toybox": "toybox"}
    if arm64:
        links["qemu-aarch64"] = "qemu-aarch64"
    for name, program in links.items():
        (folder / name).symlink_to(f"{MOUNT}/bin/{program}")
    # Scripts come before the userland's programs of the same name (uname).
    for script in (FRAMEWORK / "bin").iterdir():
        place = folder / script.name
        place.unlink(missing_ok=True)
        shutil.copyfile(script, place)
        place.chmod(0o755)


def _cpuinfo(core: Core) -> str:
    fields = {
        "processor": core.cpu,
        "BogoMIPS": "38.40",
        "Features": "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc asimddp",
        "CPU implementer": "0x41",
        "CPU architecture": 8,
        "CPU variant": "0x1",
        "CPU part": f"0x{core.part:x}",
        "CPU revision": 0,
    }
    return "".join(f"{name}\t: {value}\n" for name, value in fields.items())


def _sysfs(sys: Path, cores: Sequence[Core]) -> None:
    fastest = max(core.max_khz for core in cores)
    files: dict[str, object] = {
        "class/thermal/thermal_zone0/type": "cpu-0-0",
        "class/thermal/thermal_zone0/temp": 41000,
        "class/thermal/thermal_zone1/type": "skin-therm",
        "class/thermal/thermal_zone1/temp": 34100,
    }
    ranges = ",".join(str(core.cpu) for core in cores)
    for name in ("possible", "present", "online"):
        files[f"devices/system/cpu/{name}"] = ranges
    for core in cores:
        half = core.max_khz // 2
        siblings = " ".join(str(other.cpu) for other in cores if other.max_khz == core.max_khz)
        for name, value in {
            "cpu_capacity": core.max_khz * 1024 // fastest,
            "topology/physical_package_id": 0,
            "cpufreq/cpuinfo_min_freq": 300_000,
            "cpufreq/cpuinfo_max_freq": core.max_khz,
            "cpufreq/scaling_min_freq": 300_000,
            "cpufreq/scaling_max_freq": core.max_khz,
            "cpufreq/scaling_cur_freq": half,
            "cpufreq/scaling_governor": "schedutil",
            "cpufreq/related_cpus": siblings,
            "cpufreq/stats/time_in_state": f"300000 1000\n{half} 500\n{core.max_khz} 250",
        }.items():
            files[f"devices/system/cpu/cpu{core.cpu}/{name}"] = value
    for name, value in files.items():
        path = sys / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n", encoding="utf-8")
        path.chmod(0o444)
