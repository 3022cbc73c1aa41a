"""The one place that says which combinations of backend, workload, size, face and concurrency are rows."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from benchmarks.effort import KIB, MIB, Effort, size_word
from benchmarks.workloads import WORKLOADS

MEMORY, DISK, REDIS, BUCKET, SLOW = "memory", "filesystem+sqlite", "memory+redis", "s3+redis", "slow20ms"
BLOCKING, AIO = "blocking", "aio"

BACKENDS = (MEMORY, DISK, REDIS, BUCKET, SLOW)
_STORE_SIZES = frozenset({MEMORY, DISK, BUCKET})
_KEEP_NO_STREAM = frozenset({MEMORY, REDIS, SLOW})
_OF_RECORDS = frozenset({"metadata", "list20", "list100", "presign"})
_OF_ANY_SIZE = _OF_RECORDS | {"delete"}
_BATCHES = frozenset({"store_batch", "retrieve_batch"})
_LARGE = frozenset({"upload", "download"})
_ALONE = _BATCHES | _LARGE | {"list20", "list100", "presign"}
_MOST_BYTES_AT_ONCE = 64 * MIB
_LONG_BYTES = 8 * MIB
_CONNECTIONS = 32


@attrs.frozen
class Combination:
    """A row of the grid.

    Attributes:
        backend: whose.
        workload: which.
        size: how many bytes a file has.
        face: ``blocking`` or ``aio``.
        count: how many threads or tasks there are at once.

    """

    backend: str
    workload: str
    size: int
    face: str
    count: int

    @property
    def name(self) -> str:
        """Its name: backend, workload, size where that matters, and face with concurrency."""
        size = () if self.workload in _OF_ANY_SIZE else (size_word(self.size),)
        return "/".join((self.backend, self.workload, *size, f"{self.face}{self.count}"))

    @property
    def connections(self) -> int:
        """How many connections its store keeps: as many as there are calls at once, but not fewer than by default."""
        return max(_CONNECTIONS, self.count)

    @property
    def is_steady(self) -> bool:
        """Whether its turns are long and their costs steady, so that a few are enough."""
        return self.size >= _LONG_BYTES or self.backend == SLOW

    @property
    def is_large(self) -> bool:
        """Whether it handles a large file."""
        return self.workload in _LARGE


def combinations(effort: Effort) -> Iterator[Combination]:
    """Iterate over all rows that make sense."""
    for backend in BACKENDS:
        for workload in WORKLOADS:
            sizes = (effort.large_bytes,) if workload in _LARGE else effort.sizes
            for size in sizes:
                for face in (BLOCKING, AIO):
                    for count in effort.concurrency:
                        one = Combination(backend, workload, size, face, count)
                        if _makes_sense(one):
                            yield one


def _makes_sense(one: Combination) -> bool:
    """Say whether a combination tells something that another one does not.

    - The size of a file is varied only where the bytes are moved, and by a backend of which the bytes are the matter:
      not by one that differs from another in its records, or that answers in 20 ms whatever it is asked.
    - A storage in the memory of the process keeps no stream: it collects it.
    - A storage that answers in 20 ms is asked only for what asks the storage.
    - What runs side by side inside (batches, large files), and what one caller does now and then (a listing, a URL), is
      called by one at a time.
    - The bytes under way at once are at most 64 MiB, unless one large file is streamed.
    """
    at_once = one.size * one.count * (100 if one.workload in _BATCHES else 1)
    return not (
        (one.size > KIB and not one.is_large and (one.workload in _OF_ANY_SIZE or one.backend not in _STORE_SIZES))
        or (one.is_large and one.backend in _KEEP_NO_STREAM)
        or (one.workload in _OF_RECORDS and one.backend == SLOW)
        or (one.count > 1 and one.workload in _ALONE)
        or (at_once > _MOST_BYTES_AT_ONCE and not one.is_large)
    )
