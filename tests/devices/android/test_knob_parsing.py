"""What phones print of settings that were changed for a run, and of what happened to them meanwhile."""

from __future__ import annotations

import pytest

from harness.devices.android.knobs import parse_knobs, restored, verified
from harness.devices.android.makers import setting_to_turn_on
from harness.devices.android.observed import parse_observed

MIUI = """@pinned
status 0
@fixed_performance

Exception occurred while executing 'set-fixed-performance-mode-enabled':
java.lang.SecurityException: Permission Denial: setFixedPerformanceModeEnabled from pid=1, uid=2000
\tat android.os.Parcel.createExceptionOrNull(Parcel.java:3011)
status 255
@stay_awake
before 0

java.lang.SecurityException: Permission denial: writing to settings requires:android.permission.WRITE_SECURE_SETTINGS
status 255
now 0
@screen
before Dozing
status 0
"""

OLD = """@pinned
taskset: failed to set pid 1234's affinity: Invalid argument
status 1
@fixed_performance
cmd: Can't find service: power
status 20
@stay_awake
before 3
status 0
now 7
@screen
before Awake
"""


def test_knobs_that_miui_refuses() -> None:
    pinned, fixed, awake, screen = parse_knobs(MIUI, "f0")
    assert (pinned.state, pinned.detail) == ("applied", "cores 4-7")
    assert (fixed.state, awake.state) == ("denied", "denied")
    assert "SecurityException" in fixed.detail
    assert (screen.state, screen.detail) == ("applied", "was Dozing")
    assert setting_to_turn_on("Xiaomi") == setting_to_turn_on("Redmi")
    assert "Security settings" in str(setting_to_turn_on("POCO"))
    assert setting_to_turn_on("Google") is None
    assert setting_to_turn_on(None) is None


def test_knobs_of_an_old_phone_and_their_undoing() -> None:
    knobs = parse_knobs(OLD, "80")
    assert [knob.state for knob in knobs] == ["unsupported", "unsupported", "applied", "applied"]
    undone = "@fixed_performance\ncmd: Can't find service: power\nstatus 20\nnow\n@stay_awake\nstatus 0\nnow\n3\n"
    assert [knob.restored for knob in restored(knobs, undone)] == [None, None, True, None]
    wrong = undone.replace("now\n3", "now\n7")
    (awake,) = [knob for knob in restored(knobs, wrong) if knob.name == "stay_awake"]
    assert (awake.restored, "it is 7" in awake.detail) == (False, True)
    (unheard,) = [knob for knob in restored(knobs, "") if knob.name == "stay_awake"]
    assert unheard.restored is False


@pytest.mark.parametrize(
    ("allowed", "state", "words"),
    [
        ("Cpus_allowed_list:\t4-7", "applied", "cores 4-7, verified"),
        ("Cpus_allowed_list:\t0-3", "denied", "the runner had 0-3"),
        ("", "applied", "not verified"),
    ],
)
def test_pinning_is_what_the_runner_reports(allowed: str, state: str, words: str) -> None:
    pinned = verified(parse_knobs("@pinned\nstatus 0\n", "f0"), allowed)[0]
    assert pinned.state == state
    assert words in pinned.detail


def test_what_was_observed() -> None:
    text = """#allowed
Cpus_allowed_list:\t6-7
#clocks
1 300000 - 2850000
2 500000 - 2802000
3 1803000 - 2850000
#thermal
0 0
5 1
#states_before
/sys/devices/system/cpu/cpufreq/policy6/stats/time_in_state:500000 100
/sys/devices/system/cpu/cpufreq/policy6/stats/time_in_state:2850000 7
#states_after
/sys/devices/system/cpu/cpufreq/policy6/stats/time_in_state:500000 100
/sys/devices/system/cpu/cpufreq/policy6/stats/time_in_state:2850000 307
#restore
@stay_awake
status 0
"""
    observed, allowed, undone = parse_observed(text)
    assert observed == {
        "clock_looks": 3,
        "clock_khz": {
            "0": {"min": 300000, "median": 500000, "max": 1803000},
            "2": {"min": 2802000, "median": 2850000, "max": 2850000},
        },
        "thermal_status_highest": 1,
        "time_in_state_ms": {"policy6": {"2850000": 3000}},
        "process": None,
        "granted": None,
    }
    assert allowed == "Cpus_allowed_list:\t6-7"
    assert undone == "@stay_awake\nstatus 0"


def test_nothing_at_all_is_no_reason_to_fail() -> None:
    assert parse_knobs("", "") == []
    assert parse_observed("")[0]["clock_khz"] is None
