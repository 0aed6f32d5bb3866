"""Files of a user's own app on the virtual device: brought there whole, brought back whole, or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import HarnessError, UsageError
from harness.devices import DeviceFull, OpensApps
from harness.devices.android.appfiles import AppFiles
from harness.devices.appfiles import AppFilesRefused
from tests.cli.called import call
from tests.devices.android.conftest import Scene

APP, RELEASED = "com.example.app", "com.example.released"


@pytest.fixture
def folder(scene: Scene) -> Path:
    """The app's folder on a device that has a build for debugging and a released one."""
    system, data = scene.virtual.data / "system", scene.virtual.data / "data" / APP
    system.mkdir(parents=True)
    data.mkdir(parents=True)
    # The form of Android's own file: name, user, whether it may be debugged, folder, and what SELinux is told.
    (system / "packages.list").write_text(
        f"{RELEASED} 10190 0 /data/data/{RELEASED} default:targetSdkVersion=35 none 0 35 1 @null\n"
        f"{APP} 10191 1 /data/data/{APP} default:targetSdkVersion=35 3003 0 35 1 @null\n"
    )
    return data / "files"


@pytest.mark.emulator
def test_a_file_goes_into_the_app_and_another_one_comes_back(scene: Scene, folder: Path, tmp_path: Path) -> None:
    device = scene.open()
    assert isinstance(device, OpensApps)
    orders, records = tmp_path / "orders.jsonl", tmp_path / "records.jsonl"
    orders.write_bytes(b'{"items": "\xc3\xa9"}\n' * 5000)
    before = scene.left()
    device.send_to_app(APP, orders, "orders.jsonl")
    assert (folder / "orders.jsonl").read_bytes() == orders.read_bytes()
    assert [path.name for path in folder.iterdir()] == ["orders.jsonl"]
    answer = bytes(range(256)) * 4000
    (folder / "records.jsonl").write_bytes(answer)
    assert device.fetch_from_app(APP, "records.jsonl", records) == len(answer)
    assert records.read_bytes() == answer
    assert (folder / "records.jsonl").exists(), "the app's own file stays"
    assert scene.left() == before
    assert [path.name for path in scene.tmp.iterdir() if not path.name.startswith("harness-store")] == []


@pytest.mark.emulator
def test_the_commands_copy_by_default_what_the_others_write_and_read(
    scene: Scene, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    phone = ["--device", f"android:{scene.virtual.serial}", "--adb-server", f"localhost:{scene.adb.port}", "--app", APP]
    missing = call(capsys, "selftest", "send", *phone)
    assert (missing.code, "orders.jsonl is no file" in missing.err) == (2, True)
    Path("orders.jsonl").write_text("{}\n")
    sent = call(capsys, "selftest", "send", *phone)
    assert (sent.code, sent.out) == (0, f"orders.jsonl: copied into {APP} as orders.jsonl\n")
    (folder / "records.jsonl").write_text('{"record": "end"}\n')
    fetched = call(capsys, "selftest", "fetch", *phone)
    assert (fetched.code, fetched.out) == (0, f"records.jsonl: 18 bytes from {APP}\n")
    assert Path("records.jsonl").read_text() == '{"record": "end"}\n'
    assert '"harness.files/1"' in call(capsys, "selftest", "fetch", "--json", *phone).out
    host = call(capsys, "selftest", "fetch", "--device", "host", "--app", APP)
    assert (host.code, "there are no apps" in host.err) == (2, True)


@pytest.mark.emulator
@pytest.mark.parametrize(
    ("app", "name", "message"),
    [
        ("com.example.other", "records.jsonl", "com.example.other is not installed on Virtual Android 1"),
        (RELEASED, "records.jsonl", "is a release: nobody may look into its folder"),
        (APP, "other.jsonl", "has no file other.jsonl"),
    ],
)
def test_a_file_that_cannot_be_had_is_refused_and_nothing_is_left(
    scene: Scene, folder: Path, tmp_path: Path, app: str, name: str, message: str
) -> None:
    assert not folder.exists()
    target = tmp_path / "records.jsonl"
    target.write_text("of before")
    device = scene.open()
    with pytest.raises(AppFilesRefused, match=message) as caught:
        device.fetch_from_app(app, name, target)
    assert caught.value.cure
    assert target.read_text() == "of before"
    assert [path.name for path in tmp_path.iterdir() if "records" in path.name] == ["records.jsonl"]
    if app != APP:
        with pytest.raises(AppFilesRefused, match=message):
            device.send_to_app(app, target, name)
        assert [path.name for path in scene.tmp.iterdir() if not path.name.startswith("harness-store")] == []


@pytest.mark.emulator
@pytest.mark.parametrize(
    ("app", "name"),
    [("app", "a"), ("com.a; reboot", "a"), ("-u.0", "/etc/passwd"), (APP, "../a"), (APP, "-a"), (APP, ".hidden")],
)
def test_no_other_names_reach_the_device(scene: Scene, tmp_path: Path, app: str, name: str) -> None:
    device = scene.open()
    with pytest.raises(UsageError):
        device.send_to_app(app, Path(__file__), name)
    with pytest.raises(UsageError):
        device.fetch_from_app(app, name, tmp_path / "a")


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        # Android 8 and newer, and what Android 7 and older write.
        ("run-as: unknown package: com.example.app", AppFilesRefused, "is not installed"),
        ("run-as: Package 'com.example.app' is unknown", AppFilesRefused, "is not installed"),
        ("run-as: package not debuggable: com.example.app", AppFilesRefused, "is a release"),
        ("run-as: Package 'com.example.app' is not debuggable", AppFilesRefused, "is a release"),
        ("WARNING: linker: x: unused DT entry\ncat: files/a: No such file or directory", AppFilesRefused, "no file a"),
        ("cat: write error: No space left on device", DeviceFull, "no room"),
        ("run-as: couldn't stat /data/user/0/com.example.app: Permission denied", AppFilesRefused, "Permission denied"),
        ("\x1b]0;owned\x07", AppFilesRefused, "refused a of"),
        ("", AppFilesRefused, "without a word"),
    ],
)
def test_what_phones_say(words: str, kind: type[HarnessError], message: str) -> None:
    found = AppFiles(None, None, "/data/local/tmp", "phone")._refused(words, APP, "a")  # type: ignore[arg-type]
    assert type(found) is kind
    assert message in found.args[0]
    assert "\x1b" not in found.args[0]
