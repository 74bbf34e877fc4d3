"""A folder that one process at a time works in, also on a file system of several machines."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def try_lock(folder: Path) -> Iterator[bool]:
    """Make a folder and hold it; gives False if another process holds it already.

    The lock is the operating system's: it ends with the process, however that ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _lock_file(folder).open("a+", encoding="utf-8") as file:
        if not _lock_now(file):
            yield False
            return
        file.truncate(0)
        file.write(f"{platform.node()}, process {os.getpid()}")
        file.flush()
        try:
            yield True
        finally:
            file.truncate(0)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, or raise a ValueError; one that nothing was written to is not left behind."""
    with try_lock(folder) as ours:
        if not ours:
            raise ValueError(f"{folder}: another process trains there ({holder(folder)})")
        try:
            yield
        finally:
            if list(folder.iterdir()) == [_lock_file(folder)]:
                with suppress(OSError):  # Windows keeps a file that is open
                    _lock_file(folder).unlink()
                    folder.rmdir()


def holder(folder: Path) -> str:
    """Return which process holds a folder, empty if none said that it does."""
    try:
        return _lock_file(folder).read_text("utf-8")
    except OSError:  # no such file; or, on Windows, one that is locked
        return ""


def is_locked(folder: Path) -> bool:
    """Whether a process holds a folder."""
    try:
        with _lock_file(folder).open("r+", encoding="utf-8") as file:
            return not _lock_now(file)
    except FileNotFoundError:
        return False


def _lock_file(folder: Path) -> Path:
    return folder / ".lock"


def _lock_now(file: IO[str]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(1 << 30)  # beyond the text, which others may then read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
