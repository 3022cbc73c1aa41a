"""Multipart uploads: the length of parts, how data is cut, and how many bytes are in flight at once."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import attrs

from chuk_artifacts.errors import ProviderError
from chuk_artifacts.threads import Call, Threads, give_up

T = TypeVar("T")
R = TypeVar("R")

_MIB = 1024 * 1024
# The limits of S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
_LONGEST_PART = 5 * 1024 * _MIB
_MOST_PARTS = 10_000
PART = 8 * _MIB
"""The length of parts unless something longer is asked for, or needed."""
_EQUAL_PARTS = 8_000  # the 2,000 after them grow, so that 10,000 hold 5 TiB of a stream of unknown length
_PARTS_UNTIL_DOUBLED = 125
SIDE_BY_SIDE = 8
"""How many threads send parts."""
IN_FLIGHT = SIDE_BY_SIDE * PART
"""How many bytes of parts are under way at once in all uploads of a storage; a longer part is sent when no other is."""


def part_length(total: int | None, shortest: int = PART) -> int:
    """Return the length of all parts but the last, so that they suffice for *total* bytes; None: it is not known.

    Cloudflare R2 takes only parts of equal length: https://developers.cloudflare.com/r2/objects/multipart-objects/
    """
    whole_mib = -(-(total or 0) // (_EQUAL_PARTS * _MIB)) * _MIB
    return min(max(shortest, whole_mib), _LONGEST_PART)


def part_lengths(first: int) -> Iterator[int]:
    """Iterate over the lengths of all parts there may be: equal at first, then growing for data that does not end."""
    for number in range(_MOST_PARTS):
        doublings = max(number - _EQUAL_PARTS + _PARTS_UNTIL_DOUBLED, 0) // _PARTS_UNTIL_DOUBLED
        yield min(first << doublings, _LONGEST_PART)


@attrs.frozen
class Part:
    """A part of data.

    Attributes:
        body: its bytes.
        last: whether nothing comes after it.

    """

    body: io.BytesIO
    last: bool

    @property
    def length(self) -> int:
        """Its length in bytes."""
        return self.body.getbuffer().nbytes


def cut(chunks: Iterable[bytes], lengths: Iterator[int]) -> Iterator[Part]:
    """Return data in parts of these lengths; the last one is what is left.

    What is yielded is held here no longer, so that no more parts are in memory than those that are under way.

    Raises:
        ProviderError: there are more bytes than parts of these lengths hold.

    """
    body, length = io.BytesIO(), next(lengths)
    for chunk in chunks:
        rest = memoryview(chunk)
        while body.tell() + len(rest) > length:  # and not as soon as a part is full: it may be the last
            missing = length - body.tell()
            body.write(rest[:missing])
            full, body, rest = [body], io.BytesIO(), rest[missing:]
            yield _part(full.pop(), last=False)
            following = next(lengths, None)
            if following is None:
                raise ProviderError("too many bytes for 10,000 parts: set part_size in storage_options")
            length = following
        body.write(rest)
    yield _part(body, last=True)


def _part(body: io.BytesIO, *, last: bool) -> Part:
    body.seek(0)
    return Part(body, last)


class _PartCall(Call[R]):
    """The sending of one part.

    Attributes:
        number: which part it is; the first is 1.
        weight: how many bytes it holds in memory.
        news: wakes its upload when a part is over, of whichever upload.

    """

    def __init__(self, send: Callable[[], R], number: int, weight: int, flow: Flow, news: SimpleQueue[None]) -> None:
        super().__init__(send)
        self.number = number
        self.weight = weight
        self.news = news
        self._flow = flow

    def ended(self) -> None:
        """Let waiting parts go."""
        self._flow.move_up()


class Flow:
    """Sends parts side by side, and bounds the bytes that are under way in all uploads of a storage.

    Parts stand in line. One goes when it fits beside all before it, or when it is the first. No count is kept that an
    interrupt could leave wrong: a part counts until its call is done or cancelled.

    Args:
        threads: where parts are sent.
        bound: how many bytes may be under way, unless one part has more.

    """

    def __init__(self, threads: Threads, bound: int = IN_FLIGHT) -> None:
        """Send nothing yet."""
        self.threads = threads
        self.bound = bound
        self._line: list[_PartCall[Any]] = []

    def send_all(self, parts: Iterable[T], send: Callable[[int, T], R], weigh: Callable[[T], int]) -> list[R]:
        """Send parts side by side, and return what comes of each, in their order.

        The first error, of a part or of *parts* themselves, ends it: no other part is sent, and none is under way any
        more when it is raised.

        Args:
            parts: what is sent; it is read no further than parts can be sent.
            send: sends a part, given its number, the first being 1.
            weigh: returns how many bytes of memory a part holds.

        """
        upload: _Upload[R] = _Upload(self)
        try:
            for part in parts:
                upload.send(partial(send, upload.begun + 1, part), weigh(part))
                del part  # or it stays in memory while the next one is read
            upload.wait_for_all()
        except BaseException:
            give_up(list(upload.running))
            self.move_up()
            raise
        return [upload.results[number] for number in range(1, upload.begun + 1)]

    def join(self, call: _PartCall[Any]) -> None:
        """Put a part at the end of the line."""
        self._line.append(call)

    def _standing(self) -> list[_PartCall[Any]]:
        """Return the line as it is now.

        ``list.copy`` must not be used: before Python 3.12 it notes the length, and then may run the garbage collector.
        If a finalizer lets another thread shorten the list, it reads beyond its end.
        """
        return [*self._line]

    def has_room_for(self, call: _PartCall[Any]) -> bool:
        """Say whether a part may go."""
        before = itertools.takewhile(lambda other: other is not call, self._standing())
        weights = [other.weight for other in before if not other.done()]
        return not weights or sum(weights) + call.weight <= self.bound

    def move_up(self) -> None:
        """Remove finished parts from the queue, and let waiting uploads check again."""
        line = self._standing()
        for call in line:
            if call.done():
                with contextlib.suppress(ValueError):  # another thread has done so
                    self._line.remove(call)
        for news in {call.news for call in line}:
            news.put(None)


class _Upload(Generic[R]):
    """The parts of one upload.

    Attributes:
        begun: how many parts there have been so far.
        running: those whose result has not been looked at.
        results: what came of the others, by number.

    """

    def __init__(self, flow: Flow) -> None:
        self.begun = 0
        self.running: set[_PartCall[R]] = set()
        self.results: dict[int, R] = {}
        self._flow = flow
        self._news: SimpleQueue[None] = SimpleQueue()

    def send(self, send: Callable[[], R], weight: int) -> None:
        """Start sending a part when it fits; wait for the end of a part longer than the bound.

        Raises whatever a part before it has failed with.
        """
        self.begun += 1
        call = _PartCall(send, self.begun, weight, self._flow, self._news)
        self.running.add(call)
        self._flow.join(call)
        while not self._flow.has_room_for(call):
            self._wait()
        self._look_at_done()
        self._flow.threads.start(call)
        while weight > self._flow.bound and call in self.running:
            self._wait()

    def wait_for_all(self) -> None:
        """Wait for all parts as they end, so that the first failure is noticed at once."""
        while self.running:
            self._wait()

    def _wait(self) -> None:
        self._news.get()
        self._look_at_done()

    def _look_at_done(self) -> None:
        for call in [call for call in self.running if call.done()]:
            number = call.number
            self.running.discard(call)
            try:
                self.results[number] = call.result()
            finally:
                del call  # or its error holds this frame, and this frame the call with the error
