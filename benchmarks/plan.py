"""What a run measures: the rows, how often and how long they run, and the sizes of files."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from benchmarks.workloads import KIB, MIB, WORKLOADS

MEMORY, DISK, REDIS, BUCKET, SLOW = "memory", "filesystem+sqlite", "memory+redis", "s3+redis", "slow20ms"
POSTGRES = "memory+postgres"
BACKENDS = (MEMORY, DISK, REDIS, POSTGRES, BUCKET, SLOW)
BLOCKING, AIO = "blocking", "aio"

_BACKENDS_OF_ALL_SIZES = frozenset({MEMORY, DISK, BUCKET})
_BACKENDS_THAT_COLLECT_STREAMS = frozenset({MEMORY, REDIS, POSTGRES, SLOW})
_RECORDS_ONLY = frozenset({"metadata", "list20", "list100", "presign"})
_SIZE_IRRELEVANT = _RECORDS_ONLY | {"delete"}
_BATCHES = frozenset({"store_batch", "retrieve_batch"})
_LARGE = frozenset({"upload", "download"})
_ONE_CALLER = _BATCHES | _LARGE | {"list20", "list100", "presign"}
_MAX_BYTES_IN_FLIGHT = 64 * MIB
_LONG_BYTES = 8 * MIB
_MIN_CONNECTIONS = 32


@attrs.frozen
class Effort:
    """How much a run measures.

    Attributes:
        rounds: how many turns each side of a row takes.
        turn_seconds: the approximate length of a turn; each thread or task makes at least one call.
        long_rounds: the number of turns where they are long and their costs steady.
        slow_turn_seconds: the approximate length of a turn on a storage with 20 ms of latency.
        large_bytes: the size of a large file.
        sizes: the sizes of the other files, in bytes.
        concurrency: the numbers of threads or tasks.
        listed: the number of artifacts in the session that is listed.
        stream_bytes: the size of the stream that shows how the process grows.
        starts: how many interpreters are started.

    """

    rounds: int
    turn_seconds: float
    long_rounds: int
    slow_turn_seconds: float
    large_bytes: int
    sizes: tuple[int, ...]
    concurrency: tuple[int, ...]
    listed: int
    stream_bytes: int
    starts: int


FULL = Effort(
    rounds=15,
    turn_seconds=0.05,
    long_rounds=5,
    slow_turn_seconds=0.2,
    large_bytes=256 * MIB,
    sizes=(KIB, 64 * KIB, 8 * MIB),
    concurrency=(1, 8, 32, 128),
    listed=100_000,
    stream_bytes=1024 * MIB,
    starts=25,
)
QUICK = Effort(
    rounds=5,
    turn_seconds=0.02,
    long_rounds=3,
    slow_turn_seconds=0.1,
    large_bytes=64 * MIB,
    sizes=(KIB, 8 * MIB),
    concurrency=(1, 32),
    listed=10_000,
    stream_bytes=64 * MIB,
    starts=5,
)


def size_name(size: int) -> str:
    """Return a size in bytes as it appears in the name of a row."""
    return f"{size // MIB}MiB" if size >= MIB else f"{size // KIB}KiB"


@attrs.frozen
class Combination:
    """A row of the grid.

    Attributes:
        backend: the name of the backend.
        workload: the name of the workload.
        size: the size of a file in bytes.
        face: ``blocking`` or ``aio``.
        count: the number of threads or tasks.

    """

    backend: str
    workload: str
    size: int
    face: str
    count: int

    @property
    def name(self) -> str:
        """Backend, workload, size where it matters, and face with concurrency."""
        size = () if self.workload in _SIZE_IRRELEVANT else (size_name(self.size),)
        return "/".join((self.backend, self.workload, *size, f"{self.face}{self.count}"))

    @property
    def connections(self) -> int:
        """The connections that its store keeps: one for each caller, but not fewer than the default."""
        return max(_MIN_CONNECTIONS, self.count)

    @property
    def is_steady(self) -> bool:
        """Whether its turns are long and their costs steady, so that a few are enough."""
        return self.size >= _LONG_BYTES or self.backend == SLOW

    @property
    def is_large(self) -> bool:
        """Whether it streams a large file."""
        return self.workload in _LARGE


def combinations(effort: Effort) -> Iterator[Combination]:
    """Iterate over all rows of the grid."""
    for backend in BACKENDS:
        for workload in WORKLOADS:
            sizes = (effort.large_bytes,) if workload in _LARGE else effort.sizes
            for size in sizes:
                for face in (BLOCKING, AIO):
                    for count in effort.concurrency:
                        row = Combination(backend, workload, size, face, count)
                        if _is_useful(row):
                            yield row


def _is_useful(row: Combination) -> bool:
    """Return whether a row shows something that no other row shows.

    - Sizes vary only where a call moves bytes, and only on the backends that differ in their bytes: not on one that
      differs only in its catalog, nor on the slow one, which takes 20 ms for any size.
    - A storage in memory collects a stream into one object, so it has no rows of large files.
    - The slow storage has no rows of methods that ask only the catalog.
    - Methods that run in parallel inside (batches, large files), and those that a client calls now and then (a listing,
      a URL), have one caller.
    - At most 64 MiB are in flight, except where one large file is streamed.
    """
    in_flight = row.size * row.count * (100 if row.workload in _BATCHES else 1)
    all_sizes = row.workload not in _SIZE_IRRELEVANT and row.backend in _BACKENDS_OF_ALL_SIZES
    return not (
        (row.size > KIB and not row.is_large and not all_sizes)
        or (row.is_large and row.backend in _BACKENDS_THAT_COLLECT_STREAMS)
        or (row.workload in _RECORDS_ONLY and row.backend == SLOW)
        or (row.count > 1 and row.workload in _ONE_CALLER)
        or (in_flight > _MAX_BYTES_IN_FLIGHT and not row.is_large)
    )
