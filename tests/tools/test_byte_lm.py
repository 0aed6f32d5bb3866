"""The training of the shipped byte-level model: its texts, and a few real steps, interrupted and resumed."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.core.errors import UsageError
from harness.core.hashes import hash_file
from harness.models.language.shipped import FOLDERS, HELD_OUT
from tools.byte_lm import ship, texts
from tools.byte_lm.muon import Muon, orthogonal
from tools.byte_lm.texts import PACKAGES, Document, Package, excerpt, r_strings, read_documents, tidy
from tools.byte_lm.train import Recipe, bits_per_byte, byte_tokenizer, new_model, rate, streams, train, windows

pytestmark = pytest.mark.programs

RECIPE = Recipe(steps=6, seed=3, rows=2, window=32, learning_rate=1e-2, width=64, layers=1, hidden=64, warmup=2)


def document(number: int, source: str = "sotu") -> Document:
    return Document(source, f"text {number}", f"Swallow number {number} has come. " * 20)


@pytest.fixture
def documents() -> list[Document]:
    return [document(number, source) for source in PACKAGES for number in range(60)]


def test_the_split_follows_from_names(documents: list[Document]) -> None:
    held_out = [one for one in documents if one.held_out]
    assert 4 <= len(held_out) <= 25
    assert document(7).held_out == Document("sotu", "text 7", "another text").held_out
    inside, outside = streams(documents, held_out=False), streams(documents, held_out=True)
    assert sum(map(len, inside.values())) + sum(map(len, outside.values())) == sum(
        len(one.text.encode()) + 2 for one in documents
    )
    for one in held_out:
        assert one.text.encode() not in inside[one.source].tobytes()
        assert one.text.encode() in outside[one.source].tobytes()


def test_the_excerpt_is_of_held_out_documents_alone(documents: list[Document]) -> None:
    long = [Document(one.source, one.name, "Mr. Swift flies on. " * 400) for one in documents]
    pieces = excerpt(long).split("\n\n")
    assert len(pieces) == sum(min(6, sum(one.held_out and one.source == source for one in long)) for source in PACKAGES)
    assert all(len(piece.encode()) <= 3072 and piece.rstrip().endswith("flies on.") for piece in pieces)
    assert all("\n\n" not in one.text for one in long)
    assert excerpt(one for one in long if not one.held_out).strip() == ""


def r_object(*lines: str, kind: int = 16) -> bytes:
    """A vector of strings as R's lazily loaded databases store it."""
    found = b"X\n" + struct.pack(">III", 3, 0x00040201, 0x00030500) + struct.pack(">I", 5) + b"UTF-8"
    found += struct.pack(">II", kind, len(lines))
    for line in lines:
        found += struct.pack(">Ii", 0x00040009, len(line.encode())) + line.encode()
    return struct.pack(">I", len(found)) + zlib.compress(found)


def test_rs_databases_are_read() -> None:
    stored = r_object("EMMA", "", "Größe") + r_object("x", kind=13) + r_object("second")
    assert list(r_strings(stored)) == [["EMMA", "", "Größe"], ["second"]]
    with pytest.raises(UsageError, match="unknown form"):
        list(r_strings(struct.pack(">I", 9) + zlib.compress(b"something")))


def test_packages_are_read_only_if_they_are_the_known_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {
            "data/1.json": {"text": "One\nline.\n\n  Two  lines."},
            "data/contents.json": {"text": "CONTENTS"},
            "data/list.json": ["1.txt"],
            "lib/2.json": {"text": "no text"},
        }.items():
            stored = json.dumps(content).encode()
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(stored)
            archive.addfile(member, io.BytesIO(stored))
    monkeypatch.setattr(texts, "PACKAGES", {"sotu": Package("a.tgz", hash_file(path), 1.0, "", "", "")})
    assert read_documents(tmp_path) == [Document("sotu", "1", "One line.\nTwo lines.")]
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(UsageError, match="is not there, or is another file"):
        read_documents(tmp_path)
    assert tidy(["", "a  b", "c", " ", "d"]) == "a b c\nd"


def test_windows_follow_from_seed_and_step(documents: list[Document]) -> None:
    pool = streams(documents, held_out=False)
    first = windows(pool, RECIPE, 4)
    assert first.shape == (2, 33)
    assert torch.equal(first, windows(pool, RECIPE, 4))
    assert not torch.equal(first, windows(pool, RECIPE, 5))
    assert all(bytes(row.tolist()) in b"".join(text.tobytes() for text in pool.values()) for row in first)


def test_the_learning_rate_rises_holds_and_falls_to_zero() -> None:
    recipe = Recipe(1000, 1, 1, 1, 1.0, 64, 1, 1, warmup=100, decay_fraction=0.5)
    assert [rate(step, recipe) for step in (0, 300, 750, 1000)] == pytest.approx([0.01, 1.0, 0.5, 0.0])


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 4, 16), (2, 16, 4)])
def test_muons_step_is_nearly_orthogonal(shape: tuple[int, ...]) -> None:
    """Singular values near 1, with the singular vectors of what it was: beside torch's own, which is in bfloat16."""
    given = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = orthogonal(given)
    assert found.shape == given.shape
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.5
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(given, full_matrices=False)
    diagonal = left.mT @ found @ right.mT
    off = diagonal - torch.diag_embed(torch.diagonal(diagonal, dim1=1, dim2=2))
    assert off.abs().max() < 1e-4
    matrix = torch.nn.Parameter(given[0].clone())
    theirs = torch.nn.Parameter(given[0].clone())
    ours = Muon([matrix], lr=0.1)
    other = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        gradient = torch.randn(shape[1:], generator=torch.Generator().manual_seed(step))
        matrix.grad, theirs.grad = gradient.clone(), gradient.clone()
        ours.step()
        other.step()  # type: ignore[no-untyped-call]
    change, theirs_change = matrix.detach() - given[0], theirs.detach() - given[0]
    assert torch.nn.functional.cosine_similarity(change.flatten(), theirs_change.flatten(), dim=0) > 0.99
    assert change.norm() == pytest.approx(theirs_change.norm().item(), rel=0.1)


def test_an_interrupted_training_resumes_to_the_same_model(documents: list[Document], tmp_path: Path) -> None:
    said: list[str] = []

    def run(folder: str, **more: Any) -> None:
        train(RECIPE, documents, tmp_path / folder, validate_every=3, say=said.append, **more)

    threads = torch.get_num_threads()
    try:
        run("whole")
        run("parts", stop_at=3)
        assert not (tmp_path / "parts/model.safetensors").exists()
        run("parts", resume=True)
    finally:
        torch.set_num_threads(threads)
    assert json.loads((tmp_path / "parts/recipe.json").read_text())["step"] == 6
    assert hash_file(tmp_path / "whole/model.safetensors") == hash_file(tmp_path / "parts/model.safetensors")
    assert any("resumed at step 3 of 6" in line for line in said)
    assert any("done: 6 steps" in line for line in said)


def test_bits_per_byte_are_those_of_a_model_that_knows_nothing() -> None:
    """The logits of a model without a head are all the same, so a byte costs 8 bits."""
    model: Any = new_model(RECIPE)
    torch.nn.init.zeros_(model.lm_head.weight)
    text = np.frombuffer(bytes(range(256)) * 2, np.uint8)
    assert bits_per_byte(model, text, 32) == pytest.approx(8.0)
    assert bits_per_byte(model, text, 32, most=3) == pytest.approx(8.0)


def test_the_shipped_tokenizer_is_the_trainings() -> None:
    assert json.loads((FOLDERS["byte-lm"] / "tokenizer.json").read_bytes()) == json.loads(byte_tokenizer().to_str())
    assert len(HELD_OUT.read_text(encoding="utf-8").split("\n\n")) == 18


def test_a_trained_model_is_shipped_with_its_card(
    documents: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card's figures are those of the weights that are copied, over the documents that were held out."""
    trained, shipped = tmp_path / "trained", tmp_path / "shipped"
    threads = torch.get_num_threads()
    try:
        train(RECIPE, documents, trained, say=lambda _text: None)
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr(ship, "FOLDERS", {"byte-lm": shipped})
    monkeypatch.setattr(ship, "HELD_OUT", shipped / "held_out.txt")
    monkeypatch.setattr(ship, "read_documents", lambda _folder: documents)
    (tmp_path / "commands.txt").write_text("python -m tools.byte_lm.train --steps 6\n")
    ship.main(trained, tmp_path, tmp_path / "commands.txt")
    card = (shipped / "README.md").read_text(encoding="utf-8")
    assert hash_file(trained / "model.safetensors") == hash_file(shipped / "model.safetensors")
    assert hash_file(shipped / "model.safetensors") in card
    assert "python -m tools.byte_lm.train --steps 6" in card
    assert (shipped / "held_out.txt").read_text() == excerpt(documents)
    for source, text in streams(documents, held_out=True).items():
        [row] = [line for line in card.splitlines() if line.startswith(f"| {source} |")]
        assert f"| {len(text):,} |" in row
        assert 3 < float(row.split("|")[3]) < 9
    assert all(one.rights in card for one in PACKAGES.values())
