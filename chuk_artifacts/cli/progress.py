"""Progress bars on a terminal, for what may take more than a second."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from chuk_artifacts.source import CHUNK_SIZE

if TYPE_CHECKING:
    from fsspec.callbacks import Callback

_LEAST_BYTES = 8 * 1024**2  # less is read and written within a second
_LEAST_FILES = 20
Advance = Callable[[int], None]


@contextmanager
def progress(label: str, total: int, files: int = 1) -> Iterator[Advance | None]:
    """Show a bar on a terminal while bytes are read or written.

    Args:
        label: what happens.
        total: the number of bytes in all.
        files: the number of files.

    Yields:
        a function that takes a number of bytes; None where no bar is shown: in a pipe, or for little.

    """
    if not sys.stderr.isatty() or (total < _LEAST_BYTES and files < _LEAST_FILES):
        yield None
        return
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra, and only a terminal needs it
        from rich.progress import (  # noqa: PLC0415 - as above
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )
    except ModuleNotFoundError:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total or None)
        yield lambda size: bar.update(task, advance=size)


@contextmanager
def counted(label: str) -> Iterator[Advance | None]:
    """Count on a terminal, while things are done whose number is not known; yields as :func:`progress` does."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra, and only a terminal needs it
        from rich.progress import Progress, SpinnerColumn, TextColumn  # noqa: PLC0415 - as above
    except ModuleNotFoundError:
        yield None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda number: bar.update(task, advance=number)


class Watched:
    """The content of a file, in chunks; each iteration reads it from its start.

    Args:
        path: the file.
        advance: is called with the length of each chunk.

    """

    def __init__(self, path: str, advance: Advance) -> None:
        """Read nothing yet."""
        self._path = path
        self._advance = advance

    def __iter__(self) -> Iterator[bytes]:
        """Read the file."""
        with open(self._path, "rb") as file:
            while chunk := file.read(CHUNK_SIZE):
                self._advance(len(chunk))
                yield chunk


class _Advancing:
    """The part of an fsspec callback that the store uses; importing fsspec would make every command slower."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def set_size(self, size: int) -> None:
        """Do nothing: the bar knows the size of all files."""

    def relative_update(self, inc: int = 1) -> None:
        """Advance the bar."""
        self._advance(inc)


def callback_of(advance: Advance | None) -> Callback | None:
    """Return the callback of a method of the store, or None where no bar is shown."""
    return None if advance is None else cast("Callback", _Advancing(advance))


def size_of(path: str) -> int:
    """Return the size of a file in bytes; 0 if it can't be read, which storing it reports."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
