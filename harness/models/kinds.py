"""Find the kinds of workloads, and open the workloads that options name. No kind is known here by name.

Kinds register by entry point in the group ``harness.workloads`` (``docs/contributing/workload.md``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.core.cache import Cache
from harness.core.errors import HarnessError, UsageError
from harness.core.options import merged
from harness.core.plugins import entries
from harness.core.progress import Progress
from harness.models.options import ModelCommand, ModelOption, ModelOptions, Options
from harness.models.workload import Workload

GROUP = "harness.workloads"


class WorkloadKindBroken(HarnessError):
    """An installed package offers a kind of workload that cannot be loaded."""

    cure = "install the package again, or remove it"


class ModelsClash(UsageError):
    """Two models cannot be in one archive."""

    cure = 'give one of them another name, or another prefix: ModelSpec(..., prefix="other_")'


@dataclass(frozen=True)
class WorkloadKind:
    """Open the workloads of one kind.

    ``open`` takes the names of this kind among ``--models``, the options, a cache and a progress callback; it raises
    UsageError and what looking at a model raises. ``names`` are the names that belong to this kind, and ``schemes`` are
    what names of this kind begin with. The kind without either takes all others: files, and models that are shipped or
    installed. ``options`` are the kind's own: commands show them, and :attr:`ModelOptions.own` has their values.
    """

    name: str
    open: Callable[[Sequence[str], ModelOptions, Cache, Progress], Sequence[Workload[Any]]]
    names: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    options: tuple[ModelOption, ...] = ()

    def claims(self, name: str) -> bool:
        """Return whether the name belongs to this kind, and not only to the kind that takes all others."""
        return name in self.names or name.startswith(self.schemes)


def workload_kinds() -> list[WorkloadKind]:
    """Return every kind that is installed, by name. Raises WorkloadKindBroken."""
    found = []
    for entry in entries(GROUP):
        try:
            kind = entry.load()
        except Exception as error:  # Importing a foreign package can raise anything.
            raise WorkloadKindBroken(f"the kind of workload {entry.name!r} ({entry.value}): {error}") from error
        if not isinstance(kind, WorkloadKind):
            raise WorkloadKindBroken(f"the kind of workload {entry.name!r} ({entry.value}) is no WorkloadKind")
        found.append(kind)
    return found


def kinds_names() -> list[str]:
    """Return the names of ``--models`` that belong to a kind. Raises WorkloadKindBroken."""
    return [name for kind in workload_kinds() for name in kind.names]


def model_options(command: ModelCommand | None = None, *, taken: Collection[str] = ()) -> dict[str, ModelOption]:
    """Return the kinds' own options by their keys, of all commands or of one.

    Kinds may share an option. Raises WorkloadKindBroken, and UsageError if two kinds have different options of one
    name, or one of a ``taken`` name.
    """
    found = merged((option for kind in workload_kinds() for option in kind.options), "a kind of workload", taken=taken)
    return {key: option for key, option in found.items() if command is None or command in option.commands}


def without_choice_of_items(options: Options) -> Options:
    """Return the options without those that choose items."""
    picking = {key for key, option in model_options().items() if option.picks_items}
    own = {key: value for key, value in options.own.items() if key not in picking}
    return replace(options, own=own, item_sample=None)


def open_workloads(options: ModelOptions, *, cache: Cache, progress: Progress) -> list[Workload[Any]]:
    """Return the workloads that the options name, kind by kind.

    Raises UsageError, ModelsClash, WorkloadKindBroken, and what opening a kind raises.
    """
    names = options.named
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ModelsClash(f"--models {twice} is given twice", cure="name each model once")
    kinds = workload_kinds()
    claimed = {name for name in names if any(kind.claims(name) for kind in kinds)}
    found: list[Workload[Any]] = []
    for kind in kinds:
        mine = [
            name for name in names if kind.claims(name) or (name not in claimed and not (kind.names or kind.schemes))
        ]
        found += kind.open(mine, options, cache, progress) if mine else []
    prefixes = [(one.name, one.compilable("".join(one.variants[:1])).prefix) for one in found]
    check_clashes(prefixes)
    return found


def check_clashes(models: Sequence[tuple[str, str]]) -> None:
    """Refuse names and prefixes that cannot be in one archive; ``models`` are (name, prefix). Raises ModelsClash.

    No prefix may begin with another, because TVM finds a model's functions by its prefix and would find the longer
    one's.
    """
    names = [name for name, _ in models]
    for name in names:
        if names.count(name) > 1:
            raise ModelsClash(f"two models are named {name!r}")
    for at, (name, prefix) in enumerate(models):
        for other, second in models[at + 1 :]:
            if prefix == second:
                raise ModelsClash(f"the models {name!r} and {other!r} have the same prefix {prefix!r}")
            if prefix.startswith(second) or second.startswith(prefix):
                raise ModelsClash(f"the prefixes of {name!r} and {other!r} begin alike: {prefix!r} and {second!r}")
