"""List the languages of the embedded model, by CharsiuG2P's codes."""

from __future__ import annotations

GRUUT_LANGUAGES: dict[str, str] = {
    "ara": "ar",
    "cze": "cs",
    "dut": "nl",
    "eng-us": "en",
    "fas": "fa",
    "fra": "fr",
    "ger": "de",
    "ita": "it",
    "por-bz": "pt",
    "rus": "ru",
    "spa": "es",
    "swa": "sw",
    "swe": "sv",
}
"""Maps CharsiuG2P's language code to the name of the ``gruut-lang-*`` package with its lexicon."""
