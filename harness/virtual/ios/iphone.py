"""Provide a virtual iPhone to a test: a process of its own that is started, changed and asked from outside."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.virtual.ios.host import PhoneHost
from harness.virtual.ios.state import Identity, IosVersion, State, make_identity


class VirtualIphone:
    """Hold one phone; as a context manager it starts its process, and ends it with all its files.

    ``state`` are fields of ``State``. ``udid``, ``name``, ``os_version`` and ``product_type`` are chosen if they are
    None. Raises ValueError for an unknown version or state, and VirtualIphoneUnavailable on entering.
    """

    def __init__(
        self,
        ios_version: IosVersion = "16",
        *,
        name: str | None = None,
        udid: str | None = None,
        os_version: str | None = None,
        product_type: str | None = None,
        **state: Any,
    ) -> None:
        chosen = {"name": name, "udid": udid, "os_version": os_version, "product_type": product_type}
        make_identity(ios_version, **chosen)
        State().change(state)
        self.wanted = {"ios_version": ios_version, "identity": chosen, "state": state}
        self._host: PhoneHost | None = None
        self._number = 0
        self._own = contextlib.ExitStack()

    def attach(self, host: PhoneHost, number: int) -> None:
        """Use a host that already runs, as its ``number``-th phone."""
        self._host, self._number = host, number

    def __enter__(self) -> VirtualIphone:
        if self._host is None:
            self.attach(self._own.enter_context(PhoneHost([self.wanted])), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._own.close()
        self._host = None

    @property
    def host(self) -> PhoneHost:
        if self._host is None:
            raise RuntimeError("a virtual iPhone runs inside its `with` block only")
        return self._host

    @property
    def identity(self) -> Identity:
        return self.host.identities[self._number]

    @property
    def udid(self) -> str:
        """Return the UDID under which usbmuxd lists it."""
        return self.identity.udid

    @property
    def product_type(self) -> str:
        return self.identity.product_type

    @property
    def os_version(self) -> str:
        return self.identity.os_version

    @property
    def usbmux_address(self) -> str:
        """Return ``HOST:PORT`` of its usbmuxd."""
        return self.host.usbmux_address

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that make clients use its usbmuxd (to be added to ``os.environ``)."""
        return {"USBMUXD_SOCKET_ADDRESS": self.usbmux_address}

    @property
    def tunneld(self) -> tuple[str, int] | None:
        """Return host and port of the tunneld with its tunnel; None on 16, which has no tunnels."""
        return self.host.tunneld if self.identity.tunnelled else None

    @property
    def log(self) -> Path:
        """Return the log of its process's standard error."""
        return self.host.log

    def set(self, **state: Any) -> None:
        """Change fields of its ``State``; the change is seen at once."""
        self._call("set", **state)

    def state(self) -> dict[str, Any]:
        """Return the fields of its ``State``."""
        return dict(self._call("state"))

    def fault(self, moment: str, action: str, *, after: int = 0, times: int | None = 1, **details: Any) -> None:
        """Order a fault (docs/virtual-ios.md lists moments and actions)."""
        self._call("fault", moment=moment, action=action, after=after, times=times, details=details)

    def clear_faults(self) -> None:
        self._call("clear_faults")

    def struck(self) -> list[str]:
        """Return the faults that happened, each as ``MOMENT ACTION``."""
        return list(self._call("struck"))

    def unplug(self) -> None:
        """Pull the cable: usbmuxd no longer lists it, and every connection ends. Apps continue."""
        self._call("unplug")

    def plug(self) -> None:
        self._call("plug")

    def drop_tunnel(self) -> None:
        """End the tunnel of a 17 or 26 with its connections; tunneld no longer lists the phone, but usbmuxd does."""
        self._call("drop_tunnel")

    def raise_tunnel(self) -> None:
        self._call("raise_tunnel")

    def crash(self, bundle_id: str, signal: int = 11) -> None:
        """Send a running app a signal; a crash report is written."""
        self._call("end", bundle_id=bundle_id, reason="crash", signal=signal)

    def watchdog(self, bundle_id: str) -> None:
        """End a running app as the launch watchdog does (0x8badf00d)."""
        self._call("end", bundle_id=bundle_id, reason="watchdog", signal=9)

    def jetsam(self, bundle_id: str) -> None:
        """End a running app as the system does when memory is short."""
        self._call("end", bundle_id=bundle_id, reason="jetsam", signal=9)

    def kill(self, bundle_id: str) -> None:
        """End a running app as a client that kills it; nothing is reported."""
        self._call("end", bundle_id=bundle_id, reason="client", signal=9)

    def suspend(self, bundle_id: str) -> None:
        """Stop a running app, as the system does with one in the background."""
        self._call("end", bundle_id=bundle_id, reason="suspend", signal=0)

    def apps(self) -> dict[str, dict[str, Any]]:
        """Return the apps by bundle id: ``version``, ``bundle`` and ``container`` (paths of this machine)."""
        folders = ("bundle", "container")
        return {
            bundle_id: {name: Path(value) if name in folders else value for name, value in app.items()}
            for bundle_id, app in self._call("apps").items()
        }

    def container(self, bundle_id: str) -> Path:
        """Return the folder of an app's data on this machine. Raises KeyError if it is not installed."""
        return Path(self.apps()[bundle_id]["container"])

    def processes(self) -> list[dict[str, Any]]:
        """Return the running apps, each with ``pid``, ``bundle_id``, ``arguments``, ``environment`` and ``host_pid``.

        ``host_pid`` is None while an app is still suspended at its launch.
        """
        return list(self._call("processes"))

    def media(self) -> Path:
        """Return the folder on this machine where clients put packages to be installed."""
        return Path(self._call("media"))

    def crash_reports(self) -> list[Path]:
        return [Path(path) for path in self._call("crash_reports")]

    def pairings(self) -> list[str]:
        """Return the HostIDs that it trusts."""
        return list(self._call("pairings"))

    def unpair(self, host_id: str) -> None:
        """Forget a host, as its owner does in the settings; the host is not informed."""
        self._call("unpair", host=host_id)

    def assertions(self) -> list[str]:
        """Return the power assertions that clients hold."""
        return list(self._call("assertions"))

    def events(self) -> list[str]:
        """Return the actions that clients caused, in order."""
        return list(self._call("events"))

    def _call(self, name: str, **arguments: Any) -> Any:
        return self.host.call(self._number, name, arguments)


@contextlib.contextmanager
def virtual_iphones(*phones: VirtualIphone) -> Iterator[list[VirtualIphone]]:
    """Run several phones in one process with one usbmuxd, for as long as a block runs."""
    with PhoneHost([phone.wanted for phone in phones]) as host:
        for number, phone in enumerate(phones):
            phone.attach(host, number)
        yield list(phones)
