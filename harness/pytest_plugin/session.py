"""Run one pytest session: open the devices, make a run on each, and give the verdict at the end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from harness.core.errors import ExitCode, HarnessError, UsageError
from harness.core.text import shown, shown_line
from harness.pytest_plugin.notices import Notices
from harness.pytest_plugin.options import (
    LONG_PREFIX,
    TAKEN_OPTIONS,
    announcements,
    run_options,
    selected,
    use_configured_models,
)
from harness.pytest_plugin.shipped import NOT_PARALLEL, choose_arguments

if TYPE_CHECKING:
    from harness.devices import Device, Unavailable
    from harness.results import Summary
    from harness.results.shared.following import Follower
    from harness.run.builder import Builder
    from harness.run.prefetch import Prefetch, Step
    from harness.run.session import RunSession

FIXTURE = "harness_run"
"""A test that uses this fixture runs on a device."""
STEP_MARK = "harness_step"
NO_DEVICE = "the suites need a device to run on: pytest suites {option} host"
INTERRUPTED = 130


class HarnessPlugin:
    """Hold the state of one pytest session."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self._notices = Notices(config)
        self._open = ExitStack()
        self._devices: Sequence[Device | Unavailable] | None = None
        self._opening_error: HarnessError | None = None
        self._runs: list[RunSession | HarnessError] = []
        self._prefetch: Prefetch | None = None
        self._summaries: list[tuple[RunSession, Summary | HarnessError]] = []
        self._deselected = 0
        self._failures: list[ExitCode] = []
        self._shown: set[str] = set()
        self._interrupted = False
        self._url: str | None = None
        """Where the results go, once they are whole, beside the results folder."""
        self._uploaded = ""
        self._follower: Follower | None = None
        self._old_sigterm: Callable[[int, FrameType | None], Any] | int | None = None

    @property
    def runs(self) -> Sequence[RunSession | HarnessError]:
        """Return one run for each device; an error if the run could not be started."""
        if not self._runs:
            raise pytest.UsageError(self._no_device)
        return self._runs

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make every test of the suites one test for each device if there are several."""
        if FIXTURE not in metafunc.fixturenames or not self._device or self.config.option.collectonly:
            return
        try:
            devices = self._opened()
        except HarnessError:
            return  # Reported once, after collection; here it would be an error of each module.
        if len(devices) > 1:
            names = [device.name for device in devices]
            metafunc.parametrize(FIXTURE, range(len(devices)), ids=names, indirect=True, scope="session")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        suite = [item for item in items if needs_device(item)]
        if not suite or self._device:
            return
        self._deselected = len(suite)
        items[:] = [item for item in items if not needs_device(item)]
        config.hook.pytest_deselected(items=suite)
        if not items:
            pytest.exit(self._no_device, returncode=ExitCode.USAGE)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Check everything that a person could have got wrong before the first test, and report it in one line."""
        if self.config.option.collectonly or not any(needs_device(item) for item in session.items):
            return
        try:
            self._url = self._results_url()
            devices = self._opened()
            self._runs = [self._started(device, alone=len(devices) == 1) for device in devices]
            self._follow()
        except HarnessError as error:
            self._give_up(error)
        self._expect_pairs(session.items)
        if len(self._runs) > 1:
            self._start_prefetch(session.items)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Report a HarnessError by its message, and collect whose fault a failure is for the exit code."""
        report = yield
        if call.excinfo is not None and report.failed:
            error = call.excinfo.value
            if isinstance(error, HarnessError):
                report.longrepr = self._shown_once(str(error))
            elif (text := str(report.longrepr)) != (fit := shown(text, most=len(text))):
                # A device's answer is in the message, and a terminal must not obey it.
                report.longrepr = fit
            self._failures.append(error.exit_code if isinstance(error, HarnessError) else ExitCode.FAILURE)
        return report

    def _shown_once(self, message: str) -> str:
        """Return a message in full only once, so that tests with one cause do not repeat a compiler's whole output."""
        if message in self._shown:
            return f"{message.splitlines()[0]} (see above)"
        self._shown.add(message)
        return message

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self._interrupted = isinstance(excinfo.value, KeyboardInterrupt)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        try:
            if self._follower is not None:
                self._follower.stop()
            busy = self._prefetch.stop() if self._prefetch is not None else set()
            for run in self._runs:
                if isinstance(run, HarnessError):
                    continue
                if run in busy:
                    self._summaries.append((run, HarnessError("something is still being made for it")))
                else:
                    self._summaries.append((run, self._finished(run)))
        finally:
            self._open.close()
            if self._old_sigterm is not None:
                signal.signal(signal.SIGTERM, self._old_sigterm)
        self._upload()
        if self._runs or (self._interrupted and self._device):
            session.exitstatus = exit_status(session.exitstatus, self._failures, interrupted=self._interrupted)

    def _results_url(self) -> str | None:
        """Return the address of the results store, checked before anything is run."""
        from harness.results.shared import checked_url

        return checked_url(self.config.getoption("harness_results_url", None))

    def _follow(self) -> None:
        """Upload what the runs write, from now on."""
        begun = [run for run in self._runs if not isinstance(run, HarnessError)]
        if self._url is not None and begun:
            from harness.results.shared import follow

            names = [run.run_id for run in begun]
            self._follower = follow(self._url, begun[0].options.results_dir, self._notices.notice, runs=names)

    def _upload(self) -> None:
        """Upload the runs, each of which has ended. An interruption leaves them to ``harness sync``."""
        from harness.results.shared import after_runs

        ended = [run for run, summary in self._summaries if not isinstance(summary, HarnessError)]
        if self._url is None or not ended:
            return
        try:
            self._uploaded = after_runs(self._url, ended[0].options.results_dir, [run.run_id for run in ended])
        except KeyboardInterrupt:
            self._uploaded = "not uploaded: interrupted; `harness sync` does it later"

    def _finished(self, run: RunSession) -> Summary | HarnessError:
        try:
            return run.finish(self._interrupted)
        except HarnessError as error:
            self._failures.append(error.exit_code)
            run.close()
            return error

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._deselected:
            terminalreporter.write_line(f"harness: {self._deselected} tests left out, {self._no_device}")
        if not self._runs:
            return
        terminalreporter.section("harness")
        for failed in self._runs:
            if isinstance(failed, HarnessError):
                terminalreporter.write_line(f"a run could not be started: {failed}", red=True)
        for run, summary in self._summaries:
            if len(self._runs) > 1:
                terminalreporter.write_line(f"{shown_line(run.device.name)}:")
            if isinstance(summary, HarnessError):
                terminalreporter.write_line(f"the run could not be ended: {summary}", red=True)
            else:
                self._write_verdict(terminalreporter, run, summary)
        if self._uploaded:
            terminalreporter.write_line(shown_line(self._uploaded))

    def _write_verdict(self, terminal: pytest.TerminalReporter, run: RunSession, summary: Summary) -> None:
        from harness.report import verdict_text
        from harness.report.profile import profile_text
        from harness.results.widening import widening_text

        colour = {"pass": "green", "fail": "red"}.get(summary.verdict.value, "yellow")
        text = verdict_text(run.writer.manifest, summary)
        terminal.write_line(shown_line(text), **{colour: True})
        for reason in summary.reasons:
            terminal.write_line(f"  {shown_line(reason)}")
        if wide := widening_text(run.writer.manifest, summary):
            terminal.write_line(f"  {shown_line(wide)}")
        for profile in run.profiles:
            terminal.write_line(shown_line(profile_text(profile)))
        folder = run.options.results_dir
        where = "" if folder == Path("results") else f" --results-dir {folder}"
        terminal.write_line(f"harness show {run.run_id}{where}")

    @property
    def _no_device(self) -> str:
        taken = "--device" in self.config.stash.get(TAKEN_OPTIONS, [])
        return NO_DEVICE.format(option=f"{LONG_PREFIX}device" if taken else "--device")

    @property
    def _device(self) -> str | None:
        device: str | None = self.config.getoption("harness_device", None)
        return device

    def _opened(self) -> Sequence[Device | Unavailable]:
        """Return the devices, opened when they are first asked for, until the session ends.

        Raises HarnessError, always the same one.
        """
        if self._opening_error is not None:
            raise self._opening_error
        if self._devices is None:
            if self.config.pluginmanager.has_plugin("dsession") or hasattr(self.config, "workerinput"):
                self._opening_error = UsageError(NOT_PARALLEL)
                raise self._opening_error
            self._old_sigterm = signal.signal(signal.SIGTERM, _interrupt)
            from harness.core.cache import Cache
            from harness.devices import opened

            self._notices.open(self._open)
            try:
                selection = selected(self.config)
                context = opened(selection, cache=Cache(notice=self._notices.notice), notify=self._notices.notice)
                self._devices = self._open.enter_context(context)
            except HarnessError as error:
                self._opening_error = error
                raise
        return self._devices

    def _give_up(self, error: HarnessError) -> NoReturn:
        self._open.close()
        self._notices.write(f"harness: {error}")
        pytest.exit(str(error).splitlines()[0], returncode=error.exit_code)

    def _started(self, device: Device | Unavailable, *, alone: bool) -> RunSession | HarnessError:
        """Start a run on a device.

        Beside other devices, a failing device is only its own error; an error of usage is everybody's.
        """
        from harness.devices import Unavailable
        from harness.regression.gate import BaselineGate
        from harness.report.progress import TerminalProgress
        from harness.run.builder import CachedBuilder
        from harness.run.session import RunSession

        if isinstance(device, Unavailable):
            return device.error
        if alone:
            reporter = TerminalProgress(
                self._notices.stream,
                uncaptured=self._notices.uncaptured,
                ensure_newline=self._notices.ensure_newline,
            )
        else:
            reporter = TerminalProgress(self._notices.of_threads, who=device.name)
        builder: Builder = self.config.hook.pytest_harness_builder(
            config=self.config, notice=self._notices.notice
        ) or CachedBuilder(self._notices.notice, device=device)
        command = ["pytest", *map(str, self.config.invocation_params.args)]
        gate = BaselineGate(self._url) if self.config.getoption("harness_baseline", None) else None
        run = RunSession(
            run_options(self.config, device), device, reporter, builder=builder, gate=gate, command=command
        )
        try:
            run.start()
        except HarnessError as error:
            if alone or error.exit_code is ExitCode.USAGE:
                raise
            return error
        for line in announcements(run):
            self._notices.notice(f"{device.name}: {line}")
        return run

    def _expect_pairs(self, items: Sequence[pytest.Item]) -> None:
        """Load PyTorch during untimed steps if a test will ask for its times."""
        for at, run in enumerate(self._runs):
            wanted = any(step.name == "pairs" for item in items if device_index(item) == at for step in steps_of(item))
            if wanted and not isinstance(run, HarnessError):
                run.turns.expect()

    def _start_prefetch(self, items: Sequence[pytest.Item]) -> None:
        from harness.run.prefetch import Prefetch

        jobs: dict[RunSession, list[Step]] = {}
        for at, run in enumerate(self._runs):
            if not isinstance(run, HarnessError):
                wanted = [step for item in items if device_index(item) == at for step in steps_of(item)]
                jobs[run] = list(dict.fromkeys(wanted))
        self._prefetch = Prefetch(jobs)
        self._prefetch.start()


def exit_status(status: int, failures: Sequence[ExitCode], *, interrupted: bool) -> int:
    """Return an exit status that states whose fault it is: 1 the subject's, 2 the command line's, 3 no verdict."""
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


def device_index(item: pytest.Item) -> int:
    """Return the index of a test's device."""
    index: int = item.callspec.params.get(FIXTURE, 0) if hasattr(item, "callspec") else 0
    return index


def steps_of(item: pytest.Item) -> list[Step]:
    """Return the steps that a test asks for by ``@pytest.mark.harness_step("parity")``.

    They are for the test's ``model`` and ``variant``, if it has them.
    """
    from harness.run.prefetch import Step

    params = item.callspec.params if hasattr(item, "callspec") else {}
    return [
        Step(name, params.get("model"), params.get("variant"))
        for mark in item.iter_markers(STEP_MARK)
        for name in mark.args
    ]


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, so that ending pytest also ends the runner and the run."""
    raise KeyboardInterrupt


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from harness.pytest_plugin import hooks

    pluginmanager.add_hookspecs(hooks)


PLUGIN = pytest.StashKey[HarnessPlugin]()
MARKER = (
    f"{STEP_MARK}(*names): steps of a run (describe, smoke, parity, latency, profile, gate, models, pairs) that "
    "the test asks for, so that several devices can do them at once"
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    use_configured_models(config)
    choose_arguments(config)
    plugin = config.stash[PLUGIN] = HarnessPlugin(config)
    config.pluginmanager.register(plugin, "harness-session")
