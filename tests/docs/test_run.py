"""The commands of the tutorials and of the pages about results, as a reader runs them, and the outputs that they show.

One folder and one cache are shared: two small models are compiled, a run and two nightly runs are made, and the other
commands read these. It takes about 40 s of processor time where the cache has the archives.
"""

from __future__ import annotations

import pytest

from tests.docs.blocks import ROOT, Block, Reader, renewed
from tests.docs.run import RUN

pytestmark = pytest.mark.compiler


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Block, str]]]:
    reader = Reader(tmp_path_factory.mktemp("reader"))
    return {page: reader.follow(ROOT / page, within) for page, within in RUN.items()}


@pytest.mark.parametrize("page", RUN)
def test_a_page_s_commands_end_as_it_shows(page: str, followed: dict[str, list[tuple[Block, str]]]) -> None:
    for block, printed in followed[page]:
        renewed(block.body, printed)  # what is not printed any more is an error: python -m tools.write_docs_outputs
    assert (ROOT / page).is_file()


def test_outputs_of_the_tutorials_were_compared(followed: dict[str, list[tuple[Block, str]]]) -> None:
    assert sum(len(shown) for shown in followed.values()) >= 5
