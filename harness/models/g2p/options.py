"""Define G2P's own options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.models.g2p.checkpoints import EMBEDDED
from harness.models.generation import MAX_OUTPUT_LEN
from harness.models.options import ModelOption, ModelOptions

CHECKPOINT = ModelOption(
    "--checkpoint",
    "G2P's weights: embedded, random:tiny-8, a folder, or OWNER/NAME on the hub",
    metavar="C",
    default=EMBEDDED,
    commands=("suites", "compile", "xcframework", "package", "link-env"),
)
WORDS = ModelOption(
    "--words",
    "word<TAB>pronunciation with --lang, or lang<TAB>word<TAB>pronunciation; the pronunciation may be missing "
    "(default: 10 held-out words of each language, 2 of each where code is emulated)",
    metavar="FILE",
    value=Path,
    commands=("suites",),
    picks_items=True,
)
LANG = ModelOption(
    "--lang", "language of the words, such as eng-us", metavar="CODE", commands=("suites",), picks_items=True
)
BATCH_SIZE = ModelOption(
    "--batch-size",
    "words decoded together",
    metavar="N",
    default=1,
    value=int,
    limits=(1, 64),
    commands=("compile", "xcframework", "link-env"),
)
MAX_INPUT_BYTES = ModelOption(
    "--max-input-bytes",
    "bytes of '<lang>: word'",
    metavar="N",
    default=64,
    value=int,
    limits=(1, 1024),
    commands=("compile", "xcframework"),
)
PROMPT_SPACE = ModelOption(
    "--prompt-space", "the space after '<lang>:'", default=True, switch=True, commands=("compile",)
)
PREFIX = ModelOption(
    "--system-lib-prefix",
    "how G2P's symbols begin",
    metavar="PREFIX",
    default="g2p_",
    commands=("compile", "xcframework"),
)
OPTIONS = (CHECKPOINT, WORDS, LANG, BATCH_SIZE, MAX_INPUT_BYTES, MAX_OUTPUT_LEN, PROMPT_SPACE, PREFIX)


@dataclass(frozen=True)
class G2POptions:
    """Hold the values of G2P's options."""

    checkpoint: str
    words: Path | None
    """None means the shipped words."""
    language: str | None
    batch_size: int
    max_input_bytes: int
    max_output_len: int
    prompt_space: bool
    """Whether a prompt has a space after its language."""
    prefix: str

    @classmethod
    def of(cls, options: ModelOptions) -> G2POptions:
        """Return the values; raises UsageError for a wrong one."""
        return cls(*(option.of(options.own) for option in OPTIONS))
