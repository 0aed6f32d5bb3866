"""Write an explanation as one file that contains everything for making it again elsewhere."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.core.errors import UsageError
from harness.core.files import replacing
from harness.explain.choice import up_to
from harness.explain.run import file_name
from harness.explain.schema import FOLDER, Explanation
from harness.results import Manifest, Run, v1
from harness.results.errors import writing
from harness.results.files import write_atomically
from harness.results.store import MANIFEST, PARITY, REFERENCE

MOST_WEIGHT_BYTES = 64_000_000
"""The most bytes of a checkpoint inside a bundle; of a larger one the bundle contains the hash."""
CHECKPOINT, README, WORDS, VERSIONS, ITEM = "checkpoint", "README.md", "words.tsv", "versions.txt", "item"


class BadBundle(UsageError):
    """A file is not the bundle of an explanation."""

    cure = "make one with `harness explain RUN --bundle FILE.zip`"


KEPT = (".json", ".order.json", ".taps", ".metadata.json", ".provenance.json")
"""The suffixes of an item's files in the run folder's ``explain``."""


def write_bundle(path: Path, run: Run, found: Explanation, weights: Sequence[Path]) -> None:
    """Write a bundle with the files that :func:`explain` kept, the run, and the model's own ``weights``.
    Raises StorageFull or StorageUnwritable.
    """
    lines = up_to(found.item, [line for line in run.reference() if line.workload == found.model])
    parity = [line for line in run.parity() if (line.workload, line.item) == (found.model, found.item)]
    inside = weights if sum(file.stat().st_size for file in weights) <= MOST_WEIGHT_BYTES else ()
    compressed = zipfile.ZIP_DEFLATED
    with writing(path), replacing(path) as partial, zipfile.ZipFile(partial, "w", compressed) as bundle:
        bundle.writestr(README, _readme(path.name, found, inside=bool(inside)))
        bundle.writestr(ITEM, found.name)
        bundle.writestr(WORDS, "".join(f"{line.subset}\t{line.label}\n" for line in lines))
        bundle.writestr(VERSIONS, "".join(f"{name} {version}\n" for name, version in found.versions.items()))
        bundle.writestr(MANIFEST, run.manifest().model_dump_json(indent=2))
        bundle.writestr(REFERENCE, "".join(line.model_dump_json() + "\n" for line in lines))
        bundle.writestr(PARITY, "".join(line.model_dump_json() + "\n" for line in parity))
        for suffix in KEPT:
            name = file_name(found.name, suffix)
            bundle.write(run.folder / FOLDER / name, f"{FOLDER}/{name}")
        for file in inside:
            bundle.write(file, f"{CHECKPOINT}/{file.name}")


@contextmanager
def opened_bundle(path: Path) -> Iterator[tuple[Run, str]]:
    """Open a bundle: yield its run, in a folder that lasts as long as the context, and the item. Raises BadBundle."""
    with tempfile.TemporaryDirectory(prefix="harness-bundle-") as name:
        folder = Path(name)
        try:
            with zipfile.ZipFile(path) as bundle:
                manifest = Manifest.model_validate_json(bundle.read(MANIFEST))
                root = folder / Path(manifest.run_id).name
                root.mkdir()
                (root / CHECKPOINT).mkdir()
                item = bundle.read(ITEM).decode()
                for entry in (REFERENCE, PARITY):
                    (root / entry).write_bytes(bundle.read(entry))
                # Older bundles have the answers of tensor workloads in a separate file.
                if v1.MODEL_PARITY in bundle.namelist():
                    (root / v1.MODEL_PARITY).write_bytes(bundle.read(v1.MODEL_PARITY))
                inside = [entry for entry in bundle.namelist() if Path(entry).parent == Path(CHECKPOINT)]
                for entry in inside:
                    with bundle.open(entry) as source, (root / CHECKPOINT / Path(entry).name).open("wb") as to:
                        shutil.copyfileobj(source, to)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise BadBundle(f"{path} is no bundle: {error}") from error
        if inside:
            options = {**manifest.options, "checkpoint": str(root / CHECKPOINT)}
            manifest = manifest.model_copy(update={"options": options})
        write_atomically(root / MANIFEST, manifest)
        yield Run(root), item


def _readme(name: str, found: Explanation, *, inside: bool) -> str:
    where = (
        "travels in `checkpoint/`"
        if inside
        else "has to be there under the name that `manifest.json` has in its options"
    )
    first = found.first
    finding = (
        "no kernel diverges" if first is None else f"{first.operation} in {first.module or first.function} diverges"
    )
    seen = found.coverage
    return f"""# An explanation of a parity failure

Run {found.run_id}, {found.name}{f" ({found.language} {found.word!r})" if found.word else ""}: {finding}.
{seen.compared} of {seen.calls} calls of kernels were compared with PyTorch.

To make it again, with this harness installed in the versions of `{VERSIONS}`:

```
harness explain {name}
```

| File | Holds |
|---|---|
| `{FOLDER}/` | what was found, the order, the kernels' values, the archive's metadata and its kernels' operators |
| `{MANIFEST}`, `{REFERENCE}`, `{PARITY}` | the run, as far as the explanation needs it |
| `{WORDS}` | the items up to the one that is explained |

The model (SHA-256 of its weights {found.checkpoint_sha256}) {where}.
"""
