"""pymobiledevice3 is an optional package under another licence: it is imported only where iPhones are used."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ALLOWED = (ROOT / "harness/devices/ios", ROOT / "harness/virtual/ios")
IMPORT = re.compile(r"^\s*(?:from|import) pymobiledevice3\b", re.MULTILINE)


def test_no_other_module_imports_it() -> None:
    found = [path for path in (ROOT / "harness").rglob("*.py") if IMPORT.search(path.read_text())]
    assert found
    assert [path for path in found if not any(folder in path.parents for folder in ALLOWED)] == []


@pytest.mark.programs
def test_what_every_command_imports_does_not_import_it() -> None:
    script = (
        "import sys\n"
        "import harness.cli, harness.cli.checks, harness.run.session, harness.pytest_plugin\n"
        "import harness.cli.devices, harness.devices, harness.devices.ios, harness.virtual.ios\n"
        "harness.devices.parse_device('ios')\n"
        "print([name for name in sys.modules if name.startswith('pymobiledevice3')])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


@pytest.mark.programs
def test_without_it_everything_else_works() -> None:
    script = (
        "import sys\n"
        "sys.modules['pymobiledevice3'] = None\n"
        "from harness.devices.ios import ios_checks\n"
        "(check,) = ios_checks()\n"
        "print(check.ok, check.cure)\n"
        "sys.argv = ['harness', 'devices', '--json']\n"
        "from harness.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    first, _, rest = done.stdout.partition("\n")
    assert first == "True pip install 'ondevice-harness[ios]'", done.stderr
    assert rest.startswith('{\n "schema": "harness.devices/1"')
