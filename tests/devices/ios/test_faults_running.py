"""Faults of an app, and of what it writes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.devices.collect import ResultReader
from harness.devices.errors import RunnerUnusable
from tests.devices.arrivals import at_sample, samples
from tests.devices.fake_runners import ARCHIVE, make_order
from tests.devices.faults import Ends, complete, incomplete, raises
from tests.devices.ios.apps import BUNDLE_ID
from tests.devices.ios.conftest import QUICK, Scene, with_launcher

pytestmark = pytest.mark.emulator

LONG = "header(); load(); pause = 0.1; passes(); time.sleep(600)"


@pytest.mark.fault(
    what="the app crashes",
    ends=incomplete("the app crashed: EXC_BAD_ACCESS SIGSEGV"),
    keeps="what it had written, and the crash report",
)
@pytest.mark.parametrize("launcher", ["dvt", "debugserver"])
def test_crashes(scene: Scene, ends: Ends, launcher: str) -> None:
    body = "header(); load(); passes(); os.kill(os.getpid(), signal.SIGSEGV); time.sleep(60)"
    result = scene.run(make_order(), body, device=scene.open(with_launcher(launcher)))
    ends.check(result)
    assert result.exit_status == -11
    assert samples(result.records) == 6
    assert result.observed["crash"]["signal"] == "SIGSEGV"
    assert scene.virtual.crash_reports() == []  # pulled, and as it was before
    scene.assert_clean()


@pytest.mark.fault(
    what="the app aborts",
    ends=incomplete("the app crashed: EXC_CRASH SIGABRT"),
    keeps="what it had written, and the crash report",
)
@pytest.mark.parametrize("launcher", ["dvt", "debugserver"])
def test_aborts(scene: Scene, ends: Ends, launcher: str) -> None:
    result = scene.run(
        make_order(), "header(); load(); passes(); os.abort()", device=scene.open(with_launcher(launcher))
    )
    ends.check(result)
    assert result.exit_status == -6
    assert samples(result.records) == 6
    scene.assert_clean()


@pytest.mark.fault(
    what="the watchdog ends the app for not coming up",
    ends=incomplete("0x8badf00d: the system's watchdog ended it"),
    keeps="what it had written, and the crash report",
)
def test_watchdog(scene: Scene, ends: Ends) -> None:
    scene.virtual.set(launch_watchdog_seconds=0.5)
    result = scene.run(make_order(), "header(); load(); time.sleep(60)")
    ends.check(result)
    assert result.reason is not None
    assert "scene-create watchdog transgression" in result.reason
    assert len(result.records) == 4
    scene.assert_clean()


@pytest.mark.fault(
    what="the watchdog has nothing to say where a debugger started the app", ends=complete(), keeps="all records"
)
def test_no_watchdog_under_a_debugger(scene: Scene, ends: Ends) -> None:
    scene.virtual.set(launch_watchdog_seconds=0.3)
    body = "header(); load(); time.sleep(0.6); passes(); memory(); probe(); end()"
    ends.check(scene.run(make_order(), body, device=scene.open(with_launcher("debugserver"))))


@pytest.mark.fault(
    what="the system ends the app for want of memory, or its owner does",
    ends=incomplete("the app was killed by SIGKILL"),
    keeps="what it had written",
)
def test_killed(scene: Scene, ends: Ends) -> None:
    device = scene.open(replace(QUICK, crash_seconds=0.5))
    result = scene.run(make_order(), LONG, device=device, then=at_sample(1, do=lambda: scene.virtual.jetsam(BUNDLE_ID)))
    ends.check(result)
    assert samples(result.records) >= 1
    assert scene.seen == list(result.records)
    scene.assert_clean()


@pytest.mark.fault(
    what="nobody tells of the app's end",
    ends=incomplete("the app ended without a crash report"),
    keeps="what it had written",
)
def test_ends_in_silence(scene: Scene, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.devices.ios.launchers.dvt.LOOK_SECONDS", 0.3)
    scene.virtual.set(tells_ends=False)
    device = scene.open(replace(QUICK, crash_seconds=0.3))
    result = scene.run(make_order(), "header(); load(); sys.exit(1)", device=device)
    ends.check(result)
    assert (len(result.records), result.exit_status) == (4, None)
    assert device.describe(scene.app()).archive_sha256 == ARCHIVE
    scene.assert_clean()


@pytest.mark.fault(
    what="the app exits with 1", ends=incomplete("the app exited with status 1"), keeps="what it had written"
)
def test_exits_with_1(scene: Scene, ends: Ends) -> None:
    result = scene.run(make_order(), "header(); load(); print('out of luck', file=sys.stderr); sys.exit(1)")
    ends.check(result)
    assert result.reason is not None
    assert "out of luck" in result.reason
    assert (len(result.records), result.exit_status) == (4, 1)
    scene.assert_clean()


@pytest.mark.fault(
    what="the app hangs past its deadline",
    ends=incomplete("still running after the deadline of 1.5 s, killed"),
    keeps="what it had written",
)
@pytest.mark.parametrize("launcher", ["dvt", "debugserver"])
def test_hangs(scene: Scene, ends: Ends, launcher: str) -> None:
    result = scene.run(make_order(), LONG, deadline=1.5, device=scene.open(with_launcher(launcher)))
    ends.check(result)
    assert samples(result.records) == 6
    scene.assert_clean()


@pytest.mark.fault(
    what="the app is stopped in the background",
    ends=incomplete("still running after the deadline of 1 s, killed"),
    keeps="what it had written",
)
def test_suspended(scene: Scene, ends: Ends) -> None:
    result = scene.run(make_order(), LONG, deadline=1.0, then=at_sample(1, do=lambda: scene.virtual.suspend(BUNDLE_ID)))
    ends.check(result)
    assert samples(result.records) >= 1
    scene.assert_clean()


@pytest.mark.fault(
    what="the app prints without end", ends=incomplete("more than 1048576 bytes printed"), keeps="what it had written"
)
def test_endless_output(scene: Scene, ends: Ends) -> None:
    device = scene.open(replace(QUICK, max_log_bytes=2**20))
    body = "header(); load()\nwhile True: print('x' * 65536)"
    result = scene.run(make_order(), body, device=device)
    ends.check(result)
    assert len(result.records) == 4
    scene.assert_clean()


@pytest.mark.fault(
    what="the phone's thermal state rises to serious",
    ends=incomplete("thermal state rose to serious, stopped"),
    keeps="what it had written",
)
def test_too_hot(scene: Scene, ends: Ends) -> None:
    body = "header(); thermal('nominal'); load(); thermal('serious'); pause = 0.2; passes(); time.sleep(60)"
    result = scene.run(make_order(), body)
    ends.check(result)
    assert result.observed["thermal_states"] == ["nominal", "serious"]
    scene.assert_clean()


BAD_RESULTS = {
    "a torn last line": (
        'header(); load(); passes(); result.write(\'{"record": "mem\'); result.flush()',
        "torn line of 15 bytes",
        6,
    ),
    "no end record": ("header(); load(); passes()", "no end record after 10 records", 6),
    "a result of another order": (
        "order['order_id'] = 'order-0'; everything()",
        "is of order 'order-0', not 'order-1'",
        0,
    ),
    "too few samples": ("header(); load(); memory(); probe(); end()", "item 'w0' has 0 samples of 3", 0),
    "no JSON": ("header(); load(); result.write('hello\\n'); passes()", "line 5 is not a record", 0),
    "no result": ("os.unlink(documents + 'result.jsonl')", "no end record after 0 records", 0),
    "an error": (
        "header(); end(status='error', error={'kind': 'model', 'message': 'no such kernel'}); sys.exit(1)",
        "the runner reported a model error: no such kernel",
        0,
    ),
}


def bad(case: str) -> pytest.MarkDecorator:
    _, words, _ = BAD_RESULTS[case]
    return pytest.mark.fault(what=f"the app writes {case}", ends=incomplete(words), keeps="what came before")


@pytest.mark.parametrize("case", [pytest.param(case, marks=bad(case)) for case in BAD_RESULTS])
def test_a_bad_result(scene: Scene, ends: Ends, case: str) -> None:
    body, _, kept = BAD_RESULTS[case]
    result = scene.run(make_order(), body)
    ends.check(result)
    assert samples(result.records) == kept
    scene.assert_clean()


@pytest.mark.fault(
    what="the result is larger than is believed",
    ends=incomplete("the result is larger than 65536 bytes"),
    keeps="what came before",
)
def test_a_flood_of_results(scene: Scene, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    def small(*arguments: Any, **options: Any) -> ResultReader:
        return ResultReader(*arguments, **options, max_bytes=65536)

    monkeypatch.setattr("harness.devices.ios.job.ResultReader", small)
    body = "header(); load()\nwhile True: result.write(' ' * 4096 + '\\n'); result.flush()"
    result = scene.run(make_order(), body)
    ends.check(result)
    scene.assert_clean()


@pytest.mark.fault(what="the app cannot say what it is", ends=raises(RunnerUnusable, "exited with status 7"), keeps="–")
def test_no_description(scene: Scene, ends: Ends) -> None:
    device = scene.open()
    app = scene.app(describing="sys.exit(7)")
    with ends.raised():
        device.describe(app)
    scene.assert_clean()
