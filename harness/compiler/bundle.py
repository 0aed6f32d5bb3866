"""Merge several models' archives into one, with one metadata file. Imports neither PyTorch nor TVM."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.compiler.metadata import FILE_NAME, Archive, read_metadata
from harness.compiler.observe.provenance import STORED, Provenance, read_provenance, write_provenance
from harness.compiler.targets import CompileTarget, ObjectFormat
from harness.core.cache import Cache, content_key, hash_file
from harness.core.commands import run_command
from harness.core.errors import HarnessError
from harness.core.progress import Progress

BUNDLE = "libmodels_system_lib.a"


class MergeFailed(HarnessError):
    """The archiver refused one of the archives."""

    cure = "`harness doctor` checks the ziglang package, whose archiver is used; `harness cache clear` starts afresh"


def merged(archives: Sequence[Archive], target: CompileTarget, *, cache: Cache, progress: Progress) -> Archive:
    """Return one archive with the models of all of them. Raises MergeFailed."""
    # The fields of a model that generates text are those of the whole archive.
    first = next((one.metadata for one in archives if one.metadata.kind == "g2p"), archives[0].metadata)
    metadata = first.model_copy(
        update={
            "archive": BUNDLE,
            "archive_sha256": "",
            "keep_wide": sorted({pattern for one in archives for pattern in one.metadata.keep_wide}),
            "models": [model for one in archives for model in one.metadata.models],
            "weights_bytes": sum(one.metadata.weights_bytes for one in archives),
            "tuned_trials": sum(one.metadata.tuned_trials for one in archives),
        }
    )
    provenance = Provenance(
        functions=[function for one in archives for function in read_provenance(one.folder).functions]
    )

    def build(folder: Path) -> None:
        progress("writing the archive")
        merge(folder / BUNDLE, [one.path for one in archives], target.object_format)
        whole = metadata.model_copy(update={"archive_sha256": hash_file(folder / BUNDLE)})
        (folder / FILE_NAME).write_text(whole.as_json(), encoding="utf-8")
        write_provenance(folder, provenance)
        for one in archives:
            if (one.folder / STORED).exists():
                shutil.copyfile(one.folder / STORED, folder / STORED)
            for tokenizer in one.tokenizers.values():
                shutil.copyfile(tokenizer, folder / tokenizer.name)

    described = {"metadata": metadata.model_dump(mode="json"), "provenance": provenance.model_dump(mode="json")}
    key = content_key({"archives": [hash_file(one.path) for one in archives], **described})
    folder = cache.fetch("archives", key, build)
    return Archive(folder, read_metadata(folder))


def merge(path: Path, archives: Sequence[Path], object_format: ObjectFormat) -> None:
    """Write all objects of the archives into one, without times or owners. Raises MergeFailed."""
    layout = "darwin" if object_format == "macho" else "gnu"
    command = [sys.executable, "-m", "ziglang", "ar", f"--format={layout}", "qcsDL", str(path), *map(str, archives)]
    done = run_command(command)
    if done.returncode != 0:
        raise MergeFailed(f"cannot write {path.name}: {done.stderr.strip() or done.stdout.strip()}")
