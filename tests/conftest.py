"""What several rooms' tests share: a declared environment, a cache of their own over the user's, a small checkpoint."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests import environment, needs
from tests.guard import sitecustomize as guard

pytest_plugins = ["harness.conformance"]
SCRATCH = environment.declare()  # before anything is imported that reads the environment

from harness.core.cache import Cache, cache_root  # noqa: E402
from harness.models.g2p.checkpoints import Checkpoint, check_folder, write_random  # noqa: E402
from tests import forked_workers  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background (nohup, some CI services), where children would inherit that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)

SMALL = {"d_model": 48, "d_kv": 16, "num_heads": 3, "d_ff": 80, "num_layers": 2, "num_decoder_layers": 2}
"""Sizes that are no multiple of a vector or a tile, so that every tail is taken."""


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Have the processes of pytest-xdist share one server of workers."""
    node.workerinput["workers"] = forked_workers.address() if sys.platform == "linux" else None


def pytest_configure(config: pytest.Config) -> None:
    given: dict[str, str] = getattr(config, "workerinput", {})
    forked_workers.install((lambda: given["workers"]) if "workers" in given else forked_workers.address)


def pytest_unconfigure() -> None:
    environment.end(SCRATCH)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Pass over modules without a pure test where only those are wanted: importing PyTorch and TVM takes longer."""
    wanted = config.getoption("markexpr") == needs.PURE
    return True if wanted and collection_path.is_file() and needs.is_wholly_impure(collection_path) else None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if collector.config.getoption("markexpr") == needs.PURE:
        needs.refuse_compiler(collector)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    needs.mark(items)
    needs.keep_some(items)
    items[:] = needs.in_order(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    """Hold the test to its markers, its fixtures included, in this process and in those that it starts."""
    needed = needs.needs_of(item)
    allowed = [*needed, needs.PROGRAMS] if needed else []
    stand_ins: Path = item.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    wanted = {
        guard.ALLOWED: ",".join(allowed),
        guard.REFUSALS: str(SCRATCH / "refusals"),
        guard.STAND_INS: str(stand_ins),
        **({} if {*needed} - {needs.PROGRAMS} else {"HARNESS_CACHE_DIR": str(SCRATCH / "empty-cache")}),
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        return (yield)
    finally:
        # Only these: what a fixture of a module has set holds for the module's other tests, too.
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, None, None]:
    yield
    refusals = SCRATCH / "refusals"
    if refusals.exists():
        text = refusals.read_text(encoding="utf-8")
        refusals.unlink()
        pytest.fail(f"the test is marked as needing less than it does:\n{text}", pytrace=False)


@pytest.fixture(autouse=True)
def unchanged_environment() -> Iterator[None]:
    """Whatever a test sets in its own process is undone: variables, the working folder, the mask of new files."""
    before, folder = dict(os.environ), Path.cwd()
    yield
    os.chdir(folder)
    os.umask(0o022)
    os.environ.clear()
    os.environ.update(before)


# The same examples on every machine, however busy it is and whatever failed on it before.
hypothesis.settings.register_profile("declared", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("declared")


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A T5 v1.1 checkpoint of a few hundred kilobytes with seeded weights."""
    folder = tmp_path_factory.mktemp("small-checkpoint")
    write_random(folder, SMALL, seed=7)
    return Checkpoint(str(folder), folder, check_folder(folder), None)


@pytest.fixture(scope="module")
def work_is_here() -> Iterator[None]:
    """Compile in this process. Not for tests that change the compiler, since the user's cache keeps its archives."""
    from tests.workers import work_here

    with pytest.MonkeyPatch.context() as patch:
        work_here(patch)
        yield


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """An empty cache."""
    return Cache(tmp_path / "cache")


@pytest.fixture(scope="session")
def user_cache() -> Cache:
    """The user's own cache, for what takes minutes to make: the runtime and cargo's output."""
    return Cache(cache_root())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for the tests of a module."""
    from playwright.sync_api import sync_playwright

    from tests.report.html.browsers import chromium

    with sync_playwright() as playwright:
        started = chromium(playwright)
        yield started
        started.close()
