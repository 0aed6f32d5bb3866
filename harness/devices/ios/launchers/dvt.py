"""Launch on iOS 16 and older, and on newer ones as a second way: the process control of Instruments."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from pymobiledevice3.dtx import DTXContext, DTXNsError, QueueShutDown, dtx_on_invoke
from pymobiledevice3.exceptions import ConnectionTerminatedError, PyMobileDevice3Exception
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
from pymobiledevice3.services.dvt.instruments.process_control import ProcessControl, ProcessControlService

from harness.devices.ios.launchers.started import Ended, Started
from harness.devices.ios.link import Link

DRAIN_SECONDS = 0.2
"""The seconds for output that comes after the report of the end."""
OUTPUT_ARGUMENTS = 3
NOT_NOW = ("com.apple.dt.deviceprocesscontrolservice", 2)
"""The refusal of a phone that cannot start an app at the moment: its screen wakes up, or an older app still ends."""
LAUNCH_ATTEMPTS = 4
PAUSE_SECONDS = 0.5
"""The seconds before the second attempt; each further one waits as long again."""
LOOK_SECONDS = 5.0
"""The seconds between looks at an app without a reported end: one that ends at once may not be observed yet."""


class ObservedProcessControl(ProcessControlService):
    """Keep how processes ended; the library's own class only logs it."""

    def __init__(self, ctx: DTXContext) -> None:
        super().__init__(ctx)
        self.endings: dict[int, Ended] = {}
        self.ending = asyncio.Event()
        self.closed = False

    @dtx_on_invoke("processWithPID:terminatedWithExitCode:orCrashingSignal:")
    async def _on_process_terminated(self, pid: int, exit_code: int | None, crashing_signal: int | None) -> None:
        signal = _number(crashing_signal)
        self.endings[_number(pid) or 0] = Ended(-signal if signal else _number(exit_code))
        self.ending.set()

    @dtx_on_invoke("outputReceived:fromProcess:atTime:")
    async def _on_output_received(self, *arguments: Any) -> None:
        # iOS 26 also sends it without arguments, which the library's own logs as an error.
        if len(arguments) == OUTPUT_ARGUMENTS:
            await self.output_events.put(list(arguments))

    def on_closed(self, reason: str = "") -> None:
        self.closed = True
        self.ending.set()
        super().on_closed(reason)


class _Control(ProcessControl):
    pass


# The library infers this only from the type parameter of a direct base, which this class does not have.
_Control._inferred_service_class = ObservedProcessControl


class DvtApp(Started):
    """Run an app; exit status or signal are reported if the phone reports them."""

    def __init__(self, bundle_id: str) -> None:
        super().__init__()
        self._bundle_id = bundle_id
        self._control: Any = None

    async def _follow(self) -> Ended:
        service: ObservedProcessControl = self._control.service
        reading = asyncio.ensure_future(self._read())
        try:
            while self.pid not in service.endings:
                if service.closed:
                    raise ConnectionTerminatedError()
                service.ending.clear()
                try:
                    await asyncio.wait_for(service.ending.wait(), LOOK_SECONDS)
                except asyncio.TimeoutError:
                    if not await self._runs():
                        break
            await asyncio.wait({reading}, timeout=DRAIN_SECONDS)
            return service.endings.get(self.pid or 0, Ended())
        finally:
            reading.cancel()

    async def _runs(self) -> bool:
        found = await self._control.process_identifier_for_bundle_identifier(self._bundle_id)
        return _number(found) == self.pid

    async def _read(self) -> None:
        try:
            async for event in self._control:
                if event.pid == self.pid:
                    self._take(str(event.message).encode())
        except QueueShutDown:
            return

    async def kill(self) -> None:
        if self.pid is not None and self.pid not in self._control.service.endings:
            await self._control.kill(self.pid)


async def launch(link: Link, bundle_id: str, arguments: list[str]) -> DvtApp:
    """Start the app; one that already runs is ended first."""
    app = DvtApp(bundle_id)
    try:
        provider = await app._stack.enter_async_context(DvtProvider(await link.developer()))
        app._control = await app._stack.enter_async_context(_Control(provider))
        app.pid = await _launched(app._control, bundle_id, arguments)
        # The app may have ended already.
        with contextlib.suppress(DTXNsError):
            await app._control.service.startObservingPid_(app.pid)
    except AssertionError as error:
        # The library raises this if there was no error and no process either.
        await app.close()
        raise PyMobileDevice3Exception("the launch was answered without a process") from error
    except BaseException:
        await app.close()
        raise
    app._begin()
    return app


async def _launched(control: ProcessControl, bundle_id: str, arguments: list[str]) -> int:
    """Start the app and return its process; a refusal that passes is tried again."""
    for attempt in range(1, LAUNCH_ATTEMPTS):
        pid = await _tried(control, bundle_id, arguments)
        if pid is not None:
            return pid
        await asyncio.sleep(PAUSE_SECONDS * attempt)
    return int(await control.launch(bundle_id, arguments, kill_existing=True))


async def _tried(control: ProcessControl, bundle_id: str, arguments: list[str]) -> int | None:
    """Start the app; return None if the phone cannot at the moment."""
    try:
        return int(await control.launch(bundle_id, arguments, kill_existing=True))
    except DTXNsError as error:
        if (error.error.domain, error.error.code) != NOT_NOW:
            raise
        return None


async def end(link: Link, pid: int) -> None:
    """End a process whose launch has been lost; raises DTXNsError if it no longer runs."""
    async with DvtProvider(await link.developer()) as provider, ProcessControl(provider) as control:
        await control.kill(pid)


async def end_app(link: Link, bundle_id: str) -> bool:
    """End the app, also one that others started, and wait until it is gone; return whether it ran."""
    async with DvtProvider(await link.developer()) as provider, ProcessControl(provider) as control:
        pid = _number(await control.process_identifier_for_bundle_identifier(bundle_id))
        if not pid:
            return False
        await control.kill(pid)
        until = asyncio.get_running_loop().time() + LOOK_SECONDS
        while _number(await control.process_identifier_for_bundle_identifier(bundle_id)) == pid:
            if asyncio.get_running_loop().time() > until:
                break
            await asyncio.sleep(DRAIN_SECONDS)
    return True


def _number(value: Any) -> int | None:
    found = getattr(value, "value", value)
    return int(found) if found is not None else None
