"""Serve Instruments: launch, signal and watch processes over DTX; pymobiledevice3 implements both sides of it."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import time
from typing import Any

from pymobiledevice3.dtx import DTXConnection, DTXContext, DTXService, dtx_on_invoke
from pymobiledevice3.dtx.exceptions import DTXNsError
from pymobiledevice3.dtx.ns_types import NSError
from pymobiledevice3.exceptions import PyMobileDevice3Exception

from harness.virtual.ios.faults import Refused
from harness.virtual.ios.phone import Phone
from harness.virtual.ios.processes import LaunchRefused, Running
from harness.virtual.ios.stream import Connection, Dropped

LAUNCH_DOMAIN = "FBSOpenApplicationServiceErrorDomain"
PROCESS_DOMAIN = "com.apple.dt.deviceprocesscontrolservice"
TERMINATION_CAPABILITY = "com.apple.instruments.client.processcontrol.capability.terminationCallback"
_NO_SUCH_PROCESS = 3
_OUTPUT = "outputReceived:fromProcess:atTime:"
"""Sent with a text, a process and a time, and by iOS 26 also with nothing."""
_HALF_A_HEADER = b"\x79\x5b\x3d\x1f" + bytes(12)


async def serve(phone: Phone, connection: Connection) -> None:
    """Answer one connection until it ends; launched apps continue without it."""
    dtx = DTXConnection(connection.reader, connection.writer)
    dtx.ctx["phone"] = phone
    dtx.ctx["link"] = connection
    waiting: set[asyncio.Task[None]] = set()
    dtx.ctx["waiting"] = waiting
    dtx.register_services(ProcessControl, DeviceInfo)
    try:
        await dtx.connect()
        await dtx.wait_disconnected()
    except (ConnectionError, PyMobileDevice3Exception, OSError) as error:
        raise Dropped from error
    finally:
        # A handler that hangs because of a fault would outlive its connection.
        for task in waiting.copy():
            task.cancel()
        await dtx.aclose()


async def _moment(ctx: DTXContext, moment: str, domain: str) -> None:
    """Let a fault happen. Raises DTXNsError if the service refuses or its connection has ended."""
    phone: Phone = ctx["phone"]
    connection: Connection = ctx["link"]
    waiting: set[asyncio.Task[None]] = ctx["waiting"]
    task = asyncio.get_running_loop().create_task(phone.faults.at(moment, connection))
    waiting.add(task)
    task.add_done_callback(waiting.discard)
    try:
        await asyncio.wait([task])
        if task.cancelled():
            raise Dropped
        task.result()
        if connection.truncate_next:
            connection.writer.write(_HALF_A_HEADER)
            raise Dropped
    except Refused as refused:
        # A code is the process control's own; without one, it is the system's refusal that is passed on.
        raise _error(
            domain if refused.code is None else PROCESS_DOMAIN,
            refused.code or 1,
            refused.error or "A fault was ordered",
        ) from refused
    except Dropped as dropped:
        # The connection is closed in order, so that the cut-off part is sent.
        connection.writer.close()
        raise _error(domain, 1, "The connection has ended") from dropped


def _error(domain: str, code: int, description: str, reason: str | None = None) -> DTXNsError:
    info = {"NSLocalizedDescription": description}
    if reason is not None:
        info["NSLocalizedFailureReason"] = reason
    return DTXNsError(NSError(code, domain, info))


class ProcessControl(DTXService):
    """Serve the phone's side of ``processcontrol``."""

    IDENTIFIER = "com.apple.instruments.server.services.processcontrol"

    def __init__(self, ctx: DTXContext) -> None:
        super().__init__(ctx)
        self._phone: Phone = ctx["phone"]
        self._link: Connection = ctx["link"]
        self._observed: set[int] = set()
        self._reports: set[asyncio.Task[None]] = set()

    @dtx_on_invoke("launchSuspendedProcessWithDevicePath:bundleIdentifier:environment:arguments:options:")
    async def _launch(
        self, _path: str, bundle_id: str, environment: dict[str, Any], arguments: list[str], options: dict[str, Any]
    ) -> int:
        await _moment(self._ctx, "dvt.launch", LAUNCH_DOMAIN)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        try:
            running = await self._phone.processes.launch(
                str(bundle_id),
                [str(argument) for argument in arguments],
                {str(name): str(value) for name, value in environment.items()},
                connection=self._link,
                suspended=True,
                kill_existing=bool(options.get("KillExisting", True)),
            )
            running.sink = lambda chunk: self._output(running, decoder.decode(chunk))
            if self._phone.identity.version >= (26,):
                with contextlib.suppress(Dropped):
                    await self._invoke(_OUTPUT)
            if not options.get("StartSuspendedKey"):
                await self._phone.processes.resume(running)
        except LaunchRefused as refused:
            raise _error(
                LAUNCH_DOMAIN,
                1,
                f"Request to launch {bundle_id} failed.",
                f"The request was denied by service delegate (SBMainWorkspace) for reason: {refused.reason} "
                f'("{refused}").',
            ) from refused
        if TERMINATION_CAPABILITY in (self._link_capabilities() or {}):
            self._observe(running)
        return running.pid

    def _link_capabilities(self) -> dict[str, Any] | None:
        capabilities: dict[str, Any] | None = self._ctx["connection"].supported_identifiers
        return capabilities

    async def _output(self, running: Running, text: str) -> None:
        if self._link.truncate_next:
            self._link.writer.write(_HALF_A_HEADER)
            self._link.writer.close()
            raise Dropped
        if text:
            await self._invoke(_OUTPUT, text, running.pid, time.time())

    async def _invoke(self, selector: str, *arguments: Any) -> None:
        try:
            await self._channel.invoke(selector, *arguments, expects_reply=False)
        except (PyMobileDevice3Exception, OSError, AttributeError) as error:
            # The library's channel of a connection that has just been closed has no writer: None._abort.
            raise Dropped from error

    def _observe(self, running: Running) -> None:
        if running.pid not in self._observed:
            self._observed.add(running.pid)
            task = asyncio.get_running_loop().create_task(self._report_end(running))
            self._reports.add(task)
            task.add_done_callback(self._reports.discard)

    async def _report_end(self, running: Running) -> None:
        await asyncio.wait([running.ended])
        ended = running.ended.result()
        if not self._phone.state.reports_ends:
            return
        try:
            await self._invoke(
                "processWithPID:terminatedWithExitCode:orCrashingSignal:", running.pid, ended.code, ended.signal
            )
        except Dropped:
            return

    @dtx_on_invoke("startObservingPid:")
    async def _start_observing(self, pid: int) -> None:
        self._observe(self._find(pid))

    @dtx_on_invoke("stopObservingPid:")
    async def _stop_observing(self, pid: int) -> None:
        self._observed.discard(pid)

    @dtx_on_invoke("sendSignal:toPid:")
    async def _signal(self, number: int, pid: int) -> None:
        await _moment(self._ctx, "dvt.signal", PROCESS_DOMAIN)
        self._find(pid).signal(int(number), "client")

    @dtx_on_invoke("killPid:")
    async def _kill(self, pid: int) -> None:
        await self._signal(9, pid)

    @dtx_on_invoke("suspendPid:")
    async def _suspend(self, pid: int) -> None:
        self._phone.processes.end(self._find(pid), "suspend")

    @dtx_on_invoke("resumePid:")
    async def _resume(self, pid: int) -> None:
        await self._phone.processes.resume(self._find(pid))

    @dtx_on_invoke("isPidDebuggable:")
    async def _debuggable(self, pid: int) -> bool:
        return self._find(pid).app.debuggable

    @dtx_on_invoke("requestDisableMemoryLimitsForPid:")
    async def _disable_memory_limits(self, pid: int) -> bool:
        self._phone.event(f"no memory limit {self._find(pid).app.bundle_id}")
        return True

    @dtx_on_invoke("processIdentifierForBundleIdentifier:")
    async def _pid_of(self, bundle_id: str) -> int:
        running = self._phone.processes.of(str(bundle_id))
        return 0 if running is None else running.pid

    def _find(self, pid: int) -> Running:
        running = self._phone.processes.get(int(pid))
        if running is None:
            raise _error(PROCESS_DOMAIN, _NO_SUCH_PROCESS, f"No process with pid {pid}")
        return running


class DeviceInfo(DTXService):
    """Serve ``deviceinfo``, the list of processes."""

    IDENTIFIER = "com.apple.instruments.server.services.deviceinfo"

    @dtx_on_invoke("runningProcesses")
    async def _processes(self) -> list[dict[str, Any]]:
        phone: Phone = self._ctx["phone"]
        return [
            {
                "pid": running.pid,
                "name": running.app.executable.name,
                "realAppName": str(running.app.executable),
                "bundleIdentifier": running.app.bundle_id,
                "isApplication": True,
                "foregroundRunning": True,
            }
            for running in phone.processes.all()
        ]

    @dtx_on_invoke("isRunningPid:")
    async def _is_running(self, pid: int) -> bool:
        phone: Phone = self._ctx["phone"]
        return phone.processes.get(int(pid)) is not None
