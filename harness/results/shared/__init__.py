"""Keep the results of everybody in one place: a folder that all have mounted, or S3. See ``docs/results-store.md``.

``files/`` holds every file once under the hash of its contents. ``runs/``, ``nightly/`` and ``baselines/`` hold a
*marker* for each whole run, nightly run and baseline, which names its files and is written last. ``unfinished/`` holds
what runs have written so far that have not ended. ``tables/`` holds the rows of ``harness query`` as Delta tables.

Importing this package imports none of the packages of the extra ``lab``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import HarnessError
from harness.core.text import quoted
from harness.results.errors import NoResultsUrl

if TYPE_CHECKING:
    from harness.results.shared.following import Follower
    from harness.results.shared.mirror import SharedStore
    from harness.results.shared.upload import Uploader

_FOLDER = re.compile(r"[A-Za-z0-9._/-]+")
"""delta-rs makes the name of a host of a folder's path, and ends the process at a character that no host may have."""
VARIABLE = "HARNESS_RESULTS_URL"
MONTH, DEVICE_KIND = PARTITIONS = ("part_month", "part_device_kind")
"""The columns by which the tables are divided, in addition to those that they have in a folder."""
PATIENCE = timedelta(seconds=30)
"""How long a request that fails is tried again."""
HURRY = timedelta(seconds=5)
"""The same where somebody waits for the end of a run."""


def results_url(given: str | None) -> str | None:
    """Return the address that an option gives, or else the environment; None if there is none."""
    return given or os.environ.get(VARIABLE) or None


def named_url(given: str | None) -> str:
    """Return the address of the results store; raises NoResultsUrl if there is none."""
    url = results_url(given)
    if url is None:
        raise NoResultsUrl(
            "no results store is named", cure=f"give --results-url s3://BUCKET/PREFIX, or set {VARIABLE}"
        )
    return url


def checked_url(given: str | None) -> str | None:
    """Return the address that is given, if any, once it is known to be one.

    Raises StoreMisuse or PackageMissing, so that a run does not find out when it has ended.
    """
    url = results_url(given)
    return None if url is None else check_results_url(url)


def check_results_url(url: str) -> str:
    """Return the address of a results store; raises StoreMisuse if it is none, and PackageMissing."""
    from harness.core.store_errors import StoreMisuse, require_store

    require_store()
    from harness.core.store import check_store_url, folder_of

    folder = folder_of(check_store_url(url))
    if folder is not None and not _FOLDER.fullmatch(str(folder)):
        raise StoreMisuse(
            f"{quoted(url)} cannot hold tables",
            cure="name a folder of letters, digits, dots, dashes and underscores alone",
        )
    return url


def follow(
    url: str,
    results: Path,
    notify: Callable[[str], None],
    *,
    runs: Collection[str] = (),
    nightly_runs: Collection[str] = (),
) -> Follower:
    """Begin to upload what is written of these runs, until the result is stopped. Nothing that goes wrong is raised."""
    from harness.results.shared.following import Follower

    return Follower(url, results, runs=runs, nightly_runs=nightly_runs, notify=notify)


@contextmanager
def followed(url: str | None, results: Path, nightly_run: str, notify: Callable[[str], None]) -> Iterator[None]:
    """Upload what is written of a nightly run in the context; what was not yet, if the context is left by an error."""
    if url is None:
        yield
        return
    follower = follow(url, results, notify, nightly_runs=[nightly_run])
    try:
        yield
    except BaseException:
        follower.stop(last=True)
        raise
    follower.stop()


def after_runs(url: str, results: Path, runs: Collection[str] = (), nightly_runs: Collection[str] = ()) -> str:
    """Upload what has just ended, and return a line about it. Whatever goes wrong costs the run nothing."""
    from harness.core.interruptible import interruptible
    from harness.results.shared.sync import upload_after

    try:
        interruptible(lambda: upload_after(uploader(url, patience=HURRY), results, runs, nightly_runs))
    except (HarnessError, OSError) as error:
        return f"not uploaded: {str(error).splitlines()[0]}; `harness sync` does it later"
    return f"uploaded to {url}"


def shared_store(url: str) -> SharedStore:
    """Return the results of everybody as a store of runs; raises StoreMisuse, PackageMissing or StoreFailed."""
    from harness.results.shared.mirror import SharedStore

    return SharedStore(check_results_url(url))


def uploader(url: str, *, patience: timedelta = PATIENCE) -> Uploader:
    """Return what uploads to the results store; raises StoreMisuse, PackageMissing or StoreFailed."""
    url = check_results_url(url)
    from harness.results.shared.upload import Uploader

    return Uploader(url, patience=patience)
