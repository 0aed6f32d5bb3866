"""What phones of many makers really print, shortened and with personal details replaced, and the right reading."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.devices.android.conditions import parse_conditions, thermal_status, unfit
from harness.devices.android.facts import parse_facts
from harness.devices.android.knobs import parse_knobs, restored
from harness.devices.android.observed import parse_observed
from harness.devices.android.sections import cores_of, whole_number
from harness.devices.android.store import free_bytes
from harness.devices.android.topology import parse_topology

OUTPUTS = Path(__file__).with_name("outputs")
LINKER = 'WARNING: linker: Warning: failed to find generated linker configuration from "/linkerconfig/ld.config.txt"'


def read(name: str) -> str:
    return (OUTPUTS / f"{name}.txt").read_text()


def skin(dump: str) -> object:
    return parse_conditions(f"#thermal\n{dump}\n")["skin_celsius"]


def battery(dump: str) -> tuple[object, ...]:
    found = parse_conditions(f"#battery\n{dump}\n")
    return found["battery_percent"], found["battery_celsius"], found["charging"], found["powered_by"]


def test_a_cooling_device_is_no_sensor() -> None:
    dump = read("thermal-cooling-device")
    conditions = parse_conditions(f"#thermal\n{dump}")
    assert (conditions["thermal_status"], conditions["skin_celsius"]) == (0, None)
    assert unfit(conditions) is None


SAMSUNG_A52 = """Thermal Status: 0
Cached temperatures:
\tTemperature{mValue=0.0, mType=2, mName=SUBBAT, mStatus=0}
\tTemperature{mValue=24.7, mType=3, mName=LRB, mStatus=0}
\tTemperature{mValue=0.0, mType=4, mName=USB, mStatus=0}
HAL Ready: true
HAL connection:
\tThermalHAL 2.0 connected: yes
Current temperatures from HAL:
\tTemperature{mValue=25.6, mType=0, mName=AP, mStatus=0}
\tTemperature{mValue=24.9, mType=3, mName=LRB, mStatus=0}
\tTemperature{mValue=24.7, mType=3, mName=LRF, mStatus=0}
\tTemperature{mValue=0.0, mType=3, mName=LRP, mStatus=0}
Current cooling devices from HAL:
Temperature static thresholds from HAL:"""

PIXEL_TENSOR = """Thermal Status: 0
Cached temperatures:
\tTemperature{mValue=40.0, mType=3, mName=VIRTUAL-SKIN, mStatus=1}
HAL Ready: true
HAL connection:
\tThermalHAL AIDL 1  connected: yes
Current temperatures from HAL:
\tTemperature{mValue=34.0, mType=1, mName=G3D, mStatus=0}
\tTemperature{mValue=0.0, mType=4, mName=VIRTUAL-USB-UI, mStatus=0}
\tTemperature{mValue=-0.98, mType=-1, mName=USB-MINUS-CHARGER, mStatus=0}
\tTemperature{mValue=NaN, mType=-1, mName=disp_therm, mStatus=0}
\tTemperature{mValue=29.347502, mType=3, mName=VIRTUAL-SKIN, mStatus=0}
Current cooling devices from HAL:
\tCoolingDevice{mValue=0, mType=1, mName=dc_icl}
\tCoolingDevice{mValue=7964000, mType=3, mName=tpu}
Temperature static thresholds from HAL:
\tTemperatureThreshold{mType=3, mName=VIRTUAL-SKIN, mHotThrottlingThresholds=[NaN, 39.0, 43.0, 45.0, 47.0, 51.5, 56.0]}
Temperature headroom thresholds:
[NaN, 0.8, 1.0]"""

XIAOMI_16 = """Thermal Status: 0
Cached temperatures:
\tTemperature{mValue=48.517, mType=3, mName=SKIN, mStatus=0}
HAL Ready: true
Current temperatures from HAL:
\tTemperature{mValue=57.9, mType=0, mName=CPU, mStatus=0}
\tTemperature{mValue=34.351, mType=3, mName=SKIN, mStatus=0}
Temperature static thresholds from HAL:
\tTemperatureThreshold{mType=3, mName=SKIN, mHotThrottlingThresholds=[NaN, NaN, NaN, 50.0, 70.0, 80.0, 90.0]}"""

NO_HAL = """IsStatusOverride: false
Thermal Status: 0
Cached temperatures:
HAL Ready: false"""

STALE_CACHE = """Thermal Status: 0
Cached temperatures:
\tTemperature{mValue=40.0, mType=3, mName=VIRTUAL-SKIN, mStatus=1}
Current temperatures from HAL:
\tTemperature{mValue=60.0, mType=0, mName=BIG, mStatus=0}"""

NOT_A_NUMBER = """Thermal Status: 0
Current temperatures from HAL:
\tTemperature{mValue=NaN, mType=3, mName=skin, mStatus=0}"""

MILLIDEGREES = """Thermal Status: 0
Current temperatures from HAL:
\tTemperature{mValue=36500.0, mType=3, mName=skin, mStatus=0}"""


@pytest.mark.parametrize(
    ("dump", "celsius"),
    [
        pytest.param(SAMSUNG_A52, 24.9, id="Samsung, Android 12: several sensors of the skin, one not fitted"),
        pytest.param(PIXEL_TENSOR, 29.347502, id="Pixel with Tensor, Android 14: types below 0, NaN, thresholds"),
        pytest.param(XIAOMI_16, 34.351, id="Xiaomi, Android 16: the cache is hours old"),
        pytest.param(NO_HAL, None, id="a Qualcomm phone whose thermal HAL is not reached"),
        pytest.param(STALE_CACHE, None, id="the HAL reports no skin, the cache is old"),
        pytest.param(NOT_A_NUMBER, None, id="a sensor that cannot be read"),
        pytest.param(MILLIDEGREES, None, id="other units"),
        pytest.param("Permission Denial: can't dump thermalservice", None, id="refused"),
    ],
)
def test_the_temperature_of_the_skin(dump: str, celsius: float | None) -> None:
    assert skin(dump) == celsius
    assert skin(dump.replace("\n", "\r\n")) == celsius


@pytest.mark.parametrize("words", ["Thermal Status: -1", "Thermal Status: 10", "Thermal Status: 7", "Thermal Status:"])
def test_a_thermal_status_that_is_none(words: str) -> None:
    assert thermal_status(words) is None


def test_a_board_without_a_battery() -> None:
    conditions = parse_conditions(f"#battery\n{read('battery-absent')}")
    assert (conditions["battery_percent"], conditions["battery_celsius"]) == (None, None)
    assert (conditions["charging"], conditions["powered_by"]) == (None, "AC")
    assert unfit(conditions) is None


SAMSUNG_S24 = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Dock powered: false
  Max charging current: 500000
  status: 2
  health: 2
  present: true
  level: 75
  scale: 100
  voltage: 4156
  temperature: 357
  technology: Li-ion
  Charging state: 0
  Capacity level: -1
  mSavedBatteryAsoc: 97
[EventLogBuffer]
08-11 18:34:14.721  Sending ACTION_BATTERY_CHANGED: level:72, health:2, voltage:4120, temperature:345"""

STOPPED = """Current Battery Service state:
  (UPDATES STOPPED -- use 'reset' to restart)
  AC powered: false
  USB powered: false
  status: 3
  present: true
  level: 5
  scale: 100
  temperature: 287"""


@pytest.mark.parametrize(
    ("dump", "expected"),
    [
        pytest.param(SAMSUNG_S24, (75, 35.7, "charging", "USB"), id="Samsung, Android 14: a log of earlier values"),
        pytest.param(STOPPED, (None, None, None, None), id="somebody set the numbers by hand"),
        pytest.param("  present: true\n  level: -1\n  scale: 100\n", (None,) * 4, id="not read yet"),
        pytest.param("  level: 50\n  scale: 0\n", (50, None, None, None), id="a scale of nothing"),
        pytest.param("  level: 2147483647\n  scale: 100\n", (None,) * 4, id="more than full"),
        pytest.param("  level: 50\n  temperature: -2147483648\n", (50, None, None, None), id="no sensor"),
        pytest.param("  level: 50\n  temperature: 0\n", (50, None, None, None), id="a sensor that is not fitted"),
        pytest.param("  level: 50\n  temperature: 35200\n", (50, None, None, None), id="other units"),
        pytest.param("  level: ???\n  temperature: GARBAGE\n  status: 9\n", (None,) * 4, id="no numbers"),
        pytest.param("  level: ٤٢\n", (None,) * 4, id="digits of another script"),
        pytest.param("Can't find service: battery", (None,) * 4, id="no such service"),
    ],
)
def test_the_battery(dump: str, expected: tuple[object, ...]) -> None:
    assert battery(dump) == expected
    assert battery(dump.replace("\n", "\r\n")) == expected


def test_a_warning_before_a_setting_belongs_to_no_value() -> None:
    warning, value = read("settings-linker-warning").splitlines()
    assert warning == LINKER
    output = f"@stay_awake\n{warning}\nbefore {value}\n{warning}\nstatus 0\nnow 7\n"
    (knob,) = parse_knobs(output, "")
    assert (knob.state, knob.detail) == ("applied", "was 0")
    (knob,) = restored([knob], f"@stay_awake\n{warning}\nstatus 0\nnow\n{warning}\n{value}\n")
    assert (knob.restored, knob.detail) == (True, "was 0")


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ("java.lang.SecurityException: Permission Denial: getSetting from pid=1, uid=2000", "denied"),
        ("cmd: Can't find service: settings", "unsupported"),
        ("", "unsupported"),
    ],
)
def test_a_setting_that_cannot_be_read_is_not_changed(words: str, state: str) -> None:
    (knob,) = parse_knobs(f"@stay_awake\n{words}\nstatus 1\n", "")
    assert knob.state == state
    assert restored([knob], "") == [knob]


@pytest.mark.parametrize(
    ("words", "status", "state"),
    [
        pytest.param(read("fixed-performance-no-hal"), 255, "unsupported", id="no power HAL in AIDL, Android 11 to 13"),
        pytest.param("Unknown command: set-fixed-performance-mode-enabled", 255, "unsupported", id="Android 10"),
        pytest.param("No shell command implementation.", 255, "unsupported", id="Android 8"),
        pytest.param("cmd: Can't find service: power", 20, "unsupported", id="no such service"),
        pytest.param("java.lang.SecurityException: uid=2000 needs DEVICE_POWER", 255, "denied", id="refused"),
        pytest.param(LINKER, 0, "applied", id="a warning is no refusal"),
        pytest.param('libc: Access denied finding property "vendor.debug.x"', 0, "applied", id="Xiaomi, Android 11"),
    ],
)
def test_fixed_performance(words: str, status: int, state: str) -> None:
    (knob,) = parse_knobs(f"@fixed_performance\n{words}\nstatus {status}\n", "")
    assert knob.state == state


@pytest.mark.parametrize(
    ("output", "detail"), [("Awake", "was on already"), ("1", "was on already"), ("3", "was Dozing")]
)
def test_the_screen(output: str, detail: str) -> None:
    (knob,) = parse_knobs(f"@screen\nbefore {output}\nstatus 0\n", "")
    assert (knob.state, knob.detail) == ("applied", detail)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (f"{LINKER}\n0.42", 0.42),
        ("NaN", None),
        ("Infinity", None),
        ("Unknown command: headroom", None),
        ("-0.5", None),
        ("Headroom in 20 seconds: 0.55\r", 0.55),
    ],
)
def test_the_forecast(words: str, expected: float | None) -> None:
    assert parse_conditions(f"#headroom\n{words}\n")["thermal_headroom"] == expected


def test_noise_before_every_single_value() -> None:
    text = "\n".join(
        [
            "#props",
            LINKER,
            "[ro.build.version.sdk]: [33]",
            "[persist.sys.boot.reason.history]: [reboot,ota,1650000000",
            "reboot,1640000000]",
            "[ro.serialno]: [unknown]",
            "[ro.boot.serialno]: [R58M123ABC]",
            "[ro.product.model]: [SM-A525F]",
            "#kernel",
            LINKER,
            "Linux 4.14.190",
            "#machine",
            'libc: Access denied finding property "ro.debuggable"',
            "aarch64",
            "#online",
            LINKER,
            "0-7",
        ]
    )
    parsed = parse_facts(text)
    assert (parsed.facts["kernel"], parsed.facts["arch"], parsed.facts["cores"]) == ("Linux 4.14.190", "aarch64", 8)
    assert (parsed.facts["sdk"], parsed.hardware_serial, parsed.model) == (33, "R58M123ABC", "SM-A525F")
    assert parsed.properties["persist.sys.boot.reason.history"] == "reboot,ota,1650000000\nreboot,1640000000"
    assert parse_conditions(f"#airplane\n{LINKER}\n1\n")["airplane_mode"] is True
    assert parse_conditions("#airplane\nnull\n")["airplane_mode"] is None


@pytest.mark.parametrize(
    ("maker", "part", "count", "name"),
    [
        ("0x51", "0x804", 4, "4× Kryo 4xx Gold"),
        ("0x41", "0xd85", 1, "1× Cortex-X925"),
        ("0x51", "0x001", 2, "2× Oryon"),
        ("0x53", "0x003", 2, "2× 0x53/0x003"),
    ],
)
def test_the_kinds_of_cores(maker: str, part: str, count: int, name: str) -> None:
    cores = "".join(f"processor\t: {core}\nCPU implementer\t: {maker}\nCPU part\t: {part}\n" for core in range(count))
    assert parse_facts(f"#cpuinfo\n{cores}").facts["cpu_model"] == name


def test_clocks_that_are_none() -> None:
    path = "/sys/devices/system/cpu/cpu{}/cpufreq/cpuinfo_max_freq:{}"
    values = ("1800000", "<unsupported>", "0", "-1", "²", "2147483647", "2400000")
    text = "\n".join(path.format(core, value) for core, value in enumerate(values))
    topology = parse_topology({"max": text})
    assert topology.online == (0, 6)
    observed, _, _ = parse_observed("#clocks\n1 - 0 ² 1800000\n#thermal\n5 -1\n6 x\n7 2\n")
    assert observed["clock_khz"] == {"3": {"min": 1800000, "median": 1800000, "max": 1800000}}
    assert observed["thermal_status_highest"] == 2


@pytest.mark.parametrize("ranges", ["0-99999999999", "4-2", "²", "-1", "0-", "0,,2"])
def test_what_is_no_list_of_cores(ranges: str) -> None:
    assert cores_of(ranges) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [("42", 42), (" -7\r", -7), ("-2147483648", None), ("2147483647", None), ("1e3", None), ("--1", None), ("", None)],
)
def test_whole_numbers(text: str, number: int | None) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize(
    ("output", "free"),
    [
        pytest.param("/dev/fuse 114000000 90000000 24000000 79% /data\n", 24000000 * 1024, id="toybox"),
        pytest.param("  114000000 90000000 24000000 79% /data\n", 24000000 * 1024, id="a long name has its own line"),
        pytest.param(f"{LINKER}\n/dev/block/dm-10 11 9 2  90% /data\nrefused x", 2048, id="a warning before it"),
        pytest.param("df: /data/local/tmp: No such file or directory", None, id="no such folder"),
    ],
)
def test_free_room(output: str, free: int | None) -> None:
    assert free_bytes(output) == free
