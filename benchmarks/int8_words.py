"""Agreement of int8 with float32 PyTorch, on words from three sources.

    python -m benchmarks.int8_words                       # 1,300 words of each source
    python -m benchmarks.int8_words --words 20 --precision fp16
    python -m benchmarks.int8_words --json int8.json

``docs/benchmarks.md`` describes the sources. Exit status 1 if a source agrees on less than ``--least`` of its words, 3
if the words or the runner cannot be had.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from scipy.stats import binomtest

from benchmarks.engines import Setup, open_engine
from benchmarks.environments import EnvironmentFailed, environment
from benchmarks.pinning import choose_cores
from benchmarks.tables import terminal
from harness.core.cache import Cache
from harness.core.errors import ExitCode, HarnessError
from harness.core.progress import Progress
from harness.devices import HostDevice
from harness.models.g2p.checkpoints import resolve_checkpoint
from harness.models.g2p.reference import ReferenceOptions, reference_outputs
from harness.models.g2p.word_list import HELD_OUT_WORDS, Word, default_words, read_words

CONFIDENCE = 0.95
LENGTHS = (3, 12)
"""The least and the most letters of a pseudo-word."""
WORKER = Path(__file__).parent / "workers" / "wordfreq_worker.py"
DEADLINE_SECONDS = 300.0


@dataclass(frozen=True)
class Agreed:
    """How many words of a source have PyTorch's tokens, with the exact (Clopper-Pearson) interval of the share."""

    source: str
    words: int
    equal: int
    low: float
    high: float

    @classmethod
    def of(cls, source: str, equal: Sequence[bool]) -> Agreed:
        found = binomtest(sum(equal), len(equal)).proportion_ci(CONFIDENCE, "exact")
        return cls(source, len(equal), sum(equal), float(found.low), float(found.high))

    @property
    def share(self) -> float:
        return self.equal / self.words


def held_out(count: int) -> list[Word]:
    """Return held-out words of each language, without those whose inputs decided int8's rounding."""
    calibrated = {(word.language, word.word) for word in default_words()}
    fresh = [word for word in read_words(HELD_OUT_WORDS) if (word.language, word.word) not in calibrated]
    return [word for words in by_language(fresh).values() for word in words[:count]]


def pseudo_words(count: int, seed: int = 1) -> list[Word]:
    """Return words that nobody chose: letters drawn as often as the language has them, each by itself."""
    generator, found = random.Random(seed), list[Word]()
    for language, words in by_language(read_words(HELD_OUT_WORDS)).items():
        drawn = letters(words)
        for _ in range(count):
            found.append(Word(language, "".join(generator.choice(drawn) for _ in range(generator.randint(*LENGTHS)))))
    return found


def other_words(count: int, *, cache: Cache, progress: Progress) -> list[Word]:
    """Return words of wordfreq's lists that are in no lexicon of ours, a fixed sample. Raises EnvironmentFailed.

    wordfreq has no Swahili: that language has no words here. Words with letters that the language's held-out words
    lack, such as Latin ones among Arabic, are left out.
    """
    python = environment("wordfreq", cache=cache, progress=progress)
    held = by_language(read_words(HELD_OUT_WORDS))
    asked = {language: sorted(set(letters(words))) for language, words in held.items()}
    request = json.dumps({"count": count, "letters": asked, "lexicons": lexicon_paths()})
    try:
        done = subprocess.run(
            [python, WORKER], input=request, capture_output=True, timeout=DEADLINE_SECONDS, check=True, encoding="utf-8"
        )
    except subprocess.CalledProcessError as error:
        raise EnvironmentFailed(f"wordfreq cannot be read: {error.stderr.strip()[-300:]}") from None
    except subprocess.TimeoutExpired:
        raise EnvironmentFailed(f"wordfreq's words were not read within {DEADLINE_SECONDS:.0f} s") from None
    return [Word(language, word) for language, words in json.loads(done.stdout).items() for word in words]


def lexicon_paths() -> dict[str, str]:
    """Return the database of each language's lexicon. Raises LexiconMissing."""
    from importlib.util import find_spec

    from harness.models.g2p.languages import GRUUT_LANGUAGES
    from harness.models.g2p.lexicon import LexiconMissing

    found = {}
    for language, code in GRUUT_LANGUAGES.items():
        spec = find_spec(f"gruut_lang_{code}")
        if spec is None or spec.origin is None:
            raise LexiconMissing(f"the package gruut-lang-{code} is not installed: whose words are new is not known")
        found[language] = str(Path(spec.origin).parent / "lexicon.db")
    return found


def by_language(words: Sequence[Word]) -> dict[str, list[Word]]:
    found: dict[str, list[Word]] = defaultdict(list)
    for word in words:
        found[word.language].append(word)
    return dict(found)


def letters(words: Sequence[Word]) -> list[str]:
    """Return the letters of words, each as often as it occurs."""
    return [letter for word in words for letter in word.word if unicodedata.category(letter)[0] in "LM"]


def agreements(words: dict[str, list[Word]], engine_name: str, setup: Setup) -> list[Agreed]:
    """Return how far the runner agrees with PyTorch on each source."""
    engine, found = open_engine(engine_name, setup), list[Agreed]()
    try:
        for source, asked in words.items():
            setup.progress(f"{source}: {len(asked)} words")
            options = ReferenceOptions(max_output_len=setup.max_tokens)
            reference = reference_outputs(setup.checkpoint, asked, options, cache=setup.cache, progress=setup.progress)
            taken = engine.measure([[word] for word in asked])
            answers = [answer.token_ids for result in taken for answer in result.answers]
            pairs = zip(answers, reference.items, strict=True)
            found.append(Agreed.of(source, [tuple(ours) == tuple(item.token_ids) for ours, item in pairs]))
    finally:
        engine.close()
    return found


def main(
    words: Annotated[int, typer.Option(min=1, help="words of each language and source")] = 100,
    seed: Annotated[int, typer.Option(help="of the pseudo-words")] = 1,
    precision: Annotated[str, typer.Option(help="fp16 or int8")] = "int8",
    least: Annotated[float, typer.Option(min=0, max=1, help="the least share that has to agree")] = 0.0,
    core: Annotated[int, typer.Option(min=0)] = 0,
    json_path: Annotated[Path | None, typer.Option("--json", help="write the table here")] = None,
) -> None:
    """Count on how many words the compiled model gives PyTorch's tokens."""
    console = terminal()
    try:
        cache = Cache(notice=console.print)
        asked = {
            "held-out words of the lexicons": held_out(words),
            "pseudo-words": pseudo_words(words, seed),
            "wordfreq's words that the lexicons lack": other_words(words, cache=cache, progress=console.print),
        }
        setup = Setup(
            checkpoint=resolve_checkpoint("embedded", cache=cache),
            device=HostDevice(),
            cores=choose_cores(core, 1),
            threads=1,
            batch_size=1,
            forced_tokens=None,
            deadline=600.0,
            cache=cache,
            progress=console.print,
        )
        found = agreements(asked, f"ours-{precision}", setup)
    except HarnessError as error:
        console.print(str(error), markup=False, style="red")
        sys.exit(error.exit_code)
    shown = Table(title=f"{precision} beside float32 PyTorch, with {CONFIDENCE:.0%} confidence intervals")
    for column in ("words from", "words", "agreeing", "share", "interval"):
        shown.add_column(column, justify="left" if column == "words from" else "right")
    for one in found:
        interval = f"{one.low:.2%} to {one.high:.2%}"
        shown.add_row(one.source, str(one.words), str(one.equal), f"{one.share:.2%}", interval)
    console.print(shown)
    if json_path:
        rows = [asdict(one) | {"share": one.share} for one in found]
        json_path.write_text(
            json.dumps({"precision": precision, "seed": seed, "sources": rows}, indent=1) + "\n", encoding="utf-8"
        )
    sys.exit(ExitCode.FAILURE if min(one.share for one in found) < least else ExitCode.OK)


if __name__ == "__main__":
    typer.run(main)
