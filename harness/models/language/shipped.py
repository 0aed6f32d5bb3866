"""Name the language models that come with the harness, and the text on which they are evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

FOLDERS: Mapping[str, Path] = {"byte-lm": Path(__file__).parent / "byte_lm"}
"""Each model's folder, by its name in ``--models``: ``config.json``, weights, tokenizer, and a card."""
HELD_OUT = FOLDERS["byte-lm"] / "held_out.txt"
"""English in the public domain, of documents on which none of the shipped models was trained."""
