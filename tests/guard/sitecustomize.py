"""Refuses what the running test's marker does not allow, and the network to all, by Python's audit events.

Imported by ``tests/conftest.py``, and by every Python that a test starts: this folder is in ``PYTHONPATH`` while tests
run, and Python imports ``sitecustomize`` by itself. Variables carry the rules: what the test may need, the folder whose
programs are stand-ins, and the file to which refusals are written, so that a test fails even where the program under
test swallows the error.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # every Python that a test starts imports this: what is not needed is not loaded
    from collections.abc import Iterable
    from typing import Any

ALLOWED = "HARNESS_TESTS_ALLOWED"
REFUSALS = "HARNESS_TESTS_REFUSALS"
STAND_INS = "HARNESS_TESTS_FOLDER"
_EVENTS = frozenset({"import", "subprocess.Popen", "os.posix_spawn", "os.exec", "socket.connect"})
_CARGO = frozenset({"build", "check", "rustc", "run", "test", "zigbuild"})
_WORKERS = frozenset({"harness.compiler.worker", "harness.explain.worker"})
_ZIG = frozenset({"cc", "c++", "build", "build-exe", "build-lib", "build-obj"})
_PHONE_MODULES = "harness.virtual"
_OWN_PROGRAMS = frozenset({"harness", "pytest"})
"""The command and pytest, in an interpreter of their own."""
_PHONE_PROGRAMS = ("qemu-", "bwrap", "adbd")


class Refused(BaseException):
    """Not an Exception: the program under test shall not take it for a fault of the machine's."""


def need_of(event: str, arguments: tuple[Any, ...]) -> tuple[str, str] | None:
    """What an event needs (``programs``, ``compiler``, ``emulator``, ``network``), and its words; else None."""
    if event == "import" and arguments[0] == "tvm":
        return "compiler", "import tvm"
    if event == "import" and arguments[0] == "distributed":
        return "programs", "import distributed"
    if event == "subprocess.Popen":
        return _need_of_program(arguments[1])
    if event in ("os.posix_spawn", "os.exec"):
        return _need_of_program(arguments[1])
    if event == "socket.connect":
        return _need_of_address(arguments[1])
    return None


def _need_of_program(command: str | bytes | Iterable[Any]) -> tuple[str, str] | None:
    words = command.split() if isinstance(command, (str, bytes)) else list(command)
    text = [os.fsdecode(word) for word in words]
    if not text or _made_by_a_test(text[0]):
        return None
    name, line = os.path.basename(text[0]), " ".join(text)[:300]  # noqa: PTH119
    modules = [text[place + 1] for place, word in enumerate(text[:-1]) if word == "-m"]
    if name.startswith(_PHONE_PROGRAMS) or any(module.startswith(_PHONE_MODULES) for module in modules):
        return "emulator", line
    zig = text[text.index("ziglang") + 1 :][:1] if "ziglang" in modules else []
    if (name in ("cargo", "cargo-zigbuild") and _CARGO & set(text[1:2])) or _WORKERS & set(modules) or _ZIG & set(zig):
        return "compiler", line
    if name == "rustup" and text[1:2] == ["target"]:
        return "network", line
    if _is_browser(name, text) or _is_own_program(name, modules, text):
        return "programs", line
    return None


def _is_browser(name: str, text: list[str]) -> bool:
    """Chromium, or the program by which playwright directs it."""
    return name.startswith("chromium") or (name == "node" and any("playwright" in word for word in text))


def _is_own_program(name: str, modules: list[str], text: list[str]) -> bool:
    """The command or pytest. `harness init` asks pytest for its options, which is not to run it."""
    ours = name in _OWN_PROGRAMS or any(module.split(".")[0] in _OWN_PROGRAMS for module in modules)
    return ours and "--help" not in text


def _made_by_a_test(program: str) -> bool:
    """A stand-in, which tests write below their own folder of temporary files."""
    folder = os.environ.get(STAND_INS)
    return bool(folder) and os.path.isabs(program) and program.startswith(f"{folder}{os.sep}")  # noqa: PTH117


def _need_of_address(address: Any) -> tuple[str, str] | None:
    if not isinstance(address, tuple):
        return None  # a socket of this machine's file system
    import ipaddress

    try:
        if ipaddress.ip_address(address[0]).is_loopback:
            return None
    except ValueError:
        if address[0] == "localhost":
            return None
    return "network", f"connect to {address[0]}"


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    # The events first: Python raises one for each call of id(), and looking up a variable takes a microsecond.
    if event not in _EVENTS or (allowed := os.environ.get(ALLOWED)) is None:
        return
    need = need_of(event, arguments)
    if need is None or need[0] in allowed.split(","):
        return
    words = f"{need[0]}: {need[1]}"
    if path := os.environ.get(REFUSALS):
        with open(path, "a", encoding="utf-8") as stream:  # noqa: PTH123
            stream.write(words.replace("\n", " ") + "\n")
    raise Refused(f"the test's marker allows {allowed or 'nothing of the kind'}, this needs {words}")


if not hasattr(sys, "harness_tests_guard"):
    sys.harness_tests_guard = True  # type: ignore[attr-defined]
    sys.addaudithook(_hook)
