"""What clients see of a virtual iPhone while all is well: pymobiledevice3 over the cable and through the tunnel."""

from __future__ import annotations

import asyncio
import hashlib
import plistlib
import random
from pathlib import Path
from typing import Any

import pytest
from pymobiledevice3 import usbmux
from pymobiledevice3.exceptions import (
    AfcException,
    AfcFileNotFoundError,
    AlreadyMountedError,
    AppNotInstalledError,
    DeveloperModeIsNotEnabledError,
    GetProhibitedError,
    NotPairedError,
    PairingDialogResponsePendingError,
    PasswordRequiredError,
    PyMobileDevice3Exception,
    UserDeniedPairingError,
)
from pymobiledevice3.services.afc import AfcError, AfcService
from pymobiledevice3.services.diagnostics import DiagnosticsService
from pymobiledevice3.services.house_arrest import HouseArrestService
from pymobiledevice3.services.installation_proxy import InstallationProxyService
from pymobiledevice3.services.mobile_image_mounter import DeveloperDiskImageMounter, PersonalizedImageMounter
from pymobiledevice3.services.power_assertion import PowerAssertionService

from harness.virtual.ios import VirtualIphone
from tests.devices.virtual_ios.app import TinyApp
from tests.devices.virtual_ios.client import Client

pytestmark = pytest.mark.emulator


def test_all_phones_are_listed_by_one_usbmuxd(phones: dict[str, VirtualIphone]) -> None:
    address = phones["16"].usbmux_address
    assert {phone.usbmux_address for phone in phones.values()} == {address}
    listed = asyncio.run(usbmux.list_devices(usbmux_address=address))
    assert {device.serial for device in listed} == {phone.udid for phone in phones.values()}
    assert all(device.is_usb for device in listed)


def test_a_paired_host_sees_all_values_and_another_few(client: Client, phone: VirtualIphone, tmp_path: Path) -> None:
    async def ask(provider: Any) -> None:
        assert provider.paired
        assert provider.product_version == phone.os_version
        assert provider.short_info["ProductType"] == phone.product_type
        assert await provider.get_developer_mode_status() is True
        assert await provider.get_value("com.apple.mobile.battery", "BatteryCurrentCapacity") == 80

    client.run(ask)

    async def ask_unpaired() -> None:
        async with Client(phone, tmp_path, "another-host").cable(autopair=False) as provider:
            assert not provider.paired
            assert provider.udid == phone.udid
            assert "SerialNumber" not in provider.all_values
            with pytest.raises(GetProhibitedError):
                await provider.get_value("com.apple.mobile.battery", "BatteryCurrentCapacity")
            with pytest.raises(NotPairedError):
                await provider.start_lockdown_service("com.apple.afc")

    phone_records = client.phone.pairings()
    asyncio.run(forgetting_usbmuxd(phone, ask_unpaired))
    assert client.phone.pairings() == phone_records


async def forgetting_usbmuxd(phone: VirtualIphone, then: Any) -> None:
    """usbmuxd's record of the paired host would pair every client: forget it meanwhile."""
    async with await usbmux.create_mux(usbmux_address=phone.usbmux_address) as mux:
        record = await mux.get_pair_record(phone.udid)
        await mux._send_receive({"MessageType": "DeletePairRecord", "PairRecordID": phone.udid})
    try:
        await then()
    finally:
        async with await usbmux.create_mux(usbmux_address=phone.usbmux_address) as mux:
            await mux.save_pair_record(phone.udid, 1, plistlib.dumps(record))


def test_pairing_waits_for_the_owner_who_may_refuse(client: Client, phone: VirtualIphone, tmp_path: Path) -> None:
    client.run(nothing)
    known = set(phone.pairings())
    stranger = Client(phone, tmp_path, "a-stranger")

    async def ask() -> None:
        phone.set(pairing="refuses")
        with pytest.raises(UserDeniedPairingError):
            await stranger.cable().__aenter__()
        phone.set(pairing="asks")
        with pytest.raises(PairingDialogResponsePendingError):
            await stranger.cable(pair_timeout=0).__aenter__()
        phone.set(locked=True)
        with pytest.raises(PasswordRequiredError):
            await stranger.cable(pair_timeout=0).__aenter__()
        assert set(phone.pairings()) == known
        phone.set(locked=False)
        waiting = asyncio.ensure_future(stranger.cable(pair_timeout=20).__aenter__())
        await asyncio.sleep(0.1)
        assert not waiting.done()
        phone.set(pairing="trusts")
        provider = await waiting
        assert provider.paired
        await provider.close()

    asyncio.run(forgetting_usbmuxd(phone, ask))
    [new] = set(phone.pairings()) - known
    phone.unpair(new)


async def nothing(_provider: Any) -> None:
    pass


def test_a_host_that_was_forgotten_pairs_again(client: Client, phone: VirtualIphone) -> None:
    client.run(nothing)
    [host] = phone.pairings()
    phone.unpair(host)
    client.run(nothing)
    assert phone.pairings() == [host]


def test_twenty_megabytes_there_and_back(client: Client, installed: str, phone: VirtualIphone) -> None:
    data = random.Random(7).randbytes(20 << 20)
    client.push("/Documents/big", data)
    kept = phone.container(installed) / "Documents/big"
    assert hashlib.sha256(kept.read_bytes()).digest() == hashlib.sha256(data).digest()
    assert client.pull("/Documents/big") == data


def test_a_growing_file_is_read_through_one_handle(client: Client, installed: str, phone: VirtualIphone) -> None:
    path = phone.container(installed) / "Documents/log"
    path.write_bytes(b"one\n")

    async def follow(provider: Any) -> list[bytes]:
        async with await HouseArrestService.create(provider, installed, documents_only=True) as files:
            handle = await files.fopen("/Documents/log")
            pieces = [await files.fread(handle, 100), await files.fread(handle, 100)]
            with path.open("ab") as stream:
                stream.write(b"two\n")
            return [*pieces, await files.fread(handle, 100)]

    assert client.run(follow) == [b"one\n", b"", b"two\n"]


def test_nothing_outside_of_the_documents_is_reached(
    client: Client, installed: str, phone: VirtualIphone, tmp_path: Path
) -> None:
    container = phone.container(installed)
    (tmp_path / "secret").write_text("secret")
    (container / "Documents/link").symlink_to(tmp_path / "secret")
    (container / "Documents/up").symlink_to("..")

    async def try_all(provider: Any) -> None:
        async with await HouseArrestService.create(provider, installed, documents_only=True) as files:
            assert await files.listdir("/") == ["Documents"]
            for path in ("/Library", "/../x", "/Documents/../Library", "/Documents/up/Library", "/Documents/link"):
                with pytest.raises(AfcException) as refused:
                    await files.fopen(path)
                assert refused.value.status == AfcError.PERM_DENIED, path
            with pytest.raises(AfcException):
                await files.set_file_contents("/Documents/up/new", b"x")
            with pytest.raises(AfcFileNotFoundError):
                await files.get_file_contents("/Documents/missing")
            await files.rm_single("/Documents/link")
        async with await HouseArrestService.create(provider, installed) as files:
            assert "Library" in await files.listdir("/")
        with pytest.raises(AppNotInstalledError):
            await HouseArrestService.create(provider, "dev.nobody", documents_only=True)

    client.run(try_all)
    assert (tmp_path / "secret").read_text() == "secret"
    assert not (container / "new").exists()


def test_files_are_made_listed_renamed_and_removed(client: Client) -> None:
    async def use(provider: Any) -> None:
        async with AfcService(provider) as files:
            await files.makedirs("a/b")
            await files.set_file_contents("a/b/c", b"12345")
            assert (await files.stat("a/b/c"))["st_size"] == 5
            await files.rename("a/b/c", "a/d")
            assert sorted(await files.listdir("a")) == ["b", "d"]
            handle = await files.fopen("a/d", "r+")
            await files.fseek(handle, 2)
            assert await files.fread(handle, 2) == b"34"
            await files.fclose(handle)
            with pytest.raises(AfcException) as refused:
                await files.rm_single("a")
            assert refused.value.status == AfcError.DIR_NOT_EMPTY
            await files.rm("a")
            assert not await files.exists("a")
            assert int((await files.get_device_info())["FSFreeBytes"]) > 0

    client.run(use)


def test_a_full_phone_takes_no_more(client: Client, installed: str, phone: VirtualIphone) -> None:
    phone.set(space_bytes=1 << 20)
    client.push("/Documents/fits", b"x" * (1 << 19))
    with pytest.raises(AfcException) as refused:
        client.push("/Documents/does-not", b"x" * (1 << 20))
    assert refused.value.status == AfcError.NO_SPACE_LEFT


def test_the_battery_is_what_a_test_makes_it(client: Client, phone: VirtualIphone) -> None:
    phone.set(battery_level=17, battery_temperature=4120, battery_charging=False, battery_external=False)

    async def ask(provider: Any) -> None:
        async with DiagnosticsService(provider) as diagnostics:
            battery = await diagnostics.get_battery()
            assert battery is not None
            assert (battery["CurrentCapacity"], battery["Temperature"]) == (17, 4120)
            assert battery["InstantAmperage"] < 0
        assert await provider.get_value("com.apple.mobile.battery", "ExternalConnected") is False

    client.run(ask)
    if phone.identity.tunnelled:
        client.run(ask, client.tunnel)


def test_the_developer_image_is_mounted_unless_something_keeps_it_from_being(
    client: Client, phone: VirtualIphone, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"image" * 1000)

    async def mount(provider: Any) -> None:
        if phone.identity.tunnelled:
            async with PersonalizedImageMounter(provider) as mounter:
                await mounter.mount(image, image, image)
        else:
            async with DeveloperDiskImageMounter(provider) as mounter:
                await mounter.mount(image, image)

    with pytest.raises(AlreadyMountedError):
        client.run(mount)
    phone.set(image="unmountable")
    with pytest.raises(PyMobileDevice3Exception, match="signature"):
        client.run(mount)
    phone.set(image="missing", developer_mode=False)
    with pytest.raises(DeveloperModeIsNotEnabledError):
        client.run(mount)
    phone.set(developer_mode=True, locked=True)
    with pytest.raises(PyMobileDevice3Exception, match="DeviceLocked"):
        client.run(mount)
    phone.set(locked=False)
    client.run(mount)
    assert phone.state()["image"] == "mounted"


def test_an_assertion_lasts_as_long_as_its_connection(client: Client, phone: VirtualIphone) -> None:
    async def hold(provider: Any) -> list[str]:
        async with (
            PowerAssertionService(provider) as service,
            service.create_power_assertion("PreventUserIdleSystemSleep", "measuring", 60),
        ):
            return phone.assertions()

    assert client.run(hold) == ["PreventUserIdleSystemSleep measuring"]

    async def lapse(provider: Any) -> None:
        async with PowerAssertionService(provider) as service:
            async with service.create_power_assertion("PreventUserIdleSystemSleep", "short", 0.01):
                pass
            while phone.assertions():
                await asyncio.sleep(0.01)

    client.run(lapse)


def test_apps_are_looked_up_with_all_their_properties(
    client: Client, app: TinyApp, phone: VirtualIphone, tmp_path: Path
) -> None:
    client.install(app.with_(info={"HarnessBuild": "abc"}).write(tmp_path / "tiny.ipa"))

    async def ask(provider: Any) -> None:
        async with InstallationProxyService(provider) as proxy:
            [found] = (await proxy.get_apps(bundle_identifiers=[app.bundle_id])).values()
            assert found["HarnessBuild"] == "abc"
            assert found["Container"] == str(phone.container(app.bundle_id))
            assert await proxy.get_apps(bundle_identifiers=["dev.nobody"]) == {}
            [browsed] = await proxy.browse(attributes=["CFBundleIdentifier", "DynamicDiskUsage"])
            assert browsed == {"CFBundleIdentifier": app.bundle_id, "DynamicDiskUsage": 0}

    client.run(ask)
