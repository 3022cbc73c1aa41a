"""How much is measured: the whole, or a quick look at it."""

from __future__ import annotations

import attrs

KIB = 1024
MIB = 1024 * KIB


@attrs.frozen
class Effort:
    """How much is measured.

    Attributes:
        rounds: how often each side of a row takes its turn.
        lap_seconds: how long one turn lasts, about; it is one call of each thread or task at least.
        long_rounds: how often, where turns are long and their costs steady.
        answers_seconds: how long a turn lasts on a storage that waits for answers.
        large_bytes: how long a large file is.
        sizes: how long the other files are, in bytes.
        concurrency: how many threads or tasks there are at once.
        listed: how many artifacts the session has that is listed.
        stream_bytes: how long the file is that is streamed to see how the process grows.
        starts: how often an interpreter is started.

    """

    rounds: int
    lap_seconds: float
    long_rounds: int
    answers_seconds: float
    large_bytes: int
    sizes: tuple[int, ...]
    concurrency: tuple[int, ...]
    listed: int
    stream_bytes: int
    starts: int


FULL = Effort(
    rounds=15,
    lap_seconds=0.05,
    long_rounds=5,
    answers_seconds=0.2,
    large_bytes=256 * MIB,
    sizes=(KIB, 64 * KIB, 8 * MIB),
    concurrency=(1, 8, 32, 128),
    listed=100_000,
    stream_bytes=1024 * MIB,
    starts=25,
)
QUICK = Effort(
    rounds=5,
    lap_seconds=0.02,
    long_rounds=3,
    answers_seconds=0.1,
    large_bytes=64 * MIB,
    sizes=(KIB, 8 * MIB),
    concurrency=(1, 32),
    listed=10_000,
    stream_bytes=64 * MIB,
    starts=5,
)


def size_word(size: int) -> str:
    """Return a length in bytes as the name of a row tells it."""
    return f"{size // MIB}MiB" if size >= MIB else f"{size // KIB}KiB"
