"""Scenarios of any device: a runner that behaves well or badly, and who else wants the device."""

from __future__ import annotations

import json
import signal
import threading

import pytest

from harness.conformance.arrivals import at_sample, samples
from harness.conformance.behaviour import AT_3, FOREVER, Written, end, header, line, raw, sample
from harness.conformance.bench import Bench
from harness.conformance.fake_runners import ARCHIVE, make_order
from harness.conformance.faults import Ends, Scenarios, complete, incomplete, raises
from harness.devices.base import AnyRecord
from harness.devices.errors import CommandTimeout, DeviceBusy, DeviceFull, IncompleteResult, RunnerUnusable
from harness.protocol.schema import End, WorkOrder

NAN = '{"record": "memory", "peak_bytes": NaN}'
TORN, HELLO, NO_TEXT = raw('{"record": "mem'), raw("hello\n"), raw(b"\xff\xfe\n")
ERROR = {"kind": "model", "message": "no function g2p_encoder_", "item": None}
TOO_LARGE = {"record": "probe", "workload": "g2p", "items": ["w0"], "outputs": [{"token_ids": [384], "text": ""}]}
HEAD = "header; load"


def starts(**changes: object) -> Written:
    return lambda order: line(header(order, **changes))


def ends_with(samples_: int = 6, **changes: object) -> Written:
    return lambda order: f"{HEAD}; passes; probe; {line(end(order, samples_, **changes))}"


def as_it_is(behaviour: str) -> Written:
    return lambda _order: behaviour


def reported(order: WorkOrder) -> str:
    return f"header; {line(end(order, 0, status='error', error=ERROR))}; leave 1"


BAD_RESULTS: dict[str, tuple[Written, str, int]] = {
    "a torn last line": (as_it_is(f"{HEAD}; passes; {TORN}"), "torn line of 15 bytes", 6),
    "no end record": (as_it_is(f"{HEAD}; passes"), "no end record after 10 records", 6),
    "nothing": (as_it_is("leave 0"), "no end record after 0 records", 0),
    "no result": (as_it_is("drop"), "no end record after 0 records", 0),
    "no JSON": (as_it_is(f"{HEAD}; {HELLO}; passes"), "line 5 is not a record", 0),
    "no UTF-8": (as_it_is(f"header; {NO_TEXT}"), "line 2 is not a record", 0),
    "half a record": (
        as_it_is(f"{HEAD}; {line({'record': 'sample'})}; passes; end"),
        "line 5 is not a record",
        0,
    ),
    "NaN where a number belongs": (
        as_it_is(f"{HEAD}; passes; line '{NAN}'; probe; end"),
        "line 11 is not a record: memory.peak_bytes",
        6,
    ),
    "a result of another order": (starts(order_id="order-0"), "is of order 'order-0', not 'order-1'", 0),
    "an end of another order": (ends_with(order_id="order-0"), "end record is of order 'order-0'", 6),
    "a result of another archive": (starts(archive_sha256="cd" * 32), "the runner holds archive cdcdcdcdcdcd", 0),
    "an unrequested slowdown": (starts(slowdown_percent=5.0), "slows itself down by 5 %, which was not", 0),
    "an item that was not asked for": (as_it_is(f"header; {line(sample('w9'))}"), "item 'w9' is not of workload", 0),
    "on after its end record": (as_it_is(f"{HEAD}; passes; probe; end; load"), "after the end record", 6),
    "too few samples": (as_it_is(f"{HEAD}; memory; probe; end"), "item 'w0' has 0 samples of 3", 0),
    "more than its order asks for": (
        as_it_is(f"{HEAD}; passes; passes; probe; end"),
        "item 'w0' has 4 samples of 3",
        6,
    ),
    "another number of samples than there are": (ends_with(7), "counts 7 samples, 6 arrived", 6),
    "no probes": (as_it_is(f"{HEAD}; passes; end"), "0 probes instead of one", 6),
    "a token that the model has not": (as_it_is(f"header; {line(TOO_LARGE)}"), "vocab", 0),
    "an error of its own": (reported, "the runner reported a model error: no function g2p_encoder_", 0),
}
"""What a runner writes: its behaviour, the reason that follows, how many samples come before."""


def bad(case: str) -> pytest.MarkDecorator:
    return pytest.mark.fault(
        what=f"{{runner}} writes {case}", ends=incomplete(BAD_RESULTS[case][1]), keeps="what came before"
    )


class Endings(Scenarios):
    """How a runner ends: what every way of starting one has to hear of."""

    def test_a_good_run_is_complete_and_leaves_nothing_behind(self, bench: Bench) -> None:
        result = bench.run()
        assert result.complete, result.reason
        assert (result.reason, result.resumed, result.failure) == (None, 0, None)
        assert result.exit_status == (0 if bench.hears_status else None)
        bench.assert_kept(result, 6)
        assert isinstance(result.records[-1], End)
        assert result.require_complete() is result
        bench.assert_clean()

    @pytest.mark.fault(
        what="{runner} is ended by a signal of its own making",
        ends=incomplete("{runner} was killed by SIGSEGV"),
        keeps="what it had written",
    )
    @pytest.mark.parametrize("name", ["SEGV", "ABRT"])
    def test_a_crash(self, bench: Bench, ends: Ends, name: str) -> None:
        result = bench.run(None, f"{HEAD}; passes; complain 'about to fall'; crash {name}")
        ends.words = ends.words.replace("SIGSEGV", f"SIG{name}")
        ends.check(result)
        assert result.exit_status == (-getattr(signal, f"SIG{name}") if bench.hears_status else None)
        assert samples(result.records) == 6
        assert len(result.records) == 10
        with pytest.raises(IncompleteResult, match=f"SIG{name}"):
            result.require_complete()
        bench.assert_clean()

    @pytest.mark.fault(
        what="{runner} is killed while it runs, as a system does that wants its memory",
        ends=incomplete("{runner} was killed by SIGKILL"),
        keeps="what it had written",
    )
    def test_killed(self, bench: Bench, ends: Ends) -> None:
        result = bench.run(None, AT_3, then=at_sample(3, do=bench.kill_runner))
        ends.check(result)
        bench.assert_kept(result, 3)
        bench.assert_clean()

    @pytest.mark.fault(
        what="{runner} hangs past its deadline",
        ends=incomplete("still running after the deadline of 1.5 s, killed"),
        keeps="what it had written",
    )
    def test_a_hang_is_ended_with_its_children(self, bench: Bench, ends: Ends) -> None:
        result = bench.run(None, f"{HEAD}; family; family afar; stay", deadline=1.5)
        ends.check(result)
        assert len(result.records) == 4
        bench.assert_clean()

    def test_describe(self, bench: Bench) -> None:
        assert bench.open().describe(bench.runner()).archive_sha256 == ARCHIVE
        bench.assert_clean()


class Running(Endings):
    """What a device of any kind can be tried with."""

    def test_records_arrive_while_the_runner_still_runs(self, bench: Bench) -> None:
        """A runner that never ends: what arrives arrives before its end."""
        device, ran = bench.open(), list[bool]()

        def look() -> None:
            ran.append(bench.runs())
            device.stop()

        result = bench.run(None, AT_3, device=device, then=at_sample(3, do=look))
        assert ran == [True]
        assert result.reason is not None
        assert result.reason.startswith("the device was closed")
        assert samples(result.records) == 3
        bench.assert_clean()

    @pytest.mark.parametrize(
        "error", [OSError(28, "No space left on device"), EOFError("no"), DeviceFull("full"), ZeroDivisionError()]
    )
    def test_what_a_listener_raises_is_raised_and_no_loss(self, bench: Bench, error: Exception) -> None:
        def fail(_record: AnyRecord) -> None:
            raise error

        with pytest.raises(type(error)) as info:
            bench.run(None, FOREVER, then=fail)
        assert info.value is error
        assert not any("lost" in line or "waiting" in line for line in bench.notices)
        bench.assert_clean()

    @pytest.mark.fault(
        what="{runner} exits with 1", ends=incomplete("{runner} exited with status 1"), keeps="what it had written"
    )
    def test_exits_with_1(self, bench: Bench, ends: Ends) -> None:
        result = bench.run(None, f"{HEAD}; complain 'out of luck'; leave 1")
        ends.check(result)
        assert result.reason is not None
        assert "out of luck" in result.reason
        assert (len(result.records), result.exit_status) == (4, 1 if bench.hears_status else None)
        bench.assert_clean()

    @pytest.mark.fault(
        what="{runner} exits with 1 after a complete result",
        ends=incomplete("{runner} exited with status 1"),
        keeps="all records",
    )
    @pytest.mark.parametrize("status", [1, 7])
    def test_exits_badly_behind_a_whole_result(self, bench: Bench, ends: Ends, status: int) -> None:
        result = bench.run(None, f"everything; leave {status}")
        ends.words = ends.words.replace("status 1", f"status {status}")
        ends.check(result)
        assert result.exit_status == (status if bench.hears_status else None)
        assert samples(result.records) == 6
        bench.assert_clean()

    def test_children_that_a_runner_left_are_ended(self, bench: Bench) -> None:
        result = bench.run(None, "family; everything")
        assert result.complete, result.reason
        bench.assert_clean()

    @pytest.mark.fault(what="{runner} prints 20 MB on stdout and on stderr", ends=complete(), keeps="all records")
    def test_twenty_megabytes_of_output(self, bench: Bench, ends: Ends) -> None:
        result = bench.run(None, f"{HEAD}; noise 20; passes; memory; probe; end")
        ends.check(result)
        assert bench.seen == list(result.records)
        bench.assert_clean()

    @pytest.mark.fault(
        what="{runner} prints without end", ends=incomplete("more than 1048576 bytes"), keeps="what it had written"
    )
    def test_endless_output(self, bench: Bench, ends: Ends) -> None:
        result = bench.run(None, f"{HEAD}; flood", device=bench.open(max_log_bytes=2**20))
        ends.check(result)
        assert len(result.records) == 4
        bench.assert_clean()

    @pytest.mark.fault(what="{runner}'s file is missing", ends=raises(RunnerUnusable, "cannot be read"), keeps="–")
    def test_no_runner(self, bench: Bench, ends: Ends) -> None:
        device = bench.open()
        with ends.raised():
            device.run(bench.folder / "absent", make_order(), bench.workdir)
        with pytest.raises(RunnerUnusable):
            device.describe(bench.folder / "absent")
        bench.assert_clean()

    @pytest.mark.fault(what="{runner} is no program of this device", ends=raises(RunnerUnusable, "ELF"), keeps="–")
    def test_a_foreign_runner(self, bench: Bench, ends: Ends) -> None:
        device = bench.open_bare()
        with ends.raised():
            device.run(bench.foreign(), make_order(), bench.workdir)
        with pytest.raises(RunnerUnusable):
            device.describe(bench.foreign())
        bench.assert_clean()

    @pytest.mark.fault(
        what="{runner} fails when it is asked what it is",
        ends=raises(RunnerUnusable, "exited with status 7"),
        keeps="–",
    )
    def test_no_description(self, bench: Bench, ends: Ends) -> None:
        device = bench.open()
        with ends.raised() as info:
            device.describe(bench.runner(describing="complain 'no weights'; leave 7"))
        assert not bench.hears_status or "no weights" in str(info.value)
        bench.assert_clean()

    def test_a_description_that_is_none(self, bench: Bench) -> None:
        device = bench.open()
        with pytest.raises(RunnerUnusable, match="did not print a description"):
            device.describe(bench.runner(describing="write hello; leave 0"))
        with pytest.raises(CommandTimeout):
            device.describe(bench.runner(describing="stay"), deadline=1.0)
        bench.assert_clean()

    @pytest.mark.fault(
        what="another process measures on {device}", ends=raises(DeviceBusy, "in use by process"), keeps="–"
    )
    def test_a_busy_device(self, bench: Bench, ends: Ends) -> None:
        device, notices = bench.open(), list[str]()
        hold = "import time\nwith device.reserve():\n    print('held', flush=True)\n    time.sleep(600)\n"
        with bench.other_process(hold) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n", other.stderr and other.stderr.read()
            with ends.raised() as info, device.reserve(wait_seconds=0.3, notify=notices.append):
                pass
            assert str(other.pid) in str(info.value)
            assert len(notices) == 1
            assert "waiting up to" in notices[0]
            other.kill()
        # Whoever is killed lets go; and one object may hold it twice.
        with device.reserve(wait_seconds=5), device.reserve(wait_seconds=0):
            pass
        assert bench.run(device=device).complete
        bench.assert_clean()

    @pytest.mark.fault(
        what="the harness is killed with -9 and started again",
        ends=complete("what it left is ended and removed"),
        keeps="all records of the new run",
    )
    def test_the_harness_is_killed(self, bench: Bench, ends: Ends) -> None:
        with bench.other_harness(FOREVER) as other:
            other.kill()
            other.wait()
        bench.look_at_what_was_left()
        result = bench.run()
        ends.check(result)
        bench.look_at_what_became_of_it(result)
        bench.assert_clean()

    def test_ctrl_c_ends_the_runner_and_removes_what_is_its(self, bench: Bench) -> None:
        with bench.other_harness(FOREVER) as other:
            other.send_signal(signal.SIGINT)
            _, err = other.communicate(timeout=60)
        assert "KeyboardInterrupt" in err
        bench.assert_clean()

    @pytest.mark.fault(
        what="{device} is closed from another thread",
        ends=incomplete("the device was closed"),
        keeps="all that had arrived",
    )
    def test_closed_from_another_thread(self, bench: Bench, ends: Ends) -> None:
        device = bench.open()
        closing = threading.Thread(target=device.close)
        result = bench.run(None, FOREVER, device=device, then=at_sample(2, do=closing.start))
        closing.join()
        ends.check(result)
        assert samples(result.records) >= 2
        bench.assert_clean()

    def test_what_a_device_is(self, bench: Bench) -> None:
        device = bench.open()
        facts = device.facts()
        assert {"kind", "name", "cpu_model", "cores", "arch", "memory_bytes", "os", "kernel"} <= set(facts)
        assert (facts["kind"], facts["name"]) == (device.kind, device.name)
        assert device.target
        assert json.loads(json.dumps(facts)) == facts
        conditions = device.conditions()
        assert json.loads(json.dumps(conditions)) == conditions
        assert "unavailable" not in conditions
        device.settle(wait_seconds=5)
        device.close()
        device.close()


class Reading(Scenarios):
    """What a runner writes, read without trust, by whatever way it comes from the device."""

    @pytest.mark.parametrize("case", [pytest.param(case, marks=bad(case)) for case in BAD_RESULTS])
    def test_a_bad_result(self, bench: Bench, ends: Ends, case: str) -> None:
        order = make_order()
        written, _, kept = BAD_RESULTS[case]
        result = bench.run(order, written(order))
        ends.check(result)
        assert samples(result.records) == kept
        if written is reported:
            assert result.failure is not None
            assert result.failure.kind == "model"
            assert result.reason == ends.words
        bench.assert_clean()

    def test_a_runner_is_slowed_down_by_order_only(self, bench: Bench) -> None:
        assert "slowdown_percent" not in make_order().model_dump_json(), "kept runners refuse a field they do not know"
        order = make_order().model_copy(update={"slowdown_percent": 5.0})
        device = bench.open()
        behaviour = f"{line(header(order, slowdown_percent=5.0))}; load; passes; probe; end"
        assert bench.run(order, behaviour, device=device).complete
        silent = bench.run(order, device=device)
        assert silent.reason is not None
        assert "slows itself down by 0 %" in silent.reason
