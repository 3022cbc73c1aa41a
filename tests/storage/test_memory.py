"""The storage in memory: what it releases, and what an interrupt leaves."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from interrupts import interrupted

from chuk_artifacts.source import source
from chuk_artifacts.storage.memory import MemoryStorage

KEY = "grid/box/alice/1"
OTHER = "grid/box/alice/2"
MIB = 1024 * 1024


@pytest.mark.parametrize("release", ["close", "drop"])
def test_bytes_are_released_at_once(release):
    """A storage that is closed, or dropped, gives its bytes back without the help of the cyclic collector."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        kept = []
        for _ in range(20):
            storage = MemoryStorage()
            storage.put(KEY, bytes(MIB))
            storage.put(OTHER, source(iter([bytes(MIB)])))
            if release == "close":
                storage.close()
                kept.append(storage)
        del storage
        assert tracemalloc.get_traced_memory()[0] < 2 * MIB
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize(
    "call",
    [
        lambda storage: storage.put(OTHER, b"other"),
        lambda storage: storage.put(OTHER, b"other", exclusive=True),
        lambda storage: storage.put(OTHER, source(iter([b"ot", b"her"]))),
        lambda storage: storage.copy(KEY, OTHER, 5),
        lambda storage: storage.delete([KEY, OTHER]),
        lambda storage: list(storage.list_objects("grid/")),
        lambda storage: storage.close(),
    ],
    ids=["put", "exclusive put", "stream", "copy", "delete", "list", "close"],
)
def test_interrupted_call(call):
    """A call that is interrupted at any line is lost or done, and the storage goes on."""
    storage = MemoryStorage()
    storage.put(KEY, b"there")
    for place in interrupted(lambda: call(storage)):
        found = {item.key: storage.get(item.key) for item in storage.list_objects("grid/")}
        assert found.get(KEY, b"there") == b"there", place
        assert found.get(OTHER, b"other") in {b"other", b"there"}, place
        storage.delete([OTHER])
        storage.put(KEY, b"there")
