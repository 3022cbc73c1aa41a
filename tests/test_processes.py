"""One store in several processes: concurrent, killed, forked, pickled."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import random
import signal
import sys
from concurrent.futures import ProcessPoolExecutor

import child
import pytest

from chuk_artifacts import ArtifactStore

PROCESSES = 8
STORES_EACH = 200
SECRET = "hunter2-hunter2-"

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture
def root(tmp_path):
    """Return the root that the processes share."""
    return tmp_path / "root"


@pytest.fixture
def store(root):
    """Return a store of this process."""
    with ArtifactStore(storage_provider="filesystem", fs_root=root) as store:
        yield store


# Concurrent


def test_two_processes_see_each_other_at_once(store, root):
    """A change by one process is visible to the next call of another process that has the store open."""
    other = child.start(
        """
        import sys
        from chuk_artifacts import ArtifactStore

        store = ArtifactStore(storage_provider="filesystem", fs_root=sys.argv[1])
        for line in sys.stdin:
            command, *words = line.split()
            if command == "store":
                print(store.store(words[0].encode(), session_id="alice"), flush=True)
            elif command == "list":
                print(len(store.list_by_session("alice")), flush=True)
            elif command == "update":
                print(store.update_file(words[0], data=words[1].encode()).revision, flush=True)
            elif store.exists(words[0]):
                print(store.retrieve(words[0]).decode(), flush=True)
            else:
                print("missing", flush=True)
        store.close()
        """,
        root,
    )

    def ask(*words):
        other.stdin.write(" ".join(words) + "\n")
        other.stdin.flush()
        return other.stdout.readline().strip()

    with other:
        assert ask("list") == "0"
        mine = store.store(b"mine", session_id="alice")
        assert ask("get", mine) == "mine"
        theirs = ask("store", "theirs")
        assert store.retrieve(theirs) == b"theirs"
        assert ask("update", mine, "changed") == "2"
        assert store.retrieve(mine) == b"changed"
        store.update_file(theirs, data=b"too")
        assert ask("get", theirs) == "too"
        assert ask("list") == "2"
        assert store.delete(mine)
        assert ask("get", mine) == "missing"
        other.stdin.close()


def test_many_processes_lose_nothing(store, root):
    """Files stored by many processes at once all exist, each with its own content."""
    writers = [
        child.start(
            """
            import sys
            from chuk_artifacts import ArtifactStore

            root, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
            sys.stdin.readline()
            with ArtifactStore(storage_provider="filesystem", fs_root=root) as store:
                for number in range(count):
                    content = f"{name}-{number}"
                    print(content, store.store(content.encode(), session_id="alice", filename=content))
            """,
            root,
            f"writer-{number}",
            STORES_EACH,
        )
        for number in range(PROCESSES)
    ]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    lines = [line for writer in writers for line in writer.communicate()[0].splitlines()]
    stored = {artifact_id: content.encode() for content, artifact_id in map(str.split, lines)}
    assert len(stored) == PROCESSES * STORES_EACH
    assert {item.artifact_id for item in store.list_by_session("alice")} == set(stored)
    assert store.retrieve_batch(stored) == list(stored.values())
    assert store.cleanup(orphans=True).orphans == 0


def test_many_processes_change_one_record(store, root):
    """Concurrent changes by many processes are all made, one after the other."""
    artifact_id = store.store(b"0", session_id="alice")
    writers = [
        child.start(
            """
            import sys
            from chuk_artifacts import ArtifactStore

            root, name, artifact_id = sys.argv[1:]
            with ArtifactStore(storage_provider="filesystem", fs_root=root) as store:
                for number in range(10):
                    store.update_metadata(artifact_id, meta={f"{name}-{number}": number})
            """,
            root,
            number,
            artifact_id,
        )
        for number in range(4)
    ]
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0] * 4
    metadata = store.metadata(artifact_id)
    assert metadata.meta == {f"{name}-{number}": number for name in range(4) for number in range(10)}
    assert metadata.revision == 41


# Killed


@pytest.mark.parametrize("seed", range(6))
def test_killed_process_loses_no_printed_artifact(store, root, clock, seed):
    """A process killed at any moment leaves a store that opens and has every artifact whose id was printed."""
    moment = random.Random(seed)
    writer = child.start(
        """
        import itertools, sys
        from chuk_artifacts import ArtifactStore

        store = ArtifactStore(storage_provider="filesystem", fs_root=sys.argv[1])
        for number in itertools.count():
            content = f"{number}-".encode() * 1000
            data = content if number % 2 else iter([content[:100], content[100:]])
            artifact_id = store.store(data, session_id="alice")
            if number % 3 == 0:
                store.update_file(artifact_id, data=content, summary="changed")
            print(artifact_id, number, flush=True)
        """,
        root,
    )
    with writer:
        told = [writer.stdout.readline() for _ in range(moment.randrange(1, 40))]
        for _ in range(moment.randrange(20_000)):  # so that it dies at another point each time
            pass
        writer.send_signal(signal.SIGKILL)
        told += writer.stdout.readlines()
    told = [line.split() for line in told if line.endswith("\n")]
    for artifact_id, number in told:
        assert store.retrieve(artifact_id) == f"{number}-".encode() * 1000
    listed = {item.artifact_id for item in store.list_by_session("alice")}
    assert {artifact_id for artifact_id, _ in told} <= listed
    assert len(listed) <= len(told) + 1
    for artifact_id in listed:
        store.retrieve(artifact_id)
    assert store.retrieve(store.store(b"after", session_id="alice")) == b"after"
    assert store.validate_configuration()["session"]["status"] == "ok"


# Forked


FORK = """
    import json, os, sys, threading
    from chuk_artifacts import ArtifactStore

    def report(function):
        # Run *function* in a forked child, and return what it returns.
        reader, writer = os.pipe()
        process = os.fork()
        if process == 0:
            try:
                answer = function()
            except BaseException as error:
                answer = repr(error)
            os.write(writer, json.dumps(answer).encode())
            os._exit(0)
        os.close(writer)
        with open(reader, "rb") as file:
            answer = json.loads(file.read())
        assert os.waitpid(process, 0)[1] == 0
        return answer

    problems = []
    sys.unraisablehook = lambda problem: problems.append(repr(problem.exc_value))
    options = json.loads(sys.argv[1])
"""

STORES = {"memory": {}, "filesystem": {"storage_provider": "filesystem"}, "mixed": {"session_provider": "sqlite"}}


def fork(code, options, root, *, alone=False):
    """Run code that forks, with other threads or *alone*, and return its JSON; a deadlock ends by timeout."""
    lines = [line.strip("\n") for line in (FORK + code).splitlines()]
    options = json.dumps({**STORES[options], "fs_root": str(root), "sandbox_id": "box"})
    environment = child.environment(PYTHONWARNINGS="ignore")
    if not alone:  # another thread may hold the lock of coverage while this one forks
        environment.pop("COVERAGE_PROCESS_CONFIG", None)
    return json.loads(child.run("\n".join(lines), options, env=environment))


@forks
@pytest.mark.parametrize("options", STORES)
def test_forked_child_goes_on(root, options):
    """After a fork of a store in use, child and parent can read existing artifacts and store new ones."""
    told = fork(
        """
    store = ArtifactStore(**options)
    before = store.store(b"before", session_id="alice")

    def use():
        mine = store.store(b"child", session_id="alice")
        batch = store.store_batch([{"data": b"1"}, {"data": b"2"}], session_id="alice")
        read = [store.retrieve(one).decode() for one in (before, mine)]
        return [*read, len(store.retrieve_batch(batch)), len(store.list_by_session("alice"))]

    together = threading.Barrier(store.scope.core.storage.parallel)  # so that all threads of the pool have started

    def piece():
        together.wait()
        yield b"x"

    store.store_batch([{"data": piece()} for _ in range(together.parties)], session_id="bob")
    from_child = report(use)
    grandchild = report(lambda: report(use))
    after = store.store(b"after", session_id="alice")
    print(json.dumps([from_child[:3], grandchild[:3], store.retrieve(after).decode(), use()[:3], problems]))
    store.close()
        """,
        options,
        root,
    )
    used = ["before", "child", 2]
    assert told == [used, used, "after", used, []]


@forks
@pytest.mark.parametrize("options", STORES)
def test_fork_while_others_write(root, options):
    """After a fork while other threads write, change, list and delete, child and parent can use the store."""
    told = fork(
        """
    store = ArtifactStore(**options)
    shared = store.store(b"shared", session_id="alice")
    stop = threading.Event()

    def write():
        while not stop.is_set():
            artifact_id = store.store(b"x", session_id="bob")
            store.update_metadata(artifact_id, summary="y")
            store.list_by_session("bob", limit=5)
            store.delete(artifact_id)

    def use():
        mine = store.store(b"mine", session_id="alice")
        store.update_file(mine, data=b"changed")
        content = store.retrieve(mine).decode() + store.retrieve(shared).decode()
        return [content, store.delete(mine)]

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    answers = [report(use) for _ in range(15)]
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps([answers, use(), problems]))
    store.close()
        """,
        options,
        root,
    )
    answer = ["changedshared", True]
    assert told == [[answer] * 15, answer, []]


@forks
def test_fork_while_others_open_stores(root):
    """A fork while other threads open stores harms neither process."""
    told = fork(
        """
    sys.setswitchinterval(1e-6)
    kept = [ArtifactStore() for _ in range(1500)]
    store = kept[0]
    stop = threading.Event()

    def make():
        while not stop.is_set():
            ArtifactStore()

    threads = [threading.Thread(target=make, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    answers = []
    while len(answers) < 12 and not problems:
        answers.append(report(lambda: store.retrieve(store.store(b"x")).decode()))
    stop.set()
    print(json.dumps([sorted(set(answers)), problems]), flush=True)
    os._exit(0)  # a thread may hang if this test fails
        """,
        "memory",
        root,
    )
    assert told == [["x"], []]


@forks
def test_child_outlives_the_store_of_its_parent(root):
    """Artifacts of a child are not lost when its parent, or another process, closes the same files meanwhile."""
    told = fork(
        """
    store = ArtifactStore(**options)
    ids = [store.store(b"parent")]
    read_go, write_go = os.pipe()
    read_ids, write_ids = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_ids, store.store(b"child 1").encode())
        os.read(read_go, 1)
        os.write(write_ids, store.store(b"child 2").encode())
        os._exit(0)
    ids.append(os.read(read_ids, 32).decode())
    store.close()
    with ArtifactStore(**options) as again:
        ids.append(again.store(b"parent again"))
    os.write(write_go, b"x")
    ids.append(os.read(read_ids, 32).decode())
    os.waitpid(child, 0)
    with ArtifactStore(**options) as again:
        print(json.dumps([again.retrieve(one).decode() if again.exists(one) else None for one in ids]))
        """,
        "filesystem",
        root,
        alone=True,
    )
    assert told == ["parent", "child 1", "parent again", "child 2"]


@forks
@pytest.mark.parametrize("options", STORES)
def test_closed_in_the_child(root, options):
    """A child that closes its copy of the store does not close its parent's."""
    told = fork(
        """
    store = ArtifactStore(**options)
    before = store.store(b"before")
    closed = report(store.close)
    print(json.dumps([closed, store.retrieve(before).decode(), store.retrieve(store.store(b"after")).decode()]))
    store.close()
        """,
        options,
        root,
        alone=True,
    )
    assert told == [None, "before", "after"]


# Pickled


def spawned(function, *arguments):
    """Call a function in a process that is not a fork of this one."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result(60)


def test_pickled_store_in_another_process(store):
    """A method of a store can be pickled to another process, which opens the same files."""
    mine = store.store(b"mine", session_id="alice")
    assert spawned(store.retrieve, mine) == b"mine"
    theirs = spawned(store.session("alice").store, b"theirs")
    assert store.metadata(theirs).session_id == "alice"
    assert store.retrieve(theirs) == b"theirs"


def test_pickled_settings(store, monkeypatch, tmp_path):
    """An unpickled store keeps its settings, with any environment."""
    artifact_id = store.store(b"x", session_id="alice")
    data = pickle.dumps(store)
    monkeypatch.setenv("ARTIFACT_PROVIDER", "memory")
    monkeypatch.setenv("ARTIFACT_SANDBOX_ID", "other")
    monkeypatch.chdir(tmp_path)
    with pickle.loads(data) as copy:
        assert repr(copy) == repr(store)
        assert copy.retrieve(artifact_id) == b"x"
    assert store.retrieve(artifact_id) == b"x"


def test_pickled_memory_store_begins_empty():
    """The unpickled copy of a memory store has its settings, but no content."""
    with ArtifactStore(sandbox_id="box") as store:
        artifact_id = store.store(b"x", session_id="alice")
        data = pickle.dumps(store)
        assert len(data) < 1000
        with pickle.loads(data) as copy:
            assert not copy.exists(artifact_id)
            assert copy.get_sandbox_info() == store.get_sandbox_info()


def test_no_secret_in_the_pickle(monkeypatch):
    """A pickle contains no secret, from arguments or from the environment."""
    for name in ("AWS_SECRET_ACCESS_KEY", "ARTIFACT_SIGNING_KEY", "IBM_COS_APIKEY"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("SESSION_REDIS_URL", f"redis://:{SECRET}@host")
    with ArtifactStore(signing_key=SECRET, redis_url=f"redis://:{SECRET}@host") as store:
        data = pickle.dumps(store)
    assert SECRET.encode() not in data
    assert sys.getsizeof(data) > 0
