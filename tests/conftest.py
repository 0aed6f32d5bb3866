"""What several rooms' tests share: a cache of their own over the user's expensive entries, a small checkpoint."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import settings

from harness.cache import Cache, cache_root
from harness.models.checkpoints import Checkpoint, check_folder, write_random

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background (nohup, some CI services), where children would inherit that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no failure of what is tested.
settings.register_profile("harness", deadline=None)
settings.load_profile("harness")

SMALL = {"d_model": 48, "d_kv": 16, "num_heads": 3, "d_ff": 80, "num_layers": 2, "num_decoder_layers": 2}
"""Sizes that are no multiple of a vector or a tile, so that every tail is taken."""


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A T5 v1.1 checkpoint of a few hundred kilobytes with seeded weights."""
    folder = tmp_path_factory.mktemp("small-checkpoint")
    write_random(folder, SMALL, seed=7)
    return Checkpoint(str(folder), folder, check_folder(folder), None)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """An empty cache."""
    return Cache(tmp_path / "cache")


@pytest.fixture(scope="session")
def user_cache() -> Cache:
    """The user's own cache, for what takes minutes to make: the runtime and cargo's output."""
    return Cache(cache_root())
