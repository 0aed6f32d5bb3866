"""Provide the virtual iPhone: an iPhone's protocols on loopback, and an app's build for this machine as the app.

Stable for the iOS backend and for tests (docs/virtual-ios.md lists what is real and what is not)::

    with VirtualIphone("16") as phone:          # "17" and "26" are reached through a tunnel as well
        phone.udid, phone.environment           # for clients: USBMUXD_SOCKET_ADDRESS
        phone.tunneld                           # 17, 26: (host, port) of a tunneld
        phone.set(locked=True)                  # any field of state.State
        phone.fault("afc.write", "unplug", after=3)
        phone.unplug(), phone.plug()
        phone.apps(), phone.processes(), phone.container(bundle_id), phone.events()

``virtual_iphones(VirtualIphone("16"), VirtualIphone("17"))`` runs several with one usbmuxd.
"""

from harness.virtual.ios.errors import VirtualIphoneUnavailable
from harness.virtual.ios.iphone import VirtualIphone, virtual_iphones
from harness.virtual.ios.state import Identity, IosVersion, State

__all__ = ["Identity", "IosVersion", "State", "VirtualIphone", "VirtualIphoneUnavailable", "virtual_iphones"]
