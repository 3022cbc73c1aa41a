"""The async path beside the blocking one: what a hop adds, what is saved without one, and how calls overlap."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from chuk_artifacts import ArtifactStore, aio
from chuk_artifacts.storage.memory import MemoryStorage

_DATA = b"x" * 1024
_AT_ONCE = 64
_ANSWER_SECONDS = 0.020

Verb = Callable[[Any], Any]
"""Calls a verb of a blocking store, or of an async one."""


class SlowStorage(MemoryStorage):
    """A storage that answers in 20 ms, as one at the other end of a network does."""

    blocks = True

    def get(self, key: str) -> bytes:
        """Return all bytes, late."""
        time.sleep(_ANSWER_SECONDS)
        return super().get(key)


def main(folder: Path, *, quick: bool) -> None:
    """Run everything and print tables."""
    calls, rounds = (100, 9) if quick else (500, 25)
    asyncio.run(_print_verbs(ArtifactStore(), calls, rounds))
    asyncio.run(_print_verbs(ArtifactStore(storage_provider="filesystem", fs_root=folder), calls, rounds))
    asyncio.run(_print_overlap(rounds))


async def _print_verbs(store: ArtifactStore, calls: int, rounds: int) -> None:
    """Print verbs of a store, one call after the other, blocking and awaited.

    In memory they run at once, and the ratio is that of the rates: awaited to blocking. On disk they hop, and the ratio
    is that of the costs: awaited to blocking and a bare hop together.
    """
    in_memory = store.get_sandbox_info()["storage_provider"] == "memory"
    title = "in memory, at once" if in_memory else "on disk, with a hop"
    print(
        f"{title:24}{'blocking µs':>12}{'hop µs':>8}{'aio µs':>8}{'rates' if in_memory else 'costs':>8}{'spread':>16}"
    )
    async with store as view:
        with ThreadPoolExecutor() as pool:
            for name, verb in _verbs(store):
                costs = []
                for _ in range(rounds):
                    hop = 0.0 if in_memory else await _awaited(_hop(pool), None, calls)
                    costs.append((_blocking(verb, store, calls), hop, await _awaited(verb, view, calls)))
                ratios = [plain / face if in_memory else face / (plain + hop) for plain, hop, face in costs]
                print(f"{name:24}{_medians(costs)}{_spread(ratios)}")


def _verbs(store: ArtifactStore) -> Iterator[tuple[str, Verb]]:
    ids = itertools.cycle([store.store(_DATA, session_id="bench") for _ in range(1000)])
    yield "store 1 KiB", lambda store: store.store(_DATA, session_id="bench")
    yield "retrieve 1 KiB", lambda store: store.retrieve(next(ids))
    yield "metadata", lambda store: store.metadata(next(ids))


def _hop(pool: ThreadPoolExecutor) -> Verb:
    loop = asyncio.get_running_loop()
    return lambda _: loop.run_in_executor(pool, _nothing)


def _nothing() -> None:
    pass


def _blocking(verb: Verb, store: ArtifactStore, calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        verb(store)
    return (time.perf_counter() - begin) / calls


async def _awaited(verb: Verb, store: aio.ArtifactStore | None, calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        await verb(store)
    return (time.perf_counter() - begin) / calls


async def _print_overlap(rounds: int) -> None:
    """Print how long many calls at once take on a storage that answers late, as a multiple of the least they could."""
    blocking = ArtifactStore()
    blocking._core.storage = SlowStorage()  # noqa: SLF001 - no provider answers late on purpose
    print(f"{'64 x retrieve at 20 ms':24}{'ideal ms':>12}{'':>8}{'aio ms':>8}{'times':>8}{'spread':>16}")
    for workers in (8, 32, 64):
        async with aio.ArtifactStore.wrap(blocking.session("bench"), max_workers=workers) as store:
            ids = [await store.store(_DATA) for _ in range(_AT_ONCE)]
            await asyncio.gather(*map(store.retrieve, ids))
            ideal = _AT_ONCE / workers * _ANSWER_SECONDS
            taken = []
            for _ in range(rounds // 3):
                begin = time.perf_counter()
                await asyncio.gather(*map(store.retrieve, ids))
                taken.append(time.perf_counter() - begin)
        name, milliseconds = f"{workers} workers", statistics.median(taken) * 1e3
        print(f"{name:24}{ideal * 1e3:12.1f}{'':8}{milliseconds:8.1f}{_spread([one / ideal for one in taken])}")
    blocking.close()


def _medians(costs: Sequence[tuple[float, ...]]) -> str:
    medians = [statistics.median(column) * 1e6 for column in zip(*costs, strict=True)]
    return "".join(f"{median:{width}.1f}" for median, width in zip(medians, (12, 8, 8), strict=True))


def _spread(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):8.2f}{f'{min(ratios):.2f} to {max(ratios):.2f}':>16}"
