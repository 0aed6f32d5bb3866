"""A stand-in for Dart: calls a library through flutter_rust_bridge's C ABI, with arguments in the bridge's encoding.

Run as a program it answers with one JSON document: bridge.py LIBRARY FUNCTIONS ORDERS OUT. FUNCTIONS is the number
of each function in the generated code, as JSON. It is a process of its own: the library has threads that go on.
"""

from __future__ import annotations

import ctypes as c
import json
import os
import queue
import struct
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SUCCESS, ERROR, CLOSED = 0, 1, 2
TYPED, EXTERNAL = 7, 8
FLOAT32 = 1
"""The position in ``DataType``."""
OPAQUE = (
    "frbgen_charsiug2p_rust_arc_increment_strong_count_RustOpaque_flutter_rust_bridgefor_generatedRustAutoOpaqueInner"
)


class TypedData(c.Structure):
    """Bytes in a message: ``values`` and for external ones what frees them."""

    _fields_ = (
        ("type", c.c_int32),
        ("length", c.c_ssize_t),
        ("values", c.POINTER(c.c_uint8)),
        ("peer", c.c_void_p),
        ("free", c.CFUNCTYPE(None, c.c_void_p, c.c_void_p)),
    )


class Message(c.Structure):
    """A ``Dart_CObject`` as far as the bridge uses it."""

    _fields_ = (("type", c.c_int32), ("data", TypedData))


class Answer(c.Structure):
    _fields_ = (("pointer", c.POINTER(c.c_uint8)), ("length", c.c_int32))


class Failed(Exception):
    """A call ended with a ``ModelException``: its kind's number, and its message."""


class Reader:
    """Take values out of an answer, in the bridge's encoding: the machine's byte order, without gaps."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> Any:
        value = struct.unpack_from(f"={form}", self.data, self.at)
        self.at += struct.calcsize(f"={form}")
        return value[0]

    def raw(self) -> bytes:
        length = self.take("i")
        self.at += length
        return self.data[self.at - length : self.at]

    def text(self) -> str:
        return self.raw().decode()

    def texts(self) -> list[str]:
        return [self.text() for _ in range(self.take("i"))]

    def numbers(self) -> list[int]:
        return [self.take("i") for _ in range(self.take("i"))]

    def opaque(self) -> int:
        pointer, _size = self.take("Q"), self.take("i")
        return int(pointer)

    def end(self) -> None:
        assert self.at == len(self.data), f"{len(self.data) - self.at} bytes are left"


def i32(value: int) -> bytes:
    return struct.pack("=i", value)


def text(value: str) -> bytes:
    return i32(len(value.encode())) + value.encode()


def texts(values: Sequence[str]) -> bytes:
    return i32(len(values)) + b"".join(map(text, values))


def tensor(name: str, shape: Sequence[int], values: Sequence[float]) -> bytes:
    data = struct.pack(f"={len(values)}f", *values)
    extents = i32(len(shape)) + struct.pack(f"={len(shape)}i", *shape)
    # The fields of NamedTensor in the order of its names in Rust.
    return text(name) + i32(FLOAT32) + extents + i32(len(data)) + data


class Bridge:
    """Hold the library, and what it posted to each port."""

    def __init__(self, library: Path, functions: dict[str, int]) -> None:
        self.library, self.functions = c.CDLL(str(library)), functions
        self.library.frb_rust_vec_u8_new.restype = c.POINTER(c.c_uint8)
        self.library.frb_pde_ffi_dispatcher_sync.restype = Answer
        self.library.frb_pde_ffi_dispatcher_primary.restype = None
        self.library.frb_pde_ffi_dispatcher_primary.argtypes = (
            c.c_int32,
            c.c_int64,
            c.POINTER(c.c_uint8),
            c.c_int32,
            c.c_int32,
        )
        self._ports: dict[int, queue.Queue[bytes]] = {}
        # Kept: the library calls it for as long as it is loaded.
        self._post = c.CFUNCTYPE(c.c_bool, c.c_int64, c.POINTER(Message))(self._posted)
        self.library.store_dart_post_cobject(self._post)

    def _posted(self, port: int, message: Any) -> bool:
        one = message.contents
        assert one.type in (TYPED, EXTERNAL), one.type
        self._ports[port].put(c.string_at(one.data.values, one.data.length))
        if one.type == EXTERNAL:
            one.data.free(None, one.data.peer)
        return True

    def port(self) -> int:
        found = len(self._ports) + 1
        self._ports[found] = queue.Queue()
        return found

    def next(self, port: int) -> bytes:
        return self._ports[port].get(timeout=120)

    def _sent(self, arguments: bytes) -> tuple[Any, int, int]:
        pointer = self.library.frb_rust_vec_u8_new(len(arguments))
        c.memmove(pointer, arguments, len(arguments))
        return pointer, len(arguments), len(arguments)

    def borrowed(self, kind: str, pointer: int) -> bytes:
        """Encode an object of the library's; each use of it takes a reference, as Dart's side gives one."""
        getattr(self.library, OPAQUE + kind)(c.c_void_p(pointer))
        return struct.pack("=Q", pointer)

    def sync(self, name: str, arguments: bytes = b"") -> Reader:
        answer = self.library.frb_pde_ffi_dispatcher_sync(self.functions[name], *self._sent(arguments))
        data = c.string_at(answer.pointer, answer.length)
        self.library.frb_free_wire_sync_rust2dart_sse(answer)
        return succeeded(data)

    def call(self, name: str, arguments: bytes) -> Reader:
        port = self.port()
        self.library.frb_pde_ffi_dispatcher_primary(self.functions[name], port, *self._sent(arguments))
        return succeeded(self.next(port))


def succeeded(data: bytes) -> Reader:
    """Read past the first byte, how the call ended; raises Failed."""
    answer = Reader(data)
    ended = answer.take("B")
    if ended == ERROR:
        raise Failed(answer.take("i"), answer.text())
    assert ended == SUCCESS, f"{ended}: {data!r}"
    return answer


def models(bridge: Bridge, library: int) -> list[dict[str, Any]]:
    answer = bridge.sync("ModelLibrary_models", bridge.borrowed("ModelLibrary", library))
    found = []
    for _ in range(answer.take("i")):
        model: dict[str, Any] = {"name": answer.text(), "kind": answer.take("i"), "inputs": []}
        for _ in range(answer.take("i")):
            name, element, shape = answer.text(), answer.take("i"), []
            for _ in range(answer.take("i")):
                size = answer.take("q") if answer.take("B") else None
                shape.append(size if size is not None else None)
                shape[-1] = answer.text() if answer.take("B") else shape[-1]
            model["inputs"].append([name, element, shape])
        model["outputs"], model["languages"] = answer.texts(), len(answer.texts())
        model["max_input_bytes"] = answer.take("q")
        model["text"] = [answer.take("q"), answer.take("q"), bool(answer.take("B"))]
        found.append(model)
    answer.end()
    return found


def prompt(tokens: Sequence[int]) -> bytes:
    """Encode a prompt of one part, of token ids; its text and its special token are none."""
    return i32(1) + b"\0\0\1" + i32(len(tokens)) + struct.pack(f"={len(tokens)}i", *tokens)


def options(most: int, stop_strings: Sequence[str] = ()) -> bytes:
    """Encode the options of greedy decoding."""
    return struct.pack("=I", most) + texts(stop_strings) + struct.pack("=dIdddq", 0, 0, 1, 0, 1, 0)


def phonemes(answer: Reader) -> tuple[int, str, str]:
    found = (answer.take("I"), answer.text(), answer.text())
    assert answer.take("q") > 0, "nanoseconds"
    return found


def main(library_path: str, functions: str, orders: str, out: str) -> dict[str, Any]:
    bridge = Bridge(Path(library_path), json.loads(functions))
    found: dict[str, Any] = {"hash": bridge.library.frb_get_rust_content_hash()}
    library = bridge.sync("ModelLibrary_open").opaque()
    ours = bridge.borrowed
    found["models"] = models(bridge, library)
    versions = bridge.sync("ModelLibrary_versions", ours("ModelLibrary", library))
    found["versions"] = [versions.text() for _ in range(4)]
    versions.end()
    cancellation = bridge.sync("Cancellation_create").opaque()

    def load(model: str) -> int:
        return bridge.call("ModelLibrary_load", ours("ModelLibrary", library) + text(model) + i32(16)).opaque()

    words = ["Char", "siu", "internationalization"]
    g2p, scaled = load("g2p"), load("scaled")
    never = ours("Cancellation", cancellation)
    answer = bridge.call("Session_phonemize", ours("Session", g2p) + text("eng-us") + texts(words) + never)
    found["phonemes"] = [phonemes(answer) for _ in range(answer.take("i"))]
    answer.end()

    sink = bridge.port()
    never = ours("Cancellation", cancellation)
    arguments = ours("Session", g2p) + text("eng-us") + texts(words) + never + text(str(sink))
    bridge.call("Session_stream", arguments)
    found["streamed"] = [phonemes(succeeded(bridge.next(sink))) for _ in words]
    found["stream ends"] = bridge.next(sink)[0] == CLOSED

    inputs = i32(2) + tensor("factor", [2, 1], [2.0, 0.5]) + tensor("x", [2, 3], [1, 2, 3, 4, 5, 6])
    answer = bridge.call("Session_run_inference", ours("Session", scaled) + inputs + ours("Cancellation", cancellation))
    found["outputs"] = []
    for _ in range(answer.take("i")):
        name, element, shape, data = answer.text(), answer.take("i"), answer.numbers(), answer.raw()
        assert element == FLOAT32
        found["outputs"].append([name, shape, struct.unpack(f"={len(data) // 4}f", data)])
    answer.end()
    bridge.call("Session_warm_up", ours("Session", scaled))

    llama, given = load("tiny_llama"), list(range(3, 90, 7))
    talk = bridge.sync("Session_conversation", ours("Session", llama)).opaque()

    def asked(given: Sequence[int], most: int, *, talking: int | None = None, stops: Sequence[str] = ()) -> bytes:
        whom = ours("Session", llama) if talking is None else ours("Conversation", talking)
        return whom + prompt(given) + options(most, stops) + ours("Cancellation", cancellation)

    answer = bridge.call("Conversation_generate", asked(given, 9, talking=talk))
    found["generated"] = {"text": answer.text(), "tokens": answer.numbers(), "ended": answer.take("i")}
    found["generated"] |= {"stop": answer.take("B"), "counts": [answer.take("q") for _ in range(4)][:2]}
    answer.end()
    found["talk"] = bridge.sync("Conversation_tokens", ours("Conversation", talk)).numbers()
    sink = bridge.port()
    bridge.call("Session_stream_text", asked(given, 9) + text(str(sink)))
    pieces = [succeeded(bridge.next(sink)) for _ in range(9)]
    found["pieces"] = [[piece.text(), piece.numbers()] for piece in pieces]
    found["pieces end"] = bridge.next(sink)[0] == CLOSED

    def failed(name: str, arguments: bytes) -> list[Any]:
        try:
            bridge.call(name, arguments)
        except Failed as error:
            return list(error.args)
        return []

    found["failures"] = {
        "unknown": failed("ModelLibrary_load", ours("ModelLibrary", library) + text("none") + i32(16)),
        "word": failed(
            "Session_phonemize",
            ours("Session", g2p) + text("klingon") + texts(["a"]) + ours("Cancellation", cancellation),
        ),
        "shape": failed(
            "Session_run_inference",
            ours("Session", scaled) + i32(1) + tensor("x", [-1, 3], []) + ours("Cancellation", cancellation),
        ),
        "stop": failed("Session_generate", asked(given, 9, stops=["END"])),
        "full": failed("Session_generate", asked([1] * 192, 9)),
    }
    bridge.sync("Cancellation_cancel", ours("Cancellation", cancellation))
    never = ours("Cancellation", cancellation)
    found["failures"]["cancelled"] = failed(
        "Session_phonemize", ours("Session", g2p) + text("eng-us") + texts(words) + never
    )
    bridge.sync("Session_close", ours("Session", scaled))
    found["failures"]["closed"] = failed("Session_warm_up", ours("Session", scaled))
    answer = bridge.call(
        "ModelLibrary_self_test",
        ours("ModelLibrary", library) + text(Path(orders).read_text(encoding="utf-8")) + text(out),
    )
    found["self test"] = [answer.take("I"), answer.take("q"), answer.texts()]
    answer.end()
    return found


if __name__ == "__main__":
    status = 1
    try:
        print(json.dumps(main(*sys.argv[1:])), flush=True)
        status = 0
    except Exception:
        traceback.print_exc()
    # Python ends threads that call back into it while it shuts down, and Rust aborts where a thread is ended.
    sys.stderr.flush()
    os._exit(status)
