"""The jars that the test of Kotlin needs: fetched by Maven into the cache, and used without it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from harness.core.cache import Cache, content_key, hash_file
from harness.core.errors import HarnessError

POM = Path(__file__).parent / "pom.xml"
HASHES = Path(__file__).parent / "jars.json"
"""SHA-256 of every jar, by its name."""


class NoJars(HarnessError):
    """Maven could not fetch them, or fetched others."""

    cure = "see that this machine reaches its package registries, and run tools/setup-tests again"


def kotlin_jars(cache: Cache) -> list[Path]:
    """Return the jars, from the cache or fetched now; raises NoJars."""
    hashes: dict[str, str] = json.loads(HASHES.read_text(encoding="utf-8"))

    def fetch(folder: Path) -> None:
        # Maven's own cache is the user's; what it copies is checked and kept.
        command = ["mvn", "--batch-mode", "--quiet", "--file", str(POM), "dependency:copy-dependencies"]
        done = subprocess.run(
            [*command, f"-DoutputDirectory={folder}"], capture_output=True, text=True, encoding="utf-8", check=False
        )
        if done.returncode != 0:
            raise NoJars(f"mvn failed:\n{(done.stdout + done.stderr).strip()[-2000:]}")
        found = {path.name: hash_file(path) for path in folder.glob("*.jar")}
        if found != hashes:
            raise NoJars(f"Maven fetched other jars than {HASHES.name} lists: {sorted(found.items() ^ hashes.items())}")

    folder = cache.fetch("jars", content_key(hashes), fetch)
    return [folder / name for name in sorted(hashes)]
