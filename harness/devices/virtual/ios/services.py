"""Which services a phone offers, under which names, and when."""

from __future__ import annotations

from dataclasses import dataclass

from harness.devices.virtual.ios import house_arrest, installation_proxy, media
from harness.devices.virtual.ios.phone import Handler, Phone


@dataclass(frozen=True)
class Service:
    """``developer`` services exist while the developer image is mounted, on 17 only through the tunnel."""

    handler: Handler
    developer: bool = False


LOCKDOWN_SERVICES: dict[str, Service] = {
    "com.apple.afc": Service(media.serve),
    "com.apple.mobile.house_arrest": Service(house_arrest.serve),
    "com.apple.mobile.installation_proxy": Service(installation_proxy.serve),
}


def find(phone: Phone, name: str) -> Handler | None:
    """The service that lockdownd starts under a name, None where it has none."""
    service = LOCKDOWN_SERVICES.get(name)
    if service is None:
        return None
    if service.developer and (phone.identity.face != "16" or phone.state.image != "mounted"):
        return None
    return service.handler
