"""tools/prose.py finds each word of its list, reads prose and not code, and gives the right lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import prose


@pytest.mark.parametrize("word", prose.words(), ids=lambda word: word.example)
def test_each_word_is_found_in_its_example(word: prose.Word) -> None:
    for scope in ("docs", "code") if word.scope == "all" else (word.scope,):
        messages = [message for _, _, _, message in prose.check_text(word.example, scope)]
        assert any(message.endswith(f"write {word.instead}") for message in messages)


@pytest.mark.parametrize(
    "sentence",
    [
        "The runner compares each output with PyTorch's.",
        "What does it cost?",
        "What you need",
        "A nightly run measures both builds in pairs.",
        "There is no phone.",
        "Standing instructions are in the file. It stands for a kernel.",
    ],
)
def test_plain_sentences_pass(sentence: str) -> None:
    assert list(prose.check_text(f"{sentence}\n\nThe next paragraph ends with a stop.", "docs")) == []


def test_code_and_addresses_are_not_read(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n`harness nights` and ``a `night` ``.\n\n```\nnights\n```\n\n"
        "1. One:\n\n   ```sh\n   nights\n   ```\n\n"
        "[the page](nights.md) <a href='nights'>x</a> https://example.org/nights <!-- nights\nnights -->\n"
    )
    assert list(prose.check_file(page)) == []


def test_a_page_s_findings_have_their_lines(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\nAll is\nwell.\n\nThe program\nsays so. What\nis bad is named.\n\nIt stands\nin a file.\n"
    )
    assert [(found.line, found.found) for found in prose.check_file(page)] == [
        (7, "says"),
        (7, ". What is bad is named."),
        (10, "stands in"),
    ]


def test_docstrings_and_messages_are_read_with_their_lines(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""Do it.\n\nIt ends the night.\n"""\n\nnights = {"nights": 1}\n\n\n'
        'def work(name: str) -> None:\n    raise ValueError(f"the phone {name} says no")\n'
    )
    assert [(found.line, found.found) for found in prose.check_file(module)] == [(3, "the night"), (10, "says")]


def test_a_rust_file_s_documentation_and_messages_are_read_with_their_lines(tmp_path: Path) -> None:
    module = tmp_path / "module.rs"
    module.write_text(
        "//! Ends the\n//! night.\n// the nights of a comment\n"
        "const QUOTE: char = '\"'; // the nights of another\n"
        'const PATTERN: &str = r#"the nights of a "pattern" too"#;\n'
        "/// Of a name.\nfn nights<'a>(name: &'a str) -> String {\n"
        '    let c = c"the phone says \\" no";\n'
        '    format!("a phone {name} \\\n        that stands in a line")\n}\n'
        '#[cfg(test)] const LAST: &[u8] = b"nights";\n'
    )
    assert [(found.line, found.found) for found in prose.check_file(module)] == [
        (1, "the night"),
        (8, "says"),
        (9, "stands in"),
    ]


def test_a_template_s_text_is_read_and_not_its_code(tmp_path: Path) -> None:
    page = tmp_path / "page.html.j2"
    page.write_text(
        "{# nights #}<style>.nights {}</style>\n<p class='nights'>{% if nights %}<code>harness nights</code>\n"
        "The phone {{ nights }} stands in a line.{% endif %}</p>\n"
    )
    assert [(found.line, found.found) for found in prose.check_file(page)] == [(3, "stands in")]


def test_the_exit_status_is_1_if_anything_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    monkeypatch.setattr(prose, "files", lambda _names: [page])
    page.write_text("The nights were green.\n")
    assert prose.main([]) == 1
    page.write_text("The nightly runs passed.\n")
    assert prose.main([]) == 0
