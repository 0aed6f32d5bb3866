"""The library of two unrelated models, which the tests of C and Kotlin share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness.compiler import Archive, compile_models
from harness.core.cache import Cache
from harness.models.g2p.checkpoints import resolve_checkpoint
from harness.models.g2p.reference import ReferenceOptions, reference_outputs
from harness.models.g2p.word_list import Word
from harness.models.tensor.described import describe_models
from harness.models.tensor.sources import ModelSource
from harness.native.apps.library import build_library
from tests.compile_requests import g2p_request, models_request

ROOT = Path(__file__).parents[2]
WORDS = ("Char", "siu", "internationalization")


@dataclass(frozen=True)
class TwoModels:
    """Hold the library with its archive, and PyTorch's phonemes of the words."""

    library: Path
    archive: Archive
    phonemes: list[str]


@pytest.fixture(scope="session")
def two_models(user_cache: Cache) -> TwoModels:
    """The embedded model and scaled_model.py's in one library of this machine."""
    embedded = resolve_checkpoint("embedded", cache=user_cache)
    sources = [ModelSource("scaled_model.py", Path(__file__).parent / "scaled_model.py")]
    scaled = models_request(describe_models(sources, cache=user_cache, progress=quiet))
    g2p = g2p_request(embedded)
    request = replace(g2p, models=[*g2p.models, *scaled.models])
    archive = compile_models(request, cache=user_cache, progress=quiet)
    library = build_library(archive, cache=user_cache, progress=quiet)
    words = [Word("eng-us", word, ()) for word in WORDS]
    expected = reference_outputs(embedded, words, ReferenceOptions(), cache=user_cache, progress=quiet)
    return TwoModels(library, archive, [item.text for item in expected.items])


def quiet(_text: str) -> None:
    pass
