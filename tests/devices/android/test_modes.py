"""The two modes of Android: what is recorded of each, what a phone answers to an app, and that none is mixed up."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from harness.core.cache import Cache
from harness.core.errors import HarnessError, UsageError
from harness.devices import Device
from harness.devices.android.app import refusal_of_install
from harness.devices.android.errors import InstallRefused
from harness.devices.android.observed import parse_observed
from harness.devices.android.process import parse_granted, parse_process
from harness.devices.errors import DeviceFull, RunnerUnusable
from harness.regression.gate import BaselineGate
from harness.regression.plan import itself, plan_nightly, refuse_unlike
from harness.report import compare_runs, report_run, to_markdown
from harness.results import Store
from harness.results.baselines import Baseline, Baselines
from harness.results.schema import Manifest
from harness.run.builder import RunOptions
from tests.nightly import FakeDevice
from tests.results.kept import cached_run
from tests.results.samples import make_run

STAT = (
    "4242 (libharness_runner.so) R 4000 4242 4242 0 -1 4194560 "
    + "0 0 0 0 0 0 0 0 {priority} {nice} 1 0 99 "
    + "0 " * 17
)
APP = f"""@status
Name:\tlibharness_runn
Cpus_allowed:\tf0
Cpus_allowed_list:\t4-7
@cgroup
4:cpuset:/top-app
3:cpu:/top-app
0::/uid_10234/pid_4000
@cpuset
/top-app
@oom_score_adj
0
@stat
{STAT.format(priority=10, nice=-10)}0 0 0 0
@timerslack_ns
50000
"""


def test_a_process_of_an_app() -> None:
    assert parse_process(APP) == {
        "cpuset": "/top-app",
        "groups": {"cpuset": "/top-app", "cpu": "/top-app", "unified": "/uid_10234/pid_4000"},
        "oom_score_adj": 0,
        "nice": -10,
        "priority": 10,
        "policy": "other",
        "cores": "4-7",
        "timer_slack_ns": 50000,
    }


def test_a_process_of_which_little_is_reported() -> None:
    found = parse_process(
        "@status\n@cgroup\n@cpuset\n/foreground\n@oom_score_adj\n-950\n@stat\n1 (x) R\n@timerslack_ns\n"
    )
    assert found is not None
    assert (found["cpuset"], found["oom_score_adj"], found["nice"]) == ("/foreground", -950, None)
    assert parse_process("") is None
    assert parse_process("@status\n@cgroup\n") is None


@pytest.mark.parametrize(
    ("system", "game", "granted"),
    [
        (
            "@hint_rate_ns\n16666666\n@thermal_status\n1\n@headroom\n0.812\n",
            "dev.x current mode: performance, available game modes: [standard,performance]\n",
            (16666666, 1, 0.812, "dev.x current mode: performance, available game modes: [standard,performance]"),
        ),
        ("@hint_rate_ns\n-1\n@thermal_status\n0\n@headroom\nnan\n", "", (None, 0, None, None)),
        ("@thermal_status\n0\n", "", (None, 0, None, None)),
    ],
)
def test_what_the_system_grants(system: str, game: str, granted: tuple[Any, ...]) -> None:
    found = parse_granted(system, game)
    assert found is not None
    assert tuple(found.values()) == granted


def test_a_run_in_the_shell_is_granted_nothing() -> None:
    observed, _, _ = parse_observed(f"#allowed\n#clocks\n#thermal\n#process\n{APP}#system\n#game\n#restore\n")
    assert observed["granted"] is None
    assert observed["process"]["cpuset"] == "/top-app"


WORDS: list[tuple[str, type[HarnessError], str]] = [
    ("Failure [INSTALL_FAILED_USER_RESTRICTED: Install canceled by user]", InstallRefused, "over USB"),
    ("Failure [INSTALL_FAILED_ABORTED: User rejected permissions]", InstallRefused, "question"),
    ("Failure [INSTALL_FAILED_VERIFICATION_FAILURE]", InstallRefused, "verifier_verify_adb_installs"),
    ("Failure [INSTALL_FAILED_VERIFICATION_TIMEOUT]", InstallRefused, "did not answer"),
    ("Failure [INSTALL_FAILED_OLDER_SDK: Requires newer sdk version #26]", InstallRefused, "Android 8"),
    ("Failure [INSTALL_FAILED_UPDATE_INCOMPATIBLE: signatures do not match]", InstallRefused, "adb uninstall dev.x"),
    ("Failure [INSTALL_PARSE_FAILED_NO_CERTIFICATES]", InstallRefused, "android-app-key.pem"),
    ("Failure [INSTALL_FAILED_DEXOPT]", InstallRefused, "--android-mode shell"),
    ("", InstallRefused, "--android-mode shell"),
    ("java.lang.SecurityException: DISALLOW_INSTALL_APPS", InstallRefused, "administers"),
    ("Failure [INSTALL_FAILED_INSUFFICIENT_STORAGE]", DeviceFull, "free some space"),
    ("Exception: java.io.IOException: Requested internal only, but not enough space", DeviceFull, "free some space"),
    ("Failure [INSTALL_FAILED_NO_MATCHING_ABIS: res=-113]", RunnerUnusable, "target"),
]


@pytest.mark.parametrize(("words", "error", "cure"), WORDS)
def test_what_a_phone_answers_to_an_installation(words: str, error: type[HarnessError], cure: str) -> None:
    found = refusal_of_install(words, serial="S", abi="arm64-v8a", maker="Xiaomi", package="dev.x")
    assert type(found) is error
    assert cure in found.cure
    assert words in found.args[0]


def test_a_maker_s_own_switch_is_named() -> None:
    words = "Failure [INSTALL_FAILED_USER_RESTRICTED: Install canceled by user]"
    found = refusal_of_install(words, serial="S", abi="arm64-v8a", maker="Xiaomi", package="dev.x")
    assert "Security settings" in found.cure


@dataclass
class Phone:
    mode: str | None
    name: str = "phone"
    emulated: bool = False

    def facts(self) -> dict[str, Any]:
        return {"kind": "android"} | ({"android_mode": self.mode} if self.mode else {})


@pytest.mark.parametrize(
    ("before", "now", "refused"),
    [
        ({"kind": "android", "android_mode": "shell"}, "app", True),
        ({"kind": "android", "android_mode": "app"}, "shell", True),
        ({"kind": "android"}, "app", True),  # stored before there was another
        ({"kind": "android"}, "shell", False),
        ({"kind": "android", "android_mode": "app"}, "app", False),
        ({"kind": "host"}, None, False),
    ],
)
def test_a_baseline_of_the_other_mode_is_refused(before: dict[str, str], now: str | None, refused: bool) -> None:
    manifest = Manifest(run_id="r", started="2026-01-01T00:00:00Z", device=before)
    kept = Baseline(name="main", created="2026-01-01T00:00:00Z", manifest=manifest, timed={})
    phone = cast(Device, Phone(now))
    if not refused:
        refuse_unlike(kept, [phone])
        return
    with pytest.raises(UsageError, match="their times are not alike") as info:
        refuse_unlike(kept, [phone])
    assert "choose --android-mode" in info.value.cure


class AppPhone(FakeDevice):
    def facts(self) -> dict[str, Any]:
        return {"kind": "android", "name": self.name, "android_mode": "app"}


def test_nightly_runs_and_gates_refuse_a_baseline_of_the_shell(tmp_path: Path) -> None:
    results, cache = tmp_path / "results", Cache(tmp_path / "cache")
    run = cached_run(results, cache)
    path = run.folder / "manifest.json"
    stored = json.loads(path.read_text())
    stored["device"] |= {"kind": "android", "android_mode": "shell"}
    path.write_text(json.dumps(stored))
    Baselines(results).set(run, "main", cache=cache)
    with pytest.raises(UsageError, match="baseline main was made with --android-mode shell"):
        plan_nightly(results, "main", [AppPhone()], itself)
    options = RunOptions(results_dir=results, baseline="main")
    with pytest.raises(UsageError, match="baseline main was made with --android-mode shell"):
        BaselineGate().check(options, AppPhone(), {})


def test_a_run_in_the_background_is_marked(tmp_path: Path) -> None:
    observed = {"process": {"cpuset": "/background"}}
    text = to_markdown(report_run(make_run(tmp_path, observed=observed)))
    assert "Android ran it in the background: cpuset /background" in text
    observed = {"process": {"cpuset": "/top-app"}}
    assert "in the background" not in to_markdown(report_run(make_run(tmp_path, observed=observed)))


def test_a_comparison_of_both_modes_warns(tmp_path: Path) -> None:
    for mode in ("shell", "app"):
        run = make_run(tmp_path)
        path = run.folder / "manifest.json"
        stored = json.loads(path.read_text())
        name = "Pixel 8 (123)" + (", app" if mode == "app" else "")
        stored["device"] |= {"kind": "android", "name": name, "android_mode": mode}
        path.write_text(json.dumps(stored))
    text = to_markdown(compare_runs(Store(tmp_path).find("latest~1"), Store(tmp_path).find("latest")))
    assert "another Android mode: A has shell, B has app; the times do not show a change of code" in text
    assert "another device" not in text
