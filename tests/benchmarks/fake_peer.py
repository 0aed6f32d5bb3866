"""A peer that misbehaves after N batches: ``fake_peer.py well | dies | hangs | errs | babbles N``."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from benchmarks.workers.serving import encode, serve


class Echo:
    """Says the word it hears, and misbehaves from a given pass on."""

    def __init__(self, how: str, good_runs: int) -> None:
        self.how, self.left = how, good_runs
        self.facts = {"echo": "1"}

    def run(self, texts: list[str]) -> list[list[int]]:
        self.left -= 1
        if self.left < 0:
            self._misbehave()
        return [[*encode(text.split(": ")[1]), 1] for text in texts]

    def _misbehave(self) -> None:
        if self.how == "dies":
            print("out of luck", file=sys.stderr, flush=True)
            os._exit(7)
        if self.how == "hangs":
            time.sleep(600)
        if self.how == "errs":
            raise ValueError("no such token")


def load(_request: dict[str, Any]) -> Echo:
    return Echo(sys.argv[1], int(sys.argv[2]))


if __name__ == "__main__":
    if sys.argv[1] == "babbles":
        print(json.dumps("hello"), flush=True)
    serve(load)
