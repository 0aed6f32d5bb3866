"""Faults of a runner, and of what it writes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.core.cache import Cache
from harness.devices.android import AndroidOptions, Watch
from harness.devices.base import AnyRecord
from harness.protocol.schema import Header, Sample
from harness.virtual.android import virtual_androids
from tests.devices.android.conftest import QUICK, Scene
from tests.devices.arrivals import samples
from tests.devices.fake_runners import make_order
from tests.devices.faults import Ends, complete, incomplete

pytestmark = pytest.mark.emulator


@pytest.mark.fault(
    what="the runner is killed by a signal", ends=incomplete("was killed by SIGSEGV"), keeps="what it had written"
)
def test_killed_by_a_signal(scene: Scene, ends: Ends) -> None:
    result = scene.run(make_order(), "header; load; passes; kill -SEGV $$; sleep 60")
    ends.check(result)
    assert result.exit_status == -11
    assert samples(result.records) == 6
    scene.assert_clean()


@pytest.mark.fault(what="the runner exits with 1", ends=incomplete("exited with status 1"), keeps="what it had written")
def test_exits_with_1(scene: Scene, ends: Ends) -> None:
    result = scene.run(make_order(), "header; load; echo 'out of luck' >&2; exit 1")
    ends.check(result)
    assert result.reason is not None
    assert "out of luck" in result.reason
    assert (len(result.records), result.exit_status) == (4, 1)
    scene.assert_clean()


@pytest.mark.fault(
    what="the runner exits with 1 behind a whole result", ends=incomplete("exited with status 1"), keeps="all records"
)
def test_exits_with_1_behind_a_good_result(scene: Scene, ends: Ends) -> None:
    result = scene.run(make_order(), "everything; exit 1")
    ends.check(result)
    assert samples(result.records) == 6


@pytest.mark.fault(
    what="the runner hangs past its deadline",
    ends=incomplete("still running after the deadline of 1.5 s, killed"),
    keeps="what it had written",
)
def test_hangs(scene: Scene, ends: Ends) -> None:
    began = time.monotonic()
    body = "header; load; (cd /; exec sleep 601) & setsid sleep 602 & sleep 603"
    result = scene.run(make_order(), body, deadline=1.5)
    assert time.monotonic() - began < 15
    ends.check(result)
    assert len(result.records) == 4
    scene.assert_clean()


@pytest.mark.fault(what="the runner prints 20 MB on stdout and on stderr", ends=complete(), keeps="all records")
def test_twenty_megabytes_of_output(scene: Scene, ends: Ends) -> None:
    body = "header; load; for _ in 1 2 3 4 5; do head -c 4194304 /dev/zero; head -c 4194304 /dev/zero >&2; done\n"
    result = scene.run(make_order(), f"{body} echo; passes; memory; probe; end")
    ends.check(result)
    assert scene.seen == list(result.records)


@pytest.mark.fault(
    what="the runner prints without end", ends=incomplete("more than 1048576 bytes"), keeps="what it had written"
)
def test_endless_output(scene: Scene, ends: Ends) -> None:
    options = AndroidOptions(watch=Watch(max_log_bytes=2**20))
    result = scene.run(make_order(), "header; load; exec cat /dev/zero", device=scene.open(options=options))
    ends.check(result)
    assert len(result.records) == 4
    scene.assert_clean()


BAD_RESULTS = {
    "a torn last line": ('header; load; passes; printf \'{"record": "mem\' >> "$result"', "torn line of 15 bytes", 6),
    "no end record": ("header; load; passes", "no end record after 10 records", 6),
    "a result of another order": (
        'put() { print -r -- "${1/order-1/order-0}" >> "$result"; }; everything',
        "is of order 'order-0', not 'order-1'",
        0,
    ),
    "too few samples": ("header; load; memory; probe; end", "item 'w0' has 0 samples of 3", 0),
    "no JSON": ('header; load; echo hello >> "$result"; passes', "line 5 is not a record", 0),
}


def bad(case: str) -> pytest.MarkDecorator:
    _, words, _ = BAD_RESULTS[case]
    return pytest.mark.fault(what=f"the runner writes {case}", ends=incomplete(words), keeps="what came before")


@pytest.mark.parametrize("case", [pytest.param(case, marks=bad(case)) for case in BAD_RESULTS])
def test_a_bad_result(scene: Scene, ends: Ends, case: str) -> None:
    body, _, kept = BAD_RESULTS[case]
    result = scene.run(make_order(), body)
    ends.check(result)
    assert samples(result.records) == kept
    scene.assert_clean()


@pytest.mark.fault(
    what="what was streamed is not what the result file holds",
    ends=incomplete("what was streamed differs from the result file"),
    keeps="the file's records",
)
def test_a_stream_that_lies(scene: Scene, ends: Ends) -> None:
    lie = '{"record": "memory", "peak_bytes": 666}'
    result = scene.run(make_order(), f"header; load; passes; print -r -- '{lie}'; probe; end")
    ends.check(result)
    assert samples(result.records) == 6


@pytest.mark.fault(what="the runner streams nothing", ends=complete("its result file is enough"), keeps="all records")
def test_a_runner_that_does_not_stream(scene: Scene, ends: Ends) -> None:
    result = scene.run(make_order(), "stream=; everything")
    ends.check(result)
    assert scene.seen == list(result.records)


@pytest.mark.fault(
    what="no space left while the result is written",
    ends=incomplete("No space left on device"),
    keeps="what could be written",
)
def test_no_space_for_the_result(ends: Ends, tmp_path: Path, user_cache: Cache) -> None:
    with virtual_androids(1, cache=user_cache, progress=print, data_bytes=2**20) as (adb, devices):
        scene = Scene(adb, devices[0], tmp_path)
        body = "header; load; head -c 4194304 /dev/zero > filler; passes; memory; probe; end"
        with scene.closing:
            # More than the page that the file has already.
            result = scene.run(make_order(tuple("abcdefghijklmnop" * 4)), body)
            ends.check(result)
            assert isinstance(result.records[0], Header)
            scene.assert_clean()


@pytest.mark.fault(
    what="the thermal status rises to severe during the run",
    ends=incomplete("thermal status rose to severe (3), stopped"),
    keeps="what it had written",
)
def test_too_hot_during_the_run(scene: Scene, ends: Ends) -> None:
    def heat(record: AnyRecord) -> None:
        if isinstance(record, Sample):
            scene.virtual.set_thermal_status(3)

    result = scene.run(make_order(), "header; load; pause=0.3; passes; sleep 60; end", then=heat)
    ends.check(result)
    assert 1 <= samples(result.records) <= 6
    assert result.observed["thermal_status_highest"] == 3
    scene.assert_clean()


@pytest.mark.fault(what="the device denies a knob", ends=complete("the knob says so"), keeps="all records")
def test_a_denied_knob(scene: Scene, ends: Ends) -> None:
    words = "java.lang.SecurityException: Permission denial: writing to settings requires:android.permission.X"
    scene.virtual.set_property("ro.product.manufacturer", "Xiaomi")
    scene.virtual.set_command("settings", f"case $1 in get) echo 0 ;; *) echo '{words}' >&2; exit 255 ;; esac")
    result = scene.run(make_order())
    ends.check(result)
    (knob,) = [knob for knob in result.knobs if knob.name == "stay_awake"]
    assert (knob.state, knob.detail, knob.restored) == ("denied", words, None)
    assert any("USB debugging (Security settings)" in line for line in scene.said)


@pytest.mark.fault(
    what="the device does not know a knob", ends=complete("the knob says `unsupported`"), keeps="all records"
)
def test_an_unsupported_knob(scene: Scene, ends: Ends) -> None:
    scene.virtual.set_command("cmd", 'echo "cmd: Can\'t find service: power" >&2; exit 20')
    scene.virtual.set_command("taskset", 'echo "taskset: failed to set: Invalid argument" >&2; exit 1')
    result = scene.run(make_order())
    ends.check(result)
    states = {knob.name: knob.state for knob in result.knobs}
    assert states == {
        "pinned": "unsupported",
        "fixed_performance": "unsupported",
        "stay_awake": "applied",
        "screen": "applied",
    }


@pytest.mark.fault(
    what="a setting cannot be put back",
    ends=complete("the knob says `restored: false`, with a notice"),
    keeps="all records",
)
def test_restoring_fails(scene: Scene, ends: Ends) -> None:
    def forbid(record: AnyRecord) -> None:
        if isinstance(record, Header):
            scene.virtual.set_command("settings", "case $1 in get) echo 7 ;; *) echo 'Failure' >&2; exit 255 ;; esac")

    result = scene.run(make_order(), "header; load; pause=0.2; passes; memory; probe; end", then=forbid)
    ends.check(result)
    (knob,) = [knob for knob in result.knobs if knob.name == "stay_awake"]
    assert (knob.state, knob.restored) == ("applied", False)
    assert any("stay_awake of" in line and "not as it was" in line for line in scene.said)
    scene.assert_clean()


def test_thermal_looks_are_rare_by_default() -> None:
    assert AndroidOptions().watch.thermal_seconds > QUICK.watch.thermal_seconds


@pytest.mark.fault(
    what="the runner writes NaN where a number belongs",
    ends=incomplete("line 11 is not a record: memory.peak_bytes"),
    keeps="what came before",
)
def test_a_number_that_is_none(scene: Scene, ends: Ends) -> None:
    result = scene.run(
        make_order(), """header; load; passes; put '{"record": "memory", "peak_bytes": NaN}'; probe; end"""
    )
    ends.check(result)
    assert samples(result.records) == 6


@pytest.mark.fault(
    what="the runner writes more than its order asks for",
    ends=incomplete("item 'w0' has 4 samples of 3"),
    keeps="what came before",
)
def test_more_than_was_asked_for(scene: Scene, ends: Ends) -> None:
    ends.check(scene.run(make_order(), "header; load; passes; passes; probe; end"))
