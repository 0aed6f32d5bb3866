"""A rival that doubles its input, and misbehaves from the Nth call on: ``fake_rival.py well | dies | hangs | … N``."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workers.rival_serving import Load, serve


class Doubler:
    def __init__(self, _model: str, inputs: list[Any], threads: int) -> None:
        self.how, self.left = sys.argv[1], int(sys.argv[2])
        self.given, self.answer = inputs[0], np.zeros(1, np.float32)
        self.facts = {"threads": str(threads)}

    def run(self) -> None:
        self.left -= 1
        time.sleep(0.001)
        self.answer = self.given * (2.5 if self.how == "lies" else 2)
        if self.left < 0 and self.how == "dies":
            print("out of luck", file=sys.stderr, flush=True)
            os._exit(7)
        if self.left < 0 and self.how == "hangs":
            time.sleep(600)
        if self.left < 0 and self.how == "errs":
            raise ValueError("no such layer")

    def outputs(self) -> list[Any]:
        return [self.answer]


def prepare() -> Load:
    return Doubler


def convert(source: Path, folder: Path, precision: str) -> None:
    if sys.argv[1] == "refuses":
        raise ValueError(f"no layer\nfor {source.name} in {precision}")
    (folder / "model").write_text(source.name, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "babbles":
        for _ in range(3):
            print(json.dumps({"facts": {}, "load_ns": "soon", "first_ns": 1}), flush=True)
    serve(prepare, convert)
