"""Histories of concurrent calls, and whether some sequence of them explains all answers (linearizability).

The search is that of Wing and Gong (1993) with the memo of Lowe (2017): a set of calls that were made and the state
they led to is tried once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import attrs

Step = Callable[[Any, str, tuple[Any, ...]], tuple[Any, Any]]
"""Returns the next state and the answer of an operation with its arguments."""


@attrs.frozen
class Call:
    """One call: when it began and ended, the operation, its arguments, and the answer."""

    begun: float
    ended: float
    operation: str
    arguments: tuple[Any, ...]
    answer: Any


def is_linearizable(calls: Sequence[Call], step: Step, state: Hashable) -> bool:
    """Return whether the calls, each made at one moment between its begin and its end, give these answers."""
    everything = (1 << len(calls)) - 1
    tried: set[tuple[int, Hashable]] = set()
    waiting: list[tuple[int, Hashable]] = [(0, state)]
    while waiting:
        made, now = waiting.pop()
        if made == everything:
            return True
        left = [at for at in range(len(calls)) if not made >> at & 1]
        first_end = min(calls[at].ended for at in left)
        for at in left:
            if calls[at].begun > first_end:
                continue
            after, answer = step(now, calls[at].operation, calls[at].arguments)
            following = made | 1 << at, after
            if answer == calls[at].answer and following not in tried:
                tried.add(following)
                waiting.append(following)
    return False


def record(clients: Sequence[Callable[[Callable[..., Any]], None]]) -> list[Call]:
    """Run clients at once, each with a function that makes a call and records it; return the history."""
    calls: list[Call] = []
    together = threading.Barrier(len(clients))

    def run(client: Callable[[Callable[..., Any]], None]) -> None:
        def called(function: Callable[..., Any], operation: str, *arguments: Any) -> Any:
            begun = time.monotonic()
            answer = function(*arguments)
            calls.append(Call(begun, time.monotonic(), operation, arguments, answer))
            return answer

        together.wait()
        client(called)

    threads = [threading.Thread(target=run, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return calls
