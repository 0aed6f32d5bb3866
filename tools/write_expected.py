"""Write PyTorch's answers to ten words as JSON, for the Rust test ``token_ids_equal_the_reference`` (docs/rust.md).

python tools/write_expected.py target/test-expected-embedded.json --checkpoint embedded
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from harness.core.cache import Cache
from harness.core.errors import HarnessError
from harness.models.g2p.checkpoints import resolve_checkpoint
from harness.models.g2p.reference import ReferenceOptions, reference_outputs
from harness.models.g2p.word_list import Word, default_words

WORDS = 10
CLEAR_MARGIN = 0.01
"""Logits closer than this may change places in another compiler's arithmetic; such a word proves nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Write PyTorch's answers to ten words.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--checkpoint", default="embedded", help="what the archive under test was compiled from")
    arguments = parser.parse_args()
    try:
        write_expected(arguments.checkpoint, arguments.output)
    except HarnessError as error:
        print(f"write_expected: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def write_expected(checkpoint: str, output: Path) -> None:
    """Raises HarnessError when too few of the candidates have an answer that is no near tie."""
    cache = Cache(notice=_note)
    reference = reference_outputs(
        resolve_checkpoint(checkpoint, cache=cache),
        _candidates(2 * WORDS),
        ReferenceOptions(),
        cache=cache,
        progress=lambda _: None,
    )
    # The clearest: lossy precisions, too, have to answer the same.
    clear = sorted(reference.items, key=lambda item: min(item.margins), reverse=True)[:WORDS]
    if min(clear[-1].margins) < CLEAR_MARGIN:
        raise HarnessError(
            f"fewer than {WORDS} of {len(reference.items)} words are no near ties", cure="train the checkpoint further"
        )
    answers = [item.model_dump(include={"language", "word", "token_ids"}) for item in clear]
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"words": answers}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _candidates(count: int) -> list[Word]:
    """Yield the first word of every language, then the second: as many languages as possible."""
    turns: dict[str, int] = {}
    ordered: list[tuple[int, Word]] = []
    for word in default_words():
        turn = turns[word.language] = turns.get(word.language, -1) + 1
        ordered.append((turn, word))
    return [word for _, word in sorted(ordered, key=lambda pair: pair[0])][:count]


def _note(message: str) -> None:
    print(f"write_expected: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
