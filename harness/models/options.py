"""Define the options that choose models and their items, shared by runs, by ``compile`` and by ``package``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import UsageError
from harness.protocol.schema import Precision
from harness.validate import DEFAULT_TOLERANCE

DEFAULT_MODELS = ("g2p",)
"""The models of a command that names none."""


@dataclass(frozen=True)
class ModelOptions:
    """Hold the options of models; their names are those of the command line."""

    models: tuple[str, ...] = ()
    """Names as ``--models`` takes them. Empty means the default, which a run compares in all its variants."""
    checkpoint: str = "embedded"
    words: Path | None = None
    """None means the shipped words."""
    language: str | None = None
    word_sample: int | None = None
    """How many of the words are run, as a fixed sample spread over languages and lengths; None means all."""
    tolerance: float = DEFAULT_TOLERANCE
    precision: Precision = "fp32"
    """The precision of the compiled model; the reference is always float32."""
    batch_size: int = 1
    max_input_bytes: int = 64
    max_output_len: int = 128
    prompt_space: bool = True
    """Whether a prompt has a space after its language."""
    allow_pickle: bool = False
    """Whether files of models may hold pickles, which can run any program when they are read."""
    prefix: str = "g2p_"
    """The prefix of the default model's symbols."""

    def check_sizes(self) -> None:
        """Raise UsageError for a size that no model can be compiled for."""
        for name, most in (("batch_size", 64), ("max_input_bytes", 1024), ("max_output_len", 1024)):
            value = getattr(self, name)
            if not 1 <= value <= most:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} is {value}", cure=f"give a number from 1 to {most}")

    @property
    def named(self) -> tuple[str, ...]:
        """Return the names of the models, with the default where none is given."""
        return self.models or DEFAULT_MODELS
