"""Parts of everybody's results alone: markers, partitions, columns, and files as DuckDB reads them."""

from __future__ import annotations

import hashlib
import json
import random
import sys
import threading

import obstore
import pytest

from harness.core.store_errors import StoreFailed
from harness.results.every_table import TABLES
from harness.results.shared.delta import TABLES_VERSION, Partition
from harness.results.shared.remote import parse_marker
from tests.lab.conftest import PATIENCE


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"name": "x", "files": {"../../a": {"sha256": "%s", "bytes": 1}}}', "leaves its folder"),
        ('{"name": "x", "files": {"/a": {"sha256": "%s", "bytes": 1}}}', "leaves its folder"),
        ('{"name": "x", "files": {"a": {"sha256": "../%s", "bytes": 1}}}', "not a hash"),
        ('{"schema_version": 9, "name": "x", "files": {}}', "newer harness"),
        ("", "cannot be read"),
    ],
)
def test_a_marker_is_not_trusted(text: str, why: str) -> None:
    with pytest.raises(StoreFailed, match=why):
        parse_marker((text % ("0" * 64) if "%s" in text else text).encode(), "runs", "x")


def test_what_a_device_called_itself_names_no_folder() -> None:
    kinds = [
        Partition.of("20261130-120000-000-abcd", {kind}).device_kind for kind in ("../../etc", "a=b/c", "…", "Host")
    ]
    assert kinds == ["-etc", "a-b-c", "-", "host"]
    assert Partition.of("20261130-120000-000-abcd", {"a", "b"}) == Partition("2026-11", "several")


def test_tables_of_other_columns_are_other_tables() -> None:
    """A changed column needs another TABLES_VERSION, and then this hash is another."""
    text = json.dumps({name: table.columns for name, table in TABLES.items()})
    assert (TABLES_VERSION, hashlib.sha256(text.encode()).hexdigest()[:12]) == (2, "53c5ad31ab15")


def test_threads_share_a_file_and_not_their_places_in_it() -> None:
    """DuckDB's threads seek and read by one file. Here each is interrupted as often as Python allows."""
    from obstore.store import MemoryStore

    from harness.results.shared.reading import SCHEME, SMALL, _Ranges

    data, store, switching = random.Random(3).randbytes(SMALL // 2), MemoryStore(), sys.getswitchinterval()
    obstore.put(store, "shared", data)
    ranges = _Ranges(store)
    ranges.sizes[f"{SCHEME}://shared"] = len(data)
    file, wrong = ranges.open("shared"), list[int]()

    def read(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(3_000):
            start = rng.randrange(len(data))
            file.seek(start)
            if file.read(20) != data[start : start + 20]:
                wrong.append(start)

    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    finally:
        sys.setswitchinterval(switching)
    assert wrong == []
