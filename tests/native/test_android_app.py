"""The APK around a runner, held against Debian's tools for Android, and a reader that shares nothing with it."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import lief
import pytest

from harness.core.cache import Cache
from harness.native.android import App, app_of
from harness.native.android.key import FILE, user_key
from harness.native.android.library import ABIS, LIBRARY, PAGE_BYTES, SOURCES, activity_library, stub_names
from harness.native.inspection import inspect
from harness.virtual.android.apk_reader import BadApk, read_apk

pytestmark = pytest.mark.compiler
DEADLINE_SECONDS = 120.0


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands for a runner: more than one chunk of the signature's, and no multiple of one."""
    path = tmp_path_factory.mktemp("runner") / "device_runner"
    path.write_bytes(b"\x7fELF" + bytes(range(256)) * 9000)
    return path


@pytest.fixture(scope="module")
def app(runner: Path, user_cache: Cache) -> App:
    return app_of(runner, "arm64-v8a", user_cache)


def test_debian_s_apksigner_accepts_both_signatures(app: App) -> None:
    done = run("apksigner", "verify", "--verbose", "--min-sdk-version", "26", app.path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Verified using v2 scheme (APK Signature Scheme v2): true" in done.stdout
    assert "Verified using v3 scheme (APK Signature Scheme v3): true" in done.stdout
    assert "WARNING" not in done.stdout + done.stderr


def test_debian_s_apksigner_accepts_scheme_2_alone(app: App, tmp_path: Path) -> None:
    """Android 8 knows no scheme 3: what it reads has to do alone."""
    done = run("apksigner", "verify", "--verbose", "--min-sdk-version", "26", "--max-sdk-version", "27", app.path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Verified using v2 scheme (APK Signature Scheme v2): true" in done.stdout


def test_debian_s_aapt_reads_the_manifest(app: App) -> None:
    badging = run("aapt", "dump", "badging", app.path).stdout
    assert f"package: name='{app.package}' versionCode='1'" in badging
    assert "sdkVersion:'26'" in badging
    assert "targetSdkVersion:'35'" in badging
    assert "native-code: 'arm64-v8a'" in badging
    assert "testOnly" not in badging
    assert "uses-permission" not in badging
    tree = run("aapt", "dump", "xmltree", app.path, "AndroidManifest.xml").stdout
    for line in (
        "android:hasCode(0x0101000c)=(type 0x12)0x0",
        "android:extractNativeLibs(0x010104ea)=(type 0x12)0xffffffff",
        "android:exported(0x01010010)=(type 0x12)0xffffffff",
        'android:name(0x01010003)="android.app.NativeActivity"',
        'android:value(0x01010024)="harness_app"',
    ):
        assert line in tree


def test_debian_s_zipalign_finds_every_file_on_a_page(app: App) -> None:
    done = run("zipalign", "-c", "-v", str(PAGE_BYTES), app.path)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("(OK)") == 3


def test_the_runner_is_in_it_byte_for_byte(app: App, runner: Path) -> None:
    with zipfile.ZipFile(app.path) as archive:
        assert archive.testzip() is None
        assert archive.read("lib/arm64-v8a/libharness_runner.so") == runner.read_bytes()


def test_the_same_runner_and_key_make_the_same_bytes(app: App, runner: Path, user_cache: Cache, tmp_path: Path) -> None:
    other = Cache(tmp_path / "cache")
    other.root.mkdir()
    shutil.copy2(user_cache.root / FILE, other.root / FILE)
    again = app_of(runner, "arm64-v8a", other)
    assert again.package == app.package
    assert again.path.read_bytes() == app.path.read_bytes()


def test_another_runner_or_key_is_another_app(app: App, runner: Path, user_cache: Cache, tmp_path: Path) -> None:
    changed = tmp_path / "device_runner"
    changed.write_bytes(runner.read_bytes() + b"more")
    assert app_of(changed, "arm64-v8a", user_cache).package != app.package
    assert app_of(runner, "arm64-v8a", Cache(tmp_path / "cache")).package != app.package


@pytest.mark.parametrize("where", ["manifest", "runner", "signature", "directory", "end"])
def test_a_changed_byte_is_noticed_by_both_readers(app: App, tmp_path: Path, where: str) -> None:
    data = bytearray(app.path.read_bytes())
    block = data.rindex(b"APK Sig Block 42")
    places = {
        "manifest": PAGE_BYTES + 60,
        "runner": data.index(b"\x7fELF" + bytes(range(256))) + (1 << 20),
        "signature": block - 700,
        "directory": data.index(b"PK\x01\x02", block) + 12,
        "end": len(data) - 18,
    }
    data[places[where]] ^= 1
    changed = tmp_path / "changed.apk"
    changed.write_bytes(data)
    with pytest.raises(BadApk, match="INSTALL_PARSE_FAILED"):
        read_apk(changed)
    assert run("apksigner", "verify", "--min-sdk-version", "28", changed).returncode != 0


def test_the_reader_finds_what_is_in_it(app: App, user_cache: Cache) -> None:
    found = read_apk(app.path)
    assert (found.package, found.minimum_sdk, found.library) == (app.package, 26, "harness_app")
    assert found.abis == {"arm64-v8a"}
    assert found.certificate == user_key(user_cache).certificate


@pytest.mark.parametrize("abi", ABIS)
def test_the_library_is_one_that_bionic_loads(abi: str, user_cache: Cache) -> None:
    path = activity_library(abi, user_cache)
    facts = inspect(path)
    assert facts.architecture == {"arm64-v8a": "AARCH64", "x86_64": "X86_64"}[abi]
    assert set(facts.libraries) == {"libandroid.so", "libc.so", "libdl.so"}
    assert facts.interpreter is None
    assert facts.alignment >= PAGE_BYTES
    binary = lief.parse(path)
    assert isinstance(binary, lief.ELF.Binary)
    tags = {entry.tag.name for entry in binary.dynamic_entries}
    assert not tags & {"TEXTREL", "RPATH", "RUNPATH"}
    assert binary[lief.ELF.DynamicEntry.TAG.SONAME].name == LIBRARY  # type: ignore[union-attr]
    flags = lief.ELF.Segment.FLAGS
    assert not [part for part in binary.segments if part.has(flags.W) and part.has(flags.X)]
    assert not [part for part in binary.segments if part.type == lief.ELF.Segment.TYPE.TLS]
    assert [symbol.name for symbol in binary.exported_symbols] == ["ANativeActivity_onCreate"]
    assert b"/home" not in path.read_bytes()
    assert b"/root" not in path.read_bytes()


def test_the_stubs_have_just_what_the_library_calls(user_cache: Cache) -> None:
    binary = lief.parse(activity_library("arm64-v8a", user_cache))
    assert isinstance(binary, lief.ELF.Binary)
    called = {str(symbol.name) for symbol in binary.imported_symbols}
    listed = {name for path in (SOURCES / "stubs").glob("*.txt") for name in stub_names(path)}
    # The compiler calls these two or not, as it likes.
    assert called | {"memcpy", "memset"} == listed


def test_the_activity_asks_for_no_other_names_at_run_time() -> None:
    """What is newer than the oldest Android is asked for by name, and is not missed."""
    names = set(re.findall(r'dlsym\(0, "(\w+)"\)', (SOURCES / "activity.c").read_text()))
    assert names == {
        "APerformanceHint_getManager",
        "APerformanceHint_getPreferredUpdateRateNanos",
        "AThermal_acquireManager",
        "AThermal_getCurrentThermalStatus",
        "AThermal_getThermalHeadroom",
    }
