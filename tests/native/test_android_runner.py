"""The runner for phones, cross-built and run under qemu: the host's answers, and refusals where SIGILL would be."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.compiler import Archive, compile_models
from harness.compiler.targets import resolve_target
from harness.core.cache import Cache
from harness.devices import RunnerDescription, Unavailable
from harness.devices.selection import opened, parse_device
from harness.models.g2p.checkpoints import resolve_checkpoint
from harness.models.g2p.items import word_item
from harness.models.g2p.word_list import default_words
from harness.native import Runner, build_runner, inspect
from harness.protocol.schema import End, Sample, WorkOrder, parse_record
from tests.compile_requests import g2p_request

pytestmark = [pytest.mark.compiler, pytest.mark.emulator]

WORDS = 6
EMULATION_DEADLINE_SECONDS = 300.0


def quiet(_text: str) -> None:
    pass


def runner_for(target: str, cache: Cache, mcpu: str | None = None) -> Runner:
    request = g2p_request(resolve_checkpoint("embedded", cache=cache), target=target, mcpu=mcpu)
    return build_runner(compile_models(request, cache=cache, progress=quiet), cache=cache, progress=quiet)


@pytest.fixture(scope="module")
def phone_runner(user_cache: Cache, work_is_here: None) -> Runner:
    return runner_for("android-arm64", user_cache)


def order_for(archive: Archive) -> WorkOrder:
    words = default_words()[:: len(default_words()) // WORDS][:WORDS]
    return WorkOrder(
        order_id=str(uuid.uuid4()),
        archive_sha256=archive.sha256,
        workloads=[archive.metadata.generation()],
        items=[word_item(str(i), w.language, w.word) for i, w in enumerate(words)],
        warmup=0,
        repetitions=1,
    )


@dataclass
class Ran:
    status: int
    tokens: dict[str, list[int]]
    end: End
    kinds: list[str]


def run(runner: Runner, folder: Path, emulator: list[str]) -> Ran:
    folder.mkdir()
    order, result = folder / "order.json", folder / "result.jsonl"
    order.write_text(order_for(runner.archive).model_dump_json())
    command = [*emulator, str(runner.path), "--order", str(order), "--result", str(result)]
    done = subprocess.run(command, capture_output=True, timeout=EMULATION_DEADLINE_SECONDS, check=False)
    records = [parse_record(line) for line in result.read_bytes().splitlines()]
    assert isinstance(records[-1], End)
    samples = [record for record in records if isinstance(record, Sample)]
    tokens = {sample.items[0]: sample.outputs[0].token_ids for sample in samples}
    return Ran(done.returncode, tokens, records[-1], [record.record for record in records])


def emulator(architecture: str, cpu: str) -> list[str]:
    path = shutil.which(f"qemu-{architecture}-static")
    assert path, "tools/setup-tests installs qemu-user-static"
    return [path, "-cpu", cpu]


def test_it_is_one_static_file_for_any_page_size(phone_runner: Runner) -> None:
    facts = inspect(phone_runner.path)
    assert (facts.format, facts.architecture) == ("ELF", "AARCH64")
    assert (facts.libraries, facts.interpreter) == ((), None)
    assert facts.alignment == 1 << 16
    assert len(facts.registrations) == 3


def test_a_phone_gives_the_hosts_token_ids(phone_runner: Runner, user_cache: Cache, tmp_path: Path) -> None:
    here = run(runner_for("llvm", user_cache), tmp_path / "host", [])
    there = run(phone_runner, tmp_path / "phone", emulator("aarch64", "max"))
    assert (here.status, there.status) == (0, 0), there.end
    assert len(there.tokens) == WORDS
    assert there.tokens == here.tokens


def test_a_phone_without_dot_products_is_refused_with_a_record(phone_runner: Runner, tmp_path: Path) -> None:
    ran = run(phone_runner, tmp_path / "old", emulator("aarch64", "cortex-a53"))
    assert (ran.status, ran.kinds) == (1, ["end"])
    assert ran.end.error is not None
    assert ran.end.error.kind == "cpu"
    assert "has no fp16, dotprod, rdm, rcpc, lse, which" in ran.end.error.message
    assert "--mcpu" in ran.end.error.message


def test_the_runner_reports_what_it_needs(phone_runner: Runner) -> None:
    command = [*emulator("aarch64", "cortex-a53"), str(phone_runner.path), "--describe"]
    output = subprocess.run(command, capture_output=True, timeout=EMULATION_DEADLINE_SECONDS, check=True).stdout
    assert json.loads(output)["cpu_features"] == list(resolve_target("android-arm64").baseline.features)
    assert RunnerDescription.model_validate_json(output).cpu_features == phone_runner.archive.metadata.cpu_features


def test_an_old_processor_of_this_machines_kind_is_refused_too(user_cache: Cache, tmp_path: Path) -> None:
    machine = platform.machine()
    mcpu, old, lacks = {"x86_64": (None, "Nehalem", "avx2"), "aarch64": ("cortex-a55", "cortex-a53", "dotprod")}[
        machine
    ]
    ran = run(runner_for("llvm", user_cache, mcpu), tmp_path / "old", emulator(machine, old))
    assert (ran.status, ran.kinds) == (1, ["end"])
    assert ran.end.error is not None
    assert ran.end.error.kind == "cpu"
    assert lacks in ran.end.error.message


def test_in_an_app_it_gives_the_hosts_token_ids(phone_runner: Runner, user_cache: Cache) -> None:
    """The APK's own library and runner, both arm64 code, in an activity."""
    order = order_for(phone_runner.archive)
    order = order.model_copy(update={"items": order.items[:2]})
    answers = []
    with opened(parse_device("virtual-android", android_mode="app"), cache=user_cache, notify=print) as (phone,):
        assert not isinstance(phone, Unavailable)
        assert phone.describe(phone_runner.path).arch == "aarch64"
        answers.append(phone.run(phone_runner.path, order))
    with opened(parse_device("host"), cache=user_cache, notify=print) as (host,):
        assert not isinstance(host, Unavailable)
        here = runner_for("llvm", user_cache)
        answers.append(host.run(here.path, order.model_copy(update={"archive_sha256": here.archive.sha256})))
    there, on_host = (
        {record.items[0]: record.outputs[0].token_ids for record in answer.require_complete().records
         if isinstance(record, Sample)}
        for answer in answers
    )  # fmt: skip
    assert len(there) == 2
    assert there == on_host


SYSTEM_CALLS_OF_APPS = frozenset(
    ["brk", "clock_gettime", "clock_nanosleep", "clone", "close", "exit", "exit_group", "fcntl", "fstat",
     "futex", "getcwd", "getpid", "getrandom", "gettid", "ioctl", "kill", "lseek", "madvise", "membarrier",
     "mkdirat", "mmap", "mprotect", "mremap", "munmap", "nanosleep", "newfstatat", "openat", "ppoll", "prctl",
     "pread64", "read", "readlinkat", "readv", "renameat2", "restart_syscall", "rt_sigaction", "rt_sigprocmask",
     "rt_sigreturn", "sched_getaffinity", "sched_setaffinity", "sched_yield", "set_tid_address", "sigaltstack",
     "statx", "tgkill", "tkill", "uname", "unlinkat", "wait4", "write", "writev"]
)  # fmt: skip
"""Of what Android lets an arm64 app call, by bionic's SYSCALLS.TXT and SECCOMP_ALLOWLIST_COMMON.TXT: whatever else a
process of an app calls, it is killed by SIGSYS. musl may call others than bionic."""


def test_an_app_may_make_all_of_its_system_calls(phone_runner: Runner, tmp_path: Path) -> None:
    order = order_for(phone_runner.archive)
    (tmp_path / "order.json").write_text(order.model_dump_json())
    command = [*emulator("aarch64", "max"), "-strace", str(phone_runner.path)]
    done = subprocess.run(
        [*command, "--order", "order.json", "--result", "result.jsonl", "--stream"],
        cwd=tmp_path,
        capture_output=True,
        timeout=EMULATION_DEADLINE_SECONDS,
        check=False,
    )
    called = {name.decode() for name in re.findall(rb"^\d+ ([a-z0-9_]+)\(", done.stderr, re.MULTILINE)}
    assert done.returncode == 0, done.stderr[-2000:]
    assert {"openat", "write"} <= called
    assert called <= SYSTEM_CALLS_OF_APPS
