"""Two virtual devices behind one server for the tests that leave them as they are, and packages for the others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.core.cache import Cache
from harness.virtual.android import AdbServer, Packages, VirtualAndroid, provide_packages, virtual_androids


@pytest.fixture(scope="session")
def packages(user_cache: Cache) -> Packages:
    return provide_packages(user_cache, print)


@pytest.fixture(scope="module")
def fleet(user_cache: Cache) -> Iterator[tuple[AdbServer, list[VirtualAndroid]]]:
    with virtual_androids(2, cache=user_cache, progress=print) as running:
        yield running


@pytest.fixture(scope="module")
def server(fleet: tuple[AdbServer, list[VirtualAndroid]]) -> AdbServer:
    return fleet[0]


@pytest.fixture(scope="module")
def device(fleet: tuple[AdbServer, list[VirtualAndroid]]) -> VirtualAndroid:
    return fleet[1][0]


@pytest.fixture(scope="module")
def adb(server: AdbServer, device: VirtualAndroid) -> Any:
    """adbutils' view of the first device."""
    return server.client.device(device.serial)


@pytest.fixture(scope="session")
def arm64_program(tmp_path_factory: pytest.TempPathFactory, user_cache: Cache) -> Path:
    """A static arm64 executable that prints the square of its argument."""
    folder = tmp_path_factory.mktemp("arm64")
    source = folder / "square.c"
    source.write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n"
        'int main(int n, char **a) { int x = n > 1 ? atoi(a[1]) : 0; printf("%d\\n", x * x); return x & 7; }\n'
    )
    program = folder / "square"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            "-target",
            "aarch64-linux-musl",
            "-static",
            "-O1",
            source,
            "-o",
            program,
        ],
        check=True,
        timeout=600,
    )
    return program
