"""The runner as an app: the Mach-O that a phone would get, its bundle, and the companion, which runs here."""

from __future__ import annotations

import hashlib
import json
import os
import plistlib
import struct
import subprocess
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.compiler import Archive, compile_models
from harness.core.cache import Cache
from harness.devices.collect import ResultReader
from harness.models.g2p.checkpoints import resolve_checkpoint
from harness.models.g2p.items import word_item
from harness.models.g2p.word_list import default_words
from harness.native import AppOptions, Runner, app_facts, build_runner, check_registrations, unpack_app
from harness.native.inspection import UnsuitableBinary
from harness.native.ios import COMPANION, MachFacts, build_app, mach_facts, pack_app
from harness.native.ios.facts import check_executable
from harness.native.ios.stubs import known_symbols
from harness.protocol.schema import Sample, Thermal, WorkOrder, parse_record
from tests.compile_requests import g2p_request
from tests.native.apple import compile_c, link, quiet

pytestmark = pytest.mark.compiler

WORDS = 3
RUN_DEADLINE_SECONDS = 120.0
MAX_BYTES_BESIDE_WEIGHTS = 5_000_000


def archive_for(target: str, cache: Cache) -> Archive:
    request = g2p_request(resolve_checkpoint("embedded", cache=cache), target=target)
    return compile_models(request, cache=cache, progress=quiet)


@pytest.fixture(scope="module")
def runner(user_cache: Cache, work_is_here: None) -> Runner:
    options = AppOptions(companion=archive_for("llvm", user_cache))
    return build_runner(archive_for("ios-arm64", user_cache), cache=user_cache, progress=quiet, app=options)


@pytest.fixture(scope="module")
def app(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_app(runner.path, tmp_path_factory.mktemp("app"))


@pytest.fixture(scope="module")
def facts(app: Path) -> MachFacts:
    return mach_facts(app_facts(app).executable)


def test_the_executable_is_for_phones_from_ios_14_on(facts: MachFacts) -> None:
    assert (facts.platform, facts.architecture, facts.minimum_os) == ("device", "ARM64", "14.0")
    assert "/System/Library/Frameworks/UIKit.framework/UIKit" in facts.libraries


def test_it_takes_nothing_from_ios_that_the_lists_do_not_have(facts: MachFacts) -> None:
    assert {"_UIApplicationMain", "_objc_msgSend", "__tlv_bootstrap", "_malloc"} <= set(facts.undefined)
    assert set(facts.undefined) <= known_symbols()
    newer = "__ZNSt3__113__hash_memoryEPKvm"  # libc++ 21; the phones that we claim have 11 to 20
    assert newer not in facts.undefined


def test_every_model_is_registered_when_it_loads(app: Path, runner: Runner, facts: MachFacts) -> None:
    executable = app_facts(app).executable
    found = check_registrations(executable, runner.archive.metadata.prefixes.values())
    assert len(found.registrations) == len(runner.archive.metadata.prefixes) == 3
    assert facts.initializers >= 8 * (len(found.registrations) + 1), "a pointer for each model, and the runtime's"


def test_the_ad_hoc_signature_covers_every_page(app: Path, facts: MachFacts) -> None:
    """The code directory's hashes, against the file's own pages."""
    executable = app_facts(app).executable
    data = executable.read_bytes()
    blob = data[-facts.signature :]
    magic, _length, count = struct.unpack_from(">III", blob)
    assert (magic, count) == (0xFADE0CC0, 1)
    _slot, at = struct.unpack_from(">II", blob, 12)
    directory = blob[at:]
    magic, _length, _version, flags, hashes, _name, special, slots, limit = struct.unpack_from(">9I", directory)
    size, kind, _platform, page = struct.unpack_from(">BBBB", directory, 36)
    assert (magic, flags & 2, special, size, kind) == (0xFADE0C02, 2, 0, 32, 2), "ad hoc, SHA-256"
    assert limit == len(data) - facts.signature
    pages = [data[start : min(start + (1 << page), limit)] for start in range(0, limit, 1 << page)]
    assert len(pages) == slots
    assert b"".join(hashlib.sha256(each).digest() for each in pages) == directory[hashes : hashes + size * slots]


def test_an_app_is_at_most_5_mb_beside_its_weights(runner: Runner, app: Path) -> None:
    files = [path for path in app.rglob("*") if path.is_file() and path != app / COMPANION]
    size = sum(path.stat().st_size for path in files) - runner.archive.metadata.weights_bytes
    print(f"the app is {size} bytes beside {runner.archive.metadata.weights_bytes} bytes of weights")
    assert 0 < size <= MAX_BYTES_BESIDE_WEIGHTS


def test_the_bundle_is_what_installers_expect(runner: Runner, app: Path) -> None:
    found = app_facts(app)
    assert (found.bundle_id, found.minimum_os, found.signed) == ("dev.harness.runner", "14.0", True)
    assert found.companion == app / COMPANION
    assert os.access(found.executable, os.X_OK)
    assert os.access(app / COMPANION, os.X_OK)
    plist = plistlib.loads((app / "Info.plist").read_bytes())
    assert plist["CFBundleExecutable"] == found.executable.name
    assert plist["CFBundleSupportedPlatforms"] == ["iPhoneOS"]
    assert plist["UIFileSharingEnabled"] is True
    assert plist["LSRequiresIPhoneOS"] is True
    assert plist["UILaunchScreen"] == {}
    with zipfile.ZipFile(runner.path) as archive:
        names = archive.namelist()
    assert names[0] == "Payload/HarnessRunner.app/Info.plist"
    assert not [name for name in names if name.endswith("/")]


def test_equal_bundles_make_equal_files(runner: Runner, app: Path, tmp_path: Path) -> None:
    pack_app(app, tmp_path / "again.ipa")
    assert hashlib.sha256((tmp_path / "again.ipa").read_bytes()).hexdigest() == runner.sha256
    assert runner.size == runner.path.stat().st_size


@pytest.mark.thorough
def test_another_bundle_id_is_another_file_of_the_same_executable(
    runner: Runner, app: Path, user_cache: Cache, tmp_path: Path
) -> None:
    messages: list[str] = []
    options = AppOptions(bundle_id="com.example.bench")
    other = build_runner(runner.archive, cache=user_cache, progress=messages.append, app=options)
    assert not [text for text in messages if "cargo" in text]
    found = app_facts(unpack_app(other.path, tmp_path))
    assert (found.bundle_id, found.companion) == ("com.example.bench", None)
    assert found.executable.read_bytes() == app_facts(app).executable.read_bytes()
    assert other.sha256 != runner.sha256


@dataclass
class Container:
    """What the virtual iPhone gives an app: a home of its own with Documents."""

    home: Path
    companion: Path
    archive: Archive

    @property
    def documents(self) -> Path:
        return self.home / "Documents"

    def start(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.companion), *arguments],
            cwd="/",
            env={"HOME": str(self.home), **environment},
            capture_output=True,
            text=True,
            timeout=RUN_DEADLINE_SECONDS,
            check=False,
        )

    def order(self) -> WorkOrder:
        words = default_words()[:WORDS]
        order = WorkOrder(
            order_id=str(uuid.uuid4()),
            archive_sha256=self.archive.sha256,
            workloads=[self.archive.metadata.generation()],
            items=[word_item(str(i), w.language, w.word) for i, w in enumerate(words)],
        )
        (self.documents / "order.json").write_text(order.model_dump_json())
        return order


@pytest.fixture
def container(runner: Runner, app: Path, tmp_path: Path) -> Container:
    (tmp_path / "Documents").mkdir()
    return Container(tmp_path, app / COMPANION, runner.archive)


def test_the_companion_answers_the_phones_orders_in_its_container(container: Container) -> None:
    order = container.order()
    state = container.home / "thermal"
    state.write_text("fair\n")
    done = container.start(HARNESS_THERMAL_STATE_FILE=str(state))
    assert done.returncode == 0, done.stderr
    result = container.documents / "result.jsonl"
    reader = ResultReader(result, order)
    reader.poll()
    assert reader.missing() is None
    assert [record.state for record in reader.records if isinstance(record, Thermal)] == ["fair", "fair"]
    assert isinstance(reader.records[1], Thermal), "behind the header"
    assert len([record for record in reader.records if isinstance(record, Sample)]) == 2 * WORDS
    assert done.stdout == result.read_text(), "each record is streamed, too"


def test_without_a_thermal_state_nothing_is_recorded_of_it(container: Container) -> None:
    container.order()
    assert container.start().returncode == 0
    records = [parse_record(line) for line in (container.documents / "result.jsonl").read_bytes().splitlines()]
    assert not [record for record in records if isinstance(record, Thermal)]


def test_an_app_without_an_order_leaves_nothing_behind(container: Container) -> None:
    done = container.start()
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no" in done.stderr
    assert list(container.documents.iterdir()) == []


def test_an_older_result_is_left_alone(container: Container) -> None:
    container.order()
    (container.documents / "result.jsonl").write_text("precious")
    done = container.start()
    assert done.returncode == 2
    assert "result.jsonl" in done.stderr
    assert (container.documents / "result.jsonl").read_text() == "precious"


def test_an_order_for_another_archive_is_refused_in_the_result(container: Container) -> None:
    order = container.order().model_copy(update={"archive_sha256": "0" * 64})
    (container.documents / "order.json").write_text(order.model_dump_json())
    assert container.start().returncode == 1
    end = parse_record((container.documents / "result.jsonl").read_bytes())
    assert end.record == "end"
    assert "this runner was built with" in end.model_dump_json()


def test_the_companion_names_the_phones_archive_and_takes_arguments_as_elsewhere(container: Container) -> None:
    described = json.loads(container.start("--describe").stdout)
    assert described["archive_sha256"] == container.archive.sha256
    container.order()
    order, result = container.documents / "order.json", container.home / "elsewhere.jsonl"
    assert container.start("--order", str(order), "--result", str(result)).returncode == 0
    assert parse_record(result.read_bytes().splitlines()[-1]).record == "end"
    assert container.start("--order", str(order)).returncode == 2


def test_an_executable_that_does_not_suit_a_phone_is_reported_with_the_reason(
    user_cache: Cache, tmp_path: Path
) -> None:
    """For the simulator, unsigned, with no model, and with a symbol that a later list lost."""
    source = 'int puts(const char *); int renamex_np(void); int main(void) { return puts("") + renamex_np(); }\n'
    made = compile_c(source, tmp_path / "main.o", "simulator", user_cache)
    done = link([made], tmp_path / "program", "simulator", user_cache, "-U", "_renamex_np", signed=False)
    assert done.returncode == 0, done.stderr
    with pytest.raises(UnsuitableBinary) as caught:
        check_executable(tmp_path / "program", "device")
    for words in (
        "for simulator on ARM64 instead of device",
        "registers no model",
        "has no code signature",
        "takes _renamex_np from iOS",
    ):
        assert words in str(caught.value)


def test_a_bundle_for_the_simulator_is_labelled(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"x")
    app = build_app(tmp_path / "binary", tmp_path, which="simulator")
    plist = plistlib.loads((app / "Info.plist").read_bytes())
    assert (plist["CFBundleSupportedPlatforms"], plist["DTPlatformName"]) == (["iPhoneSimulator"], "iphonesimulator")
