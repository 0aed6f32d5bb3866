"""What devices print, in the words of several makers and releases, and what is made of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.devices.android.conditions import parse_conditions, thermal_status, unfit
from harness.devices.android.facts import parse_facts
from harness.devices.android.sections import cores_of, ranges_of, sections
from harness.devices.android.topology import cores_of_mask, parse_topology

CPU = "/sys/devices/system/cpu/cpu{}/{}:{}"


def cores(name: str, values: Sequence[int | str]) -> str:
    return "\n".join(CPU.format(core, name, value) for core, value in enumerate(values))


PIXEL_7 = f"""#props
[ro.board.platform]: [gs201]
[ro.build.fingerprint]: [google/panther/panther:14/AP2A.240705.004/11875680:user/release-keys]
[ro.build.type]: [user]
[ro.build.version.release]: [14]
[ro.build.version.sdk]: [34]
[ro.build.version.security_patch]: [2024-07-05]
[ro.product.cpu.abilist]: [arm64-v8a]
[ro.product.manufacturer]: [Google]
[ro.product.model]: [Pixel 7]
[ro.soc.manufacturer]: [Google]
[ro.soc.model]: [Tensor G2]
[ro.empty]: []
#cpuinfo
processor\t: 0
BogoMIPS\t: 49.15
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd05
processor\t: 1
CPU implementer\t: 0x41
CPU part\t: 0xd05
processor\t: 2
CPU implementer\t: 0x41
CPU part\t: 0xd41
processor\t: 3
CPU implementer\t: 0x41
CPU part\t: 0xd44
#memory
MemTotal:        7770296 kB
#kernel
Linux 5.10.198-android13-4-00050-g12f3388846c3-ab11920634
#machine
aarch64
#online
0-7
#possible
0-7
#max
{cores("cpufreq/cpuinfo_max_freq", [1803000] * 4 + [2348000] * 2 + [2850000] * 2)}
#capacity
{cores("cpu_capacity", [124] * 4 + [427] * 2 + [1024] * 2)}
#governors
{cores("cpufreq/scaling_governor", ["sched_pixel"] * 8)}
"""

OREO = """#props
[ro.board.platform]: [msm8953]
[ro.build.version.release]: [8.1.0]
[ro.build.version.sdk]: [27]
[ro.product.cpu.abi]: [arm64-v8a]
[ro.product.cpu.abilist]: [arm64-v8a,armeabi-v7a,armeabi]
[ro.product.manufacturer]: [Xiaomi]
[ro.product.model]: [Redmi Note 4]
#cpuinfo
Processor\t: AArch64 Processor rev 4 (aarch64)
processor\t: 0
Hardware\t: Qualcomm Technologies, Inc MSM8953
#memory
MemTotal:        2914776 kB
#kernel
Linux 3.18.71-perf-g5fa5d3c
#machine
aarch64
#online
0-7
#possible
0-7
#max
#capacity
#governors
"""


def test_a_pixels_facts() -> None:
    parsed = parse_facts(PIXEL_7)
    assert parsed.facts == {
        "cpu_model": "2× Cortex-A55 + 1× Cortex-A78 + 1× Cortex-X1",
        "cpu_features": sorted(
            [
                "fp",
                "asimd",
                "evtstrm",
                "aes",
                "pmull",
                "sha1",
                "sha2",
                "crc32",
                "atomics",
                "fphp",
                "asimdhp",
                "cpuid",
                "asimdrdm",
                "lrcpc",
                "dcpop",
                "asimddp",
            ]
        ),
        "cores": 8,
        "arch": "aarch64",
        "governor": "sched_pixel",
        "memory_bytes": 7770296 * 1024,
        "os": "Android 14",
        "kernel": "Linux 5.10.198-android13-4-00050-g12f3388846c3-ab11920634",
        "model": "Pixel 7",
        "manufacturer": "Google",
        "soc": "Google Tensor G2",
        "android_version": "14",
        "sdk": 34,
        "fingerprint": "google/panther/panther:14/AP2A.240705.004/11875680:user/release-keys",
        "security_patch": "2024-07-05",
        "build_type": "user",
        "abis": ["arm64-v8a"],
        "clusters": [
            {"cores": "0-3", "max_khz": 1803000, "capacity": 124},
            {"cores": "4-5", "max_khz": 2348000, "capacity": 427},
            {"cores": "6-7", "max_khz": 2850000, "capacity": 1024},
        ],
    }
    assert [parsed.topology.mask(threads) for threads in (1, 2, 3, 8)] == ["c0", "c0", "f0", "ff"]


def test_an_old_phone_reports_less() -> None:
    facts = parse_facts(OREO).facts
    assert facts["cpu_model"] == "Qualcomm Technologies, Inc MSM8953"
    assert facts["soc"] == "msm8953"
    assert (facts["cores"], facts["clusters"], facts["governor"], facts["security_patch"]) == (8, [], None, None)
    assert parse_facts(OREO).topology.mask(1) == ""
    assert parse_facts(OREO).abis == ["arm64-v8a", "armeabi-v7a", "armeabi"]


def test_nothing_at_all_is_no_reason_to_fail() -> None:
    facts = parse_facts("").facts
    assert facts["cores"] is None
    assert facts["os"] == "Android ?"
    conditions = parse_conditions("/system/bin/sh: dumpsys: inaccessible or not found\n")
    assert set(conditions.values()) == {None}
    assert unfit(conditions) is None


@pytest.mark.parametrize(
    ("capacities", "frequencies", "mask"),
    [
        ([1024] * 4, [2000000] * 4, ""),  # all alike: nothing to choose
        ([], [1800000] * 4 + [2400000] * 3 + [2850000], "80"),  # 4+3+1 without capacities
        ([500, 500, 1024, 1024], [2200000, 2200000, 2000000, 2000000], "c"),  # the big ones are clocked lower
        ([300, 300, 1024, 1024], [], "c"),  # frequencies cannot be read
        ([1024, 1024, 400, 400], [2500000, 2500000, 1800000, 1800000], "3"),  # the big ones come first
    ],
)
def test_which_cores_are_big(capacities: list[int | str], frequencies: list[int | str], mask: str) -> None:
    topology = parse_topology(
        {
            "capacity": cores("cpu_capacity", capacities),
            "max": cores("cpufreq/cpuinfo_max_freq", frequencies),
            "online": "",
        }
    )
    assert topology.mask(1) == mask


def test_a_core_that_is_off_is_not_chosen() -> None:
    found = {
        "capacity": cores("cpu_capacity", [300, 300, 1024, 1024]),
        "max": cores("cpufreq/cpuinfo_max_freq", [1, 1, 2, 2]),
        "online": "0-2",
    }
    assert parse_topology(found).mask(1) == "4"


SAMSUNG = """#thermal
IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 4
\tkilled: false
\tbroadcasts count: -1
ThermalStatusListeners:
\tcallbacks: 1
Thermal Status: 1
Cached temperatures:
\tTemperature{mValue=38.7, mType=3, mName=SKIN, mStatus=1}
\tTemperature{mValue=35.6, mType=2, mName=BAT, mStatus=0}
HAL Ready: true
HAL connection:
\tThermalHAL 2.0 connected: yes
Current temperatures from HAL:
\tTemperature{mValue=47.9, mType=0, mName=AP, mStatus=0}
\tTemperature{mValue=39.1, mType=3, mName=SKIN, mStatus=1}
Current cooling devices from HAL:
\tCoolingDevice{mValue=0, mType=2, mName=cpu0}
#headroom
0.8731
#battery
Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 0
  status: 5
  health: 2
  level: 100
  scale: 100
  voltage: 4335
  temperature: 342
  technology: Li-ion
  batteryMiscEvent: 65536
  mSavedBatteryAsoc: 100
#governors
/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor:energy_step
/sys/devices/system/cpu/cpu7/cpufreq/scaling_governor:energy_step
#clocks
/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq:1300000
/sys/devices/system/cpu/cpu7/cpufreq/scaling_cur_freq:546000
#limits
#memory
MemFree:          210764 kB
MemAvailable:    3106040 kB
#load
6.11 6.32 6.40 1/5132 21873
#airplane
1
"""

OREO_CONDITIONS = """#thermal
Can't find service: thermalservice
#headroom
cmd: Can't find service: thermalservice
#battery
Current Battery Service state:
  AC powered: true
  USB powered: false
  Wireless powered: false
  status: 2
  level: 42
  scale: 50
  temperature: 301
#governors
#clocks
#limits
#memory
MemFree:          104220 kB
#load
/system/bin/sh: cat: /proc/loadavg: Permission denied
#airplane
0
"""


def test_a_samsungs_conditions() -> None:
    conditions = parse_conditions(SAMSUNG)
    assert conditions == {
        "thermal_status": 1,
        "thermal_headroom": 0.8731,
        "skin_celsius": 39.1,
        "battery_percent": 100,
        "battery_celsius": 34.2,
        "battery_health": "good",
        "charging": "full",
        "powered_by": "USB",
        "governors": {"0": "energy_step", "7": "energy_step"},
        "clock_khz": {"0": 1300000, "7": 546000},
        "clock_limit_khz": None,
        "memory_free_bytes": 3106040 * 1024,
        "load_1min": 6.11,
        "airplane_mode": True,
    }
    assert unfit(conditions) == "its thermal status is light (1)"


@pytest.mark.parametrize(
    ("line", "health"),
    [("health: 2", "good"), ("health: 4", "dead"), ("health: 1", None), ("health: 99", None), ("health: x", None)],
)
def test_a_batterys_health(line: str, health: str | None) -> None:
    assert parse_conditions(SAMSUNG.replace("health: 2", line))["battery_health"] == health


def test_features_are_those_that_all_cores_have() -> None:
    cores = "#cpuinfo\nprocessor: 0\nFeatures\t: fp asimd i8mm\nprocessor: 1\nFeatures\t: asimd fp sve\n"
    assert parse_facts(cores).facts["cpu_features"] == ["asimd", "fp"]
    assert parse_facts("#cpuinfo\nFeatures:\n").facts["cpu_features"] is None


def test_an_old_phones_conditions() -> None:
    conditions = parse_conditions(OREO_CONDITIONS.replace("\n", "\r\n"))
    assert (conditions["thermal_status"], conditions["thermal_headroom"], conditions["load_1min"]) == (None,) * 3
    assert (conditions["battery_percent"], conditions["powered_by"], conditions["charging"]) == (84, "AC", "charging")
    assert conditions["memory_free_bytes"] == 104220 * 1024
    assert unfit(conditions) is None


@pytest.mark.parametrize(
    ("words", "expected"),
    [("Thermal Status: 0", 0), ("  Thermal Status: 6\n", 6), ("Thermal Status: unknown", None), ("", None)],
)
def test_thermal_status(words: str, expected: int | None) -> None:
    assert thermal_status(words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Headroom in 20 seconds: 0.55", 0.55),
        ("0.91", 0.91),
        ("NaN", None),
        ("Error: headroom is not available", None),
        ("", None),
    ],
)
def test_thermal_headroom(words: str, expected: float | None) -> None:
    assert parse_conditions(f"#headroom\n{words}\n")["thermal_headroom"] == expected


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ({"battery_celsius": 37.0, "battery_percent": 30, "thermal_status": 0}, None),
        ({"battery_celsius": 37.1}, "37.1 °C"),
        ({"battery_percent": 29}, "29 %"),
        ({"thermal_status": 4, "battery_percent": 2}, "critical (4)"),
    ],
)
def test_what_is_unfit(conditions: dict[str, object], reason: str | None) -> None:
    why = unfit(conditions)
    assert (why is None) if reason is None else (why is not None and reason in why)


@pytest.mark.parametrize(
    ("text", "numbers"), [("0-3,7", [0, 1, 2, 3, 7]), ("0", [0]), ("4-5", [4, 5]), ("", []), ("none", [])]
)
def test_lists_of_cores(text: str, numbers: list[int]) -> None:
    assert cores_of(text) == numbers
    if numbers:
        assert ranges_of(numbers) == text
        assert cores_of_mask(f"{sum(1 << core for core in numbers):x}") == numbers


def test_sections_keep_what_looks_like_a_comment() -> None:
    assert sections("before\n#one\n# two\n#not a name\n#two\nx") == {"one": "# two\n#not a name", "two": "x"}
