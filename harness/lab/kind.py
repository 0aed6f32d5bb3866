"""Define the phones of a lab as a kind, for ``--device lab:SELECTOR`` and ``harness devices --lab``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.devices.base import Device, Notify, Unavailable
from harness.devices.kinds import DeviceKind, ListedDevice, Options, Selection
from harness.devices.options import OPENING, Command, DeviceOption
from harness.lab.errors import LabMisuse, require_lab
from harness.lab.security import TOKEN_VARIABLE, VARIABLE, Certificates, client_token

if TYPE_CHECKING:
    from harness.lab.client import Lab
    from harness.lab.wire import Card

_ALSO_LISTING: tuple[Command, ...] = (*OPENING, "devices")
SCHEDULER = DeviceOption(
    "--lab-scheduler",
    f"address of the lab's scheduler (or {VARIABLE})",
    metavar="tcp://HOST:PORT",
    commands=_ALSO_LISTING,
)
STORE = DeviceOption("--lab-store", "store of the lab's files, where the agents' address is not ours", metavar="URL")
PRIORITY = DeviceOption(
    "--lab-priority",
    "who waits with a higher one is served first (0; nightly runs: -10)",
    metavar="N",
    unattended="-10",
)
COUNT = DeviceOption("--count", "phones of the lab to run on: a number, or all (1)", metavar="N")
CA, CERT, KEY = (
    DeviceOption(f"--lab-tls-{part}", f"TLS: {what}", metavar="FILE", commands=_ALSO_LISTING)
    for part, what in (("ca", "who signs the lab's certificates"), ("cert", "own certificate"), ("key", "its key"))
)
TOKEN_FILE = DeviceOption(
    "--lab-token-file",
    f"file with this client's token, if the lab wants one (or {TOKEN_VARIABLE})",
    metavar="FILE",
    commands=_ALSO_LISTING,
)
LISTING = DeviceOption("--lab", "list the phones of the lab alone", switch=True, commands=("devices",))


def lab_of(options: Mapping[str, Any]) -> Lab:
    """Return the lab that options or variables name; raises LabMisuse, PackageMissing or LabUnreachable."""
    address = SCHEDULER.of(options) or os.environ.get(VARIABLE)
    if not address:
        raise LabMisuse("no lab is named", cure=f"give --lab-scheduler tcp://HOST:PORT, or set {VARIABLE}")
    require_lab()
    from harness.lab.client import Lab

    token = client_token(TOKEN_FILE.of(options))
    return Lab(address, Certificates.of(CA.of(options), CERT.of(options), KEY.of(options)), token)


@contextmanager
def _open(selection: Selection, _cache: Cache, notify: Notify) -> Iterator[Sequence[Device | Unavailable]]:
    from harness.lab.phone_choice import choose
    from harness.lab.selector import parse_selector

    options = selection.options
    selector = parse_selector(selection.which or "all")
    count, priority = _count(COUNT.of(options)), _number(PRIORITY, PRIORITY.of(options) or "0")
    with ExitStack() as stack:
        lab = lab_of(options)
        stack.callback(lab.close)
        from harness.core.store import FileStore
        from harness.lab.device import LabDevice

        cards = choose(lab.cards(), selector, count)
        stores: dict[str, FileStore] = {}
        bound: set[str] = set()
        devices: list[Device] = []
        for card in cards:
            url = STORE.of(options) or card.store
            store = stores.setdefault(url, FileStore(url))
            devices.append(LabDevice(lab, card, store, bound=bound, priority=priority, notify=notify))
        lab.greet([card.name for card in cards])
        notify(f"phones of the lab: {', '.join(card.name for card in cards)}")
        yield devices


def _list_attached(options: Options) -> list[ListedDevice]:
    if not LISTING.of(options):
        return []
    lab = lab_of(options)
    try:
        return [listed(card) for card in lab.cards()]
    finally:
        lab.close()


def listed(card: Card) -> ListedDevice:
    """Return a phone's row of ``harness devices --lab``."""
    from harness.lab.phone_choice import usable, why_not

    ready = usable(card)
    labels = card.labels
    system = ", ".join(str(labels[key]) for key in ("system", "arch") if key in labels)
    cure = f"harness lab release {card.name}" if card.state == "quarantined" else "look at the phone and its host"
    return ListedDevice(
        device=f"lab:{card.name}",
        state=card.state,
        model=str(labels.get("model", card.device)),
        system=system or None,
        serial=card.serial,
        held_by=card.holder or None,
        reason="" if ready else why_not(card),
        cure="" if ready else cure,
        emulated=card.emulated,
    )


def _count(text: str | None) -> int | None:
    return None if text == "all" else _number(COUNT, text or "1", least=1)


def _number(option: DeviceOption, text: str, least: int = -1000) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= 1000:
        raise UsageError(f"{option.flag} {text!r} is no number from {least} to 1000", cure=option.help)
    return number


LAB = DeviceKind(
    "lab",
    _open,
    _list_attached,
    forms="lab:SELECTOR with --count N",
    options=(SCHEDULER, STORE, PRIORITY, COUNT, CA, CERT, KEY, TOKEN_FILE, LISTING),
    listed_alone=LISTING,
)
