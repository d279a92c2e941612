"""An output folder belongs to one study, and to one command at a time.

Two commands at once would remove each other's tiles, and files of somebody else would be mixed with
results. So a command that writes claims the folder: it holds a lock on ``DIR/.lock``, which the
system releases when the process ends, however it ends; and it refuses a folder that holds files
but no ``study.json``.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mempost.core.errors import SpecError
from mempost.experiments.store import Store

LOCK = ".lock"


@contextmanager
def claimed(store: Store) -> Iterator[None]:
    """Hold the folder of a store, which is made if it is not there.

    Raises:
        SpecError: it is no folder, holds somebody else's files, or another command holds it.
    """
    folder = store.folder
    if folder.exists() and not folder.is_dir():
        raise SpecError(f"{folder}: is a file, and should be an output folder")
    _refuse_strange(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / LOCK):
        store.drop_temporaries()
        yield


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock file that says who holds it, and is removed in the end."""
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "since just now"
            raise SpecError(
                f"{path.parent}: another command works there ({holder}); "
                "wait for it, or name another folder by --out"
            ) from None
        if not _is_at(file.fileno(), path):  # the holder has just removed it
            raise SpecError(f"{path.parent}: another command has just ended there; try again")
        file.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}\n")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _refuse_strange(folder: Path) -> None:
    if not folder.is_dir() or (folder / "study.json").exists():
        return
    names = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise SpecError(
            f"{folder}: holds {', '.join(names[:3])}{more}, and no study (no study.json): name a "
            "new or an empty folder by --out"
        )
