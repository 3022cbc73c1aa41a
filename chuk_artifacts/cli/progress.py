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
    from rich.progress import Progress

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
    bar = None if total < _LEAST_BYTES and files < _LEAST_FILES else _bar(of_bytes=True)
    if bar is None:
        yield None
        return
    with bar:
        task = bar.add_task(label, total=total or None)
        yield lambda size: bar.update(task, advance=size)


@contextmanager
def records_progress(label: str) -> Iterator[Callback | None]:
    """Show a bar on a terminal while records are read or written, and yield the callback that moves it, or None."""
    bar = _bar(of_bytes=False)
    if bar is None:
        yield None
        return
    with bar:
        task = bar.add_task(label, total=None)
        yield cast(
            "Callback",
            _Advancing(lambda count: bar.update(task, advance=count), lambda count: bar.update(task, total=count)),
        )


def _bar(*, of_bytes: bool) -> Progress | None:
    """Return a bar; None where none is shown."""
    if not _shows_bars():
        return None
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra, and only a terminal needs it
        from rich.progress import (  # noqa: PLC0415 - as above
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )
    except ModuleNotFoundError:
        return None
    count = DownloadColumn(binary_units=True) if of_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _shows_bars() -> bool:
    return sys.stderr.isatty()


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
    """The part of an fsspec callback that is used here; importing fsspec would make every command slower.

    Args:
        advance: advances the bar.
        resize: sets its size; None: the bar knows it.

    """

    def __init__(self, advance: Advance, resize: Advance | None = None) -> None:
        self._advance = advance
        self._resize = resize

    def set_size(self, size: int) -> None:
        """Set the size of the bar."""
        if self._resize is not None:
            self._resize(size)

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
