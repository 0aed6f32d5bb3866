"""The harness as a pytest plugin: options, the ``harness_run`` fixture, and the verdict at the end.

The installed plugin must not disturb other projects' tests, so it imports nothing heavy until a suite runs, and
it leaves the command line alone: a project whose suites use it registers the options in its ``conftest.py`` with
``from harness.pytest_plugin import add_options as pytest_addoption`` (other projects have a ``--device`` too).
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest

from harness.errors import ExitCode, HarnessError

if TYPE_CHECKING:
    from harness.maker import RunOptions
    from harness.results import Summary
    from harness.session import RunSession

FIXTURE = "harness_run"
"""A test that uses it runs on a device."""
NO_DEVICE = "the suites need a device to run on: pytest suites --device host"
INTERRUPTED = 130


def add_options(parser: pytest.Parser) -> None:
    """Register the suites' options; for a ``conftest.py``."""
    group = parser.getgroup("harness", "harness: run a model on a device and compare it with PyTorch")
    add = group.addoption
    add("--device", dest="harness_device", metavar="KIND", help="device to run on: host")
    add(
        "--checkpoint",
        dest="harness_checkpoint",
        default="embedded",
        metavar="C",
        help="model: embedded (default), random:tiny-8, a folder, or a hub id",
    )
    add(
        "--words",
        dest="harness_words",
        type=Path,
        metavar="FILE",
        help="word<TAB>pronunciation with --lang, or lang<TAB>word<TAB>pronunciation; the pronunciation may be "
        "missing (default: 10 held-out words of each language)",
    )
    add("--lang", dest="harness_lang", metavar="CODE", help="language of the words, such as eng-us")
    add(
        "--kv-cache",
        dest="harness_kv_cache",
        action="store_true",
        default=True,
        help="time the variant with the key-value cache (default)",
    )
    add(
        "--no-kv-cache",
        dest="harness_kv_cache",
        action="store_false",
        help="time the variant without it",
    )
    add(
        "--precision",
        dest="harness_precision",
        default="fp32",
        choices=("fp32", "fp16", "int8"),
        help="of the compiled model: fp32 (default), fp16 weights, or int8 weights and activations",
    )
    add("--threads", dest="harness_threads", type=int, default=1, metavar="N", help="threads of both sides (1)")
    add("--repeat", dest="harness_repeat", type=int, default=5, metavar="N", help="timed passes over the words (5)")
    add("--warmup", dest="harness_warmup", type=int, default=2, metavar="N", help="passes before them (2)")
    add(
        "--results-dir",
        dest="harness_results_dir",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="folder that keeps the runs (results)",
    )
    add(
        "--tolerance",
        dest="harness_tolerance",
        type=float,
        default=1e-3,
        metavar="X",
        help="largest top-2 logit margin at which another token is a declared tie (0.001)",
    )
    add(
        "--min-agreement",
        dest="harness_min_agreement",
        type=float,
        metavar="SHARE",
        help="least share of words with PyTorch's tokens (fp32: 1; fp16 and int8: 0.98)",
    )
    add(
        "--max-per-change",
        dest="harness_max_per_change",
        type=float,
        metavar="X",
        help="the most that PER may exceed PyTorch's where agreement below 1 is allowed (0.005, half a point)",
    )
    add(
        "--deadline",
        dest="harness_deadline",
        type=float,
        default=600.0,
        metavar="S",
        help="seconds that one work order may take on the device (600)",
    )


def run_options(config: pytest.Config) -> RunOptions:
    from harness.maker import RunOptions

    get = config.getoption
    return RunOptions(
        device=get("harness_device"),
        checkpoint=get("harness_checkpoint"),
        words=get("harness_words"),
        language=get("harness_lang"),
        use_kv_cache=get("harness_kv_cache"),
        precision=get("harness_precision"),
        threads=get("harness_threads"),
        warmup=get("harness_warmup"),
        repeat=get("harness_repeat"),
        results_dir=get("harness_results_dir"),
        tolerance=get("harness_tolerance"),
        min_agreement=get("harness_min_agreement"),
        max_per_change=get("harness_max_per_change"),
        deadline=get("harness_deadline"),
    )


class HarnessPlugin:
    """The state of one pytest session."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        # Capturing is suspended while plugins are configured, so this is the stream a person sees.
        self._stream = sys.stdout
        self._run: RunSession | None = None
        self._summary: Summary | None = None
        self._error: HarnessError | None = None
        self._deselected = 0
        self._failures: list[ExitCode] = []
        self._told: set[str] = set()
        self._interrupted = False
        self._devices = ExitStack()
        self._old_sigterm: Callable[[int, FrameType | None], Any] | int | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        suite = [item for item in items if needs_device(item)]
        if not suite or self._device:
            return
        self._deselected = len(suite)
        items[:] = [item for item in items if not needs_device(item)]
        config.hook.pytest_deselected(items=suite)
        if not items:
            pytest.exit(NO_DEVICE, returncode=ExitCode.USAGE)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Everything a person could have got wrong is told before the first test, in one line."""
        if self.config.option.collectonly or not any(needs_device(item) for item in session.items):
            return
        if self.config.pluginmanager.has_plugin("dsession") or hasattr(self.config, "workerinput"):
            pytest.exit("the suites measure time and cannot share the machine: run without -n", ExitCode.USAGE)
        try:
            self._run = self._start()
        except HarnessError as error:
            self._devices.close()
            self._write(f"harness: {error}")
            pytest.exit(str(error).splitlines()[0], returncode=error.exit_code)
        self._old_sigterm = signal.signal(signal.SIGTERM, _interrupt)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """A HarnessError is told by its message, and whose fault a failure is decides the exit code."""
        report = yield
        if call.excinfo is not None and report.failed:
            error = call.excinfo.value
            if isinstance(error, HarnessError):
                report.longrepr = self._told_once(str(error))
            self._failures.append(error.exit_code if isinstance(error, HarnessError) else ExitCode.FAILURE)
        return report

    def _told_once(self, message: str) -> str:
        """Tests that fail for one reason do not each repeat a compiler's whole output."""
        if message in self._told:
            return f"{message.splitlines()[0]} (told above)"
        self._told.add(message)
        return message

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self._interrupted = isinstance(excinfo.value, KeyboardInterrupt)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._run is None:
            return
        try:
            self._summary = self._run.finish(self._interrupted)
        except HarnessError as error:
            self._error = error
            self._failures.append(error.exit_code)
            self._run.close()
        finally:
            self._devices.close()
            if self._old_sigterm is not None:
                signal.signal(signal.SIGTERM, self._old_sigterm)
        session.exitstatus = exit_status(session.exitstatus, self._failures, interrupted=self._interrupted)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._deselected:
            terminalreporter.write_line(f"harness: {self._deselected} tests left out, {NO_DEVICE}")
        if self._run is None:
            return
        terminalreporter.section("harness")
        if self._error is not None:
            terminalreporter.write_line(f"the run could not be ended: {self._error}", red=True)
        if self._summary is not None:
            self._write_verdict(terminalreporter, self._summary)

    def _write_verdict(self, terminal: pytest.TerminalReporter, summary: Summary) -> None:
        from harness.report import verdict_text

        assert self._run is not None
        colour = {"pass": "green", "fail": "red"}.get(summary.verdict.value, "yellow")
        terminal.write_line(verdict_text(summary), **{colour: True})
        for reason in summary.reasons:
            terminal.write_line(f"  {reason}")
        folder = self._run.options.results_dir
        where = "" if folder == Path("results") else f" --results-dir {folder}"
        terminal.write_line(f"harness show {self._run.run_id}{where}")

    @property
    def run(self) -> RunSession:
        if self._run is None:
            raise pytest.UsageError(NO_DEVICE)
        return self._run

    @property
    def _device(self) -> str | None:
        device: str | None = self.config.getoption("harness_device", None)
        return device

    def _start(self) -> RunSession:
        from harness.cache import Cache
        from harness.devices import opened, parse_device
        from harness.maker import CachedMaker
        from harness.report.progress import Narrator
        from harness.session import RunSession

        narrator = Narrator(self._stream, uncaptured=self._uncaptured, ensure_newline=self._ensure_newline)
        maker = self.config.hook.pytest_harness_maker(config=self.config, notice=self._notice)
        command = ["pytest", *map(str, self.config.invocation_params.args)]
        options = run_options(self.config)
        selection = parse_device(options.device)
        (device,) = self._devices.enter_context(
            opened(selection, cache=Cache(notice=self._notice), notify=self._notice)
        )
        run = RunSession(options, device, narrator, maker=maker or CachedMaker(self._notice), command=command)
        run.start()
        return run

    def _uncaptured(self) -> AbstractContextManager[None]:
        capture: Any = self.config.pluginmanager.getplugin("capturemanager")
        context: AbstractContextManager[None] = capture.global_and_fixture_disabled()
        return context

    def _ensure_newline(self) -> None:
        terminal: Any = self.config.pluginmanager.getplugin("terminalreporter")
        if terminal is not None:
            terminal.ensure_newline()

    def _notice(self, text: str) -> None:
        with self._uncaptured():
            self._ensure_newline()
            self._write(f"harness: {text}")

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


def exit_status(status: int, failures: Sequence[ExitCode], *, interrupted: bool) -> int:
    """pytest's exit status made to say whose fault it is: 1 the subject's, 2 the command line's, 3 no verdict."""
    if interrupted:
        return INTERRUPTED
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or not failures:
        return status
    for code in (ExitCode.USAGE, ExitCode.FAILURE, ExitCode.INFRASTRUCTURE):
        if code in failures:
            return code
    return status


def needs_device(item: pytest.Item) -> bool:
    return FIXTURE in getattr(item, "fixturenames", ())


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """So that ending pytest also ends the runner and the run."""
    raise KeyboardInterrupt


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from harness import pytest_hooks

    pluginmanager.add_hookspecs(pytest_hooks)


PLUGIN = pytest.StashKey[HarnessPlugin]()


def pytest_configure(config: pytest.Config) -> None:
    plugin = config.stash[PLUGIN] = HarnessPlugin(config)
    config.pluginmanager.register(plugin, "harness-session")


@pytest.fixture(scope="session")
def harness_run(request: pytest.FixtureRequest) -> RunSession:
    """The run of this session; its steps are made when they are first asked for."""
    return request.config.stash[PLUGIN].run


@pytest.fixture(scope="session")
def harness_facts(harness_run: RunSession, record_testsuite_property: Callable[[str, object], None]) -> dict[str, Any]:
    """What is so for the whole run, for JUnit XML and for pytest-benchmark's ``extra_info``."""
    facts = {
        "run_id": harness_run.run_id,
        "device": harness_run.device.name,
        "checkpoint": harness_run.checkpoint.label,
        "checkpoint_sha256": harness_run.checkpoint.sha256,
        "words": len(harness_run.words),
        "threads": harness_run.options.threads,
    }
    for name, value in facts.items():
        record_testsuite_property(f"harness.{name}", value)
    return facts


class ReplayClock:
    """A clock that shows durations measured elsewhere, for pytest-benchmark to read as if it had measured them."""

    __name__ = "runner"

    def __init__(self, durations_ns: Sequence[int]) -> None:
        self._durations = iter(durations_ns)
        self._now = 0.0

    def __call__(self) -> float:
        return self._now

    def rewind(self) -> None:
        """Back to zero before each round, so that a round's difference is its duration exactly."""
        self._now = 0.0

    def advance(self) -> None:
        self._now = next(self._durations) / 1e9


@pytest.fixture
def replay_benchmark(request: pytest.FixtureRequest) -> Callable[[Sequence[int], dict[str, Any]], None]:
    """``replay_benchmark(durations_ns, extra_info)``: samples into pytest-benchmark's table and JSON as they are."""

    def replay(durations_ns: Sequence[int], extra_info: dict[str, Any]) -> None:
        clock = ReplayClock(durations_ns)
        # Put first: pytest-benchmark looks at one marker only, and the test's own may name a group.
        own = request.node.get_closest_marker("benchmark")
        options = {**(own.kwargs if own else {}), "timer": clock}
        request.node.add_marker(pytest.mark.benchmark(**options), append=False)
        benchmark = request.getfixturevalue("benchmark")
        benchmark.extra_info.update(extra_info)
        benchmark.pedantic(clock.advance, setup=clock.rewind, rounds=len(durations_ns), iterations=1, warmup_rounds=0)

    return replay
