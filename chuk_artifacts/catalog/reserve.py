"""Reserved disk space, so that deleting works when the disk is full."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from typing import TypeVar

from chuk_artifacts.ownership import check_file

T = TypeVar("T")

PAGE = 4096
"""The bytes of a page of a new database."""

_LARGEST = 2 * 1024 * 1024  # bytes; the checkpoint of a full log adds as much to the database
_SMALLEST = 128 * 1024
_PART_OF_DISK = 16  # of a small disk, a sixteenth
_STEP = 64 * 1024  # less than two steps are released at once
_ZEROS = bytes(_STEP)
_SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_SHRINK = os.O_WRONLY | _SAFE | getattr(os, "O_BINARY", 0)
_GROW = _SHRINK | os.O_CREAT
_CREATE = _GROW | os.O_EXCL
_PRIVATE_FILE = 0o600
_PROBE = 8192


class Reserve:
    """A file of zeros next to a database, which is cut when the disk is full.

    SQLite needs disk space even to delete a record: for its write-ahead log, and for the shared-memory file of a
    process that opens the database. Several processes may share a reserve: the length of the file is its only state.

    Args:
        path: the database file.

    Attributes:
        short: whether the file is smaller than it should be, as far as this process knows.

    """

    def __init__(self, path: str) -> None:
        """Make no file yet."""
        self._path = f"{path}-reserve"
        self.short: bool = False

    def release(self) -> bool:
        """Cut the file to half of its length, a short one to nothing; return False if nothing was left."""
        try:
            size = _with_file(self._path, _SHRINK, _halve)
        except FileNotFoundError:
            return False
        self.short = True
        return size > 0

    def make(self) -> None:
        """Extend the file to its full length, by at most half of the free space."""
        with contextlib.suppress(OSError):
            size, missing, free = self._measured()
            self._grow(size, missing, free // 2)

    def refill(self) -> None:
        """Extend the file again after a release, as far as space permits: it has priority over new data."""
        if self.short:
            with contextlib.suppress(OSError):
                self._grow(*self._measured())

    def _measured(self) -> tuple[int, int, int]:
        """Return the length of the file, what it lacks, and the free space on the disk, in bytes."""
        wanted = part_of_disk(self._path, _PART_OF_DISK, _SMALLEST, _LARGEST)
        try:
            size = os.lstat(self._path).st_size
        except FileNotFoundError:
            size = 0
        return size, max(wanted - size, 0), free_bytes(self._path)

    def _grow(self, size: int, missing: int, free: int) -> None:
        more = min(missing, free)
        self.short = more < missing
        if more:
            _write(self._path, _GROW, size, more)


def free_bytes(path: str) -> int:
    """Return the free bytes on the disk of a file."""
    return shutil.disk_usage(os.path.dirname(path)).free


def part_of_disk(path: str, part: int, least: int, most: int) -> int:
    """Return the size in bytes of a file's disk divided by *part*, clamped to *least* and *most*."""
    return min(max(shutil.disk_usage(os.path.dirname(path)).total // part, least), most)


def check_room(path: str) -> None:
    """Raise ``OSError`` if the disk is too full for a file of a few KiB; *path* must not exist."""
    try:
        _write(path, _CREATE, 0, _PROBE)
        os.unlink(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        raise


def _halve(descriptor: int) -> int:
    """Cut a file to half of its length, a short one to nothing; return its old length."""
    size = os.fstat(descriptor).st_size
    if size:
        os.ftruncate(descriptor, size // 2 if size >= 2 * _STEP else 0)
    return size


def _write(path: str, flags: int, start: int, size: int) -> None:
    """Write *size* zeros to a file from *start*; raise ``OSError`` if the disk becomes full."""

    def write(descriptor: int) -> None:
        missing = size
        os.lseek(descriptor, start, os.SEEK_SET)
        while missing > 0:
            missing -= os.write(descriptor, _ZEROS[:missing])

    _with_file(path, flags, write)


def _with_file(path: str, flags: int, work: Callable[[int], T]) -> T:
    """Call *work* with the descriptor of a file, and return its result; refuse a file that can't be trusted."""
    opened: list[int] = []
    try:
        opened.append(os.open(path, flags, _PRIVATE_FILE))
        check_file(path, os.fstat(opened[0]))
        result = work(opened[0])
        os.close(opened.pop())
    except BaseException:  # not `finally`: an interrupt at its line would leave the file open
        while opened:
            os.close(opened.pop())
        raise
    return result
