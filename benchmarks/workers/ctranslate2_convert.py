"""Convert a checkpoint to CTranslate2: ``python -m benchmarks.workers.ctranslate2_convert CHECKPOINT FOLDER``.

The folder is written whole in the checkpoint's own precision; each worker chooses its compute type when it loads it.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def convert(checkpoint: str, folder: str) -> None:
    converters: Any = importlib.import_module("ctranslate2.converters")
    converters.TransformersConverter(checkpoint).convert(folder, force=True)


if __name__ == "__main__":
    convert(*sys.argv[1:])
