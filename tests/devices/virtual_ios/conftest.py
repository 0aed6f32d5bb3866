"""Phones with iOS 16, 17 and 26 in one process for the tests of a module, each with a client that is paired with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.virtual.ios import VirtualIphone, virtual_iphones
from tests.devices.virtual_ios.app import BUNDLE_ID, TinyApp
from tests.devices.virtual_ios.client import Client


@pytest.fixture(scope="module", autouse=True)
def client_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """pymobiledevice3 and libimobiledevice keep records in the user's home."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
        yield home


@pytest.fixture(scope="module")
def phones() -> Iterator[dict[str, VirtualIphone]]:
    wanted = [VirtualIphone("16", name="Sixteen"), VirtualIphone("17", name="Seventeen"), VirtualIphone("26")]
    with virtual_iphones(*wanted) as several:
        with pytest.MonkeyPatch.context() as patch:
            # pymobiledevice3 saves pair records with the usbmuxd of the environment only.
            for name, value in several[0].environment.items():
                patch.setenv(name, value)
            yield {phone.identity.ios_version: phone for phone in several}
        output = several[0].log.read_text()
    assert output == "", "the phones' process met something that it did not expect"


@pytest.fixture(scope="module")
def clients(phones: dict[str, VirtualIphone], client_home: Path) -> dict[str, Client]:
    return {ios_version: Client(phone, client_home / "records") for ios_version, phone in phones.items()}


@pytest.fixture(params=["16", "26"])
def ios_version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def phone(phones: dict[str, VirtualIphone], ios_version: str) -> Iterator[VirtualIphone]:
    """A phone as it came: plugged in, with its first state, without apps or faults."""
    chosen = phones[ios_version]
    before = chosen.state()
    yield chosen
    chosen.clear_faults()
    chosen.set(**before)
    chosen.plug()


@pytest.fixture
def client(phone: VirtualIphone, clients: dict[str, Client], ios_version: str) -> Iterator[Client]:
    yield clients[ios_version]
    phone.clear_faults()
    phone.plug()
    for bundle_id in phone.apps():
        clients[ios_version].uninstall(bundle_id)


@pytest.fixture
def app(phone: VirtualIphone) -> TinyApp:
    """An app that this phone takes."""
    return TinyApp((phone.udid,))


@pytest.fixture
def installed(client: Client, app: TinyApp, tmp_path: Path) -> str:
    """The app is on the phone; its bundle id."""
    client.install(app.write(tmp_path / "tiny.ipa"))
    return BUNDLE_ID


SLEEPS = "#!/bin/sh\necho up\nexec sleep 300\n"


@pytest.fixture
def asleep(client: Client, app: TinyApp, tmp_path: Path) -> str:
    """An app is on the phone that prints ``up`` and goes on for minutes; its bundle id."""
    client.install(app.with_(companion=SLEEPS).write(tmp_path / "asleep.ipa"))
    return BUNDLE_ID
