"""Scenarios of a device at the other end of a cable: it is pulled, or it runs out of room, charge or patience."""

from __future__ import annotations

import pytest

from harness.conformance.arrivals import at_sample, samples
from harness.conformance.behaviour import AT_3, STUCK
from harness.conformance.bench import Bench, Cable, Charged
from harness.conformance.fake_runners import make_order
from harness.conformance.faults import Ends, Scenarios, complete, incomplete, raises
from harness.devices.errors import DeviceFull, DeviceLost, DeviceNotReady
from harness.protocol.schema import Header, Sample

BIG = 48 * 2**20


class Returning(Scenarios):
    """The device is lost while a runner runs, and comes back: on every way to start one."""

    @pytest.mark.fault(
        what="{device} is gone mid-run and comes back",
        ends=complete(resumed=1),
        keeps="all records of both processes",
    )
    def test_gone_and_back(self, bench: Cable, ends: Ends) -> None:
        result = bench.run(None, AT_3, then=at_sample(3, do=bench.blink))
        ends.check(result)
        assert samples(result.records) == 6
        found = [record for record in result.records if isinstance(record, Sample)]
        assert [record.phase.value for record in found].count("first") == 2
        assert [(record.items[0], record.repetition) for record in found] == [
            ("w0", 0), ("w1", 0), ("w0", 0), ("w1", 0), ("w0", 1), ("w1", 1)
        ]  # fmt: skip
        assert sum(isinstance(record, Header) for record in result.records) == 2
        assert bench.seen == list(result.records)
        bench.assert_clean()


class Losing(Returning):
    """The cable, at every moment of a run."""

    @pytest.mark.fault(what="{device} is gone before the push", ends=raises(DeviceLost, "was lost while"), keeps="–")
    def test_gone_before_the_push(self, bench: Cable, ends: Ends) -> None:
        device = bench.open()
        bench.unplug()
        with ends.raised():
            bench.run(device=device)
        assert "unavailable" in device.conditions()
        bench.plug()
        assert bench.run().complete
        bench.assert_clean()

    @pytest.mark.fault(what="{device} is gone during the push", ends=raises(DeviceLost, "was lost while"), keeps="–")
    def test_gone_during_the_push(self, bench: Cable, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
        # Every piece is announced, so that the cable is pulled between two of them however fast this machine is.
        monkeypatch.setattr("harness.devices.pushing.LINE_SECONDS", 0.0)
        device, runner = bench.open(), bench.runner(padding=BIG)

        def pull_the_cable(done: int, total: int) -> None:
            if total // 2 < done < total:
                bench.unplug()

        with ends.raised():
            device.deploy(runner, on_push=pull_the_cable)
        assert bench.left()
        bench.plug()
        # What had arrived of it is found and removed by the next push.
        assert bench.open().run(runner, make_order()).complete
        bench.assert_clean()

    def test_a_push_reports_how_far_it_is(self, bench: Cable, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("harness.devices.pushing.LINE_SECONDS", 0.0)
        device, runner, heard = bench.open(), bench.runner(padding=2 * 10**6), list[tuple[int, int]]()
        assert device.deploy(runner, on_push=lambda *how_far: heard.append(how_far))
        assert heard == sorted(heard)
        assert heard[-1][0] == heard[-1][1] >= 2 * 10**6
        runner = bench.runner(padding=3 * 10**6)
        assert device.run(runner, make_order()).complete
        pushed = [line for line in bench.notices if line.startswith("pushing the runner to ")]
        assert len(pushed) >= 3
        done, total = pushed[-1].removesuffix(" MB").rsplit(" ", 3)[1::2]
        assert done == total
        assert device.run(runner, make_order()).complete
        again = [line for line in bench.notices if line.startswith("pushing the runner to ")]
        assert again == pushed, "what is there is not pushed again"

    @pytest.mark.fault(
        what="{device} is gone mid-run and stays away",
        ends=incomplete("was lost while {runner} ran"),
        keeps="all that had arrived",
    )
    def test_gone_for_good(self, bench: Cable, ends: Ends) -> None:
        result = bench.run(None, AT_3, then=at_sample(3, do=bench.unplug))
        ends.check(result)
        bench.assert_kept(result, 3)
        assert any("waiting up to" in line for line in bench.notices)
        # What could not be cleaned up is found by the next run, and only then.
        bench.close_devices()
        assert bench.left()
        bench.plug()
        assert bench.run().complete
        assert any(bench.left_words in line for line in bench.notices), bench.notices
        bench.assert_clean()

    @pytest.mark.parametrize("left", [0, 300, None])
    @pytest.mark.fault(
        what="{device} loses power mid-run, and with it the end of its result file",
        ends=complete(resumed=1),
        keeps="all records, those that had arrived before included",
    )
    def test_power_loss(self, bench: Cable, ends: Ends, left: int | None) -> None:
        def lose_power() -> None:
            bench.lose_power(left)
            bench.when_noticed("waiting up to", bench.plug)

        result = bench.run(None, AT_3, then=at_sample(3, do=lose_power))
        ends.check(result)
        bench.assert_kept(result, 6)
        bench.assert_clean()

    @pytest.mark.fault(
        what="{device} is gone again after it came back",
        ends=incomplete("lost a second time", resumed=1),
        keeps="all that had arrived",
    )
    def test_gone_twice(self, bench: Cable, ends: Ends) -> None:
        result = bench.run(None, STUCK.format("2 5"), then=at_sample(2, 5, do=bench.blink))
        ends.check(result)
        bench.assert_kept(result, 5)
        bench.assert_clean()

    @pytest.mark.fault(
        what="{device} is gone during the pull and stays away",
        ends=incomplete("the result could not be pulled"),
        keeps="all that had arrived",
    )
    def test_gone_during_the_pull(self, bench: Cable, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
        bench.at_pull(monkeypatch, bench.unplug)
        result = bench.run(None, AT_3, then=at_sample(3, do=bench.blink))
        ends.check(result)
        bench.assert_kept(result, 3)
        bench.plug()
        assert bench.run().complete
        bench.assert_clean()

    @pytest.mark.fault(
        what="{device} is gone during the pull and comes back",
        ends=complete("it is pulled again", resumed=1),
        keeps="all records of both processes",
    )
    def test_back_for_the_pull(self, bench: Cable, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
        bench.at_pull(monkeypatch, bench.blink)
        result = bench.run(None, AT_3, then=at_sample(3, do=bench.blink))
        ends.check(result)
        bench.assert_kept(result, 6)
        bench.assert_clean()


class Filling(Scenarios):
    """A device with hardly any room; a kind's class has it as the fixture ``tight``."""

    @pytest.mark.fault(what="no space for {runner}", ends=raises(DeviceFull, "room"), keeps="–")
    def test_no_space_for_the_runner(self, tight: Bench, ends: Ends) -> None:
        device = tight.open()
        with ends.raised():
            device.run(tight.runner(padding=BIG), make_order())
        tight.assert_clean()
        assert tight.run().complete, "a runner that fits is not kept away by one that did not"


class Settling(Scenarios):
    """A battery that is to be waited for."""

    @pytest.mark.fault(what="the battery is too low", ends=raises(DeviceNotReady, "its battery is at 12 %"), keeps="–")
    def test_a_low_battery(self, bench: Charged, ends: Ends) -> None:
        bench.set_battery(percent=12)
        device, notices = bench.open(), list[str]()
        with ends.raised():
            device.settle(wait_seconds=0.3, notify=notices.append)
        assert len(notices) == 1
        assert "12 %" in notices[0]

        def charge(line: str) -> None:
            notices.append(line)
            bench.set_battery(percent=80)

        device.settle(wait_seconds=60, notify=charge)
        assert notices[-1].endswith("is fit to be measured")
        assert len(notices) == 3

    @pytest.mark.fault(what="the battery is too warm", ends=raises(DeviceNotReady, "41.5 °C"), keeps="–")
    def test_a_warm_battery(self, bench: Charged, ends: Ends) -> None:
        bench.set_battery(celsius=41.5)
        with ends.raised():
            bench.open().settle(wait_seconds=0.2)
