"""Write XML in Android's binary form, as an APK's manifest has to be.

The form is that of ``ResourceTypes.h``: a pool of strings, the resource numbers of the attributes' names, and a chunk
for each beginning and end of an element. The packages that write it are for taking apps apart, and bring parsers and
schemas of a thousand times this size; a manifest needs no more than this.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

NAMESPACE = "http://schemas.android.com/apk/res/android"
_NONE = 0xFFFFFFFF
_FILE, _STRINGS, _RESOURCES, _NAMESPACE_START, _NAMESPACE_END, _START, _END = (
    0x3,
    0x1,
    0x180,
    0x100,
    0x101,
    0x102,
    0x103,
)
_REFERENCE, _STRING, _NUMBER, _HEX, _TRUTH = 0x01, 0x03, 0x10, 0x11, 0x12


class Reference(int):
    """Hold the number of a resource, such as a style of Android's."""


class Flags(int):
    """Hold a number whose bits have meanings."""


Value = str | bool | int | Reference | Flags


@dataclass(frozen=True)
class Element:
    """Hold an element: ``android`` are its attributes in Android's namespace, ``plain`` those without one."""

    name: str
    android: Mapping[str, Value]
    plain: Mapping[str, str]
    children: tuple[Element, ...] = ()

    def walk(self) -> Iterator[Element]:
        yield self
        for child in self.children:
            yield from child.walk()


def binary_xml(root: Element, resources: Mapping[str, int]) -> bytes:
    """Return the document; ``resources`` has the number of each attribute's name in Android's namespace."""
    used = {name for element in root.walk() for name in element.android}
    # The n-th number stands for the n-th string, and a reader searches an element's attributes by ascending numbers.
    names = sorted(used, key=lambda name: resources[name])
    pool = _Pool(names)
    chunks = b"".join(_chunks(root, pool, resources))
    prefix, address = struct.pack("<II", pool.at("android"), pool.at(NAMESPACE)), _chunk
    body = address(_NAMESPACE_START, prefix) + chunks + address(_NAMESPACE_END, prefix)
    numbers = struct.pack(f"<{len(names)}I", *(resources[name] for name in names))
    content = pool.chunk() + struct.pack("<HHI", _RESOURCES, 8, 8 + len(numbers)) + numbers + body
    return struct.pack("<HHI", _FILE, 8, 8 + len(content)) + content


class _Pool:
    """Collect the strings, each once; the places of the first are fixed."""

    def __init__(self, first: Iterable[str]) -> None:
        self._places = {text: place for place, text in enumerate(first)}

    def at(self, text: str) -> int:
        return self._places.setdefault(text, len(self._places))

    def chunk(self) -> bytes:
        strings, offsets = b"", []
        for text in self._places:
            offsets.append(len(strings))
            encoded = text.encode("utf-16-le")
            strings += struct.pack("<H", len(encoded) // 2) + encoded + bytes(2)
        strings += bytes(-len(strings) % 4)
        start = 28 + 4 * len(offsets)
        head = struct.pack("<HHIIIIII", _STRINGS, 28, start + len(strings), len(offsets), 0, 0, start, 0)
        return head + struct.pack(f"<{len(offsets)}I", *offsets) + strings


def _chunks(element: Element, pool: _Pool, resources: Mapping[str, int]) -> Iterator[bytes]:
    android = sorted(element.android.items(), key=lambda one: resources[one[0]])
    attributes = [_attribute(pool, NAMESPACE, name, value) for name, value in android]
    attributes += [_attribute(pool, None, name, value) for name, value in element.plain.items()]
    name = struct.pack("<II", _NONE, pool.at(element.name))
    yield _chunk(_START, name + struct.pack("<HHHHHH", 20, 20, len(attributes), 0, 0, 0) + b"".join(attributes))
    for child in element.children:
        yield from _chunks(child, pool, resources)
    yield _chunk(_END, name)


def _attribute(pool: _Pool, namespace: str | None, name: str, value: Value) -> bytes:
    text = pool.at(value) if isinstance(value, str) else _NONE
    if isinstance(value, str):
        kind, data = _STRING, text
    elif isinstance(value, bool):
        kind, data = _TRUTH, _NONE if value else 0
    else:
        kind = _REFERENCE if isinstance(value, Reference) else _HEX if isinstance(value, Flags) else _NUMBER
        data = int(value)
    place = _NONE if namespace is None else pool.at(namespace)
    return struct.pack("<IIIHBBI", place, pool.at(name), text, 8, 0, kind, data)


def _chunk(kind: int, content: bytes) -> bytes:
    """Return a chunk of the tree, with a line number and a comment that nobody reads."""
    return struct.pack("<HHIII", kind, 16, 16 + len(content), 1, _NONE) + content
