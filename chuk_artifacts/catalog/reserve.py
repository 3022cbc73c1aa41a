"""Room kept free on the disk, so that what removes things works when the disk is full."""

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

_LARGEST = 2 * 1024 * 1024  # what the checkpoint of a full log adds to the database when files were stored one by one
_SMALLEST = 128 * 1024
_PART_OF_DISK = 16  # on a small disk it is so small a part
_STEP = 64 * 1024  # with less than twice that, all is given at once
_ZEROS = bytes(_STEP)
_SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_SHRINK = os.O_WRONLY | _SAFE | getattr(os, "O_BINARY", 0)
_GROW = _SHRINK | os.O_CREAT
_CREATE = _GROW | os.O_EXCL
_PRIVATE_FILE = 0o600
_PROBE = 8192


class Reserve:
    """A file of zeros beside a database, which grows smaller when the database finds no room.

    SQLite needs room to remove a record too: for the log of what changes, and for the shared memory of a process that
    opens the file. Several processes may share a reserve: each looks at the file.

    Args:
        path: the database file.

    Attributes:
        short: whether it is smaller than it should be, as far as this process knows.

    """

    def __init__(self, path: str) -> None:
        """Make nothing yet."""
        self._path = f"{path}-reserve"
        self.short: bool = False

    def release(self) -> bool:
        """Give half of it back to the disk, the last all at once; False when nothing is left."""
        try:
            size = _with_file(self._path, _SHRINK, _halve)
        except FileNotFoundError:
            return False
        self.short = True
        return size > 0

    def make(self) -> None:
        """Let it grow to what it should be, by at most half of the room on the disk."""
        with contextlib.suppress(OSError):
            size, missing, free = self._measured()
            self._grow(size, missing, free // 2)

    def refill(self) -> None:
        """Take back what was given, as far as there is room: it comes before what else could be stored."""
        if self.short:
            with contextlib.suppress(OSError):
                self._grow(*self._measured())

    def _measured(self) -> tuple[int, int, int]:
        """Return its length, what is missing of it, and the room on the disk, all in bytes."""
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
    """Return how many bytes more there is room for on the disk of a file."""
    return shutil.disk_usage(os.path.dirname(path)).free


def part_of_disk(path: str, part: int, least: int, most: int) -> int:
    """Return that *part* of the bytes of a file's disk, within bounds."""
    return min(max(shutil.disk_usage(os.path.dirname(path)).total // part, least), most)


def check_room(path: str) -> None:
    """Raise ``OSError`` when the disk has no room for a file of a few KiB, which must not be there yet."""
    try:
        _write(path, _CREATE, 0, _PROBE)
        os.unlink(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        raise


def _halve(descriptor: int) -> int:
    """Cut a file to half of its length, a short one to nothing; return what it was."""
    size = os.fstat(descriptor).st_size
    if size:
        os.ftruncate(descriptor, size // 2 if size >= 2 * _STEP else 0)
    return size


def _write(path: str, flags: int, start: int, size: int) -> None:
    """Write so many zeros to a file, or as many as there is room for and raise ``OSError``."""

    def write(descriptor: int) -> None:
        missing = size
        os.lseek(descriptor, start, os.SEEK_SET)
        while missing > 0:
            missing -= os.write(descriptor, _ZEROS[:missing])

    _with_file(path, flags, write)


def _with_file(path: str, flags: int, work: Callable[[int], T]) -> T:
    """Return what *work* does with the descriptor of a file, which must be one that can be trusted."""
    opened: list[int] = []
    try:
        opened.append(os.open(path, flags, _PRIVATE_FILE))
        check_file(path, os.fstat(opened[0]))
        result = work(opened[0])
        os.close(opened.pop())
    except BaseException:  # no finally: an interrupt at its line would leave the file open
        while opened:
            os.close(opened.pop())
        raise
    return result
