"""What is asked of a store, and of the bare calls beside it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import attrs

from benchmarks.effort import MIB

T = TypeVar("T")

BATCH = 100
_R, _M, _S = "retrieve", "metadata", "store"
_MIXED = (_R, _R, _M, _R, _R, _S, _R, _M, _R, _R)
_MOST_BYTES = 64 * MIB


def _nothing(_: int) -> None:
    pass


@attrs.frozen
class Work:
    """Calls that can be made again and again.

    Attributes:
        call: makes one.
        ready: what happens before a turn of so many calls, and does not count.

    """

    call: Callable[[], Any]
    ready: Callable[[int], object] = _nothing


class Workloads:
    """What is asked; each method gives the work. What does not apply is left out."""

    def store(self) -> Work:
        """Store bytes."""
        raise NotImplementedError

    def retrieve(self) -> Work:
        """Read the bytes of one artifact after the other, verified."""
        raise NotImplementedError

    def metadata(self) -> Work:
        """Read a record."""
        raise NotImplementedError

    def copy(self) -> Work:
        """Copy an artifact."""
        raise NotImplementedError

    def update(self) -> Work:
        """Give an artifact other bytes, each one once."""
        raise NotImplementedError

    def delete(self) -> Work:
        """Delete an artifact."""
        raise NotImplementedError

    def listing(self, limit: int) -> Work:
        """Read the first *limit* records of a session that has many."""
        raise NotImplementedError

    def store_batch(self) -> Work:
        """Store 100 at once."""
        raise NotImplementedError

    def retrieve_batch(self) -> Work:
        """Read 100 at once."""
        raise NotImplementedError

    def presign(self) -> Work:
        """Make a URL."""
        raise NotImplementedError

    def upload(self) -> Work:
        """Store a large file from disk."""
        raise NotImplementedError

    def download(self) -> Work:
        """Read a large file to disk."""
        raise NotImplementedError

    def mixed(self) -> Work:
        """Of ten calls, read bytes in seven, a record in two, store in one."""
        calls = {"retrieve": self.retrieve().call, "metadata": self.metadata().call, "store": self.store().call}
        order = itertools.cycle([calls[name] for name in _MIXED])
        return Work(lambda: next(order)())  # noqa: PLW0108 - another one each time

    def close(self) -> None:
        """Remove what there is."""


WORKLOADS: dict[str, Callable[[Workloads], Work]] = {
    "store": lambda asked: asked.store(),
    "retrieve": lambda asked: asked.retrieve(),
    "metadata": lambda asked: asked.metadata(),
    "copy": lambda asked: asked.copy(),
    "update": lambda asked: asked.update(),
    "delete": lambda asked: asked.delete(),
    "list20": lambda asked: asked.listing(20),
    "list100": lambda asked: asked.listing(100),
    "store_batch": lambda asked: asked.store_batch(),
    "retrieve_batch": lambda asked: asked.retrieve_batch(),
    "presign": lambda asked: asked.presign(),
    "mixed": lambda asked: asked.mixed(),
    "upload": lambda asked: asked.upload(),
    "download": lambda asked: asked.download(),
}
"""All workloads by name."""


class Once:
    """Gives out values that are made before each turn, each one once."""

    def __init__(self, make: Callable[[int], Sequence[str]]) -> None:
        self._make = make
        self._values: Iterator[str] = iter(())

    def ready(self, calls: int) -> None:
        """Make as many as there will be calls."""
        self._values = iter(self._make(calls))

    def next(self) -> str:
        """Return the next one."""
        return next(self._values)


def files_of(size: int, most: int = 1000) -> int:
    """Return of how many files of a size one after the other is read."""
    return max(8, min(most, _MOST_BYTES // size))
