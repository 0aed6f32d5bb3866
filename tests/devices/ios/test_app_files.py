"""Files of a user's own app on the virtual iPhone: one that shares its Documents, and one that may be debugged."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.devices import OpensApps
from harness.devices.appfiles import AppFilesRefused
from harness.devices.ios import appfiles
from tests.devices.ios.conftest import Scene
from tests.devices.virtual_ios.app import BUNDLE_ID, TinyApp

pytestmark = pytest.mark.emulator


def installed(scene: Scene, **info: object) -> Path:
    """An app's Documents; it stays for as long as the test's devices."""
    ipa = TinyApp((scene.virtual.udid,)).with_(info=info).write(scene.folder / "tiny.ipa")
    scene.open().deploy(ipa)
    return scene.virtual.container(BUNDLE_ID) / "Documents"


@pytest.mark.parametrize("scene", ["16", "26"], indirect=True)
@pytest.mark.parametrize("shared", [True, False])
def test_a_file_goes_into_the_app_and_another_one_comes_back(scene: Scene, tmp_path: Path, shared: bool) -> None:
    documents = installed(scene, UIFileSharingEnabled=shared)
    device = scene.open()
    assert isinstance(device, OpensApps)
    orders, records = tmp_path / "orders.jsonl", tmp_path / "records.jsonl"
    orders.write_bytes(b'{"items": "\xc3\xa9"}\n' * 5000)
    device.send_to_app(BUNDLE_ID, orders, "orders.jsonl")
    device.send_to_app(BUNDLE_ID, orders, "orders.jsonl")
    assert (documents / "orders.jsonl").read_bytes() == orders.read_bytes()
    answer = bytes(range(256)) * 9000
    (documents / "records.jsonl").write_bytes(answer)
    assert device.fetch_from_app(BUNDLE_ID, "records.jsonl", records) == len(answer)
    assert records.read_bytes() == answer
    assert sorted(path.name for path in documents.iterdir()) == ["orders.jsonl", "records.jsonl"]


def test_a_file_that_cannot_be_had_is_refused_and_nothing_is_left(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = installed(scene)
    device, target = scene.open(), tmp_path / "records.jsonl"
    with pytest.raises(AppFilesRefused, match=r"dev\.harness\.other is not installed on"):
        device.fetch_from_app("dev.harness.other", "records.jsonl", target)
    with pytest.raises(AppFilesRefused, match=r"has no file records\.jsonl") as caught:
        device.fetch_from_app(BUNDLE_ID, "records.jsonl", target)
    assert "selfTest" in caught.value.cure
    (documents / "records.jsonl").write_bytes(bytes(3000))
    monkeypatch.setattr(appfiles, "MOST_BYTES", 2000)
    with pytest.raises(AppFilesRefused, match="has more than"):
        device.fetch_from_app(BUNDLE_ID, "records.jsonl", target)
    with pytest.raises(UsageError):
        device.fetch_from_app(BUNDLE_ID, "../Library/x", target)
    assert [path for path in tmp_path.iterdir() if "records" in path.name] == []
