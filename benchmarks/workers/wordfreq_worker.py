"""Sample wordfreq's words that a lexicon lacks: JSON on standard input, words by language on standard output.

The request has ``count``, and by language code the ``letters`` that words may have and the ``lexicons``, SQLite files.
The lexicon's language is the one that wordfreq is asked for. Runs in an environment of its own.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import sys
import unicodedata
from contextlib import closing
from pathlib import Path
from typing import Any

MOST_LISTED = 100_000
LEAST_LETTERS, MOST_BYTES = 2, 40


def sample(language: str, code: str, letters: set[str], lexicon: Path, count: int) -> list[str]:
    from wordfreq import available_languages, top_n_list  # type: ignore[import-not-found]

    if code not in available_languages("small"):
        return []
    with closing(sqlite3.connect(f"{lexicon.as_uri()}?mode=ro", uri=True)) as database:
        known = {normal(row[0]) for row in database.execute("SELECT DISTINCT word FROM word_phonemes")}
    found = {normal(word) for word in top_n_list(code, MOST_LISTED, wordlist="small")}
    fitting = (
        word
        for word in found - known
        if len(word) >= LEAST_LETTERS and len(word.encode()) <= MOST_BYTES and letters.issuperset(word)
    )
    return sorted(fitting, key=lambda word: hashlib.sha256(f"{language}\t{word}".encode()).digest())[:count]


def normal(word: str) -> str:
    return unicodedata.normalize("NFC", word).lower()


def main() -> None:
    request: dict[str, Any] = json.load(sys.stdin)
    found = {}
    for language, lexicon in request["lexicons"].items():
        code = re.sub("^gruut_lang_", "", Path(lexicon).parent.name)
        letters = set(request["letters"][language])
        found[language] = sample(language, code, letters, Path(lexicon), request["count"])
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
