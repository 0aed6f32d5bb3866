from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.installs import PLUGIN, Environment, from_cache, make_environment


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist of this checkout."""
    folder = tmp_path_factory.mktemp("distributions")
    # The wheel is built from the sdist, as the registry's users may.
    from_cache("build", "--quiet", "--out-dir", str(folder), ".")
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="session")
def installed(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """The wheel with what compiles, in an environment whose packages nobody may write to."""
    made = make_environment(tmp_path_factory.mktemp("installed"))
    made.install(f"{distributions[0]}[compile]")
    made.write_protect(True)
    yield made
    made.write_protect(False)


@pytest.fixture(scope="session")
def without_compiler(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel alone: no PyTorch, no TVM; and another plugin that has a ``--device``."""
    made = make_environment(tmp_path_factory.mktemp("small"))
    made.install(str(distributions[0]), PLUGIN)
    return made
