"""A reader over ranges: what it gives, and what it fetches for that."""

from __future__ import annotations

import io
from concurrent.futures import Future

import pytest

from chuk_artifacts import ProviderError
from chuk_artifacts.filesystem.reader import Reader
from chuk_artifacts.storage.files import MappedReader
from chuk_artifacts.storage.reader import FIRST_BLOCK, RangeReader, open_ranges

MIB = 1024 * 1024
DATA = bytes(range(256)) * (MIB // 256) * 40 + b"the end"


class Fetcher:
    """Fetches ranges of DATA, and keeps which."""

    def __init__(self, data=DATA):
        self.data = data
        self.ranges = []

    def __call__(self, begin, length):
        """Fetch a range."""
        self.ranges.append((begin, length))
        future = Future()
        future.set_result(self.data[begin : begin + length])
        return future


def reader(fetcher, start=0):
    """Return a reader that has fetched its first block."""
    return open_ranges(fetcher, len(fetcher.data), start, fetcher.data[start : start + FIRST_BLOCK])


@pytest.mark.parametrize("piece", [1000, MIB, 3 * MIB, 9 * MIB, -1])
def test_reads_all(piece):
    """Read piece by piece, or at once, all bytes come in their order, each fetched once."""
    fetcher = Fetcher()
    with reader(fetcher) as file:
        assert b"".join(iter(lambda: file.read(piece), b"")) == DATA
        assert file.read() == b""
        assert file.tell() == len(DATA)
    assert sum(length for _, length in fetcher.ranges) == len(DATA) - FIRST_BLOCK
    assert max(length for _, length in fetcher.ranges) == 8 * MIB


def test_small_read_fetches_nothing_more():
    """What lies in the first block is there already."""
    fetcher = Fetcher()
    with reader(fetcher) as file:
        assert file.read(10) == DATA[:10]
        assert file.seek(0) == 0
        assert file.read(FIRST_BLOCK) == DATA[:FIRST_BLOCK]
    assert fetcher.ranges == []


def test_jump_fetches_little():
    """After a jump a small block is fetched, and nothing ahead."""
    fetcher = Fetcher()
    with reader(fetcher) as file:
        assert file.seek(-7, io.SEEK_END) == len(DATA) - 7
        assert file.read() == b"the end"
        assert file.seek(20 * MIB) == 20 * MIB
        assert file.read(5) == DATA[20 * MIB : 20 * MIB + 5]
        assert file.seek(10, io.SEEK_CUR) == 20 * MIB + 15
        assert file.read(5) == DATA[20 * MIB + 15 : 20 * MIB + 20]
    assert fetcher.ranges == [(len(DATA) - 7, 7), (20 * MIB, FIRST_BLOCK)]


def test_jump_back_while_blocks_are_coming():
    """What was called for before a jump is forgotten, and what is read after it is right."""
    fetcher = Fetcher()
    with reader(fetcher) as file:
        file.read(14 * MIB)
        file.seek(3)
        assert file.read(10) == DATA[3:13]
        assert file.read(12 * MIB) == DATA[13 : 13 + 12 * MIB]


def test_bounded_ahead():
    """No more than 40 MiB are called for ahead of what is read."""
    fetcher = Fetcher(bytes(200 * MIB))
    with reader(fetcher) as file:
        while file.tell() < len(fetcher.data):
            file.read(MIB)
            called = max((begin + length for begin, length in fetcher.ranges), default=FIRST_BLOCK)
            assert called - file.tell() <= 41 * MIB


def test_begins_anywhere():
    """A reader may begin at a place, at the end, and beyond."""
    fetcher = Fetcher()
    with reader(fetcher, 5 * MIB) as file:
        assert file.read(3) == DATA[5 * MIB : 5 * MIB + 3]
    for place in (len(DATA), len(DATA) + 5):
        with reader(fetcher, place) as file:
            assert file.read() == b""
            assert file.tell() == place
    assert fetcher.ranges == []


def test_is_a_file():
    """It has what a binary file has: lines, peeks, reads into a buffer, text; it can't be written, and closes twice."""
    lines = b"one\ntwo\n" * 300_000
    with reader(Fetcher(lines)) as file:
        assert file.readable()
        assert file.seekable()
        assert not file.writable()
        assert file.readline() == b"one\n"
        assert file.peek(3)[:3] == b"two"
        buffer = bytearray(5)
        assert file.readinto(buffer) == 5
        assert bytes(buffer) == b"two\no"
        assert sum(1 for _ in file) == 600_000 - 2
        assert file.readinto(buffer) == 0
        with pytest.raises(ValueError, match="negative"):
            file.seek(-1)
        with pytest.raises(io.UnsupportedOperation):
            file.write(b"1")
    assert sum(1 for _ in io.TextIOWrapper(reader(Fetcher(lines)), encoding="ascii")) == 600_000
    file.close()
    for method in (file.read, lambda: file.seek(0), lambda: file.readinto(buffer)):
        with pytest.raises(ValueError, match="closed"):
            method()


def test_close_forgets_what_is_coming():
    """Closing cancels what has not been begun."""
    futures = []

    def fetch(begin, length):
        futures.append(Future())
        if begin < 20 * MIB:
            futures[-1].set_result(DATA[begin : begin + length])
        return futures[-1]

    file = open_ranges(fetch, len(DATA), 0, DATA[:FIRST_BLOCK])
    file.read(6 * MIB)
    file.close()
    assert [future.cancelled() for future in futures if not future.done() or future.cancelled()]
    assert all(future.done() for future in futures)


def test_failed_block_can_be_read_again():
    """A block that could not be fetched raises, and can be asked for again."""
    fetcher = Fetcher()
    failures = iter([OSError("mine")])

    def fetch(begin, length):
        error = next(failures, None)
        if error is None:
            return fetcher(begin, length)
        future = Future()
        future.set_exception(error)
        return future

    with open_ranges(fetch, len(DATA), 0, DATA[:FIRST_BLOCK]) as file:
        file.seek(2 * MIB)
        with pytest.raises(OSError, match="mine"):
            file.read(5)
        assert file.tell() == 2 * MIB
        assert file.read(5) == DATA[2 * MIB : 2 * MIB + 5]


def test_object_that_ends_early():
    """An object that is shorter than it was said to be is an error, and not the end of the file."""
    fetcher = Fetcher()
    file = reader(fetcher)
    fetcher.data = DATA[: 2 * MIB]
    with pytest.raises(ProviderError):
        file.read()


@pytest.mark.parametrize("kind", [RangeReader, MappedReader, Reader])
def test_half_made_reader(kind):
    """A reader whose making was interrupted before it held anything is closed, and collected, without an error."""
    file = kind.__new__(kind)
    file.close()
    assert file.closed


def test_interrupt_while_looking_ahead():
    """If an interrupt comes while blocks are called for, closing gives up all that were called for."""
    called = []

    def fetch(begin, length):
        if len(called) == 3:
            raise KeyboardInterrupt
        called.append(Future())
        if len(called) == 1:
            called[0].set_result(bytes(length))
        return called[-1]

    file = open_ranges(fetch, 100 * MIB)
    file.raw._length = 8 * MIB
    with pytest.raises(KeyboardInterrupt):
        file.read(8 * MIB)
    file.close()
    assert [call.cancelled() for call in called] == [False, True, True]
