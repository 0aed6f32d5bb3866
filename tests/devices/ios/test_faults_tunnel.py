"""Faults of the tunnel that iOS 17 wants, and what only its launchers do."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from harness.conformance.arrivals import at_sample
from harness.conformance.behaviour import AT_3, STUCK
from harness.conformance.fake_runners import make_order
from harness.conformance.faults import Ends, complete, incomplete, raises
from harness.devices.ios.errors import TunnelMissing
from harness.devices.ios.options import LauncherName, Way
from tests.devices.ios.conftest import Scene, with_launcher
from tests.devices.ios.images import use_proxy
from tests.devices.ios.test_faults_attached import free_port

pytestmark = pytest.mark.parametrize("scene", ["17"], indirect=True)


def test_the_launcher_of_ios_17(scene: Scene) -> None:
    assert scene.open().facts()["launcher"] == "appservice"


@pytest.mark.fault(what="no tunneld runs", ends=raises(TunnelMissing, "no tunneld runs at 127.0.0.1"), keeps="–")
def test_no_tunneld(scene: Scene, ends: Ends) -> None:
    with ends.raised() as info:
        scene.open(way=replace(scene.way, tunneld=("127.0.0.1", free_port())))
    assert f"`sudo {sys.executable} -m pymobiledevice3 remote tunneld`" in info.value.cure


@pytest.mark.fault(
    what="the environment names a proxy, which cannot reach this computer's tunneld",
    ends=complete("tunneld is asked without it"),
    keeps="all records",
)
def test_a_proxy(scene: Scene, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    use_proxy(monkeypatch, free_port())
    ends.check(scene.run(make_order()))
    scene.assert_clean()


@pytest.mark.fault(
    what="tunneld runs and has no tunnel to the phone", ends=raises(TunnelMissing, "has no tunnel to it"), keeps="–"
)
def test_no_tunnel(scene: Scene, ends: Ends) -> None:
    scene.virtual.drop_tunnel()
    with ends.raised():
        scene.open()


@pytest.mark.fault(
    what="the phone offers no tunnel that needs no rights (iOS 17.0 to 17.3)",
    ends=complete("tunneld's is taken"),
    keeps="all records",
)
def test_no_tunnel_of_its_own(scene: Scene, ends: Ends, its_own: Way) -> None:
    scene.virtual.set(core_device_proxy=False)
    ends.check(scene.run(make_order(), device=scene.open(way=replace(its_own, tunnels=("userspace", "tunneld")))))
    scene.assert_clean()


@pytest.fixture
def its_own(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Way:
    """The tunnel in this process, and no tunneld. The library asks the system's usbmuxd, whatever address is given."""
    scene.open().close()  # paired
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", scene.virtual.usbmux_address)
    return replace(scene.way, tunnels=("userspace",))


@pytest.mark.parametrize("launcher", ["appservice", "dvt", "debugserver"])
def test_a_good_run_without_any_rights(scene: Scene, launcher: LauncherName, its_own: Way) -> None:
    result = scene.run(make_order(), device=scene.open(with_launcher(launcher), way=its_own))
    assert result.complete, result.reason
    scene.assert_clean()


@pytest.mark.fault(
    what="the phone is unplugged mid-run, and with it the tunnel of this process, and comes back",
    ends=complete(resumed=1),
    keeps="all records of both processes",
)
def test_its_own_tunnel_comes_back(scene: Scene, ends: Ends, its_own: Way) -> None:
    device = scene.open(way=its_own)
    result = scene.run(make_order(), AT_3, device=device, then=at_sample(3, do=scene.blink))
    ends.check(result)
    scene.assert_kept(result, 6)
    scene.assert_clean()


@pytest.mark.fault(
    what="another phone has this process's one tunnel that needs no rights, and no tunneld runs",
    ends=raises(TunnelMissing, "already active in this process"),
    keeps="–",
)
def test_one_tunnel_a_process(scene: Scene, ends: Ends, its_own: Way) -> None:
    scene.open(way=its_own)
    with ends.raised():
        scene.open(way=its_own)


@contextlib.contextmanager
def tunneld_of(tunnels: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """A tunneld that lists these."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(tunnels).encode())

        def log_message(self, *_arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield "127.0.0.1", server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.fault(
    what="tunneld lists a tunnel that has died before one that lives", ends=complete(), keeps="all records"
)
def test_a_dead_tunnel_among_others(scene: Scene, ends: Ends) -> None:
    assert scene.virtual.tunneld is not None
    host, port = scene.virtual.tunneld
    with urllib.request.urlopen(f"http://{host}:{port}", timeout=10) as answer:
        tunnels = json.load(answer)
    (living,) = tunnels[scene.virtual.udid]
    dead = {**living, "tunnel-port": free_port()}
    with tunneld_of({scene.virtual.udid: [dead, living]}) as tunneld:
        ends.check(scene.run(make_order(), device=scene.open(way=replace(scene.way, tunneld=tunneld))))
    scene.assert_clean()


@pytest.mark.parametrize("launcher", ["appservice", "dvt"])
@pytest.mark.fault(
    what="the tunnel breaks mid-run and comes back", ends=complete(resumed=1), keeps="all records of both processes"
)
def test_the_tunnel_breaks(scene: Scene, ends: Ends, launcher: LauncherName) -> None:
    def blink() -> None:
        scene.virtual.drop_tunnel()
        scene.when_noticed("waiting up to", scene.virtual.raise_tunnel)

    device = scene.open(with_launcher(launcher))
    result = scene.run(make_order(), AT_3, device=device, then=at_sample(3, do=blink))
    ends.check(result)
    scene.assert_kept(result, 6)
    assert any("its tunnel broke" in line for line in scene.notices)
    scene.assert_clean()


@pytest.mark.fault(
    what="the tunnel breaks mid-run and stays away",
    ends=incomplete("its tunnel broke"),
    keeps="all that had been written: files need no tunnel",
)
def test_the_tunnel_stays_away(scene: Scene, ends: Ends) -> None:
    body = f"slow 0.1; {STUCK.format(5)}"
    result = scene.run(make_order(), body, then=at_sample(2, do=scene.virtual.drop_tunnel))
    ends.check(result)
    scene.assert_kept(result, 5)
    scene.assert_clean()


@pytest.mark.fault(
    what="the tunnel breaks mid-run, and the app comes to its end without it", ends=complete(), keeps="all records"
)
def test_done_without_a_tunnel(scene: Scene, ends: Ends) -> None:
    body = "slow 0.1; everything"
    result = scene.run(make_order(), body, then=at_sample(2, do=scene.virtual.drop_tunnel))
    ends.check(result)
    scene.assert_kept(result, 6)
    scene.assert_clean()
