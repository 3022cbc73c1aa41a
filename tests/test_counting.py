"""Usage under many processes, and after crashes: it equals a full count."""

from __future__ import annotations

import json
import os
import signal

import child
import pytest

from chuk_artifacts import ArtifactStore

PROCESSES = 8
WORK = """
    import json, random, sys
    from chuk_artifacts import ArtifactStore

    options, seed, sessions = json.loads(sys.argv[1]), int(sys.argv[2]), ["alice", "bob"]
    rng, mine = random.Random(seed), []
    with ArtifactStore(**options) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        for step in range(int(sys.argv[3])):
            action = rng.randrange(6)
            data = bytes(rng.randrange(100))
            if action < 2 or not mine:
                mine.append(store.store(data, session_id=rng.choice(sessions)))
            elif action == 2:
                store.update_file(rng.choice(mine), data=data, keep_versions=rng.choice([None, 0, 2]))
            elif action == 3:
                store.delete(mine.pop(rng.randrange(len(mine))))
            elif action == 4:
                mine.append(store.copy_file(rng.choice(mine)))
            else:
                mine += store.store_batch([{"data": data, "session_id": one} for one in sessions])
            print(step, flush=True)
    """


@pytest.fixture(params=["sqlite", "redis"])
def options(request, tmp_path):
    """Return the options of a store that processes can share."""
    options = {"storage_provider": "filesystem", "fs_root": str(tmp_path / "root"), "sandbox_id": "box"}
    if request.param == "sqlite":
        return options
    return {**options, "session_provider": "redis", "redis_url": request.getfixturevalue("redis_url")}


def counted(store, session_id):
    """Return what a full count of a session's records says."""
    core = store.scope.core
    records = core.catalog.page(session_id, prefix="", after=None, limit=10**6, now=core.clock())
    kept = {(earlier.key, earlier.bytes) for one in records for earlier in one.superseded if earlier.kept}
    return len(records), sum(size for _, size in kept | {(one.key, one.bytes) for one in records})


def start(options, seed, steps):
    """Start a process, and wait until its store is open."""
    process = child.start(WORK, json.dumps(options), seed, steps)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system kills differently")
def test_usage_equals_a_full_count(options):
    """After eight processes have changed two sessions, half of them killed in the middle, usage is exact."""
    processes = [start(options, seed, 10**6 if seed % 2 else 30) for seed in range(PROCESSES)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for seed, process in enumerate(processes):
        if seed % 2:
            for _ in range(10 + seed):
                process.stdout.readline()
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == (-signal.SIGKILL if seed % 2 else 0)
    with ArtifactStore(**options) as store:
        found = {one: tuple(store.usage(one).values()) for one in ("alice", "bob", None)}
        assert found["alice"] == counted(store, "alice")
        assert found["bob"] == counted(store, "bob")
        assert found[None] == tuple(map(sum, zip(found["alice"], found["bob"], strict=True)))
        assert found["alice"][0] > 0
