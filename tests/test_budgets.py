"""What a call may cost beside its round trips: modules, memory, system calls. No time is measured.

The budgets stand here, and are met by the code as it is, with little to spare: who needs more says so here, who saves
something lowers them.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter

import child
import pytest

# Budgets

MODULES = 135
"""How many modules ``import chuk_artifacts`` loads."""

PACKAGES = """
    ast atexit attr attrs base64 binascii bisect chuk_artifacts collections concurrent contextlib contextvars copy
    copyreg datetime dis enum errno fnmatch functools glob grp hashlib hmac importlib inspect ipaddress itertools
    json keyword linecache logging math mimetypes ntpath opcode operator pathlib platform pwd random re reprlib
    secrets string struct textwrap threading token tokenize traceback types typing unicodedata urllib warnings
    weakref
"""
"""The packages of these modules on any system, without the interpreter's own, which begin with an underscore."""

KIB, MIB = 1024, 1024 * 1024

PEAKS = {
    "memory store": 6 * KIB,
    "memory retrieve": 2 * KIB,
    "memory metadata": 2 * KIB,
    "memory exists": 2 * KIB,
    "memory store large": 6 * KIB,
    "memory retrieve large": 2 * KIB,
    "filesystem store": 15 * KIB,
    "filesystem retrieve": 9 * KIB,
    "filesystem metadata": 9 * KIB,
    "filesystem exists": 9 * KIB,
    "filesystem store large": 15 * KIB,
    "filesystem retrieve large": 8 * MIB + 9 * KIB,
}
"""How many bytes a call on 1 KiB, or where it is large 8 MiB, allocates at a time: no copy of what is stored."""

RECORD = 1.5 * KIB
"""How many bytes a store in memory keeps for an artifact, beside its content."""

SYSTEM_CALLS = {
    "store": {
        "random": 2,
        "stat": 3,
        "open": 2,
        "write": 1,
        "close": 2,
        "fsetxattr": 1,
        "rename": 1,
        "fcntl": 4,
        "pwrite": 16,
    },
    "retrieve": {"fcntl": 2, "stat": 3, "open": 1, "read": 1, "close": 1},
    "metadata": {"fcntl": 2, "stat": 1},
    "exists": {"fcntl": 2, "stat": 1},
    "update_metadata": {"fcntl": 6, "pwrite": 6, "stat": 2},
    "list_by_session": {"fcntl": 2, "stat": 1},
    "delete": {"fcntl": 4, "pwrite": 10, "stat": 2, "open": 1, "unlink": 2, "close": 1},
}
"""The system calls of a filesystem store with its SQLite, a pwrite a page and one for its header.

Where Linux has ``openat2``, one call opens a folder or a file at the end of its whole way. A folder is removed by
``unlinkat``.

One stat each time a connection is used makes sure that the database file is still the same.
"""

DURABLE = {"fsync": 3, "open": 1, "close": 1}
"""The system calls that a store makes beside these when it is to be durable: file, folder and database are synced."""

# Measuring

UNTOLD = {"brk", "futex", "madvise", "mmap", "mprotect", "mremap", "munmap", "sched_yield"}
"""System calls of the allocator and of locks, which come and go."""

KINDS = {
    "open": "openat openat2",
    "stat": "lstat fstat newfstatat fstatat64 statx stat64 lstat64 fstat64",
    "fcntl": "fcntl64",
    "pwrite": "pwrite64",
    "pread": "pread64",
    "rename": "renameat renameat2",
    "unlink": "unlinkat",
    "fsync": "fdatasync",
    "random": "getrandom",
}
"""What a system call does, by its names on different machines."""

KIND_OF = {name: kind for kind, names in KINDS.items() for name in names.split()}


# Modules


def test_modules():
    """Importing the package loads few modules, from few packages."""
    code = """
        import json, sys
        before = set(sys.modules)
        import chuk_artifacts
        print(json.dumps(sorted(set(sys.modules) - before)))
        """
    modules = json.loads(child.run(code, env=child.unmeasured()))
    packages = {name.partition(".")[0] for name in modules}
    assert {name for name in packages if not name.startswith("_")} - set(PACKAGES.split()) == set()
    assert len(modules) <= MODULES


# Memory


MEASURE_MEMORY = """
    import gc, json, sys, tracemalloc
    from chuk_artifacts import ArtifactStore

    SMALL, LARGE = b"x" * 1024, b"x" * 8 * 1024 * 1024
    RECORDS = 1000

    def peak(call):
        gc.collect()
        gc.disable()
        tracemalloc.start()
        call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        gc.enable()
        return peak

    def kept(call):
        gc.collect()
        tracemalloc.start()
        for _ in range(RECORDS):
            call()
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return kept / RECORDS

    measured = {}
    for name in ("memory", "filesystem"):
        with ArtifactStore(storage_provider=name, fs_root=sys.argv[1]) as store:

            def put(data):
                return store.store(data, session_id="alice", filename="docs/a.txt", summary="summary")

            small, large = put(SMALL), put(LARGE)
            calls = {
                "store": lambda: put(SMALL),
                "retrieve": lambda: store.retrieve(small),
                "metadata": lambda: store.metadata(small),
                "exists": lambda: store.exists(small),
                "store large": lambda: put(LARGE),
                "retrieve large": lambda: store.retrieve(large),
            }
            measured |= {f"{name} {method}": min(peak(call) for _ in range(8)) for method, call in calls.items()}
            measured[f"{name} record"] = kept(lambda: put(b""))
    print(json.dumps(measured))
    """


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    """Return how many bytes each call allocates."""
    return json.loads(child.run(MEASURE_MEMORY, tmp_path_factory.mktemp("memory"), env=child.unmeasured()))


@pytest.mark.parametrize("call", PEAKS)
def test_peak(memory, call):
    """A call allocates no more than its budget."""
    assert memory[call] <= PEAKS[call]


def test_record(memory):
    """A store in memory keeps little for an artifact, one on disk nothing."""
    assert memory["memory record"] <= RECORD
    assert memory["filesystem record"] < 64


# System calls


CALL = re.compile(r"^\d+\s+(\w+)\((.*)", re.MULTILINE)
MARK = re.compile(r'.*"/mark/(\w+)"').match

MEASURE_CALLS = """
    import os, sys
    from chuk_artifacts import ArtifactStore

    with ArtifactStore(storage_provider="filesystem", fs_root=sys.argv[1], storage_options=eval(sys.argv[2])) as store:

        def put():
            return store.store(b"x" * 1024, session_id="alice", filename="docs/a.txt")

        put()
        ids = [put() for _ in range(5)]
        methods = {
            "store": lambda _: put(),
            "retrieve": store.retrieve,
            "metadata": store.metadata,
            "exists": store.exists,
            "update_metadata": lambda one: store.update_metadata(one, summary="x"),
            "list_by_session": lambda _: store.list_by_session("alice"),
            "delete": store.delete,
        }
        for artifact_id in ids:
            for name, method in methods.items():
                store.exists(artifact_id)  # the first look after a write takes note of it
                os.access(f"/mark/{name}", os.F_OK)
                method(artifact_id)
                os.access("/mark/between", os.F_OK)
    """


def traced(folder, options):
    """Return the system calls of each method, as counts of its cheapest call: now and then a page is full."""
    log = folder / "log"
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("not installed: strace")
    refused = subprocess.run([strace, "-qq", "-o", str(log), "true"], capture_output=True, text=True, check=False)
    if refused.returncode:
        pytest.skip(f"strace may not trace here: {refused.stderr.strip()}")
    command = [strace, "-f", "-qq", "-o", str(log), *child.command(MEASURE_CALLS, folder / "root", options)]
    subprocess.run(command, env=child.unmeasured(), check=True, timeout=120)
    rounds = []
    for name, arguments in CALL.findall(log.read_text("utf-8", "replace")):
        if mark := MARK(arguments):
            rounds.append((mark[1], Counter()))
        elif rounds and name not in UNTOLD:
            rounds[-1][1][KIND_OF.get(name, name)] += 1
    return {method: min((calls for name, calls in rounds if name == method), key=Counter.total) for method, _ in rounds}


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """Return the system calls of each method."""
    return traced(tmp_path_factory.mktemp("calls"), {})


@pytest.mark.parametrize("method", SYSTEM_CALLS)
def test_system_calls(calls, method):
    """No method makes a system call beyond its budget, in particular none that reopens the database, or syncs."""
    assert calls[method] - Counter(SYSTEM_CALLS[method]) == Counter()


def test_durable_store(tmp_path):
    """A durable store syncs file, folder and database, and makes no other additional system call."""
    measured = traced(tmp_path, {"fsync": True})
    assert measured["store"] - Counter(SYSTEM_CALLS["store"]) == Counter(DURABLE)
    assert measured["retrieve"] - Counter(SYSTEM_CALLS["retrieve"]) == Counter()
