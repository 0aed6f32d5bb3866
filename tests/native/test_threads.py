"""The runner with one thread and with several: equal answers, threads that end with it, errors of any of them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.compiler import compile_models
from harness.compiler.front import MAX_THREADS
from harness.compiler.kernels.parallel import TASKS
from harness.core.cache import Cache
from harness.devices import HostDevice
from harness.devices.base import RunResult
from harness.models.g2p.checkpoints import resolve_checkpoint
from harness.models.tensor.described import describe_models
from harness.models.tensor.sources import resolve_model
from harness.models.tensor.workload import TensorModel
from harness.native import Runner, build_runner
from harness.native.compilers import host_compiler, package_folder
from harness.native.runtime import SHIMS, THREAD_POOL, build_runtime
from harness.protocol.schema import Header, Probe, RecordOptions, WorkItem, WorkOrder
from tests.compile_requests import g2p_request, models_request
from tests.environment import REPOSITORY

pytestmark = [pytest.mark.compiler, pytest.mark.thorough]
HERE = Path(__file__).parent


def quiet(_text: str) -> None:
    pass


def test_every_language_has_the_same_limits() -> None:
    header = (SHIMS / "harness" / "thread_pool.h").read_text(encoding="utf-8")
    order = (REPOSITORY / "device_runner" / "src" / "order.rs").read_text(encoding="utf-8")
    assert f"constexpr int kMostThreads = {MAX_THREADS};" in header
    assert f"pub const MOST_THREADS: usize = {MAX_THREADS};" in order
    assert f"constexpr int kTasks = {TASKS};" in header


@pytest.fixture(scope="module")
def models(user_cache: Cache) -> list[TensorModel]:
    found = describe_models([resolve_model("detector"), resolve_model("bert")], cache=user_cache, progress=quiet)
    return [TensorModel(model) for model in found]


@pytest.fixture(scope="module")
def runner(user_cache: Cache, models: list[TensorModel]) -> Runner:
    """A program of archives that other tests have, too: the word model, a picture's and a text's."""
    words = g2p_request(resolve_checkpoint("embedded", cache=user_cache))
    tensors = models_request([model.model for model in models]).models
    archive = compile_models(replace(words, models=[*words.models, *tensors]), cache=user_cache, progress=quiet)
    return build_runner(archive, cache=user_cache, progress=quiet)


def order(runner: Runner, models: list[TensorModel], threads: int, **changes: Any) -> WorkOrder:
    metadata = runner.archive.metadata
    words = [WorkItem(id=word, workload="g2p", input=f"<eng-us>: {word}") for word in ("Char", "siu", "threads")]
    fields: dict[str, Any] = {
        "order_id": f"order-{time.monotonic_ns()}",
        "archive_sha256": runner.archive.sha256,
        "workloads": [metadata.generation("g2p"), *(model.workload() for model in metadata.models)],
        "items": [*words, *(item for model in models for item in model.items)],
        "warmup": 3,
        "repetitions": 2,
        "threads": threads,
        "probe": RecordOptions(),
    }
    return WorkOrder(**fields | changes)


def run(runner: Runner, given: WorkOrder, folder: Path) -> RunResult:
    return HostDevice(lock_folder=folder).run(runner.path, given, deadline=120)


def answers(result: RunResult) -> list[Any]:
    probes = [record for record in result.require_complete().records if isinstance(record, Probe)]
    return [(probe.workload, probe.items, probe.outputs, probe.tensors) for probe in probes]


def test_answers_are_the_same_bits_with_any_number_of_threads(
    runner: Runner, models: list[TensorModel], tmp_path: Path
) -> None:
    """Also with far more threads than this machine has cores."""
    assert runner.archive.metadata.max_threads == 64
    results = {threads: run(runner, order(runner, models, threads), tmp_path) for threads in (1, 2, 3, 64)}
    one = answers(results[1])
    assert {workload for workload, *_ in one} == {"g2p", "detector", "bert"}
    for threads, result in results.items():
        assert answers(result) == one, threads
        [header] = [record for record in result.records if isinstance(record, Header)]
        assert header.threads == threads


@pytest.mark.parametrize("threads", [65, 2**40])
def test_more_threads_than_a_pool_has_are_refused(
    runner: Runner, models: list[TensorModel], tmp_path: Path, threads: int
) -> None:
    result = run(runner, order(runner, models, threads), tmp_path)
    assert not result.complete
    assert "threads must be from 1 to 64" in str(result.reason)


def test_threads_are_started_for_work_and_end_with_a_process_that_is_killed(
    runner: Runner, models: list[TensorModel], tmp_path: Path
) -> None:
    cores = len(os.sched_getaffinity(0))
    for threads in (1, 3):
        given = order(runner, models[:1], threads, repetitions=1_000_000, probe=None)
        given = given.model_copy(update={"workloads": [given.workloads[1]], "items": list(models[0].items)})
        path, result = tmp_path / "order.json", tmp_path / f"result-{threads}"
        path.write_text(given.model_dump_json())
        with subprocess.Popen([runner.path, "--order", path, "--result", result]) as process:
            try:
                for _ in range(600):
                    if result.exists() and result.read_text().count('"timed"') > 3:
                        break
                    time.sleep(0.05)
                assert len(list(Path(f"/proc/{process.pid}/task").iterdir())) == min(threads, cores)
            finally:
                process.kill()
            assert process.wait(20) == -signal.SIGKILL
        assert '"record":"end"' not in result.read_text()


def test_the_pool_under_sanitizers(tmp_path: Path) -> None:
    program = tmp_path / "pool"
    for sanitizers in ("thread", "address,undefined"):
        command = [*host_compiler(), "-std=c++20", "-g", "-O1", "-pthread", f"-fsanitize={sanitizers}", f"-I{SHIMS}"]
        subprocess.run([*command, HERE / "thread_pool_test.cc", THREAD_POOL, "-o", program], check=True)
        done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def test_what_fails_in_a_thread_is_the_callers_error(user_cache: Cache, tmp_path: Path) -> None:
    """Errors of kernels and exceptions, on one thread and on several; afterwards the pool works as before."""
    runtime = build_runtime(cache=user_cache, progress=quiet)
    program = tmp_path / "parallel"
    whole = ["-Wl,--whole-archive", str(runtime.runtime), str(runtime.ffi), "-Wl,--no-whole-archive"]
    tvm, ffi = package_folder("tvm"), package_folder("tvm_ffi")
    folders = (SHIMS, tvm / "include", ffi / "include", ffi / "3rdparty/dlpack/include")
    includes = [f"-I{folder}" for folder in folders]
    command = [*host_compiler(), "-std=c++20", "-g0", *includes, str(HERE / "parallel_test.cc"), *whole]
    subprocess.run([*command, "-lpthread", "-ldl", "-o", str(program)], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
