"""List the services of a phone: their names, and when they are available."""

from __future__ import annotations

from dataclasses import dataclass

from harness.virtual.ios import (
    amfi,
    assertions,
    core_device_proxy,
    debugserver,
    diagnostics,
    house_arrest,
    image_mounter,
    installation_proxy,
    media,
    notifications,
    reports,
)
from harness.virtual.ios.phone import Handler, Phone
from harness.virtual.ios.stream import Connection


@dataclass(frozen=True)
class Service:
    """Describe a service.

    ``developer`` services exist while the developer image is mounted and the owner allows developing.
    """

    handler: Handler
    developer: bool = False


async def serve_dvt(phone: Phone, connection: Connection) -> None:
    from harness.virtual.ios import dvt  # imports pymobiledevice3, which takes a second

    await dvt.serve(phone, connection)


SERVICES: dict[str, Service] = {
    "com.apple.amfi.lockdown": Service(amfi.serve),
    "com.apple.afc": Service(media.serve),
    "com.apple.crashreportcopymobile": Service(reports.copy),
    "com.apple.crashreportmover": Service(reports.move),
    "com.apple.mobile.assertion_agent": Service(assertions.serve),
    "com.apple.mobile.diagnostics_relay": Service(diagnostics.serve),
    "com.apple.mobile.house_arrest": Service(house_arrest.serve),
    "com.apple.mobile.installation_proxy": Service(installation_proxy.serve),
    "com.apple.mobile.mobile_image_mounter": Service(image_mounter.serve),
    "com.apple.mobile.notification_proxy": Service(notifications.serve),
}
"""The services of every phone, over the cable and through a tunnel."""

CABLE_SERVICES: dict[str, Service] = {
    "com.apple.amfi.lockdown": Service(amfi.serve),
    "com.apple.debugserver.DVTSecureSocketProxy": Service(debugserver.serve, developer=True),
    "com.apple.instruments.remoteserver.DVTSecureSocketProxy": Service(serve_dvt, developer=True),
}
"""The services that moved into the tunnel with iOS 17."""
TUNNEL_SERVICES: dict[str, Service] = {core_device_proxy.NAME: Service(core_device_proxy.serve)}
"""The service that leads into the tunnel from iOS 17.4 on."""


def available(phone: Phone, service: Service) -> bool:
    return not service.developer or (phone.state.image == "mounted" and phone.state.developer_mode)


def find(phone: Phone, name: str) -> Handler | None:
    """Return the service that lockdownd starts under a name, None if there is none."""
    tunnel = TUNNEL_SERVICES if phone.state.core_device_proxy else {}
    offered = {**SERVICES, **(tunnel if phone.identity.tunnelled else CABLE_SERVICES)}
    service = offered.get(name)
    return service.handler if service is not None and available(phone, service) else None
